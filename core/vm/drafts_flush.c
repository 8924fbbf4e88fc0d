#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/mp.h"
#include "vm/drafts.h"
#include "vm/value.h"

struct flush {
    struct drafts *drafts;
    int (*put)(void *user, struct slice key, struct slice value, struct fault *fault);
    void *user;
    size_t at; /* of the document being handed out */
    bool put_failed;
    struct fault put_fault;
};

static int compare_documents(const void *a, const void *b)
{
    const struct drafts_document *left = *(struct drafts_document *const *)a;
    const struct drafts_document *right = *(struct drafts_document *const *)b;
    return slice_compare(left->key, right->key);
}

enum { FIELD_HINT_MAX = 64 };

static void note_fields(struct drafts *drafts, struct slice value)
{
    struct mp_reader reader = mp_reader_of(value);
    struct mp_value map;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return;
    if (map.count > drafts->field_hint && map.count <= FIELD_HINT_MAX) drafts->field_hint = map.count;
}

static int flush_documents(lua_State *lua)
{
    struct flush *flush = lua_touserdata(lua, 1);
    struct drafts *drafts = flush->drafts;
    struct domain *domain = drafts->domain;
    for (; flush->at < drafts->dirty_count; flush->at++) {
        struct drafts_document *document = drafts->dirty[flush->at];
        struct slice value = SLICE_NONE;
        if (document->slot) {
            drafts_push(drafts, document);
            buf_clear(&drafts->encoded);
            value_encode(lua, -1, &drafts->encoded, "document", domain->document_size_max);
            value = buf_slice(&drafts->encoded);
            note_fields(drafts, value);
            lua_settop(lua, 1);
        }
        if (flush->put(flush->user, document->key, value, &flush->put_fault) < 0) {
            flush->put_failed = true;
            return 0;
        }
    }
    return 0;
}

static int find_lazy(lua_State *lua)
{
    struct flush *flush = lua_touserdata(lua, 1);
    drafts_push(flush->drafts, flush->drafts->dirty[flush->at]);
    lazy_find(lua, -1, 0);
    return 0;
}

/* Forgets what was used least lately if there is more than size_max. */
static void evict(struct drafts *drafts, size_t size_max)
{
    if (drafts->all_count <= size_max) return;
    size_t size_wanted = size_max - size_max / 4;
    while (drafts->all_count > size_wanted) {
        if (drafts->hand >= drafts->all_count) drafts->hand = 0;
        struct drafts_document *document = drafts->all[drafts->hand];
        if (document->recent && size_max > 0) {
            document->recent = false;
            drafts->hand++;
            continue;
        }
        drafts->all[drafts->hand] = drafts->all[--drafts->all_count];
        drafts_forget(drafts, document);
    }
}

/* What was handed out is written. */
static void clean_up(struct drafts *drafts)
{
    for (size_t at = 0; at < drafts->dirty_count; at++) drafts->dirty[at]->dirty = false;
    drafts->dirty_count = 0;
    evict(drafts, drafts->options.size_max);
    struct vm *vm = drafts->domain->vm;
    if (vm->memory_used < drafts->domain->collect_soon) return;
    /* Callers flush by the memory in use: what is left behind must not be garbage. */
    drafts_collect(drafts->domain);
    if (vm->memory_used < vm->memory_max / 4) return;
    evict(drafts, 0);
    drafts_collect(drafts->domain);
}

int drafts_flush(struct drafts *drafts,
                 int (*put)(void *user, struct slice key, struct slice value, struct fault *fault),
                 void *user, enum drafts_failure *failure, struct buf *failing_key, struct fault *fault)
{
    *failure = DRAFTS_NONE;
    struct vm *vm = drafts->domain->vm;
    struct flush flush = {.drafts = drafts, .put = put, .user = user};
    if (drafts->dirty_count > 1)
        qsort(drafts->dirty, drafts->dirty_count, sizeof *drafts->dirty, compare_documents);
    struct fault wrong = {0};
    drafts_restart_collector(drafts);
    if (vm_protected(vm, flush_documents, &flush, &wrong) < 0) {
        *failure = DRAFTS_REPEAT;
        if (wrong.code == FAULT_UNAVAILABLE) {
            *failure = DRAFTS_NONE; /* the machine's memory: no document's fault */
        } else if (!vm->exact) {
            struct fault ignored;
            vm_protected(vm, find_lazy, &flush, &ignored);
        } else {
            *failure = drafts->projection->declared.keyed ? DRAFTS_KEY : DRAFTS_STOPPED;
            if (failing_key) {
                buf_clear(failing_key);
                buf_put_slice(failing_key, drafts->dirty[flush.at]->key);
            }
        }
    } else if (flush.put_failed) {
        wrong = flush.put_fault;
    } else {
        clean_up(drafts);
        return 0;
    }
    if (fault) *fault = wrong;
    return -1;
}
