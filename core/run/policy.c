#include "run/policy.h"

#include <stdio.h>

#include "codec/json.h"
#include "codec/mp.h"
#include "vm/nearest.h"

static const struct {
    const char *name, *one, *many; /* one: as one, many: behind a number */
    bool by_default;
} policy_counts[GATE_COUNTS] = {
    [GATE_LOADS] = {"loads", "1 error keeps the scripts from loading", "errors keep the scripts from loading",
                    true},
    [GATE_SPECS] = {"specs", "1 spec fails", "specs fail", true},
    [GATE_CONTRACTS_BREAK] = {"contracts_break", "1 form of stored events cannot be read",
                              "forms of stored events cannot be read", true},
    [GATE_CONTRACTS_LOSE] = {"contracts_lose", "1 event or field that is stored is not seen any more",
                             "events or fields that are stored are not seen any more", false},
    [GATE_BACK] = {"back", "1 thing that may be written is not read by the running version",
                   "things that may be written are not read by the running version", false},
    [GATE_DOCUMENTS_REMOVED] = {"documents_removed", "1 document would be removed",
                                "documents would be removed", false},
    [GATE_DOCUMENTS_CHANGED] = {"documents_changed", "1 document would be changed",
                                "documents would be changed", false},
    [GATE_DOCUMENTS_ADDED] = {"documents_added", "1 document would be added", "documents would be added",
                              false},
    [GATE_STATES_CHANGED] = {"states_changed", "1 aggregate folds to another state",
                             "aggregates fold to another state", false},
    [GATE_COMMANDS_REFUSED] = {"commands_refused", "1 recorded command would now be refused",
                               "recorded commands would now be refused", false},
    [GATE_COMMANDS_ACCEPTED] = {"commands_accepted", "1 recorded command would now be accepted",
                                "recorded commands would now be accepted", false},
    [GATE_COMMANDS_OTHER] = {"commands_other", "1 recorded command would now give other events",
                             "recorded commands would now give other events", false},
    [GATE_ERRORS] = {"errors", "1 error of scripts appears", "errors of scripts appear", true},
    [GATE_PARKED] = {"parked", "1 key of a projection would be parked", "keys of projections would be parked",
                     false}};

const char *policy_name(enum gate_count count)
{
    return policy_counts[count].name;
}

void policy_init(struct policy *policy)
{
    for (int at = 0; at < GATE_COUNTS; at++)
        policy->above[at] = policy_counts[at].by_default ? 0 : UINT64_MAX;
}

/* --- hub.lua --- */

static int policy_unknown(struct slice name, struct fault *fault)
{
    struct nearest nearest = nearest_to(name);
    for (int at = 0; at < GATE_COUNTS; at++) nearest_offer(&nearest, slice_of(policy_counts[at].name));
    struct slice found = nearest_found(&nearest);
    if (found.size)
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: deploy.refuse: there is no %.*s: did you mean %.*s?",
                         name.size < 80 ? (int)name.size : 80, name.data, SLICE_ARGS(found));
    struct buf names = {0};
    for (int at = 0; at < GATE_COUNTS; at++) buf_format(&names, " %s", policy_counts[at].name);
    fault_set(fault, FAULT_SCRIPTS, "hub.lua: deploy.refuse: there is no %.*s: it knows%.*s",
              name.size < 80 ? (int)name.size : 80, name.data, SLICE_ARGS(buf_slice(&names)));
    buf_release(&names);
    return -1;
}

static int policy_find(struct slice name, enum gate_count *count, struct fault *fault)
{
    for (int at = 0; at < GATE_COUNTS; at++)
        if (slice_is(name, policy_counts[at].name)) {
            *count = (enum gate_count)at;
            return 0;
        }
    return policy_unknown(name, fault);
}

static int policy_form(struct fault *fault)
{
    return fault_set(fault, FAULT_SCRIPTS,
                     "hub.lua: deploy.refuse is a list of names, { \"specs\", \"errors\" }, or says for some "
                     "what differs from the default, { documents_removed = 100, errors = false }");
}

/* These and nothing else. */
static int policy_read_list(struct policy *policy, struct mp_reader *reader, uint32_t count,
                            struct fault *fault)
{
    enum gate_count found;
    for (int at = 0; at < GATE_COUNTS; at++) policy->above[at] = UINT64_MAX;
    for (; count; count--) {
        struct mp_value name;
        if (mp_read(reader, &name) < 0 || name.kind != MP_TEXT) return policy_form(fault);
        if (policy_find(name.text, &found, fault) < 0) return -1;
        policy->above[found] = 0;
    }
    policy->above[GATE_LOADS] = 0;
    return 0;
}

