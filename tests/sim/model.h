/* model.h: what a hub with the scripts of sim_scripts.h should do, written as simply as can be: arrays,
 * linear searches, every view computed anew from the whole log. Nothing of core/ decides here; only the names
 * of outcomes are shared.
 *
 *     struct reply reply = model_run(model, &order);      one command, batch or fact
 *     model_state(model, stream, version, &text);         "3 {'total':7}"
 *     model_view(model, MODEL_TOTALS, "acme", &text);      "key=document" lines
 *
 * Threads: one. Owns: what the struct holds. */
#ifndef LORE_TESTS_SIM_MODEL_H
#define LORE_TESTS_SIM_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/fault.h"

enum {
    MODEL_ITEMS_MAX = 4,
    MODEL_ID_SIZE = 8,
    MODEL_TEXT_SIZE = 64,
    MODEL_ANY = -1,
    MODEL_PARKING = 13,
    MODEL_PURSE_MAX = 50
};

enum kind {
    OPEN,
    ADD,
    SPLIT, /* several events of one command */
    CLOSE,
    TOUCH, /* no event */
    DENY,
    BREAK,    /* fails after an emit */
    WRONG,    /* fits no contract */
    FLY,      /* no such command */
    RECORD,   /* a fact */
    MISRECORD /* one that fits no contract */
};

struct item {
    enum kind kind;
    int amount, parts;
    char id[MODEL_ID_SIZE]; /* empty: none given */
};

struct order {
    int stream;
    bool fact;
    struct item items[MODEL_ITEMS_MAX];
    int count;
    char batch[MODEL_ID_SIZE];
    int expected; /* version, or MODEL_ANY */
};

struct reply {
    enum fault_code code;
    char reason[128];
    unsigned version, position, events; /* of a commit: events that the answer shows */
    unsigned conflict_version;
    bool repeated;
};

struct stream {
    const char *tenant;
    char id[16];
    bool is_purse;
};

struct state {
    int total;
    char owner; /* 0: none */
    bool closed;
};

struct entry { /* an event in the log */
    int stream;
    unsigned version;
    const char *type;
    int amount;
    char owner;
    bool is_fact;
    int64_t at_ms, recorded_ms;
};

struct stored { /* a command that was answered and kept */
    struct order order;
    struct reply reply;
};

struct model {
    struct stream *streams;
    struct entry *entries;
    struct stored *stored; /* all kept ones, in order of their answers */
    int stream_count, stream_max, entry_count, entry_max, stored_count, stored_max;
    int64_t now_ms, recorded_ms;
};

#define MODEL_ADD(array, count, max)                                                                         \
    ((count) == (max)                                                                                        \
         ? ((max) = (max) ? (max)*2 : 64, (array) = realloc((array), sizeof *(array) * (size_t)(max)))       \
         : (array),                                                                                          \
     memset(&(array)[count], 0, sizeof *(array)), &(array)[(count)++])

static inline void model_free(struct model *model)
{
    free(model->streams);
    free(model->entries);
    free(model->stored);
}

static inline int model_add_stream(struct model *model, const char *tenant, const char *id, bool is_purse)
{
    struct stream *stream = MODEL_ADD(model->streams, model->stream_count, model->stream_max);
    stream->tenant = tenant;
    snprintf(stream->id, sizeof stream->id, "%s", id);
    stream->is_purse = is_purse;
    return model->stream_count - 1;
}

/* --- texts --- */

static inline const char *item_type(const struct item *item, bool is_purse)
{
    static const char *const names[] = {"Open",  "Add", "Split", "Close", "Touch", "Deny",
                                        "Break", "Add", "Fly",   "Added", "Added"};
    if (is_purse && (item->kind == ADD || item->kind == WRONG)) return "Fill";
    if (is_purse && item->kind >= RECORD) return "Filled";
    return names[item->kind];
}

/* JSON with ' for ". */
static inline void item_data(const struct item *item, char text[MODEL_TEXT_SIZE])
{
    const char *form = "{}";
    if (item->kind == OPEN) form = "{'owner':'%c'}";
    if (item->kind == ADD || item->kind == RECORD) form = "{'amount':%d}";
    if (item->kind == SPLIT) form = "{'amount':%d,'parts':%d}";
    if (item->kind == DENY) form = "{'code':'no%d'}";
    if (item->kind == WRONG) form = "{'amout':%d}";
    if (item->kind == MISRECORD) form = "{'amount':'%d'}";
    if (item->kind == OPEN)
        snprintf(text, MODEL_TEXT_SIZE, "{'owner':'%c'}", 'a' + (item->amount & 15));
    else
        snprintf(text, MODEL_TEXT_SIZE, form, item->amount, item->parts);
}

