/* Shapes: any bytes are safe as a value, as a shape's text and as the file of counts; the shape of a
 * canonical value can be read again, and a file that is taken is what would be written. */
#include <stdlib.h>

#include "base/hash.h"
#include "codec/mp.h"
#include "store/shapes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void each_place(void *user, struct slice path, unsigned int kinds, struct slice kind, bool optional)
{
    if (!path.size || !kind.size || !kinds) abort();
    ++*(size_t *)user;
}

static void each_field(void *user, struct slice text)
{
    size_t places = 0;
    if (!shape_each(text, each_place, &places) || places != 1) abort();
}

/* The checksum made to fit, so that what is behind it is looked at. */
static void read_file(const uint8_t *data, size_t size)
{
    struct shapes *shapes;
    struct buf file = {0};
    buf_put(&file, data, size);
    if (size > 12) {
        memcpy(file.data, "shapes01", 8);
        uint32_t crc = hash_crc32(slice_make(file.data + 12, size - 12));
        for (int at = 0; at < 4; at++) file.data[8 + at] = (char)(crc >> (8 * at));
    }
    if (shapes_read(buf_slice(&file), &shapes)) {
        for (size_t at = 0; at < shapes_count(shapes); at++) {
            const struct shape_type *type = shapes_at(shapes, at);
            for (size_t of = 0; of < type->shape_count; of++) {
                size_t places = 0;
                shape_each(type->shapes[of].text, each_place, &places);
            }
        }
        shapes_free(shapes);
    }
    buf_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size);
    struct buf text = {0};
    size_t places = 0;
    bool canonical = mp_check(bytes, NULL) == 0;
    if (shape_put(&text, bytes) && canonical && !shape_each(buf_slice(&text), each_place, &places)) abort();
    if (canonical) shape_put_fields(bytes, each_field, NULL);
    shape_each(bytes, each_place, &places);
    read_file(data, size);
    buf_release(&text);
    return 0;
}
