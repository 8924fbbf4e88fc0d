#include "store/docs_inside.h"

#include <string.h>

#include "base/check.h"
#include "codec/mp.h"
#include "codec/order.h"

bool docs_scalar_text(struct slice scalar, struct slice *text)
{
    struct mp_reader reader = mp_reader_of(scalar);
    struct mp_value value;
    if (scalar.size == 0 || mp_read(&reader, &value) < 0 || value.kind != MP_TEXT) return false;
    *text = value.text;
    return true;
}

bool docs_field(struct slice document, struct slice path, struct slice *field)
{
    while (path.size > 0) {
        const char *dot = memchr(path.data, '.', path.size);
        size_t size = dot ? (size_t)(dot - path.data) : path.size;
        if (!mp_find(document, slice_make(path.data, size), &document)) return false;
        size_t used = dot ? size + 1 : size;
        path = slice_make(path.data + used, path.size - used);
    }
    *field = document;
    return true;
}

bool docs_entry_put(const struct docs *docs, struct buf *out, size_t index, struct slice stored_key,
                    struct slice value, uint8_t *form_size)
{
    struct slice field;
    if (!docs_field(value, slice_of(docs->index_names[index]), &field)) return false;
    const char *end = memchr(stored_key.data, 0, stored_key.size);
    size_t tenant_size = (size_t)(end - stored_key.data) + 1;
    size_t before = out->size;
    buf_put(out, stored_key.data, tenant_size);
    buf_put_byte(out, (uint8_t)index);
    size_t form_at = out->size;
    if (!order_put(out, field)) {
        out->size = before;
        return false;
    }
    CHECK(out->size - form_at <= UINT8_MAX);
    *form_size = (uint8_t)(out->size - form_at);
    buf_put(out, stored_key.data + tenant_size, stored_key.size - tenant_size);
    return true;
}
