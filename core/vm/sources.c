/* Reads the folder in one go; afterwards nothing of it is looked at again, so what runs is what was hashed.
 */
#include "vm/sources.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "codec/text.h"
#include "vm/tokens.h"

enum {
    FILES_MAX = 10000,
    FOLDERS_DEEP_MAX = 8 /* also ends links that point to their own parents */
};

struct sources {
    char *dir;
    char *real_dir; /* NULL for sources in memory */
    struct source *items;
    size_t count, size_max;
    struct arena arena;
};

static struct sources *sources_new(const char *dir)
{
    struct sources *sources = MEM_NEW(struct sources);
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/') size--;
    sources->dir = mem_text(dir, size);
    return sources;
}

void sources_free(struct sources *sources)
{
    if (sources == NULL) return;
    arena_release(&sources->arena);
    mem_free(sources->items);
    mem_free(sources->dir);
    free(sources->real_dir);
    mem_free(sources);
}

static struct hash token_hash(struct slice text)
{
    struct tokens tokens;
    struct hash hash = tokens_read(text, &tokens) ? tokens_hash(&tokens, 0, tokens.count) : hash_of(text);
    tokens_release(&tokens);
    return hash;
}

static struct slice without_mark(struct slice text)
{
    bool marked = text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0;
    return marked ? slice_make(text.data + 3, text.size - 3) : text;
}

/* path and text are copied. */
static void add(struct sources *sources, struct slice path, struct slice text)
{
    if (sources->count == sources->size_max) {
        sources->size_max = sources->size_max ? sources->size_max * 2 : 32;
        sources->items = mem_resize(sources->items, sources->size_max * sizeof *sources->items);
    }
    struct source *source = &sources->items[sources->count++];
    source->path = arena_copy(&sources->arena, path);
    source->text = arena_copy(&sources->arena, text);
    source->tokens = token_hash(source->text);
    const char *first = memchr(source->path.data, '/', source->path.size);
    if (first == NULL) {
        source->kind = SOURCE_SHARED;
        source->context = SLICE_NONE;
        return;
    }
    source->context = slice_make(source->path.data, (size_t)(first - source->path.data));
    size_t behind = source->path.size - source->context.size - 1;
    source->kind = memchr(first + 1, '/', behind) != NULL ? SOURCE_ON_DEMAND : SOURCE_DECLARATION;
}

static int compare_paths(const void *a, const void *b)
{
    return slice_compare(((const struct source *)a)->path, ((const struct source *)b)->path);
}

static void sort(struct sources *sources)
{
    if (sources->count > 1) qsort(sources->items, sources->count, sizeof *sources->items, compare_paths);
}

static int refuse(const char *what, int error, struct fault *fault)
{
    if (error == EACCES || error == EPERM)
        return fault_set(fault, FAULT_PERMISSION,
                         "%s: may not be read: make it readable for the user that runs lore", what);
    return fault_errno(fault, error, "%s: cannot be read", what);
}

/* Whether the path, links resolved, lies in the folder. A link to nowhere does not. */
static bool stays_inside(const struct sources *sources, const char *path)
{
    char *real = realpath(path, NULL);
    if (real == NULL) return errno == EACCES; /* reading it says so */
    size_t size = strlen(sources->real_dir);
    bool inside =
        strncmp(real, sources->real_dir, size) == 0 && (real[size] == '/' || real[size] == 0 || size == 1);
    free(real);
    return inside;
}

static int read_whole(int fd, const char *path, struct buf *out, struct fault *fault)
{
    for (;;) {
        int error = fault_point(POINT_SCRIPTS_READ);
        ssize_t count = error > 0 ? -1 : read(fd, buf_room(out, 65536), error < 0 ? 1 : 65536);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return refuse(path, errno, fault);
        if (count == 0) return 0;
        out->size += (size_t)count;
        if (out->size > SOURCES_TEXT_SIZE_MAX)
            return fault_set(fault, FAULT_TOO_LARGE, "%s: larger than %d MiB: keep data out of scripts", path,
                             SOURCES_TEXT_SIZE_MAX >> 20);
    }
}

