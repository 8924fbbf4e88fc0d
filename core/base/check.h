/* check.h: assertions that are always on.
 *
 * CHECK states what must be true if the program is right; when it is not, a bug was found and the
 * process stops with one line. It is never used for bad input or a broken world (see fault.h).
 *
 *     CHECK(cursor->open);
 */
#ifndef LORE_BASE_CHECK_H
#define LORE_BASE_CHECK_H

/* Prints the failed condition and aborts. Use it through CHECK. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#endif
