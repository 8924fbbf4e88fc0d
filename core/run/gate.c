#include "run/gate.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "codec/json.h"
#include "run/deploys.h"
#include "run/gate_contracts.h"
#include "run/inside.h"
#include "run/plan.h"
#include "run/shadow.h"
#include "run/tally.h"
#include "vm/excerpt.h"

static void put_bool(struct buf *out, const char *name, bool value)
{
    json_put_name(out, name);
    buf_put_text(out, value ? "true" : "false");
}

static void put_seconds(struct buf *out, const char *name, double seconds)
{
    json_put_name(out, name);
    buf_format(out, "%.3f", seconds);
}

static void gate_enter(struct gate *gate, enum gate_state state, uint64_t of)
{
    atomic_store(&gate->progress->done, 0);
    atomic_store(&gate->progress->of, of);
    atomic_store(&gate->progress->state, state);
}

const char *gate_state_name(enum gate_state state)
{
    static const char *const names[] = {"idle", "loading", "contracts", "building", "replaying", "switching"};
    return names[state];
}

/* --- what was changed --- */

static void gate_put_script(struct buf *out, bool *some, struct slice path, const char *change)
{
    if (*some) buf_put_byte(out, ',');
    *some = true;
    buf_put_byte(out, '{');
    json_put_text_member(out, "path", path);
    json_put_text_member(out, "change", slice_of(change));
    buf_put_byte(out, '}');
}

static void gate_put_scripts(const struct sources *before, const struct sources *after, struct buf *out)
{
    bool some = false;
    json_put_name(out, "scripts");
    buf_put_byte(out, '[');
    for (size_t at = 0; at < sources_count(after); at++) {
        const struct source *now = sources_at(after, at), *was = sources_find(before, now->path);
        if (!was)
            gate_put_script(out, &some, now->path, "added");
        else if (!slice_equal(was->text, now->text))
            gate_put_script(out, &some, now->path, "changed");
    }
    for (size_t at = 0; at < sources_count(before); at++)
        if (!sources_find(after, sources_at(before, at)->path))
            gate_put_script(out, &some, sources_at(before, at)->path, "removed");
    buf_put_byte(out, ']');
}

static void gate_begin(struct gate *gate, bool same, uint64_t number)
{
    struct buf *out = &gate->order->report;
    buf_put_byte(out, '{');
    json_put_int_member(out, "deploy", (int64_t)number);
    json_put_int_member(out, "before", (int64_t)gate->running->deploy);
    put_bool(out, "plan", gate->order->kind == DEPLOY_ORDER_PLAN);
    put_bool(out, "forced", gate->order->force);
    put_bool(out, "same", same);
}

static void gate_end(struct gate *gate)
{
    struct buf *out = &gate->order->report;
    put_seconds(out, "seconds", (double)(clock_monotonic_ns() - gate->began_ns) / 1e9);
    buf_put_byte(out, '}');
}

static uint64_t gate_number(const struct gate *gate)
{
    uint64_t number = 0;
    struct fault ignored; /* recording tells */
    deploys_next(gate->hub->engine, &number, &ignored);
    return number;
}

void gate_say_same(struct gate *gate)
{
    gate_begin(gate, true, gate->running->deploy);
    buf_put_text(&gate->order->report, ",\"scripts\":[],\"refused\":[]");
    gate_end(gate);
}

/* --- loading --- */

int gate_load(struct gate *gate, struct sources *sources, struct fault *fault)
{
    struct buf errors = {0}, *out = &gate->order->report;
    gate_enter(gate, GATE_LOADING, 0);
    int done = release_load(gate->hub, sources, &gate->next, &errors, fault);
    if (done < 0) {
        gate_begin(gate, false, gate_number(gate));
        gate_put_scripts(gate->running->sources, sources, out);
        buf_put_text(out, ",\"loads\":{\"ok\":false");
        json_put_name(out, "errors");
        /* hub.lua's options are looked at last and by the host, so their error comes alone. */
        excerpt_put_json(errors.size ? buf_slice(&errors) : slice_of(fault->text), sources, out);
        buf_put_byte(out, '}');
        gate_end(gate);
        sources_free(sources);
    }
    buf_release(&errors);
    return done;
}

