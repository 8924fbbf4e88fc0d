/* repl_script.h: expressions that are given, not typed: with -e, or on stdin.
 * Threads: one. Owns: nothing. */
#ifndef LORE_CLI_REPL_SCRIPT_H
#define LORE_CLI_REPL_SCRIPT_H

#include "cli/repl_session.h"

/* One after another, until one fails. */
void repl_script_expressions(struct repl *repl, const char *const *expressions, int count);
/* Piece by piece as it would be typed. Locals end with their piece: what begins with one goes to the end. */
void repl_script_run(struct repl *repl);

#endif
