/* client.h: how a subcommand talks to a hub: always HTTP, wherever the hub is.
 *
 *   --to URL                 that hub
 *   a hub has the directory  its Unix socket, data/hub.sock
 *   nobody has it            a hub of our own, started for this one question on a private socket, stopped at
 * close
 *
 *     struct client *client;
 *     if (client_open(cli, CLIENT_VIEWS, &client, &fault) < 0) return cli_fail(&fault);
 *     struct reply reply = {0};
 *     client_get(client, "/v1/status", NULL, &reply, &fault);
 *
 * Threads: one. Owns: the connection, and the hub if it is our own. */
#ifndef LORE_CLI_CLIENT_H
#define LORE_CLI_CLIENT_H

#include "base/buf.h"
#include "base/fault.h"
#include "cli/cli.h"

struct client;

enum client_needs {
    CLIENT_LOG,    /* only the log */
    CLIENT_STATE,  /* scripts, but no views */
    CLIENT_SEND,   /* the same, and a data directory is made if there is none */
    CLIENT_VIEWS,  /* views, brought up to the head */
    CLIENT_STATUS, /* views as they stand */
    CLIENT_DEPLOY  /* views, and the deploy that is recorded, whatever the folder holds */
};

struct reply {
    long status;
    struct buf body;
};

int client_open(const struct cli *cli, enum client_needs needs, struct client **client, struct fault *fault);
void client_close(struct client *client);
/* A second connection to the same hub, for another thread; to be closed before the first. */
struct client *client_beside(const struct client *client);
/* Whether a hub is running on the data directory. */
bool client_finds_hub(const struct cli *cli);
/* True if the hub is our own (nobody else was running). */
bool client_is_own(const struct client *client);

/* path begins with /v1/...; accept may be NULL (JSON). An answer of status 400 and above is a fault, read
 * from problem+json; the reply's body is filled all the same. */
int client_get(struct client *client, const char *path, const char *accept, struct reply *reply,
               struct fault *fault);
/* headers: NULL or texts "Name: value", NULL at the end. */
int client_post(struct client *client, const char *path, struct slice body, const char *const *headers,
                struct reply *reply, struct fault *fault);
/* Streams an answer line by line; line is without its newline. Ends when line returns false or the answer
 * ends. */
int client_lines(struct client *client, const char *path, const char *accept,
                 bool (*line)(void *user, struct slice line), void *user, struct fault *fault);

/* For who makes requests of his own (bulk.c): "http://…" without a slash at the end, and how to reach the
 * hub.
 */
const char *client_base(const struct client *client);
void client_set_up(const struct client *client, void *curl);
/* An answer of 400 and above as the fault it came from; returns -1. */
int client_problem(long status, struct slice body, struct fault *fault);

/* Appends text percent-encoded as one path segment or query value. */
void client_put_encoded(struct buf *out, struct slice text);

#endif
