/* JSON: what is taken is canonical MessagePack and comes back as the same bytes. */
#include <stdlib.h>

#include "codec/json.h"
#include "codec/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes = {0}, json = {0}, again = {0};
    struct fault fault = {0};
    if (json_to_mp(slice_make(data, size), &bytes, &fault) == 0) {
        if (mp_check(buf_slice(&bytes), NULL) < 0) abort();
        if (json_from_mp(buf_slice(&bytes), &json, NULL) < 0) abort();
        if (json_to_mp(buf_slice(&json), &again, NULL) < 0) abort();
        if (!slice_equal(buf_slice(&bytes), buf_slice(&again))) abort();
    } else if (bytes.size != 0 || fault.code != FAULT_MALFORMED ||
               !slice_starts(slice_of(fault.text), "line ")) {
        abort();
    }
    buf_release(&bytes);
    buf_release(&json);
    buf_release(&again);
    return 0;
}
