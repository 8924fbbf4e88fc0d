/* text.h: what a well-formed text, name and id is. One place for every door. Threads: any. */
#ifndef LORE_CODEC_TEXT_H
#define LORE_CODEC_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/fault.h"
#include "base/slice.h"

/* Whether all bytes are below 0x80: what most texts are, and told fast, the last bytes of a text together
 * with some before them. */
static inline bool text_is_ascii(struct slice text)
{
    const char *at = text.data, *end = at + text.size;
    uint64_t word, rest = 0;
    uint32_t half, half_rest;
    if (text.size >= 8) {
        for (; end - at > 8; at += 8) {
            memcpy(&word, at, 8);
            rest |= word;
        }
        memcpy(&word, end - 8, 8);
        rest |= word;
    } else if (text.size >= 4) {
        memcpy(&half, at, 4);
        memcpy(&half_rest, end - 4, 4);
        rest = half | half_rest;
    } else {
        for (; at < end; at++) rest |= (uint8_t)*at;
    }
    return (rest & 0x8080808080808080ULL) == 0;
}
/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates. */
bool text_is_utf8(struct slice text);
/* The size of the well-formed sequence at `at` (1-4), 0 if there is none before end. */
size_t text_utf8_step(const uint8_t *at, const uint8_t *end);

bool text_is_tenant(struct slice text); /* [a-z][a-z0-9_-]{0,62}, not reserved (status, deploys) */
bool text_is_name(
    struct slice text); /* [a-z][a-z0-9_]*, at most LIMIT_NAME_SIZE_MAX: context, declaration, field */
bool text_is_message(struct slice text); /* [A-Z][A-Za-z0-9]*, at most LIMIT_NAME_SIZE_MAX */
bool text_is_context(
    struct slice text);              /* a name that is not reserved: views events commands trace streams */
bool text_is_id(struct slice text);  /* 1-200 bytes of UTF-8, no control characters, no '/' */
bool text_is_key(struct slice text); /* 1-255 bytes of UTF-8 without NUL: a document's key */

/* "billing/bill/7" into its three parts (borrowed). Fault: MALFORMED, naming the part that is wrong. */
int text_split_stream(struct slice stream, struct slice *context, struct slice *aggregate, struct slice *id,
                      struct fault *fault);

/* The shortest of %.15g, %.16g, %.17g that reads back as value, always with '.' or 'e'. value must be finite.
 * Returns the size; text needs 32 bytes. */
int text_put_float(double value, char *text);

/* A decimal in plain notation: [-]digits[.digits], at most 34 significant digits, 61 behind the point. */
bool text_is_decimal(struct slice text);

#endif