static void gate_put_warnings(struct gate *gate)
{
    struct buf *out = &gate->order->report;
    struct slice left = domain_warnings(gate->next->checked);
    buf_put_text(out, ",\"loads\":{\"ok\":true,\"errors\":[],\"warnings\":[");
    for (bool some = false; left.size; some = true) {
        const char *end = memchr(left.data, '\n', left.size);
        size_t size = end ? (size_t)(end - left.data) : left.size;
        if (some) buf_put_byte(out, ',');
        json_put_text(out, slice_make(left.data, size));
        size_t taken = end ? size + 1 : size;
        left = slice_make(left.data + taken, left.size - taken);
    }
    buf_put_text(out, "]}");
}

static void gate_put_specs(struct gate *gate)
{
    struct buf *out = &gate->order->report;
    json_put_name(out, "specs");
    if (gate->order->specs.size)
        buf_put_slice(out, gate->order->specs);
    else
        buf_put_text(out, "null");
    gate->counts.of[GATE_SPECS] = gate->order->specs_failed;
}

/* --- contracts --- */

static int gate_look_at_contracts(struct gate *gate, struct fault *fault)
{
    char path[4096];
    struct shapes *shapes;
    struct domain *running = NULL;
    struct gate_contracts_counts counts = {0};
    gate_enter(gate, GATE_CONTRACTS, 0);
    tally_path(gate->hub, path, sizeof path);
    if (shapes_of_log(gate->hub->engine, path, gate->stop, &shapes, fault) < 0) return -1;
    int done = release_domain(gate->running, &running, fault);
    if (done == 0) {
        struct gate_contracts contracts = {.engine = gate->hub->engine,
                                           .shapes = shapes,
                                           .fresh = gate->next->checked,
                                           .running = running,
                                           .stop = gate->stop};
        done = gate_contracts(&contracts, &gate->order->report, &counts, fault);
        domain_close(running);
    }
    shapes_free(shapes);
    gate->counts.of[GATE_CONTRACTS_BREAK] = counts.breaks;
    gate->counts.of[GATE_CONTRACTS_LOSE] = counts.loses;
    gate->counts.of[GATE_BACK] = counts.back;
    return done;
}

/* --- the past anew --- */

static void gate_count_failures(struct gate *gate, const struct compare_failure *failures, size_t count)
{
    for (size_t at = 0; at < count; at++)
        if (!failures[at].is_old) gate->counts.of[GATE_PARKED]++;
}

static void gate_take_view(void *user, const struct plan_view *view)
{
    struct gate *gate = user;
    struct buf *out = &gate->order->report;
    const struct compare *compare = view->compare;
    if (out->data[out->size - 1] == '}') buf_put_byte(out, ',');
    if (compare) {
        compare_put_json(compare, view->name, out);
        out->size--; /* the object goes on */
        gate->counts.of[GATE_DOCUMENTS_ADDED] += compare->counts.added;
        gate->counts.of[GATE_DOCUMENTS_REMOVED] += compare->counts.removed;
        gate->counts.of[GATE_DOCUMENTS_CHANGED] += compare->counts.changed;
        gate_count_failures(gate, compare->parked, compare->parked_count);
        gate_count_failures(gate, compare->stopped, compare->stopped_count);
    } else {
        buf_put_byte(out, '{');
        json_put_text_member(out, "name", view->name);
    }
    json_put_text_member(out, "reason", slice_of(view->reason));
    if (compare) put_seconds(out, "rebuild_seconds", view->seconds); /* else it was not built */
    put_bool(out, "kept", view->is_kept);
    buf_put_byte(out, '}');
}

static int gate_plan_views(struct gate *gate, struct fault *fault)
{
    struct plan plan = {.hub = gate->hub,
                        .release = gate->next,
                        .stop = gate->stop,
                        .budget_ms = gate->order->budget_ms,
                        .samples = (size_t)gate->order->samples,
                        .progress = &gate->progress->done,
                        .each = gate_take_view,
                        .user = gate};
    gate_enter(gate, GATE_BUILDING, engine_head(gate->hub->engine).position);
    buf_put_text(&gate->order->report, ",\"projections\":[");
    int done = plan_run(&plan, fault);
    buf_put_byte(&gate->order->report, ']');
    return done;
}

