#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *mem_need(void *block, size_t size)
{
    if (block) return block;
    fprintf(stderr, "lore: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    return mem_need(malloc(size ? size : 1), size);
}

void *mem_zero(size_t size)
{
    return mem_need(calloc(1, size ? size : 1), size);
}

void *mem_resize(void *block, size_t size)
{
    return mem_need(realloc(block, size ? size : 1), size);
}

char *mem_text(const char *data, size_t size)
{
    char *text = mem_alloc(size + 1);
    if (size) memcpy(text, data, size);
    text[size] = 0;
    return text;
}

void mem_free(void *block)
{
    free(block);
}
