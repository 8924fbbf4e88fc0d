#include "base/say.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_int say_level_max = SAY_INFO;

static void say_line(enum say_level level, const char *format, va_list args)
{
    static const char *const prefixes[] = {"lore: error: ", "lore: warning: ", "lore: ", "lore: debug: "};
    char line[4096];
    int size = snprintf(line, sizeof line, "%s", prefixes[level]);
    int more = vsnprintf(line + size, sizeof line - (size_t)size - 1, format, args);
    size += more;
    if (size > (int)sizeof line - 2) size = (int)sizeof line - 2;
    line[size++] = '\n';
    /* One write, so lines of several threads stay whole; nothing can be done about a closed stderr. */
    if (write(STDERR_FILENO, line, (size_t)size) < 0) return;
}

#define SAY_AT(level)                                                                                        \
    do {                                                                                                     \
        if ((int)(level) > atomic_load(&say_level_max)) return;                                              \
        va_list args;                                                                                        \
        va_start(args, format);                                                                              \
        say_line((level), format, args);                                                                     \
        va_end(args);                                                                                        \
    } while (0)

void say_set_level(enum say_level level)
{
    atomic_store(&say_level_max, (int)level);
}

void say_error(const char *format, ...)
{
    SAY_AT(SAY_ERROR);
}
void say_warn(const char *format, ...)
{
    SAY_AT(SAY_WARN);
}
void say_info(const char *format, ...)
{
    SAY_AT(SAY_INFO);
}
void say_debug(const char *format, ...)
{
    SAY_AT(SAY_DEBUG);
}

void say_stop(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_line(SAY_ERROR, format, args);
    va_end(args);
    _exit(3);
}
