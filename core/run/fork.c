#include "run/fork.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "codec/mp.h"
#include "run/origin.h"
#include "run/rollback.h"
#include "run/views.h"
#include "store/backup.h"

static const char *fork_file(const char *data, char file[4096])
{
    snprintf(file, 4096, "%s/fork", data);
    return file;
}

bool fork_is(const char *data)
{
    char file[4096];
    return access(fork_file(data, file), F_OK) == 0;
}

/* --- views --- */

/* The generation's description with another log in it. */
static void fork_describe(struct slice map, const char *log_id, struct buf *out)
{
    struct mp_reader reader = mp_reader_of(map);
    struct mp_value head, name;
    struct slice value;
    if (mp_read(&reader, &head) < 0 || head.kind != MP_MAP) return;
    mp_put_map(out, head.count);
    for (uint32_t left = head.count; left; left--) {
        if (mp_read(&reader, &name) < 0 || name.kind != MP_TEXT || mp_take(&reader, &value) < 0) return;
        mp_put_text(out, name.text);
        if (slice_is(name.text, "log"))
            mp_put_text(out, slice_of(log_id));
        else
            buf_put_slice(out, value);
    }
}

/* The copy says of which log it is. */
static int fork_adopt_view(const char *path, const char *log_id, struct fault *fault)
{
    struct docs *docs;
    struct docs_write *write;
    struct docs_options options = {.path = path};
    struct buf before = {0}, after = {0};
    bool dirty;
    if (docs_open(&options, &docs, &dirty, fault) < 0) return -1;
    int done = docs_meta_get(docs, slice_of("generation"), &before, fault);
    if (done > 0) {
        fork_describe(buf_slice(&before), log_id, &after);
        done = docs_begin(docs, &write, fault);
        if (done == 0 && (done = docs_meta_put(write, slice_of("generation"), buf_slice(&after), fault)) < 0)
            docs_abort(write);
        else if (done == 0)
            done = docs_commit(write, fault);
    }
    buf_release(&before);
    buf_release(&after);
    docs_close(docs);
    return done;
}

/* Whether it is whole and not beyond the position. */
static bool fork_fits(struct docs *docs, uint64_t position)
{
    struct buf description = {0}, reached = {0};
    bool fits = docs_meta_get(docs, slice_of("generation"), &description, NULL) > 0 &&
                docs_meta_get(docs, slice_of("position"), &reached, NULL) > 0 &&
                generation_member(buf_slice(&description), "complete") == 1 &&
                generation_number(buf_slice(&reached)) <= position;
    buf_release(&description);
    buf_release(&reached);
    return fits;
}

/* A view that cannot be copied is built again: no fault. */
static void fork_view(const char *from, const char *to, uint64_t position, struct fork_made *made)
{
    struct docs *docs;
    struct docs_options options = {.path = from, .read_only = true};
    struct fault ignored;
    bool dirty = false;
    if (docs_open(&options, &docs, &dirty, &ignored) < 0) return;
    bool copied = !dirty && fork_fits(docs, position) && docs_copy(docs, to, &ignored) == 0;
    docs_close(docs);
    if (copied && fork_adopt_view(to, made->log_id, &ignored) == 0)
        made->views++;
    else
        views_remove_folder(to);
}

static int fork_views(const char *data, const char *to, uint64_t position, struct fork_made *made,
                      struct fault *fault)
{
    char folder[4096], path[4400], copy[4400];
    snprintf(folder, sizeof folder, "%s/views", data);
    DIR *list = opendir(folder);
    if (!list) return 0;
    snprintf(copy, sizeof copy, "%s/views", to);
    int done = mkdir(copy, 0755) < 0 && errno != EEXIST ? fault_errno(fault, errno, "%s", copy) : 0;
    for (struct dirent *entry; done == 0 && (entry = readdir(list));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        snprintf(copy, sizeof copy, "%s/views/%s", to, entry->d_name);
        fork_view(path, copy, position, made);
    }
    closedir(list);
    return done;
}

/* --- the log --- */