static int read_file(struct sources *sources, const char *path, struct slice relative, struct fault *fault)
{
    if (sources->count >= FILES_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "%s: more than %d scripts", sources->dir, FILES_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return refuse(path, errno, fault);
    struct buf text = {0};
    int result = read_whole(fd, path, &text, fault);
    if (result == 0) add(sources, relative, without_mark(buf_slice(&text)));
    buf_release(&text);
    close(fd);
    return result;
}

static int read_folder(struct sources *sources, const char *relative, int depth, struct fault *fault);

static int read_entry(struct sources *sources, const char *relative, int depth, struct fault *fault)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", sources->dir, relative);
    if (size < 0 || (size_t)size >= sizeof path)
        return fault_set(fault, FAULT_TOO_LARGE, "%s/%.60s…: the path is too long", sources->dir, relative);
    struct stat status;
    if (lstat(path, &status) < 0) return errno == ENOENT ? 0 : refuse(path, errno, fault);
    if (S_ISLNK(status.st_mode)) {
        if (!stays_inside(sources, path)) return 0;
        if (stat(path, &status) < 0) return errno == ENOENT ? 0 : refuse(path, errno, fault);
    }
    if (S_ISDIR(status.st_mode)) return read_folder(sources, relative, depth + 1, fault);
    struct slice name = slice_of(relative);
    bool is_lua = name.size > 4 && memcmp(name.data + name.size - 4, ".lua", 4) == 0;
    return S_ISREG(status.st_mode) && is_lua ? read_file(sources, path, name, fault) : 0;
}

static int read_folder(struct sources *sources, const char *relative, int depth, struct fault *fault)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s%s%s", sources->dir, *relative ? "/" : "", relative);
    if (size < 0 || (size_t)size >= sizeof path || depth > FOLDERS_DEEP_MAX)
        return fault_set(fault, FAULT_TOO_LARGE,
                         "%s/%.200s: folders nest deeper than %d (a link to its own parent?)", sources->dir,
                         relative, FOLDERS_DEEP_MAX);
    DIR *folder = opendir(path);
    if (folder == NULL) return refuse(path, errno, fault);
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        char name[PATH_MAX];
        size = snprintf(name, sizeof name, "%s%s%s", relative, *relative ? "/" : "", entry->d_name);
        if (size < 0 || (size_t)size >= sizeof name)
            result = fault_set(fault, FAULT_TOO_LARGE, "%s: a path is too long", path);
        else
            result = read_entry(sources, name, depth, fault);
    }
    closedir(folder);
    return result;
}

static int check_contexts(const struct sources *sources, struct fault *fault)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct slice context = sources->items[i].context;
        if (sources->items[i].kind == SOURCE_SHARED || text_is_context(context)) continue;
        if (text_is_name(context))
            return fault_set(fault, FAULT_MALFORMED, "%s/%.*s: the name is reserved: rename the folder",
                             sources->dir, SLICE_ARGS(context));
        return fault_set(fault, FAULT_MALFORMED,
                         "%s/%.*s: a context's name is small letters, digits and _, beginning with a letter: "
                         "rename the folder",
                         sources->dir, SLICE_ARGS(context));
    }
    return 0;
}

