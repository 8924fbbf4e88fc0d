/* mem.h: allocation that cannot fail. The process stops with one line when the machine has no memory left;
 * memory of scripts is budgeted elsewhere (vm/). Threads: any. */
#ifndef LORE_BASE_MEM_H
#define LORE_BASE_MEM_H

#include <stddef.h>

/* size bytes, not cleared; free with mem_free. */
void *mem_alloc(size_t size);
/* size bytes of zeros. */
void *mem_zero(size_t size);
void *mem_resize(void *block, size_t size);
/* A NUL-terminated copy of size bytes. */
char *mem_text(const char *data, size_t size);
void mem_free(void *block);

#define MEM_NEW(type) ((type *)mem_zero(sizeof(type)))

#endif
