/* repl_talk.h: the protocol of /v1/{tenant}/repl from the terminal's side: a session and what is asked in it.
 *
 *     struct repl_talk *talk = repl_talk_new(client, "data/hub.sock", "main");
 *     if (repl_talk_open(talk, &answer, &fault) < 0) ...
 *     switch (repl_talk_evaluate(talk, source, 20, &listener, &fault)) ...
 *     repl_talk_free(talk);
 *
 * Signals (repl_wake.h) are looked at while an evaluation runs: Ctrl-C asks the hub to cancel it and waits
 * for its last line, a second one, or a hub that takes too long, closes the connection.
 *
 * Threads: one. Owns: connections of its own, beside the client's. */
#ifndef LORE_CLI_REPL_TALK_H
#define LORE_CLI_REPL_TALK_H

#include "base/fault.h"
#include "cli/client.h"
#include "cli/fields.h"

struct repl_talk;

enum repl_talk_end {
    REPL_TALK_DONE,      /* a last line came */
    REPL_TALK_CANCELLED, /* by Ctrl-C, and the hub did not say so itself */
    REPL_TALK_STOPPED,   /* by the listener */
    REPL_TALK_KILLED,    /* by a signal that ends the program: repl_talk_signal */
    REPL_TALK_SESSION,   /* the hub no longer has the session: fault; nothing was evaluated */
    REPL_TALK_GONE,      /* no hub, or one that went away meanwhile: fault */
    REPL_TALK_FAILED     /* the hub refused, or what came is none of its answers: fault */
};

struct repl_listener {
    /* A line; false ends the evaluation. json: the line itself. */
    bool (*line)(void *user, const struct fields *line, struct slice json);
    /* Milliseconds after which tick is to be called at the latest; -1: no need. */
    int (*wait_ms)(void *user);
    void (*tick)(void *user);
    void *user;
};

/* where: the socket or URL of the hub, for people. Both it and the client are borrowed and must live longer.
 */
struct repl_talk *repl_talk_new(const struct client *client, const char *where, const char *tenant);
void repl_talk_free(struct repl_talk *talk);

/* Opens a session; answer: deploy, position, contexts. What was open before is forgotten. */
int repl_talk_open(struct repl_talk *talk, bool write, struct fields *answer, struct fault *fault);
bool repl_talk_is_open(const struct repl_talk *talk);
/* Whether the hub still knows the session that is open: not_found may be said of other things too. A hub that
 * does not answer may know it. To be asked only while nothing is evaluated. */
bool repl_talk_has_session(struct repl_talk *talk);
/* The session is no longer there. */
void repl_talk_forget(struct repl_talk *talk);
/* Ends the session, if the hub can still be told; an evaluation that was left may still be ending. */
void repl_talk_close(struct repl_talk *talk);

enum repl_talk_end repl_talk_evaluate(struct repl_talk *talk, struct slice source, int64_t rows,
                                      const struct repl_listener *listener, struct fault *fault);
/* Whether Ctrl-C was pressed during the last evaluation, even if that ended by itself. */
bool repl_talk_was_cancelled(const struct repl_talk *talk);
int repl_talk_signal(const struct repl_talk *talk);

/* A question of one line about the session: name and a text, or a flag. The hub has timeout_ms to answer. */
int repl_talk_ask_text(struct repl_talk *talk, const char *name, struct slice text, int timeout_ms,
                       struct fields *answer, struct fault *fault);
int repl_talk_ask_flag(struct repl_talk *talk, const char *name, bool flag, struct fields *answer,
                       struct fault *fault);

#endif
