#include "cli/folder.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/say.h"

enum { FOLDER_DEEP_MAX = 8 };

struct watcher { /* of one directory */
    uv_fs_event_t event;
    struct folder *folder;
    struct watcher *next;
    char *path, *name; /* name: the last part of the path */
    dev_t device;
    ino_t inode;
    bool is_parent; /* of the folder: only the folder itself is of interest */
    bool is_stale;  /* the directory may be gone, even if there is one of this name */
    bool is_found;  /* in this look */
};

struct folder {
    uv_loop_t *loop;
    char *path, *parent, *name;
    char *real; /* of this look; NULL: it is not there */
    struct watcher *watchers;
    uv_timer_t quiet, again;
    uint64_t dirty_ms; /* when the first event came that was not looked at; 0: none */
    int open;          /* handles */
    bool is_closing, is_warned;
    void (*changed)(void *user, bool event);
    void *user;
};

/* --- handles --- */

static void folder_let_go(struct folder *folder)
{
    if (--folder->open > 0) return;
    mem_free(folder->path);
    mem_free(folder->parent);
    mem_free(folder->name);
    free(folder->real);
    mem_free(folder);
}

static void folder_timer_closed(uv_handle_t *handle)
{
    folder_let_go(handle->data);
}

static void folder_watcher_closed(uv_handle_t *handle)
{
    struct watcher *watcher = handle->data;
    folder_let_go(watcher->folder);
    mem_free(watcher->path);
    mem_free(watcher->name);
    mem_free(watcher);
}

/* Away with those that this look did not find; all of them when closing. */
static void folder_drop(struct folder *folder)
{
    for (struct watcher **at = &folder->watchers; *at;) {
        struct watcher *watcher = *at;
        if (watcher->is_found && !watcher->is_stale && !folder->is_closing) {
            at = &watcher->next;
            continue;
        }
        *at = watcher->next;
        uv_close((uv_handle_t *)&watcher->event, folder_watcher_closed);
    }
}

/* --- events --- */

static void folder_look(struct folder *folder, bool event);

static void folder_on_quiet(uv_timer_t *timer)
{
    struct folder *folder = timer->data;
    folder->dirty_ms = 0;
    folder_look(folder, true);
}

static void folder_on_again(uv_timer_t *timer)
{
    folder_look(timer->data, false);
}

/* Waits until it is quiet, but not for ever. */
static void folder_dirty(struct folder *folder)
{
    uint64_t now = uv_now(folder->loop);
    if (!folder->dirty_ms) folder->dirty_ms = now;
    uint64_t waited = now - folder->dirty_ms;
    uint64_t left = waited < FOLDER_PATIENCE_MS ? FOLDER_PATIENCE_MS - waited : 0;
    uv_timer_start(&folder->quiet, folder_on_quiet, left < FOLDER_QUIET_MS ? left : FOLDER_QUIET_MS, 0);
}

/* The end of a directory is an event of its own name, as is that of a file in it that is called the same. */
static void folder_on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct watcher *watcher = event->data;
    if (status < 0 || !name || strcmp(name, watcher->name) == 0) watcher->is_stale = true;
    if (watcher->is_parent && !watcher->is_stale && strcmp(name, watcher->folder->name) != 0) return;
    folder_dirty(watcher->folder);
}

/* --- looking for directories --- */

static char *folder_text(const char *text)
{
    return mem_text(text, strlen(text));
}

static struct watcher *folder_find(struct folder *folder, const char *path, const struct stat *status)
{
    for (struct watcher *watcher = folder->watchers; watcher; watcher = watcher->next)
        if (!watcher->is_stale && watcher->device == status->st_dev && watcher->inode == status->st_ino &&
            strcmp(watcher->path, path) == 0)
            return watcher;
    return NULL;
}

