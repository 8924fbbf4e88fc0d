/* pattern.h: Lua's patterns, matched by our own matcher with a step budget. Inside vm/ only.
 *
 *     struct pattern pattern;
 *     pattern_init(&pattern, lua, subject, text);
 *     const char *end = pattern_match(&pattern, subject.data);     NULL: no match beginning there
 *     pattern_push_capture(&pattern, 0, begin, end);
 *
 * Same language and same results as Lua 5.4's string library, with ASCII classes; a damaged pattern is an
 * error only where the matcher comes to its damage, as there. Steps are spent from the call's budget
 * (vm_spend). No recursion: alternatives still open are kept in an array, one for each part of the pattern at
 * most.
 *
 * Threads: as the Lua state. Owns: nothing; subject and pattern must stay where they are. */
#ifndef LORE_VM_PATTERN_H
#define LORE_VM_PATTERN_H

#include "base/slice.h"
#include "vm/vm.h"

enum { PATTERN_CAPTURES_MAX = 32, PATTERN_OPEN_MAX = 199 };

struct pattern_capture {
    const char *at;
    ptrdiff_t size; /* or one of the marks in pattern.c */
};

struct pattern_choice { /* what to do when what follows fails */
    enum { CHOICE_FORGET_OPEN, CHOICE_FORGET_CLOSE, CHOICE_WITHOUT, CHOICE_LESS, CHOICE_MORE } kind;
    const char *subject, *pattern, *after; /* of pattern items: the item and what follows it */
    ptrdiff_t count;
    int capture;
};

struct pattern {
    lua_State *lua;
    const char *subject, *subject_end;
    const char *begin, *end; /* of the pattern, without its anchor */
    bool anchored;
    int capture_count;
    struct pattern_capture captures[PATTERN_CAPTURES_MAX];
    int choice_count;
    struct pattern_choice choices[PATTERN_OPEN_MAX];
    unsigned steps; /* not yet spent */
};

/* anchors: whether a leading ^ anchors (not in gmatch). */
void pattern_init(struct pattern *pattern, lua_State *lua, struct slice subject, struct slice text,
                  bool anchors);
/* Matches at one place. Returns where the match ends or NULL. */
const char *pattern_match(struct pattern *pattern, const char *at);
/* Spends what is left over; after the last pattern_match. */
void pattern_finish(struct pattern *pattern);
/* Pushes a capture; number 0 of a pattern without captures is the whole match. */
void pattern_push_capture(struct pattern *pattern, int number, const char *begin, const char *end);
/* Pushes all of them; with begin NULL not the whole match. Returns how many. */
int pattern_push_captures(struct pattern *pattern, const char *begin, const char *end);

#endif