int sources_read(const char *dir, struct sources **out, struct fault *fault)
{
    struct stat status;
    if (stat(dir, &status) < 0) {
        if (errno != ENOENT && errno != ENOTDIR) return refuse(dir, errno, fault);
        return fault_set(fault, FAULT_NOT_FOUND,
                         "%s: no such folder: name yours with --scripts DIR, or begin one with: lore new %s",
                         dir, dir);
    }
    if (!S_ISDIR(status.st_mode))
        return fault_set(fault, FAULT_NOT_FOUND,
                         "%s: is no folder: --scripts takes the folder that holds the contexts", dir);
    struct sources *sources = sources_new(dir);
    sources->real_dir = realpath(dir, NULL);
    int result = sources->real_dir == NULL ? refuse(dir, errno, fault) : read_folder(sources, "", 0, fault);
    sort(sources);
    if (result == 0) result = check_contexts(sources, fault);
    if (result < 0)
        sources_free(sources);
    else
        *out = sources;
    return result;
}

struct sources *sources_of(const char *const *paths_and_texts)
{
    struct sources *sources = sources_new("scripts");
    for (size_t i = 0; paths_and_texts[i] != NULL; i += 2)
        add(sources, slice_of(paths_and_texts[i]), without_mark(slice_of(paths_and_texts[i + 1])));
    sort(sources);
    return sources;
}

struct sources *sources_of_texts(const char *dir, const struct source_text *texts, size_t count)
{
    struct sources *sources = sources_new(dir);
    for (size_t i = 0; i < count; i++) add(sources, texts[i].path, texts[i].text);
    sort(sources);
    return sources;
}

/* "billing/import/bills.lua": names that are neither empty nor hidden (so none is ..), and a script at the
 * end. */
static bool is_script_path(struct slice path)
{
    if (path.size < 5 || path.size >= PATH_MAX || memcmp(path.data + path.size - 4, ".lua", 4) != 0)
        return false;
    int depth = 0;
    for (size_t i = 0; i < path.size; i++) {
        char c = path.data[i];
        bool begins = i == 0 || path.data[i - 1] == '/';
        if (c == 0 || c == '\n' || (begins && (c == '.' || c == '/'))) return false;
        if (c == '/') depth++;
    }
    return depth <= FOLDERS_DEEP_MAX;
}

static int check_text(const char *dir, const struct source_text *text, struct fault *fault)
{
    int shown = text->path.size < 200 ? (int)text->path.size : 200;
    if (!is_script_path(text->path))
        return fault_set(fault, FAULT_MALFORMED, "%s/%.*s: a script's path is like billing/bill.lua", dir,
                         shown, text->path.data ? text->path.data : "");
    if (text->text.size > SOURCES_TEXT_SIZE_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "%s/%.*s: larger than %d MiB: keep data out of scripts", dir,
                         shown, text->path.data, SOURCES_TEXT_SIZE_MAX >> 20);
    return 0;
}

int sources_make(const char *dir, const struct source_text *texts, size_t count, struct sources **out,
                 struct fault *fault)
{
    if (count > FILES_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "%s: more than %d scripts", dir, FILES_MAX);
    for (size_t i = 0; i < count; i++)
        if (check_text(dir, &texts[i], fault) < 0) return -1;
    struct sources *sources = sources_of_texts(dir, texts, count);
    if (check_contexts(sources, fault) < 0) {
        sources_free(sources);
        return -1;
    }
    *out = sources;
    return 0;
}

size_t sources_count(const struct sources *sources)
{
    return sources->count;
}

const struct source *sources_at(const struct sources *sources, size_t index)
{
    return &sources->items[index];
}

const struct source *sources_find(const struct sources *sources, struct slice path)
{
    size_t low = 0, high = sources->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(sources->items[middle].path, path);
        if (order == 0) return &sources->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *sources_dir(const struct sources *sources)
{
    return sources->dir;
}

struct hash sources_digest(const struct sources *sources)
{
    struct buf all = {0};
    for (size_t i = 0; i < sources->count; i++) {
        const struct source *source = &sources->items[i];
        buf_put_varint(&all, source->path.size);
        buf_put_slice(&all, source->path);
        buf_put_varint(&all, source->text.size);
        buf_put_slice(&all, source->text);
    }
    struct hash digest = hash_of(buf_slice(&all));
    buf_release(&all);
    return digest;
}
