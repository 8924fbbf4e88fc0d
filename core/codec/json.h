/* json.h: strict JSON <-> MessagePack in one pass, and small helpers to write JSON by hand.
 *
 * Refused with MALFORMED and "line:column": duplicate keys, NaN, 1e400, integers beyond 64 bit signed, lone
 * surrogates, bad UTF-8, raw control characters, trailing bytes, depth beyond LIMIT_DEPTH_MAX. 1 and 1.0 stay
 * apart; -0 is the float -0.0. Map keys come out in byte order. A decimal is written as text: "1.20".
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_CODEC_JSON_H
#define LORE_CODEC_JSON_H

#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

/* One JSON value, white space around it allowed, to MessagePack appended to out. On a fault out is as before.
 */
int json_to_mp(struct slice json, struct buf *out, struct fault *fault);
/* One canonical MessagePack value to JSON, compact. Fault: CORRUPT. */
int json_from_mp(struct slice bytes, struct buf *out, struct fault *fault);

/* "text" with quotes and escapes; what is not UTF-8 becomes U+FFFD. */
void json_put_text(struct buf *out, struct slice text);
/* The same without the quotes: for a text put together from several. */
void json_put_inside(struct buf *out, struct slice text);
/* ,"name": (no comma right after '{' or '['). name needs no escapes. */
void json_put_name(struct buf *out, const char *name);
/* json_put_name and a value. */
void json_put_text_member(struct buf *out, const char *name, struct slice text);
void json_put_int_member(struct buf *out, const char *name, int64_t value);
/* value as MessagePack; writes null if it is damaged. */
void json_put_mp_member(struct buf *out, const char *name, struct slice value);

#endif
