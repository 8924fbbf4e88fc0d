#include "cli/repl_save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/repl_csv.h"
#include "codec/json.h"
#include "codec/mp.h"

struct repl_save {
    char *path;
    char *part; /* the name until it is whole */
    FILE *rows; /* NDJSON: the file itself, or for CSV one without a name that is read again */
    bool is_csv, overwrites;
    int error; /* errno of what failed first */
    uint64_t count;
};

static bool save_ends(struct slice path, const char *ending)
{
    size_t size = strlen(ending);
    return path.size > size && memcmp(path.data + path.size - size, ending, size) == 0;
}

bool repl_save_is_name(struct slice path)
{
    return save_ends(path, ".csv") || save_ends(path, ".ndjson");
}

static int save_exists(const char *path, struct fault *fault)
{
    return fault_set(fault, FAULT_IN_USE, "%s exists: put ! behind :save to overwrite it", path);
}

static FILE *save_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w+");
    if (!file && fd >= 0) close(fd);
    return file;
}

static char *save_part_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash + 1 - path) : 0;
    struct buf name = {0};
    buf_format(&name, "%.*s.%s.%ld", (int)folder, path, path + folder, (long)getpid());
    buf_put_byte(&name, 0);
    return name.data;
}

/* The part becomes the file. */
static int save_publish(const char *part, const char *path, bool overwrites, struct fault *fault)
{
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, overwrites ? 0 : RENAME_NOREPLACE) == 0) return 0;
    int error = errno;
    unlink(part);
    if (error == EEXIST) return save_exists(path, fault);
    return fault_errno(fault, error, "%s", path);
}

int repl_save_open(const char *path, bool overwrites, struct repl_save **opened, struct fault *fault)
{
    struct stat about;
    if (!repl_save_is_name(slice_of(path)))
        return fault_set(fault, FAULT_USAGE, "%s: the name says the form: it must end in .csv or .ndjson",
                         path);
    if (!overwrites && lstat(path, &about) == 0) return save_exists(path, fault);
    char *part = save_part_name(path);
    FILE *rows = save_create(part);
    if (!rows) {
        fault_errno(fault, errno, "%s", path);
        mem_free(part);
        return -1;
    }
    struct repl_save *save = MEM_NEW(struct repl_save);
    save->path = mem_text(path, strlen(path));
    save->part = part;
    save->rows = rows;
    save->is_csv = save_ends(slice_of(path), ".csv");
    save->overwrites = overwrites;
    if (save->is_csv) unlink(part); /* the rows are only read again */
    *opened = save;
    return 0;
}

bool repl_save_row(struct repl_save *save, struct slice json)
{
    if (save->error) return false;
    if (fwrite(json.data, 1, json.size, save->rows) != json.size || putc('\n', save->rows) == EOF)
        save->error = errno ? errno : EIO;
    save->count++;
    return !save->error;
}

bool repl_save_is_empty(const struct repl_save *save)
{
    return save->count == 0 && !save->error;
}

bool repl_save_has_failed(const struct repl_save *save)
{
    return save->error != 0;
}

/* A group as a row: its key, then its fields, or its value where it has none or one of them is called key. */
static bool save_group(struct repl_save *save, struct slice key, struct slice bytes)
{
    struct buf row = {0}, fields = {0};
    struct slice found;
    struct mp_value value;
    struct mp_reader reader = mp_reader_of(bytes);
    bool is_map = mp_read(&reader, &value) == 0 && value.kind == MP_MAP && value.count &&
                  !mp_find(bytes, slice_of("key"), &found);
    buf_put_byte(&row, '{');
    json_put_text_member(&row, "key", key);
    if (is_map) {
        json_from_mp(bytes, &fields, NULL);
        buf_put_byte(&row, ',');
        buf_put(&row, fields.data + 1, fields.size - 1);
    } else {
        json_put_mp_member(&row, "value", bytes);
        buf_put_byte(&row, '}');
    }
    bool done = repl_save_row(save, buf_slice(&row));
    buf_release(&row);
    buf_release(&fields);
    return done;
}

/* Groups are all numbers, or all maps. */
static bool save_is_grouped(struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value map, key, value;
    size_t maps = 0, numbers = 0;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return false;
    for (uint32_t at = 0; at < map.count; at++) {
        struct slice item;
        if (mp_read(&reader, &key) < 0 || mp_take(&reader, &item) < 0) return false;
        struct mp_reader inside = mp_reader_of(item);
        if (mp_read(&inside, &value) < 0) return false;
        if (value.kind == MP_MAP) maps++;
        if (value.kind == MP_INT || value.kind == MP_FLOAT || value.kind == MP_NIL) numbers++;
    }
    return map.count && (maps == map.count || numbers == map.count);
}

bool repl_save_value(struct repl_save *save, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value whole, key;
    struct slice item;
    struct buf json = {0};
    bool done = true, grouped = save_is_grouped(bytes);
    if (mp_read(&reader, &whole) < 0) return false;
    if (whole.kind == MP_NIL) return true;
    if (whole.kind != MP_LIST && !grouped) {
        json_from_mp(bytes, &json, NULL);
        done = repl_save_row(save, buf_slice(&json));
    } else {
        for (uint32_t at = 0; done && at < whole.count; at++) {
            if ((grouped && mp_read(&reader, &key) < 0) || mp_take(&reader, &item) < 0) break;
            buf_clear(&json);
            if (!grouped) json_from_mp(item, &json, NULL);
            done = grouped ? save_group(save, key.text, item) : repl_save_row(save, buf_slice(&json));
        }
    }
    buf_release(&json);
    return done;
}

static void save_free(struct repl_save *save)
{
    if (save->rows) fclose(save->rows);
    mem_free(save->path);
    mem_free(save->part);
    mem_free(save);
}

/* The rows written so far, as CSV into the part. */
static int save_csv(struct repl_save *save, struct repl_saved *saved)
{
    FILE *file = save_create(save->part);
    int error = file ? 0 : errno;
    if (file) {
        error = repl_csv_write(save->rows, file, &saved->formulas);
        if (fclose(file) != 0 && !error) error = errno;
        if (error) unlink(save->part);
    }
    return error;
}

int repl_save_finish(struct repl_save *save, struct repl_saved *saved, struct fault *fault)
{
    *saved = (struct repl_saved){.rows = save->count};
    errno = 0;
    if (fflush(save->rows) != 0 && !save->error) save->error = errno;
    if (!save->error && save->is_csv) save->error = save_csv(save, saved);
    int done;
    if (save->error) {
        done = fault_errno(fault, save->error, "%s was not written", save->path);
        if (!save->is_csv) unlink(save->part);
    } else {
        done = save_publish(save->part, save->path, save->overwrites, fault);
    }
    save_free(save);
    return done;
}

void repl_save_abandon(struct repl_save *save)
{
    if (!save->is_csv) unlink(save->part);
    save_free(save);
}

int repl_save_text(const char *path, bool overwrites, struct slice text, struct fault *fault)
{
    struct stat about;
    if (!overwrites && lstat(path, &about) == 0) return save_exists(path, fault);
    char *part = save_part_name(path);
    FILE *file = save_create(part);
    int error = file ? 0 : errno, done;
    if (file && fwrite(text.data, 1, text.size, file) != text.size) error = errno;
    if (file && fclose(file) != 0 && !error) error = errno;
    if (error) {
        done = fault_errno(fault, error, "%s was not written", path);
        if (file) unlink(part);
    } else {
        done = save_publish(part, path, overwrites, fault);
    }
    mem_free(part);
    return done;
}
