#include "net/server.h"

#include "base/limit.h"

static void or_default(size_t *value, size_t otherwise)
{
    if (!*value) *value = otherwise;
}

static void or_default_ms(int64_t *value, int64_t otherwise)
{
    if (!*value) *value = otherwise;
}

void server_fill_limits(struct server_limits *limits)
{
    or_default(&limits->connections_max, LIMIT_CONNECTIONS_MAX);
    or_default(&limits->head_size_max, LIMIT_HEADERS_SIZE_MAX);
    or_default(&limits->target_size_max, 8 * 1024);
    or_default(&limits->body_size_max, LIMIT_BODY_SIZE_MAX);
    or_default(&limits->bodies_size_max, 4 * (size_t)LIMIT_BODY_SIZE_MAX);
    or_default(&limits->dropped_size_max, LIMIT_BODY_DROPPED_MAX);
    or_default_ms(&limits->dropped_ms, LIMIT_BODY_DROPPED_MS);
    or_default_ms(&limits->head_ms, 10000);
    or_default_ms(&limits->idle_ms, 60000);
    or_default_ms(&limits->body_grace_ms, 10000);
    or_default_ms(&limits->body_rate_min, 2048);
    or_default_ms(&limits->sweep_ms, 1000);
    or_default_ms(&limits->drain_ms, 5000);
}
