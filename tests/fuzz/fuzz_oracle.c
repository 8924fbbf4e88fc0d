/* JSON against jansson, an independent reader: both take a text or both refuse it, and what is taken means
 * the same. Where the two differ by design stands in is_known_difference. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/limit.h"
#include "codec/json.h"
#include "codec/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(json_t *theirs, struct mp_reader *ours)
{
    struct mp_value value, name;
    bool is_same = mp_read(ours, &value) == 0;
    switch (is_same ? json_typeof(theirs) : JSON_NULL) {
    case JSON_NULL: is_same = is_same && value.kind == MP_NIL; break;
    case JSON_TRUE:
    case JSON_FALSE: is_same = value.kind == MP_BOOL && value.boolean == json_is_true(theirs); break;
    case JSON_INTEGER:
        /* -0: the float with us */
        is_same = value.kind == MP_INT ? value.integer == json_integer_value(theirs)
                                       : value.kind == MP_FLOAT && value.number == 0 &&
                                             signbit(value.number) && json_integer_value(theirs) == 0;
        break;
    case JSON_REAL: is_same = value.kind == MP_FLOAT && value.number == json_real_value(theirs); break;
    case JSON_STRING:
        is_same = value.kind == MP_TEXT &&
                  slice_equal(value.text, slice_make(json_string_value(theirs), json_string_length(theirs)));
        break;
    case JSON_ARRAY:
        is_same = value.kind == MP_LIST && value.count == json_array_size(theirs);
        for (uint32_t n = 0; is_same && n < value.count; n++) same(json_array_get(theirs, n), ours);
        break;
    case JSON_OBJECT:
        is_same = value.kind == MP_MAP && value.count == json_object_size(theirs);
        for (uint32_t n = 0; is_same && n < value.count; n++) {
            if (mp_read(ours, &name) < 0 || name.kind != MP_TEXT) abort();
            json_t *member = json_object_getn(theirs, name.text.data, name.text.size);
            if (!member) abort();
            same(member, ours);
        }
        break;
    }
    if (!is_same) abort();
}

/* We refuse what is nested too deep, jansson a NUL in a name; it counts neither as a mistake of JSON. */
static bool is_known_difference(const struct fault *ours, const json_error_t *theirs)
{
    if (ours) return strstr(ours->text, "nesting") != NULL;
    return json_error_code(theirs) == json_error_null_byte_in_key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* jansson loses a raw NUL that it looks at twice. */
    if (size && memchr(data, 0, size)) return 0;
    struct buf bytes = {0};
    struct fault fault = {0};
    json_error_t error;
    bool taken = json_to_mp(slice_make(data, size), &bytes, &fault) == 0;
    json_t *theirs = json_loadb((const char *)data, size,
                                JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (taken && theirs) {
        struct mp_reader reader = mp_reader_of(buf_slice(&bytes));
        same(theirs, &reader);
    } else if (taken != (theirs != NULL) && !is_known_difference(taken ? NULL : &fault, &error)) {
        abort();
    }
    json_decref(theirs);
    buf_release(&bytes);
    return 0;
}
