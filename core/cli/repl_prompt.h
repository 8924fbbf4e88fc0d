/* repl_prompt.h: somebody types: lines become inputs, inputs are evaluated and remembered.
 * Threads: one. Owns: the terminal while it runs. */
#ifndef LORE_CLI_REPL_PROMPT_H
#define LORE_CLI_REPL_PROMPT_H

#include "cli/repl_session.h"

/* Until Ctrl-D, :quit or a signal. */
void repl_prompt_run(struct repl *repl);

#endif
