#include "cli/repl_history.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/text.h"

enum { HISTORY_FILE_SIZE_MAX = 16 << 20, HISTORY_INPUT_SIZE_MAX = 64 << 10 };

static void history_break(struct repl_history *history, const char *what)
{
    if (history->is_broken) return;
    history->is_broken = true;
    fprintf(stderr, "lore: the history %s: %s\n", history->path.size ? history->path.data : "", what);
}

/* The file's path, its folders made. */
static void history_find(struct repl_history *history)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    const struct passwd *user = home && *home ? NULL : getpwuid(geteuid());
    if (user) home = user->pw_dir;
    if (state && *state == '/')
        buf_format(&history->path, "%s/lore/history", state);
    else if (home && *home)
        buf_format(&history->path, "%s/.local/state/lore/history", home);
    else
        return;
    buf_put_byte(&history->path, 0);
    for (char *slash = history->path.data + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        int made = mkdir(history->path.data, 0700);
        int error = errno;
        *slash = '/';
        if (made < 0 && error != EEXIST) break; /* told when the file is opened */
    }
}

static int history_read(struct repl_history *history)
{
    int fd = open(history->path.data, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : -1;
    struct stat about;
    ssize_t size = -1;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        size_t size_max =
            about.st_size > HISTORY_FILE_SIZE_MAX ? HISTORY_FILE_SIZE_MAX : (size_t)about.st_size;
        if (lseek(fd, about.st_size - (off_t)size_max, SEEK_SET) >= 0)
            size = read(fd, buf_room(&history->text, size_max + 1), size_max);
    } else {
        errno = EINVAL;
    }
    int error = errno;
    close(fd);
    errno = error;
    if (size < 0) return -1;
    history->text.size = (size_t)size;
    return 0;
}

/* The next line, without its end; what is behind the last end of line was never written whole. */
static bool history_next(struct slice *text, struct slice *line)
{
    const char *newline = text->size ? memchr(text->data, '\n', text->size) : NULL;
    if (!newline) return false;
    *line = slice_make(text->data, (size_t)(newline - text->data));
    *text = slice_make(newline + 1, text->size - line->size - 1);
    return true;
}

static bool history_is_input(struct slice line)
{
    if (line.size == 0 || line.size > HISTORY_INPUT_SIZE_MAX || !text_is_utf8(line)) return false;
    for (size_t at = 0; at < line.size; at++)
        if (((uint8_t)line.data[at] < 0x20 && line.data[at] != '\t') || line.data[at] == 0x7f) return false;
    return true;
}

static size_t history_count(const struct repl_history *history, bool *is_damaged)
{
    struct slice text = buf_slice(&history->text), line;
    size_t count = 0;
    while (history_next(&text, &line)) {
        count++;
        if (!history_is_input(line)) *is_damaged = true;
    }
    return count;
}

/* Keeps the newest inputs, in a file that takes the place of the old one whole. */
static int history_cut(struct repl_history *history, size_t count)
{
    struct slice text = buf_slice(&history->text), line;
    struct buf path = {0};
    while (count-- > REPL_HISTORY_MAX && history_next(&text, &line)) {
    }
    buf_format(&path, "%s.%ld", history->path.data, (long)getpid());
    buf_put_byte(&path, 0);
    int fd = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int done = fd < 0 ? -1 : 0;
    if (fd >= 0) {
        if (write(fd, text.data, text.size) != (ssize_t)text.size) done = -1;
        if (close(fd) < 0 || (done == 0 && rename(path.data, history->path.data) < 0)) done = -1;
        if (done < 0) unlink(path.data);
    }
    buf_release(&path);
    return done;
}

void repl_history_open(struct repl_history *history)
{
    *history = (struct repl_history){0};
    bool is_damaged = false;
    history_find(history);
    if (!history->path.size) return;
    if (history_read(history) < 0) {
        history_break(history, strerror(errno));
        return;
    }
    size_t count = history_count(history, &is_damaged);
    if (is_damaged) history_break(history, "some lines cannot be read and are left out");
    if (count > 2 * REPL_HISTORY_MAX && history_cut(history, count) < 0)
        history_break(history, strerror(errno));
}

void repl_history_each(const struct repl_history *history, void (*put)(void *user, const char *text),
                       void *user)
{
    struct slice text = buf_slice(&history->text), line;
    struct buf input = {0};
    while (history_next(&text, &line)) {
        if (!history_is_input(line)) continue;
        buf_clear(&input);
        for (size_t at = 0; at < line.size; at++) {
            bool escaped = line.data[at] == '\\' && at + 1 < line.size;
            if (escaped) at++;
            buf_put_byte(&input, (uint8_t)(escaped && line.data[at] == 'n' ? '\n' : line.data[at]));
        }
        buf_put_byte(&input, 0);
        put(user, input.data);
    }
    buf_release(&input);
}

void repl_history_add(struct repl_history *history, struct slice input)
{
    struct buf line = {0};
    if (!history->path.size || input.size == 0 || input.data[0] == ' ') return;
    for (size_t at = 0; at < input.size; at++) {
        char c = input.data[at];
        if (c == '\n' || c == '\\') buf_put_byte(&line, '\\');
        buf_put_byte(&line, (uint8_t)(c == '\n' ? 'n' : c));
    }
    int fd = -1;
    if (history_is_input(buf_slice(&line))) {
        buf_put_byte(&line, '\n');
        fd = open(history->path.data, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600);
        bool written = fd >= 0 && write(fd, line.data, line.size) == (ssize_t)line.size;
        if (!written) history_break(history, strerror(errno));
    }
    if (fd >= 0) close(fd);
    buf_release(&line);
}

void repl_history_close(struct repl_history *history)
{
    buf_release(&history->path);
    buf_release(&history->text);
}