/* Changes of the default. */
static int policy_read_map(struct policy *policy, struct mp_reader *reader, uint32_t count,
                           struct fault *fault)
{
    enum gate_count found;
    for (; count; count--) {
        struct mp_value name, value;
        if (mp_read(reader, &name) < 0 || mp_read(reader, &value) < 0) return policy_form(fault);
        if (policy_find(name.text, &found, fault) < 0) return -1;
        bool number = value.kind == MP_INT && value.integer >= 0;
        if (!number && value.kind != MP_BOOL)
            return fault_set(fault, FAULT_SCRIPTS,
                             "hub.lua: deploy.refuse.%s: expected true, false or a whole number from 0",
                             policy_counts[found].name);
        if (found == GATE_LOADS && (number ? value.integer > 0 : !value.boolean))
            return fault_set(fault, FAULT_SCRIPTS,
                             "hub.lua: deploy.refuse.loads: scripts that do not load always refuse");
        policy->above[found] = number ? (uint64_t)value.integer : value.boolean ? 0 : UINT64_MAX;
    }
    return 0;
}

static int policy_read_refuse(struct policy *policy, struct slice refuse, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(refuse);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0) return policy_form(fault);
    if (value.kind == MP_LIST) return policy_read_list(policy, &reader, value.count, fault);
    if (value.kind != MP_MAP) return policy_form(fault);
    /* Lua's empty table is both: as a list it says that only what does not load is refused. */
    if (value.count == 0) return policy_read_list(policy, &reader, 0, fault);
    return policy_read_map(policy, &reader, value.count, fault);
}

int policy_read(struct policy *policy, struct slice hub_options, struct fault *fault)
{
    struct slice deploy, name_text = slice_of("refuse");
    struct mp_value options, name;
    policy_init(policy);
    if (!hub_options.size || !mp_find(hub_options, slice_of("deploy"), &deploy)) return 0;
    struct mp_reader reader = mp_reader_of(deploy);
    if (mp_read(&reader, &options) < 0 || options.kind != MP_MAP)
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: deploy is a table: { refuse = { \"specs\" } }");
    for (uint32_t left = options.count; left; left--) {
        struct slice bytes;
        if (mp_read(&reader, &name) < 0 || mp_take(&reader, &bytes) < 0)
            return fault_set(fault, FAULT_SCRIPTS, "hub.lua: deploy is damaged");
        if (!slice_equal(name.text, name_text)) {
            struct nearest nearest = nearest_to(name.text);
            nearest_offer(&nearest, name_text);
            return fault_set(fault, FAULT_SCRIPTS, "hub.lua: there is no option deploy.%.*s: %s",
                             name.text.size < 80 ? (int)name.text.size : 80, name.text.data,
                             nearest_found(&nearest).size ? "did you mean refuse?" : "it knows refuse");
        }
        if (policy_read_refuse(policy, bytes, fault) < 0) return -1;
    }
    return 0;
}

/* --- the verdict --- */

size_t policy_judge(const struct policy *policy, const struct gate_counts *counts, struct buf *json,
                    struct buf *text)
{
    size_t reasons = 0;
    if (json) buf_put_byte(json, '[');
    for (int at = 0; at < GATE_COUNTS; at++) {
        uint64_t count = counts->of[at], above = policy->above[at];
        if (count <= above) continue;
        struct buf reason = {0};
        if (count == 1)
            buf_put_text(&reason, policy_counts[at].one);
        else
            buf_format(&reason, "%llu %s", (unsigned long long)count, policy_counts[at].many);
        if (above)
            buf_format(&reason, ", more than %llu (deploy.refuse: %s)", (unsigned long long)above,
                       policy_counts[at].name);
        else
            buf_format(&reason, " (deploy.refuse: %s)", policy_counts[at].name);
        if (json && reasons) buf_put_byte(json, ',');
        if (json) json_put_text(json, buf_slice(&reason));
        if (text) buf_format(text, "%.*s\n", SLICE_ARGS(buf_slice(&reason)));
        buf_release(&reason);
        reasons++;
    }
    if (json) buf_put_byte(json, ']');
    return reasons;
}
