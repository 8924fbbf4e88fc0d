/* say.h: diagnostics for the operator, one line each, on stderr. Never used for results.
 * Threads: any; lines are never mixed. */
#ifndef LORE_BASE_SAY_H
#define LORE_BASE_SAY_H

enum say_level { SAY_ERROR, SAY_WARN, SAY_INFO, SAY_DEBUG };

/* Lines above this level are dropped. Default: SAY_INFO. */
void say_set_level(enum say_level level);
void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The world is broken (a failed fsync, corruption): one line, then the process stops with exit code 3. */
_Noreturn void say_stop(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
