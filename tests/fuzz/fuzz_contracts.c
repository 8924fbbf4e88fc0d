/* Any text as contracts: it loads or says what is wrong, one line each; it never crashes, hangs or leaks.
 * Built with -fsanitize=fuzzer; LLVMFuzzerTestOneInput is its entry. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "vm/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096 || memchr(data, 0, size) != NULL) return 0;
    struct buf text = {0}, errors = {0};
    buf_put_text(&text, "contracts [======[\n");
    buf_put(&text, data, size);
    buf_put_text(&text, "]======]");
    buf_put_byte(&text, 0);
    const char *scripts[] = {"x/c.lua", text.data, NULL};
    struct sources *sources = sources_of(scripts);
    struct vm_options vm_options = {.memory_max = 64 << 20};
    struct vm *vm = vm_new(&vm_options);
    struct loader_options options = {.vm = vm, .sources = sources, .globals = LUA_NOREF};
    struct loader *loader = NULL;
    struct fault fault;
    int result = loader_load(&options, &loader, &errors, &fault);
    CHECK((result == 0) == (errors.size == 0));
    if (errors.size > 0)
        CHECK(memcmp(errors.data, "scripts/x/c.lua:", 16) == 0 && errors.data[errors.size - 1] == '\n');
    vm_free(vm);
    loader_free(loader);
    sources_free(sources);
    buf_release(&text);
    buf_release(&errors);
    return 0;
}
