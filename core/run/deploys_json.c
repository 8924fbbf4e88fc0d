/* A deploy as JSON, for whoever asks. */
#include "codec/json.h"
#include "codec/time.h"
#include "run/deploys.h"

static void put_time(struct buf *out, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(out, "time", slice_make(text, TIME_TEXT_SIZE));
}

size_t deploys_changed(const struct deploy_record *before, const struct deploy_record *after)
{
    size_t changed = 0, old = 0, new = 0;
    while (old < before->script_count || new < after->script_count) {
        int order = old == before->script_count ? 1
                    : new == after->script_count
                        ? -1
                        : slice_compare(before->scripts[old].path, after->scripts[new].path);
        if (order != 0 || !hash_equal(&before->scripts[old].hash, &after->scripts[new].hash)) changed++;
        if (order <= 0) old++;
        if (order >= 0) new ++;
    }
    return changed;
}

void deploys_put_members(const struct deploy_record *record, enum deploy_state state, struct buf *out)
{
    char hex[2 * HASH_SIZE + 1];
    json_put_int_member(out, "number", (int64_t)record->number);
    put_time(out, record->at_ms);
    json_put_text_member(out, "actor", record->actor);
    json_put_text_member(out, "note", record->note);
    json_put_text_member(out, "folder", record->folder);
    json_put_text_member(out, "state", slice_of(deploys_state_name(state)));
    json_put_name(out, "forced");
    buf_put_text(out, record->forced ? "true" : "false");
    json_put_int_member(out, "before", (int64_t)record->before);
    json_put_int_member(out, "position", (int64_t)record->position);
    hash_hex(&record->digest, hex);
    json_put_text_member(out, "digest", slice_of(hex));
}

void deploys_put_scripts(const struct deploy_record *record, struct buf *out)
{
    char hex[2 * HASH_SIZE + 1];
    json_put_name(out, "scripts");
    buf_put_byte(out, '{');
    for (size_t at = 0; at < record->script_count; at++) {
        if (at) buf_put_byte(out, ',');
        json_put_text(out, record->scripts[at].path);
        hash_hex(&record->scripts[at].hash, hex);
        buf_format(out, ":\"%s\"", hex);
    }
    buf_put_byte(out, '}');
}

void deploys_put_switch_json(const struct deploy_switch *change, struct buf *out)
{
    buf_put_byte(out, '{');
    json_put_text_member(out, "why", slice_of(deploys_why_name(change->why)));
    put_time(out, change->at_ms);
    json_put_text_member(out, "actor", change->actor);
    json_put_text_member(out, "note", change->note);
    json_put_int_member(out, "from", (int64_t)change->from);
    json_put_int_member(out, "to", (int64_t)change->to);
    json_put_int_member(out, "position", (int64_t)change->position);
    buf_put_byte(out, '}');
}
