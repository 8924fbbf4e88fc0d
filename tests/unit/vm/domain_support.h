/* domain_support.h: what the tests of domain.h share: scripts from memory, messages as JSON. */
#ifndef LORE_TESTS_DOMAIN_SUPPORT_H
#define LORE_TESTS_DOMAIN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/time.h"
#include "vm/domain.h"

static struct sources *test_sources;
static struct arena test_arena;
static struct fault test_fault;

/* JSON with ' for " as MessagePack that lives until the test ends. */
static inline struct slice mp_of(const char *json)
{
    char *text = mem_text(json, strlen(json));
    for (char *at = text; *at; at++)
        if (*at == '\'') *at = '"';
    struct buf out = {0};
    struct fault fault;
    if (json_to_mp(slice_of(text), &out, &fault) < 0) fail_msg("%s: %s", text, fault.text);
    struct slice kept = arena_copy(&test_arena, buf_slice(&out));
    buf_release(&out);
    mem_free(text);
    return kept;
}

/* MessagePack as JSON text with ' for ". */
static inline const char *json_of(struct slice bytes)
{
    struct buf out = {0};
    struct fault fault;
    if (json_from_mp(bytes, &out, &fault) < 0) fail_msg("%s", fault.text);
    struct slice kept = arena_copy(&test_arena, buf_slice(&out));
    for (size_t at = 0; at < kept.size; at++)
        if (kept.data[at] == '"') ((char *)(uintptr_t)kept.data)[at] = '\'';
    buf_release(&out);
    return kept.data;
}

static inline struct domain *open_domain_with(struct domain_options options,
                                              const char *const *paths_and_texts)
{
    if (test_sources) sources_free(test_sources);
    test_sources = sources_of(paths_and_texts);
    options.sources = test_sources;
    struct domain *domain = NULL;
    struct buf errors = {0};
    if (domain_open(&options, &domain, &errors, &test_fault) < 0)
        fail_msg("%.*s", SLICE_ARGS(buf_slice(&errors)));
    buf_release(&errors);
    return domain;
}

static inline struct domain *open_domain(const char *const *paths_and_texts)
{
    return open_domain_with((struct domain_options){0}, paths_and_texts);
}

static inline void close_domain(struct domain *domain)
{
    domain_close(domain);
    sources_free(test_sources);
    test_sources = NULL;
    arena_release(&test_arena);
}

static inline int64_t ms_of(const char *text)
{
    int64_t ms;
    if (!time_parse(slice_of(text), &ms)) fail_msg("no time: %s", text);
    return ms;
}

static inline struct envelope envelope_of(const char *context, const char *aggregate, const char *id,
                                          const char *type)
{
    return (struct envelope){.tenant = slice_of("main"),
                             .context = slice_of(context),
                             .aggregate = slice_of(aggregate),
                             .id = slice_of(id),
                             .type = slice_of(type),
                             .type_version = 1,
                             .at_ms = 1767225600000}; /* 2026-01-01 */
}

#define assert_text_has(text, part)                                                                          \
    do {                                                                                                     \
        if (!strstr((text), (part))) fail_msg("'%s' not in '%s'", (part), (text));                           \
    } while (0)

#endif
