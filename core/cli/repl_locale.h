/* repl_locale.h: what the terminal's characters are: always UTF-8 for what is typed, whatever the locale is
 * called; drawings keep to what the locale knows.
 *
 *     repl_locale_set();                   at the start, for this thread alone
 *     if (repl_locale_is_ascii()) …        at any time later
 *
 * Threads: one, which sets and asks. Owns: nothing that ends before the program. */
#ifndef LORE_CLI_REPL_LOCALE_H
#define LORE_CLI_REPL_LOCALE_H

#include <stdbool.h>

void repl_locale_set(void);
/* The user's locale is not UTF-8: nothing beyond ASCII is to be drawn. */
bool repl_locale_is_ascii(void);

#endif
