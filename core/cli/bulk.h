/* bulk.h: very many commands to a hub: bodies of lines to POST /v1/{tenant}/commands, several in flight.
 *
 *     struct bulk *bulk = bulk_open(&options);
 *     bulk_put(bulk, 17, stream, line, &fault);         for each; waits while much is on its way
 *     bulk_wait(bulk, STDIN_FILENO, &fault);            nothing to put for now: sends what is there
 *     bulk_finish(bulk, &fault);                        every line has its result
 *     bulk_close(bulk);
 *
 * Lines of one stream keep their order: they share a lane, which has one body in flight. What the hub cannot
 * take now (429, 503) is sent again after a while, and so is what a broken connection left open: so each line
 * should carry an id, drawn once.
 *
 * Threads: one. Owns: copies of the lines until their result was told. */
#ifndef LORE_CLI_BULK_H
#define LORE_CLI_BULK_H

#include "cli/client.h"

struct bulk;

struct bulk_options {
    struct client *client;
    const char *tenant;
    bool ordered; /* the log gets the lines in their order, over all streams: one body after another */
    /* The results in the order of the lines: the object of a 200, or a problem. */
    void (*result)(void *user, uint64_t number, struct slice line, struct slice result);
    void *user;
};

struct bulk *bulk_open(const struct bulk_options *options);
/* Faults: of the whole, after which nothing can be put: UNAVAILABLE (after several attempts), NOT_FOUND
 * (tenant) … */
int bulk_put(struct bulk *bulk, uint64_t number, struct slice stream, struct slice line, struct fault *fault);
/* Sends all that was put and returns when fd can be read. */
int bulk_wait(struct bulk *bulk, int fd, struct fault *fault);
int bulk_finish(struct bulk *bulk, struct fault *fault);
void bulk_close(struct bulk *bulk);

#endif