static void gate_count_shadow(struct gate *gate, const struct shadow *shadow)
{
    const struct shadow_commands *commands = &shadow->total.commands;
    gate->counts.of[GATE_STATES_CHANGED] = shadow->total.states_changed;
    gate->counts.of[GATE_COMMANDS_REFUSED] = commands->differs[SHADOW_REFUSED];
    gate->counts.of[GATE_COMMANDS_ACCEPTED] = commands->differs[SHADOW_ACCEPTED];
    gate->counts.of[GATE_COMMANDS_OTHER] =
        commands->differs[SHADOW_OTHER_EVENTS] + commands->differs[SHADOW_OTHER_REASON];
    gate->counts.of[GATE_ERRORS] = commands->differs[SHADOW_ERROR] + shadow->total.states_failed;
}

static int gate_replay_aggregates(struct gate *gate, int64_t spent_ms, bool *whole, struct fault *fault)
{
    struct buf *out = &gate->order->report;
    int64_t budget_ms = gate->order->budget_ms;
    struct shadow *shadow;
    struct shadow_options options = {
        .engine = gate->hub->engine,
        .running = release_domain_options(gate->running),
        .next = release_domain_options(gate->next),
        .idle = true,
        .everything = gate->order->everything,
        .since_ms = gate->order->since_ms,
        .budget_ms = budget_ms ? (uint64_t)(budget_ms > spent_ms ? budget_ms - spent_ms : 1) : 0,
        .samples = (size_t)gate->order->samples,
        .stop = gate->stop,
        .progress = &gate->progress->shadow};
    gate_enter(gate, GATE_REPLAYING, 0);
    if (shadow_run(&options, &shadow, fault) < 0) return -1;
    json_put_name(out, "aggregates");
    shadow_put_json(shadow, out);
    gate_count_shadow(gate, shadow);
    *whole = !shadow->is_cut;
    shadow_free(shadow);
    return 0;
}

static int gate_replay(struct gate *gate, struct fault *fault)
{
    struct buf *out = &gate->order->report;
    int64_t began_ns = clock_monotonic_ns();
    bool whole = true;
    if (!gate->order->replay) {
        buf_put_text(out, ",\"replay\":null");
        return 0;
    }
    uint64_t position = engine_head(gate->hub->engine).position;
    if (gate_plan_views(gate, fault) < 0) return -1;
    int64_t spent_ms = (clock_monotonic_ns() - began_ns) / 1000000;
    if (gate_replay_aggregates(gate, spent_ms, &whole, fault) < 0) return -1;
    json_put_name(out, "replay");
    buf_put_byte(out, '{');
    put_bool(out, "done", whole);
    json_put_int_member(out, "position", (int64_t)position);
    put_seconds(out, "seconds", (double)(clock_monotonic_ns() - began_ns) / 1e9);
    buf_put_byte(out, '}');
    return 0;
}

/* --- the verdict --- */

static int gate_judge(struct gate *gate, struct fault *fault)
{
    struct policy policy;
    struct buf text = {0};
    if (policy_read(&policy, domain_hub_options(gate->next->checked), fault) < 0) return -1;
    json_put_name(&gate->order->report, "refused");
    gate->refusals = policy_judge(&policy, &gate->counts, &gate->order->report, &text);
    const char *end = text.size ? memchr(text.data, '\n', text.size) : NULL;
    size_t size = end ? (size_t)(end - text.data) : text.size;
    snprintf(gate->first_refusal, sizeof gate->first_refusal, "%.*s", (int)size, text.size ? text.data : "");
    buf_release(&text);
    return 0;
}

int gate_run(struct gate *gate, struct fault *fault)
{
    gate->next->deploy = gate_number(gate); /* until it is recorded */
    gate_begin(gate, false, gate->next->deploy);
    gate_put_scripts(gate->running->sources, gate->next->sources, &gate->order->report);
    gate_put_warnings(gate);
    gate_put_specs(gate);
    if (gate_look_at_contracts(gate, fault) < 0 || gate_replay(gate, fault) < 0 ||
        gate_judge(gate, fault) < 0)
        return -1;
    gate_end(gate);
    return 0;
}
