#include "run/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "codec/mp.h"

/* IANA's special-purpose registries: what is not the public Internet. */
static const char *const reach_private[] = {
    "0.0.0.0/8",     "10.0.0.0/8",   "100.64.0.0/10",  "127.0.0.0/8",   "169.254.0.0/16",  "172.16.0.0/12",
    "192.0.0.0/24",  "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4",   "240.0.0.0/4",  "::/128",         "::1/128",       "100::/64",        "64:ff9b:1::/48",
    "2001:db8::/32", "fc00::/7",     "fe80::/10",      "fec0::/10",     "ff00::/8"};

/* Forms of IPv6 that stand for an IPv4 address: where it is in them. */
static const struct {
    const char *range;
    size_t at;
} reach_embedding[] = {{"::/96", 12}, {"64:ff9b::/96", 12}, {"2002::/16", 2}};

enum { REACH_TEXT_SIZE_MAX = 63 };

static void reach_map(const uint8_t v4[4], uint8_t address[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(address, prefix, 12);
    memcpy(address + 12, v4, 4);
}

static bool reach_number(const char *text, unsigned max, unsigned *value)
{
    *value = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        *value = *value * 10 + (unsigned)(*text - '0');
        if (*value > max) return false;
    }
    return true;
}

/* a.b.c.d, ::1, [::1], each with /bits, and with :port behind the first and the last. */
static bool reach_rule(struct slice given, struct reach_rule *rule)
{
    char text[REACH_TEXT_SIZE_MAX + 1];
    if (given.size > REACH_TEXT_SIZE_MAX || memchr(given.data, 0, given.size)) return false;
    memcpy(text, given.data, given.size);
    text[given.size] = 0;
    char *address = text, *behind = text;
    bool bracketed = *text == '[';
    if (bracketed) {
        address++;
        behind = strchr(text, ']');
        if (!behind) return false;
        *behind++ = 0;
        if (*behind && *behind != ':' && *behind != '/') return false;
    }
    char *colon = strrchr(behind, ':');
    unsigned port = 0;
    if (colon && (bracketed || strchr(behind, ':') == colon)) {
        if (!reach_number(colon + 1, 65535, &port) || port == 0) return false;
        *colon = 0;
    }
    char *slash = strchr(behind, '/');
    if (slash) *slash = 0;
    uint8_t v4[4];
    bool is_v4 = !bracketed && inet_pton(AF_INET, address, v4) == 1;
    if (is_v4)
        reach_map(v4, rule->address);
    else if (inet_pton(AF_INET6, address, rule->address) != 1)
        return false;
    rule->bits = is_v4 ? 32 : 128;
    if (slash && !reach_number(slash + 1, rule->bits, &rule->bits)) return false;
    if (is_v4) rule->bits += 96;
    rule->port = (uint16_t)port;
    return true;
}

