/* mp.h: MessagePack, the form of every payload on disk and between threads. Strict and canonical:
 *
 *   nil false true int float text list map and ext type 1: a decimal, as text in plain notation ("1.20").
 *   Integers are 64 bit signed in their shortest form; floats are finite float64; maps have text keys, unique
 * and in byte order; text is UTF-8. No bin, no float32, no other ext. Depth up to LIMIT_DEPTH_MAX.
 *
 * Reading:
 *     struct mp_reader reader = mp_reader_of(bytes);
 *     struct mp_value value;
 *     if (mp_read(&reader, &value) < 0) ...             // a list or map gives its count; its items follow
 *
 * Writing appends to a buf. Threads: any. Owns: nothing. */
#ifndef LORE_CODEC_MP_H
#define LORE_CODEC_MP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

enum mp_kind { MP_NIL, MP_BOOL, MP_INT, MP_FLOAT, MP_TEXT, MP_DECIMAL, MP_LIST, MP_MAP };
enum { MP_EXT_DECIMAL = 1 };

struct mp_value {
    enum mp_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct slice text; /* MP_TEXT, MP_DECIMAL; borrowed from the bytes read */
        uint32_t count;    /* MP_LIST: items; MP_MAP: pairs */
    };
};

struct mp_reader {
    const uint8_t *at, *end;
};

static inline struct mp_reader mp_reader_of(struct slice bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    return (struct mp_reader){at, at + bytes.size};
}

/* The next token; -1 if it is damaged, cut off or of a kind that is not ours. Counts are checked against the
 * bytes left. */
int mp_read(struct mp_reader *reader, struct mp_value *value);
/* Moves behind one whole value; -1 as above or deeper than LIMIT_DEPTH_MAX. */
int mp_skip(struct mp_reader *reader);
/* The same and tells where it was: the value's bytes. */
int mp_take(struct mp_reader *reader, struct slice *bytes);
/* One whole canonical value and nothing behind it. Fault: CORRUPT, with the byte offset. */
int mp_check(struct slice bytes, struct fault *fault);
/* The bytes of a field of a map; false if bytes is no map or has no such key. Stops early since keys are in
 * order. */
bool mp_find(struct slice bytes, struct slice key, struct slice *value);

void mp_put_nil(struct buf *out);
void mp_put_bool(struct buf *out, bool value);
void mp_put_int(struct buf *out, int64_t value);
void mp_put_float(struct buf *out, double value); /* finite */
void mp_put_text(struct buf *out, struct slice text);
void mp_put_decimal(struct buf *out, struct slice plain);
void mp_put_list(struct buf *out, uint32_t count); /* its items must follow */
void mp_put_map(struct buf *out, uint32_t count);  /* its pairs must follow, keys in byte order */

#endif
