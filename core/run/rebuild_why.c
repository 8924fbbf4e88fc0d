/* Why a view is built anew, in words. */
#include <stdio.h>

#include "base/mem.h"
#include "codec/mp.h"
#include "run/rebuild.h"

enum { REBUILD_REASONS = 3 };

/* "billing/pricing.lua" -> "pricing.lua" inside billing; what it is called to the user. */
static void rebuild_say_input(const struct view *view, struct slice label, char *text, size_t size)
{
    if (slice_is(label, "lore")) {
        snprintf(text, size, "lore itself");
        return;
    }
    if (label.size > view->context.size && memcmp(label.data, view->context.data, view->context.size) == 0 &&
        label.data[view->context.size] == '/')
        label = slice_make(label.data + view->context.size + 1, label.size - view->context.size - 1);
    snprintf(text, size, "%.*s", SLICE_ARGS(label));
}

struct rebuild_reason {
    const struct view *view;
    char *text;
    size_t size;
    unsigned count;
};

static void rebuild_add_reason(struct rebuild_reason *reason, struct slice label, const char *what)
{
    char name[160];
    if (++reason->count > REBUILD_REASONS) return;
    rebuild_say_input(reason->view, label, name, sizeof name);
    size_t used = strlen(reason->text);
    snprintf(reason->text + used, reason->size - used, "%s%s %s", used ? ", " : "", name, what);
}

static bool rebuild_next_text(struct mp_reader *reader, struct slice *text)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0 || value.kind != MP_TEXT) return false;
    *text = value.text;
    return true;
}

/* The difference between what an older generation was made of and what the code is made of now, in words. */
static void rebuild_tell_difference(const struct view *view, const struct view_code *code,
                                    struct slice inputs, char text[VIEWS_REASON_SIZE])
{
    struct rebuild_reason reason = {view, text, VIEWS_REASON_SIZE, 0};
    text[0] = 0;
    bool *seen = mem_zero(code->input_count + 1);
    struct mp_reader reader = mp_reader_of(inputs);
    struct mp_value list = {.kind = MP_NIL};
    struct slice label, hex;
    if (mp_read(&reader, &list) < 0 || list.kind != MP_LIST) list.count = 0;
    for (uint32_t left = list.count / 2;
         left && rebuild_next_text(&reader, &label) && rebuild_next_text(&reader, &hex); left--) {
        size_t at = 0;
        while (at < code->input_count && !slice_equal(code->inputs[at].label, label)) at++;
        if (at == code->input_count) {
            rebuild_add_reason(&reason, label, "is no longer used");
            continue;
        }
        char now[2 * HASH_SIZE + 1];
        hash_hex(&code->inputs[at].hash, now);
        seen[at] = true;
        if (!slice_is(hex, now)) rebuild_add_reason(&reason, label, "changed");
    }
    for (size_t at = 0; at < code->input_count; at++)
        if (!seen[at]) rebuild_add_reason(&reason, code->inputs[at].label, "is new");
    mem_free(seen);
    if (reason.count > REBUILD_REASONS) {
        size_t used = strlen(text);
        snprintf(text + used, VIEWS_REASON_SIZE - used, " and %u more", reason.count - REBUILD_REASONS);
    }
    if (!text[0]) snprintf(text, VIEWS_REASON_SIZE, "its code changed");
}

void rebuild_tell(const struct view *view, const struct view_code *code, const char *why,
                  char text[VIEWS_REASON_SIZE])
{
    struct buf inputs = {0};
    struct fault ignored;
    if (!view->answering)
        snprintf(text, VIEWS_REASON_SIZE, "%s", why[0] ? why : "first build");
    else if (docs_meta_get(view->answering->docs, slice_of("inputs"), &inputs, &ignored) == 1)
        rebuild_tell_difference(view, code, buf_slice(&inputs), text);
    else
        snprintf(text, VIEWS_REASON_SIZE, "its code changed");
    buf_release(&inputs);
}