static inline void entry_data(const struct entry *entry, char text[MODEL_TEXT_SIZE])
{
    if (strcmp(entry->type, "Opened") == 0)
        snprintf(text, MODEL_TEXT_SIZE, "{\"owner\":\"%c\"}", entry->owner);
    else
        snprintf(text, MODEL_TEXT_SIZE,
                 strcmp(entry->type, "Closed") == 0 ? "{\"total\":%d}" : "{\"amount\":%d}", entry->amount);
}

static inline void model_time(int64_t ms, char text[32])
{
    time_t seconds = ms / 1000;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t size = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + size, 32 - size, ".%03dZ", (int)(ms % 1000));
}

static inline void order_text(const struct model *model, const struct order *order, struct buf *out)
{
    const struct stream *stream = &model->streams[order->stream];
    buf_format(out, "%s %s/%s", stream->tenant, stream->is_purse ? "purse" : "account", stream->id);
    if (order->expected != MODEL_ANY) buf_format(out, " at version %d", order->expected);
    if (*order->batch) buf_format(out, " key %s", order->batch);
    for (int at = 0; at < order->count; at++) {
        char data[MODEL_TEXT_SIZE];
        item_data(&order->items[at], data);
        buf_format(out, "%s %s%s %s", at ? "," : ":", order->fact ? "record " : "",
                   item_type(&order->items[at], stream->is_purse), data);
        if (*order->items[at].id) buf_format(out, " id %s", order->items[at].id);
    }
}

/* --- states --- */

static inline void state_apply(struct state *state, const struct entry *entry)
{
    if (strcmp(entry->type, "Opened") == 0) state->owner = entry->owner;
    if (strcmp(entry->type, "Added") == 0 || strcmp(entry->type, "Filled") == 0)
        state->total += entry->amount;
    if (strcmp(entry->type, "Closed") == 0) state->closed = true;
}

static inline struct state model_fold(const struct model *model, int stream, unsigned version_max,
                                      unsigned *version, unsigned *position)
{
    struct state state = {0};
    *version = *position = 0;
    for (int at = 0; at < model->entry_count; at++) {
        const struct entry *entry = &model->entries[at];
        if (entry->stream != stream || entry->version > version_max) continue;
        state_apply(&state, entry);
        *version = entry->version;
        *position = (unsigned)at + 1;
    }
    return state;
}

static inline void model_state(const struct model *model, int stream, unsigned version_max, struct buf *out)
{
    unsigned version, position;
    struct state state = model_fold(model, stream, version_max, &version, &position);
    if (version == 0) {
        buf_format(out, "none");
        return;
    }
    buf_format(out, "%u@%u {", version, position);
    if (state.closed) buf_format(out, "\"closed\":true,");
    if (state.owner) buf_format(out, "\"owner\":\"%c\",", state.owner);
    buf_format(out, "\"total\":%d}", state.total);
}

/* --- commands --- */

struct draft { /* what a command would append */
    struct entry entries[MODEL_ITEMS_MAX * 4];
    int count;
    struct state state;
};

static inline void draft_add(struct draft *draft, const char *type, int amount, char owner)
{
    struct entry *entry = &draft->entries[draft->count++];
    *entry = (struct entry){.type = type, .amount = amount, .owner = owner};
    state_apply(&draft->state, entry);
}

static inline struct reply no(enum fault_code code, const char *reason)
{
    struct reply reply = {.code = code};
    snprintf(reply.reason, sizeof reply.reason, "%s", reason);
    return reply;
}

static inline struct reply item_run(const struct item *item, bool is_purse, struct draft *draft)
{
    char reason[16];
    switch (item->kind) {
    case OPEN:
        if (draft->state.owner) return no(FAULT_REJECTED, "exists");
        draft_add(draft, "Opened", 0, (char)('a' + (item->amount & 15)));
        break;
    case ADD:
        if (is_purse && draft->state.total + item->amount > MODEL_PURSE_MAX)
            return no(FAULT_REJECTED, "full");
        if (!is_purse && draft->state.closed) return no(FAULT_REJECTED, "closed");
        if (!is_purse && draft->state.total + item->amount < 0) return no(FAULT_REJECTED, "poor");
        draft_add(draft, is_purse ? "Filled" : "Added", item->amount, 0);
        break;
    case SPLIT:
        for (int part = 0; part < item->parts; part++)
            draft_add(draft, "Added", item->amount + (draft->state.total & 1), 0);
        break;
    case CLOSE:
        if (draft->state.closed) return no(FAULT_REJECTED, "closed");
        draft_add(draft, "Closed", draft->state.total, 0);
        break;
    case TOUCH: break;
    case DENY: snprintf(reason, sizeof reason, "no%d", item->amount); return no(FAULT_REJECTED, reason);
    case BREAK: return no(FAULT_SCRIPT, "");
    case RECORD: draft_add(draft, is_purse ? "Filled" : "Added", item->amount, 0); break;
    case WRONG:
    case MISRECORD:
    case FLY: break; /* seen before */
    }
    return no(FAULT_NONE, "");
}

