#include "vm/secrets.h"

#include <stdio.h>

#include "base/mem.h"
#include "codec/text.h"

enum { PREFIX_MIN = 8 };

struct secret {
    char *name, *value;
    size_t size; /* of the value */
};

void secrets_keep(struct secrets *secrets, struct slice name, struct slice value)
{
    if (value.size == 0) return;
    for (size_t i = 0; i < secrets->count; i++) {
        const struct secret *secret = &secrets->items[i];
        if (slice_is(name, secret->name) && slice_equal(value, slice_make(secret->value, secret->size)))
            return;
    }
    if (secrets->count == secrets->size_max) {
        secrets->size_max = secrets->size_max ? secrets->size_max * 2 : 4;
        secrets->items = mem_resize(secrets->items, secrets->size_max * sizeof *secrets->items);
    }
    secrets->items[secrets->count++] = (struct secret){.name = mem_text(name.data, name.size),
                                                       .value = mem_text(value.data, value.size),
                                                       .size = value.size};
}

/* How many bytes at the beginning of text show the secret; 0: none. */
static size_t shown(const struct secret *secret, struct slice text)
{
    size_t size = 0;
    while (size < secret->size && size < text.size && text.data[size] == secret->value[size]) size++;
    return size == secret->size || size >= PREFIX_MIN ? size : 0;
}

/* The secret that shows most from the beginning of text on, or NULL. */
static const struct secret *longest_shown(const struct secrets *secrets, struct slice text, size_t *longest)
{
    const struct secret *found = NULL;
    *longest = 0;
    for (size_t i = 0; i < secrets->count; i++) {
        size_t size = shown(&secrets->items[i], text);
        if (size <= *longest) continue;
        *longest = size;
        found = &secrets->items[i];
    }
    return found;
}

void secrets_scrub(const struct secrets *secrets, struct slice text, struct buf *out)
{
    size_t end = 0; /* of what is hidden: another one may begin inside, and goes on behind it */
    for (size_t at = 0; at < text.size; at++) {
        size_t size;
        const struct secret *found =
            longest_shown(secrets, slice_make(text.data + at, text.size - at), &size);
        if (found && at + size > end) {
            buf_format(out, "[env.%s]", found->name);
            end = at + size;
        }
        if (at >= end) buf_put_byte(out, (uint8_t)text.data[at]);
    }
}

/* In place, cut to size. */
static void scrub_text(const struct secrets *secrets, char *text, size_t size_max)
{
    struct buf out = {0};
    secrets_scrub(secrets, slice_of(text), &out);
    size_t size = out.size < size_max ? out.size : size_max - 1;
    while (size > 0 && size < out.size && !text_is_utf8(slice_make(out.data, size))) size--;
    if (size > 0) memcpy(text, out.data, size);
    text[size] = 0;
    buf_release(&out);
}

void secrets_scrub_fault(const struct secrets *secrets, struct fault *fault)
{
    if (secrets->count == 0) return;
    scrub_text(secrets, fault->text, sizeof fault->text);
    scrub_text(secrets, fault->reason, sizeof fault->reason);
}

void secrets_release(struct secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++) {
        mem_free(secrets->items[i].name);
        mem_free(secrets->items[i].value);
    }
    mem_free(secrets->items);
    *secrets = (struct secrets){0};
}
