#include "run/origin.h"

#include <inttypes.h>
#include <stdio.h>

void origin_of(struct slice value, uint64_t position, const char *log_id, char found[37])
{
    snprintf(found, 37, "%s", log_id);
    while (value.size) {
        char line[80], origin[37];
        uint64_t last;
        const char *end = memchr(value.data, '\n', value.size);
        size_t size = end ? (size_t)(end - value.data) : value.size;
        snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : sizeof line - 1), value.data);
        if (sscanf(line, "%36s %" SCNu64, origin, &last) == 2 && position <= last) {
            snprintf(found, 37, "%s", origin);
            return;
        }
        size += end != NULL;
        value = slice_make(value.data + size, value.size - size);
    }
}

void origin_add(struct buf *value, const char *log_id, uint64_t position)
{
    buf_format(value, "%s %" PRIu64 "\n", log_id, position);
}