/* The n-th id that the order gives. */
static inline const char *order_id(const struct order *order, int n)
{
    if (*order->batch && n == 0) return order->batch;
    if (*order->batch) n--;
    return n < order->count ? order->items[n].id : "";
}

static inline const struct stored *find_stored(const struct model *model, const struct order *order)
{
    for (int n = 0; n <= order->count; n++) {
        const char *id = order_id(order, n);
        for (int at = 0; *id && at < model->stored_count; at++) {
            const struct order *other = &model->stored[at].order;
            for (int m = 0; other->stream == order->stream && m <= other->count; m++)
                if (strcmp(order_id(other, m), id) == 0) return &model->stored[at];
        }
    }
    return NULL;
}

/* Whether it is the stored one again. */
static inline struct reply repeat(const struct stored *stored, const struct order *order)
{
    const struct order *other = &stored->order;
    if (other->fact != order->fact || other->count != order->count) return no(FAULT_ID_REUSED, "");
    if (order->count > 1 && strcmp(other->batch, order->batch)) return no(FAULT_ID_REUSED, "");
    for (int at = 0; at < order->count; at++) {
        const struct item *item = &order->items[at], *first = &other->items[at];
        char data[MODEL_TEXT_SIZE], first_data[MODEL_TEXT_SIZE];
        if (strcmp(item_type(item, false), item_type(first, false))) return no(FAULT_ID_REUSED, "");
        if (*item->id && (!order->fact || at == 0) &&
            strcmp(item->id, *first->id || order->count > 1 ? first->id : other->batch))
            return no(FAULT_ID_REUSED, "");
        if (item->kind == WRONG || item->kind == MISRECORD) return no(FAULT_CONTRACT, "");
        item_data(item, data);
        item_data(first, first_data);
        if (strcmp(data, first_data)) return no(FAULT_ID_REUSED, "");
    }
    struct reply reply = stored->reply;
    reply.repeated = true;
    return reply;
}

static inline void model_append(struct model *model, const struct order *order, const struct draft *draft,
                                unsigned version)
{
    for (int at = 0; at < draft->count; at++) {
        struct entry *entry = MODEL_ADD(model->entries, model->entry_count, model->entry_max);
        *entry = draft->entries[at];
        entry->stream = order->stream;
        entry->version = ++version;
        entry->is_fact = order->fact;
        entry->at_ms = model->now_ms;
        entry->recorded_ms = model->recorded_ms;
    }
}

static inline struct reply model_run(struct model *model, const struct order *order)
{
    bool is_purse = model->streams[order->stream].is_purse;
    const struct stored *stored = find_stored(model, order);
    if (stored) return repeat(stored, order);
    struct draft draft = {0};
    unsigned version, position;
    draft.state = model_fold(model, order->stream, ~0u, &version, &position);
    struct reply reply = {.conflict_version = version};
    if (order->expected != MODEL_ANY && (unsigned)order->expected != version) {
        reply.code = FAULT_CONFLICT;
        return reply;
    }
    for (int at = 0; at < order->count; at++) {
        if (order->items[at].kind == WRONG || order->items[at].kind == MISRECORD)
            return no(FAULT_CONTRACT, "");
        if (order->items[at].kind == FLY) return no(FAULT_UNKNOWN_COMMAND, "");
    }
    for (int at = 0; at < order->count && reply.code == FAULT_NONE; at++)
        reply = item_run(&order->items[at], is_purse, &draft);
    if (reply.code == FAULT_SCRIPT) return reply;
    if (model->now_ms > model->recorded_ms) model->recorded_ms = model->now_ms;
    if (reply.code == FAULT_NONE) {
        model_append(model, order, &draft, version);
        reply.events = (unsigned)draft.count;
        version += reply.events;
        if (draft.count) position = (unsigned)model->entry_count;
    }
    reply.version = version;
    reply.position = position;
    struct stored *kept = MODEL_ADD(model->stored, model->stored_count, model->stored_max);
    kept->order = *order;
    kept->reply = reply;
    return reply;
}

