#include "store/epochs.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t epochs_kept_of(struct slice value, uint64_t epoch)
{
    uint64_t kept = UINT64_MAX;
    while (value.size) {
        char line[64];
        const char *end = memchr(value.data, '\n', value.size);
        size_t size = end ? (size_t)(end - value.data) : value.size;
        uint64_t later, first;
        snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : sizeof line - 1), value.data);
        if (sscanf(line, "%" SCNu64 " %" SCNu64, &later, &first) == 2 && later > epoch && first &&
            first - 1 < kept)
            kept = first - 1;
        size += end != NULL;
        value = slice_make(value.data + size, value.size - size);
    }
    return kept;
}

int epochs_kept(struct engine *engine, uint64_t epoch, uint64_t *position, struct fault *fault)
{
    struct buf value = {0};
    int found = engine_meta_get(engine, slice_of("epochs"), &value, fault);
    if (found >= 0) *position = epochs_kept_of(buf_slice(&value), epoch);
    buf_release(&value);
    return found < 0 ? -1 : 0;
}

void epochs_add(struct buf *value, uint64_t epoch, uint64_t first_position)
{
    buf_format(value, "%" PRIu64 " %" PRIu64 "\n", epoch, first_position);
}
