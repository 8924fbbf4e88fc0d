#include "run/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { SECRETS_SIZE_MAX = 1 << 20, SECRETS_NAME_SIZE_MAX = 100 };

struct secrets {
    struct buf text; /* of the file */
};

static bool secrets_is_name(struct slice name)
{
    for (size_t at = 0; at < name.size; at++) {
        char c = name.data[at];
        bool letter = ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
        if (!letter && (at == 0 || c < '0' || c > '9')) return false;
    }
    return name.size > 0 && name.size <= SECRETS_NAME_SIZE_MAX;
}

/* The next line that is one, cut at its "="; 0 at the end, -1 if it is none. */
static int secrets_line(struct slice *text, size_t *number, struct slice *name, struct slice *value)
{
    while (text->size) {
        const char *end = memchr(text->data, '\n', text->size);
        struct slice line = slice_make(text->data, end ? (size_t)(end - text->data) : text->size);
        size_t taken = line.size + (end != NULL);
        *text = slice_make(text->data + taken, text->size - taken);
        ++*number;
        if (line.size && line.data[line.size - 1] == '\r') line.size--;
        if (line.size == 0 || *line.data == '#') continue;
        const char *equals = memchr(line.data, '=', line.size);
        if (!equals) return -1;
        *name = slice_make(line.data, (size_t)(equals - line.data));
        *value = slice_make(equals + 1, line.size - name->size - 1);
        return secrets_is_name(*name) ? 1 : -1;
    }
    return 0;
}

static int secrets_read(struct secrets *secrets, const char *path, struct fault *fault)
{
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return fault_errno(fault, errno, "secrets: cannot read %s", path);
    bool known = fstat(file, &about) == 0;
    if (known && (!S_ISREG(about.st_mode) || about.st_size > SECRETS_SIZE_MAX)) {
        close(file);
        return fault_set(fault, FAULT_MALFORMED, "secrets: %s must be a file of at most %d bytes", path,
                         SECRETS_SIZE_MAX);
    }
    if (!known || (about.st_mode & (S_IRWXG | S_IRWXO))) {
        close(file);
        return fault_set(fault, FAULT_PERMISSION, "secrets: others may read %s: chmod 600 %s", path, path);
    }
    char *room = buf_room(&secrets->text, SECRETS_SIZE_MAX);
    ssize_t size = 0, got = 0;
    while (size < SECRETS_SIZE_MAX && (got = read(file, room + size, (size_t)(SECRETS_SIZE_MAX - size))) > 0)
        size += got;
    int error = errno;
    close(file);
    if (got < 0) return fault_errno(fault, error, "secrets: cannot read %s", path);
    secrets->text.size = (size_t)size;
    struct slice text = buf_slice(&secrets->text), name, value;
    size_t number = 0;
    int more;
    while ((more = secrets_line(&text, &number, &name, &value)) == 1) {
    }
    if (more < 0) return fault_set(fault, FAULT_MALFORMED, "%s:%zu: expected NAME=VALUE", path, number);
    return 0;
}

int secrets_open(const char *path, struct secrets **secrets, struct fault *fault)
{
    struct secrets *made = MEM_NEW(struct secrets);
    if (path && secrets_read(made, path, fault) < 0) {
        secrets_free(made);
        return -1;
    }
    *secrets = made;
    return 0;
}

void secrets_free(struct secrets *secrets)
{
    if (!secrets) return;
    if (secrets->text.data) explicit_bzero(secrets->text.data, secrets->text.size_max);
    buf_release(&secrets->text);
    mem_free(secrets);
}

bool secrets_get(const struct secrets *secrets, struct slice wanted, struct buf *value)
{
    struct slice text = buf_slice(&secrets->text), name, found;
    size_t number = 0;
    while (secrets_line(&text, &number, &name, &found) == 1) {
        if (!slice_equal(name, wanted)) continue;
        buf_put_slice(value, found);
        return true;
    }
    if (!secrets_is_name(wanted)) return false;
    struct buf variable = {0};
    buf_format(&variable, "LORE_SECRET_%.*s%c", SLICE_ARGS(wanted), 0);
    const char *set = getenv(variable.data);
    buf_release(&variable);
    if (!set) return false;
    buf_put_text(value, set);
    return true;
}
