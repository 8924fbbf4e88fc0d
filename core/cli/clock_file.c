#include "cli/clock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/time.h"

enum { CLOCK_FILE_SIZE_MAX = 64 };

struct clock_file {
    struct clock clock; /* the first member: it is cast back */
    _Atomic int64_t now_ms;
    char *path;
    uv_fs_event_t event;
    void (*told)(void *user);
    void *user;
};

static int64_t clock_file_now_ms(struct clock *clock)
{
    return atomic_load(&((struct clock_file *)clock)->now_ms);
}

static int clock_file_read(struct clock_file *clock, struct fault *fault)
{
    char text[CLOCK_FILE_SIZE_MAX];
    int64_t now_ms;
    int file = open(clock->path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof text);
    if (size < 0) fault_errno(fault, errno, "cannot read %s", clock->path);
    if (file >= 0) close(file);
    if (size < 0) return -1;
    while (size > 0 && text[size - 1] == '\n') size--;
    if (!time_parse(slice_make(text, (size_t)size), &now_ms))
        return fault_set(fault, FAULT_MALFORMED, "%s: expected a moment such as 2026-03-02T07:00:00Z",
                         clock->path);
    atomic_store(&clock->now_ms, now_ms);
    return 0;
}

static const char *clock_file_name(const struct clock_file *clock)
{
    const char *slash = strrchr(clock->path, '/');
    return slash ? slash + 1 : clock->path;
}

static void clock_file_on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct clock_file *clock = event->data;
    struct fault fault;
    if (name && strcmp(name, clock_file_name(clock)) != 0) return;
    if (clock_file_read(clock, &fault) == 0) clock->told(clock->user);
}

static void clock_file_free(uv_handle_t *event)
{
    struct clock_file *clock = event->data;
    mem_free(clock->path);
    mem_free(clock);
}

/* Its folder is, since the file may be replaced by another one of its name. */
static int clock_file_watch(struct clock_file *clock)
{
    size_t size = (size_t)(clock_file_name(clock) - clock->path);
    char *folder = size ? mem_text(clock->path, size) : mem_text(".", 1);
    int error = uv_fs_event_start(&clock->event, clock_file_on_event, folder, 0);
    mem_free(folder);
    return error;
}

int clock_file_open(const char *path, uv_loop_t *loop, void (*told)(void *user), void *user,
                    struct clock_file **clock, struct fault *fault)
{
    struct clock_file *made = MEM_NEW(struct clock_file);
    made->clock.now_ms = clock_file_now_ms;
    made->path = mem_text(path, strlen(path));
    made->told = told;
    made->user = user;
    made->event.data = made;
    uv_fs_event_init(loop, &made->event);
    uv_unref((uv_handle_t *)&made->event);
    /* Watched before it is read, so that nothing is missed. */
    int error = clock_file_watch(made);
    if (error) fault_errno(fault, -error, "cannot watch %s", path);
    if (error || clock_file_read(made, fault) < 0) {
        clock_file_close(made);
        return -1;
    }
    *clock = made;
    return 0;
}

struct clock *clock_file_clock(struct clock_file *clock)
{
    return &clock->clock;
}

void clock_file_close(struct clock_file *clock)
{
    if (clock) uv_close((uv_handle_t *)&clock->event, clock_file_free);
}