static bool reach_fits(const struct reach_rule *rule, const uint8_t address[16], uint16_t port)
{
    if (rule->port && rule->port != port) return false;
    size_t bytes = rule->bits / 8;
    if (memcmp(rule->address, address, bytes) != 0) return false;
    unsigned rest = rule->bits % 8;
    return rest == 0 || (rule->address[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

static bool reach_in(const char *range, const uint8_t address[16])
{
    struct reach_rule rule;
    CHECK(reach_rule(slice_of(range), &rule));
    return reach_fits(&rule, address, 0);
}

static bool reach_is_private(const uint8_t address[16])
{
    for (size_t at = 0; at < sizeof reach_private / sizeof *reach_private; at++)
        if (reach_in(reach_private[at], address)) return true;
    for (size_t at = 0; at < sizeof reach_embedding / sizeof *reach_embedding; at++) {
        if (!reach_in(reach_embedding[at].range, address)) continue;
        uint8_t inner[16];
        reach_map(address + reach_embedding[at].at, inner);
        return reach_is_private(inner);
    }
    return false;
}

static bool reach_read(const struct sockaddr *given, uint8_t address[16], uint16_t *port)
{
    if (given->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)given;
        reach_map((const uint8_t *)&v4->sin_addr, address);
        *port = ntohs(v4->sin_port);
    } else if (given->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)given;
        memcpy(address, &v6->sin6_addr, 16);
        *port = ntohs(v6->sin6_port);
    } else {
        return false;
    }
    return true;
}

/* The kernel reaches an address of its own from that address, and no other one. Nothing is sent. */
bool reach_is_own(const struct sockaddr *given)
{
    struct sockaddr_storage from;
    uint8_t theirs[16], ours[16];
    uint16_t port;
    socklen_t size = given->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(given->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return true; /* nobody knows */
    bool own = connect(fd, given, size) == 0;
    size = sizeof from;
    own = own && getsockname(fd, (struct sockaddr *)&from, &size) == 0 && reach_read(given, theirs, &port) &&
          reach_read((struct sockaddr *)&from, ours, &port) && memcmp(theirs, ours, sizeof ours) == 0;
    close(fd);
    return own;
}

bool reach_allows(const struct reach *reach, const struct sockaddr *given)
{
    uint8_t address[16];
    uint16_t port;
    if (!reach_read(given, address, &port)) return false;
    for (size_t at = 0; at < reach->count; at++)
        if (reach_fits(&reach->allowed[at], address, port)) return true;
    return !reach_is_private(address) && !reach_is_own(given);
}

void reach_text(const struct sockaddr *given, char text[64])
{
    char address[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const void *)given;
    const struct sockaddr_in6 *v6 = (const void *)given;
    if (given->sa_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, address, sizeof address);
        snprintf(text, 64, "%s:%u", address, ntohs(v4->sin_port));
    } else if (given->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof address);
        snprintf(text, 64, "[%s]:%u", address, ntohs(v6->sin6_port));
    } else {
        snprintf(text, 64, "an address that is not of the Internet");
    }
}

/* The list under http.allow; the reader stands on it. */
static int reach_list(struct reach *reach, struct slice bytes, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value list, entry;
    if (mp_read(&reader, &list) < 0 || (list.kind != MP_LIST && !(list.kind == MP_MAP && list.count == 0)))
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: http.allow is a list like { \"10.0.0.0/8\" }");
    reach->allowed = mem_alloc(list.count * sizeof *reach->allowed + 1);
    for (; reach->count < list.count; reach->count++) {
        if (mp_read(&reader, &entry) < 0 || entry.kind != MP_TEXT ||
            !reach_rule(entry.text, &reach->allowed[reach->count]))
            return fault_set(fault, FAULT_SCRIPTS,
                             "hub.lua: http.allow[%zu]: expected an address like \"127.0.0.1:8025\", "
                             "\"10.0.0.0/8\" or \"[::1]:8025\"",
                             reach->count + 1);
    }
    return 0;
}

int reach_init(struct reach *reach, struct slice hub_options, struct fault *fault)
{
    struct slice http;
    *reach = (struct reach){0};
    if (!mp_find(hub_options, slice_of("http"), &http)) return 0;
    struct mp_reader reader = mp_reader_of(http);
    struct mp_value options, name;
    if (mp_read(&reader, &options) < 0 || options.kind != MP_MAP)
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: http is a table like { allow = { … } }");
    for (uint32_t left = options.count; left; left--) {
        if (mp_read(&reader, &name) < 0 || !slice_is(name.text, "allow") || mp_skip(&reader) < 0)
            return fault_set(fault, FAULT_SCRIPTS, "hub.lua: there is no option http.%.*s: it knows allow",
                             name.text.size < 80 ? (int)name.text.size : 80, name.text.data);
    }
    struct slice allow;
    if (!mp_find(http, slice_of("allow"), &allow) || reach_list(reach, allow, fault) == 0) return 0;
    reach_release(reach);
    return -1;
}

void reach_release(struct reach *reach)
{
    mem_free(reach->allowed);
    *reach = (struct reach){0};
}