static inline int model_outcome_count(const struct model *model)
{
    int count = 0;
    for (int at = 0; at < model->stored_count; at++) count += model->stored[at].reply.events == 0;
    return count;
}

/* --- views: each computed from the whole log --- */

enum model_view { MODEL_TOTALS, MODEL_SEEN, MODEL_BY_AMOUNT, MODEL_VIEWS };

struct document {
    char key[24];
    bool is_there, parked;
    int total, count;
    unsigned position, version;
    int64_t at_ms, recorded_ms;
};

static inline struct document *document_of(struct document **documents, int *count, int *max, const char *key)
{
    for (int at = 0; at < *count; at++)
        if (strcmp((*documents)[at].key, key) == 0) return &(*documents)[at];
    struct document *document = MODEL_ADD(*documents, *count, *max);
    snprintf(document->key, sizeof document->key, "%s", key);
    return document;
}

static inline void totals_when(struct document *document, const struct entry *entry, unsigned position)
{
    bool added = strcmp(entry->type, "Added") == 0;
    if (!added && strcmp(entry->type, "Closed")) return;
    int total = document->is_there ? document->total : 0, count = document->is_there ? document->count : 0;
    document->is_there = added; /* Closed removes it */
    document->total = total + entry->amount;
    document->count = count + 1;
}

static inline void seen_when(struct document *document, const struct entry *entry, unsigned position)
{
    if (document->parked) return;
    document->parked = entry->amount == MODEL_PARKING;
    if (document->parked) return;
    document->is_there = true;
    document->count++;
    document->position = position;
    document->version = entry->version;
    document->at_ms = entry->at_ms;
    document->recorded_ms = entry->recorded_ms;
}

static inline int compare_documents(const void *a, const void *b)
{
    return strcmp(((const struct document *)a)->key, ((const struct document *)b)->key);
}

static inline void document_text(enum model_view view, const struct document *document, struct buf *out)
{
    char at[32], recorded[32];
    buf_format(out, "%s=", document->key);
    if (view == MODEL_TOTALS) {
        buf_format(out, "{\"count\":%d,\"total\":%d}\n", document->count, document->total);
    } else if (view == MODEL_BY_AMOUNT) {
        buf_format(out, "{\"n\":%d}\n", document->count);
    } else {
        model_time(document->at_ms, at);
        model_time(document->recorded_ms, recorded);
        buf_format(out, "{\"at\":\"%s\",\"n\":%d,\"position\":%u,\"recorded\":\"%s\",\"version\":%u}\n", at,
                   document->count, document->position, recorded, document->version);
    }
}

static inline void model_view(const struct model *model, enum model_view view, const char *tenant,
                              struct buf *out)
{
    struct document *documents = NULL;
    int count = 0, max = 0;
    for (int at = 0; at < model->entry_count; at++) {
        const struct entry *entry = &model->entries[at];
        const struct stream *stream = &model->streams[entry->stream];
        unsigned position = (unsigned)at + 1;
        bool moves = strcmp(entry->type, "Added") == 0 || strcmp(entry->type, "Filled") == 0;
        char key[16];
        if (strcmp(stream->tenant, tenant)) continue;
        snprintf(key, sizeof key, "%d", entry->amount);
        if (view == MODEL_TOTALS) {
            totals_when(document_of(&documents, &count, &max, stream->id), entry, position);
        } else if (view == MODEL_BY_AMOUNT && strcmp(entry->type, "Added") == 0) {
            struct document *document = document_of(&documents, &count, &max, key);
            document->is_there = true;
            document->count++;
        } else if (view == MODEL_SEEN && moves && entry->amount % 5) {
            char second[24];
            snprintf(second, sizeof second, "k%d",
                     entry->amount % 3 < 0 ? entry->amount % 3 + 3 : entry->amount % 3);
            seen_when(document_of(&documents, &count, &max, second), entry, position);
            seen_when(document_of(&documents, &count, &max, stream->id), entry, position);
        }
    }
    if (count) qsort(documents, (size_t)count, sizeof *documents, compare_documents);
    for (int at = 0; at < count; at++)
        if (documents[at].is_there) document_text(view, &documents[at], out);
    free(documents);
}

#endif