static struct watcher *folder_watch(struct folder *folder, const char *path, const struct stat *status)
{
    struct watcher *watcher = folder_find(folder, path, status);
    if (watcher) {
        watcher->is_found = true;
        return watcher;
    }
    const char *slash = strrchr(path, '/');
    watcher = MEM_NEW(struct watcher);
    *watcher = (struct watcher){.folder = folder,
                                .path = folder_text(path),
                                .name = folder_text(slash && slash[1] ? slash + 1 : path),
                                .device = status->st_dev,
                                .inode = status->st_ino,
                                .is_found = true};
    watcher->event.data = watcher;
    uv_fs_event_init(folder->loop, &watcher->event);
    folder->open++;
    watcher->next = folder->watchers;
    folder->watchers = watcher;
    int error = uv_fs_event_start(&watcher->event, folder_on_event, path, 0);
    if (error) watcher->is_stale = true; /* tried again with the next look */
    if (error && error != UV_ENOENT && !folder->is_warned)
        say_warn("%s cannot be watched (%s): it is looked at every %d s", path, uv_strerror(error),
                 FOLDER_LOOK_AGAIN_MS / 1000);
    folder->is_warned = folder->is_warned || (error && error != UV_ENOENT);
    return watcher;
}

static bool folder_is_inside(const struct folder *folder, const char *path)
{
    char *real = realpath(path, NULL);
    size_t size = strlen(folder->real);
    bool inside = real && strncmp(real, folder->real, size) == 0 && (real[size] == '/' || real[size] == 0);
    free(real);
    return inside;
}

static void folder_walk(struct folder *folder, const char *path, int depth)
{
    struct stat status;
    struct dirent *entry;
    if (depth > FOLDER_DEEP_MAX || stat(path, &status) < 0 || !S_ISDIR(status.st_mode)) return;
    folder_watch(folder, path, &status);
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory))) {
        char inner[PATH_MAX];
        int size = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.' || size < 0 || (size_t)size >= sizeof inner) continue;
        if (entry->d_type == DT_REG) continue;
        if (entry->d_type != DT_DIR && !folder_is_inside(folder, inner)) continue;
        folder_walk(folder, inner, depth + 1);
    }
    if (directory) closedir(directory);
}

static void folder_look(struct folder *folder, bool event)
{
    struct stat status;
    for (struct watcher *watcher = folder->watchers; watcher; watcher = watcher->next)
        watcher->is_found = false;
    if (stat(folder->parent, &status) == 0) folder_watch(folder, folder->parent, &status)->is_parent = true;
    free(folder->real);
    folder->real = realpath(folder->path, NULL);
    if (folder->real) folder_walk(folder, folder->path, 0);
    folder_drop(folder);
    folder->changed(folder->user, event);
}

/* --- opening --- */

static char *folder_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return folder_text(".");
    return slash == path ? folder_text("/") : mem_text(path, (size_t)(slash - path));
}

struct folder *folder_open(const char *path, uv_loop_t *loop, void (*changed)(void *user, bool event),
                           void *user)
{
    struct folder *folder = MEM_NEW(struct folder);
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    folder->loop = loop;
    folder->path = mem_text(path, size);
    folder->parent = folder_parent(folder->path);
    const char *slash = strrchr(folder->path, '/');
    folder->name = folder_text(slash ? slash + 1 : folder->path);
    folder->changed = changed;
    folder->user = user;
    uv_timer_init(loop, &folder->quiet);
    uv_timer_init(loop, &folder->again);
    folder->quiet.data = folder->again.data = folder;
    folder->open = 2;
    uv_timer_start(&folder->again, folder_on_again, 0, FOLDER_LOOK_AGAIN_MS);
    return folder;
}

void folder_close(struct folder *folder)
{
    if (!folder) return;
    folder->is_closing = true;
    folder_drop(folder);
    uv_close((uv_handle_t *)&folder->quiet, folder_timer_closed);
    uv_close((uv_handle_t *)&folder->again, folder_timer_closed);
}