/* Adds what the engine has to what was begun. */
static int fork_add(struct engine *engine, const struct cut *cut, const char *to, struct fork_made *made,
                    struct fault *fault)
{
    struct restore *restore;
    struct buf receptors = {0}, origins = {0};
    int done = engine_meta_get(engine, slice_of("origins"), &origins, fault);
    if (done >= 0) done = cut ? rollback_receptors(engine, cut, &receptors, fault) : 0;
    if (done == 0) done = restore_open(to, &restore, fault);
    if (done == 0) {
        struct cut_value value = {slice_of("receptors"), buf_slice(&receptors)};
        struct restore_engine from = {.engine = engine,
                                      .log_id = made->log_id,
                                      .until = cut ? &cut->before : NULL,
                                      .names = cut ? cut->names : 0,
                                      .values = &value,
                                      .value_count = receptors.size > 0};
        done = restore_add_engine(restore, &from, fault);
        made->position = restore_point(restore).position;
        origin_add(&origins, made->from_log_id, made->position);
        if (done == 0) done = restore_put(restore, slice_of("origins"), buf_slice(&origins), fault);
        if (done < 0)
            restore_close(restore, NULL);
        else
            done = restore_close(restore, fault);
    }
    buf_release(&receptors);
    buf_release(&origins);
    return done;
}

/* Up to a moment its records are added one by one, since most may be behind it; as of now the log is copied,
 * and what its journal had is added. */
static int fork_log(struct engine *engine, const struct cut *cut, const char *to, struct fork_made *made,
                    struct fault *fault)
{
    if (!cut && restore_copy(engine, to, made->log_id, fault) < 0) return -1;
    return fork_add(engine, cut, to, made, fault);
}

/* --- the directory --- */

/* Nothing may be there. */
static int fork_begin(const char *to, struct fault *fault)
{
    if (mkdir(to, 0755) == 0) return 0;
    if (errno != EEXIST) return fault_errno(fault, errno, "%s", to);
    DIR *list = opendir(to);
    if (!list) return fault_errno(fault, errno, "%s", to);
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(list));)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    closedir(list);
    return empty ? 0 : fault_set(fault, FAULT_IN_USE, "%s is not empty", to);
}

static int fork_mark(const char *to, const struct fork_made *made, struct fault *fault)
{
    char file[4096], text[200];
    int size = snprintf(text, sizeof text, "%s:%" PRIu64 ":%" PRIu64 "\n", made->from_log_id, made->epoch,
                        made->position);
    int fd = open(fork_file(to, file), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", file);
    int error = write(fd, text, (size_t)size) != size ? ENOSPC : fsync(fd) < 0 ? errno : 0;
    close(fd);
    return error ? fault_errno(fault, error, "%s", file) : 0;
}

static int fork_from(struct engine *engine, const char *data, const char *to, struct slice at,
                     struct fork_made *made, struct fault *fault)
{
    struct cut cut;
    struct engine_head head = engine_head(engine);
    memcpy(made->from_log_id, head.log_id, sizeof made->from_log_id);
    made->epoch = head.epoch;
    rand_uuid(clock_now_ms(NULL), made->log_id);
    if (at.size && rollback_find(engine, at, &cut, fault) < 0) return -1;
    if (fork_begin(to, fault) < 0) return -1;
    made->position = at.size ? cut.before.position : 0;
    /* First of all: whoever opens half of it must not send anything. */
    int done = fork_mark(to, made, fault);
    /* Views before the log, so that they are not beyond it. */
    if (done == 0) done = fork_views(data, to, at.size ? cut.before.position : UINT64_MAX, made, fault);
    if (done == 0) done = fork_log(engine, at.size ? &cut : NULL, to, made, fault);
    if (done == 0) done = fork_mark(to, made, fault);
    if (done < 0) views_remove_folder(to);
    return done;
}

int fork_make(const char *data, const char *to, struct slice at, struct fork_made *made, struct fault *fault)
{
    struct engine *engine;
    struct engine_options options = {.path = data, .read_only = true};
    *made = (struct fork_made){0};
    if (engine_open_lmdb(&options, &engine, fault) < 0) return -1;
    int done = fork_from(engine, data, to, at, made, fault);
    engine_close(engine);
    return done;
}
