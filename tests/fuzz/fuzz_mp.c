/* MessagePack: any bytes are safe to read; what mp_check takes is written by the same calls byte for byte. */
#include <stdlib.h>

#include "codec/json.h"
#include "codec/mp.h"
#include "codec/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy_value(struct mp_reader *reader, struct buf *out)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0) abort();
    switch (value.kind) {
    case MP_NIL: mp_put_nil(out); return;
    case MP_BOOL: mp_put_bool(out, value.boolean); return;
    case MP_INT: mp_put_int(out, value.integer); return;
    case MP_FLOAT: mp_put_float(out, value.number); return;
    case MP_TEXT: mp_put_text(out, value.text); return;
    case MP_DECIMAL: mp_put_decimal(out, value.text); return;
    case MP_LIST:
        mp_put_list(out, value.count);
        for (uint32_t n = 0; n < value.count; n++) copy_value(reader, out);
        return;
    case MP_MAP:
        mp_put_map(out, value.count);
        for (uint32_t n = 0; n < 2 * value.count; n++) copy_value(reader, out);
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size), found;
    struct buf json = {0}, copy = {0};
    struct mp_reader reader = mp_reader_of(bytes);
    bool whole = mp_skip(&reader) == 0 && reader.at == data + size;
    bool canonical = mp_check(bytes, NULL) == 0;
    mp_find(bytes, slice_of("a"), &found);
    order_put(&copy, bytes);
    buf_clear(&copy);
    if (canonical && !whole) abort();
    bool printed = json_from_mp(bytes, &json, NULL) == 0;
    if (canonical) {
        if (!printed) abort();
        reader = mp_reader_of(bytes);
        copy_value(&reader, &copy);
        if (!slice_equal(buf_slice(&copy), bytes)) abort();
    }
    buf_release(&json);
    buf_release(&copy);
    return 0;
}
