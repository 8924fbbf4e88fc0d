#include "run/importer.h"

#include <limits.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "run/inside.h"

enum {
    /* Enough to keep every stage busy between two flushes of the log, little enough to bound memory. */
    IMPORTER_IN_FLIGHT_MAX = 2048,
    IMPORTER_IN_FLIGHT_FULL = 1536, /* who had to wait goes on below this: not woken for each answer */
    IMPORTER_CHUNK = 256
};

struct importer_list {
    struct command *first, *last;
    size_t count;
};

struct importer {
    struct importer_options options;
    struct domain *domain;
    struct release *release; /* of the domain, held */
    struct hash source;      /* of tenant, script and source: what all ids have in common */
    struct inbox answered;   /* struct importer_origin */
    struct command_pool commands;
    size_t in_flight;
    uint64_t ordered;
    struct importer_counts counts;
    struct fault ended; /* what ended the import, FAULT_NONE while it goes on */

    /* the row at hand */
    uint64_t row;
    struct slice source_line;
    uint32_t ordinal;
    struct importer_list messages; /* sent together when the script has ended well */
    /* Rows that are ready: handed over in chunks, so that the shards are woken once for many and the writer
     * gets much at a time. */
    struct importer_list chunk;
};

/* What a refusal is told with, kept in the command's arena. */
struct importer_origin {
    struct inbox_link link; /* answered */
    struct command *command;
    struct importer *importer;
    uint64_t row;
    struct slice source_line;
};

/* The script's path relative to the scripts folder. */
static int importer_relative(const struct importer_options *options, char relative[PATH_MAX],
                             struct fault *fault)
{
    char folder[PATH_MAX], file[PATH_MAX];
    if (!realpath(options->hub->scripts, folder) || !realpath(options->script, file))
        return fault_set(fault, FAULT_NOT_FOUND, "the import script %s does not exist", options->script);
    size_t size = strlen(folder);
    if (strncmp(file, folder, size) != 0 || file[size] != '/')
        return fault_set(fault, FAULT_NOT_FOUND,
                         "the import script %s is not inside the scripts folder %s: name it with --scripts",
                         options->script, options->hub->scripts);
    memcpy(relative, file + size + 1, strlen(file + size + 1) + 1);
    return 0;
}

int importer_open(const struct importer_options *options, struct importer **opened, struct fault *fault)
{
    char relative[PATH_MAX];
    if (!hub_has_tenant(options->hub, slice_of(options->tenant)))
        return fault_set(fault, FAULT_NOT_FOUND, "there is no tenant '%s'", options->tenant);
    if (importer_relative(options, relative, fault) < 0) return -1;
    struct importer *importer = MEM_NEW(struct importer);
    importer->options = *options;
    importer->commands.count_max = IMPORTER_IN_FLIGHT_MAX;
    if (hub_domain_open(options->hub, &importer->domain, &importer->release, fault) < 0 ||
        domain_import_open(importer->domain, slice_of(relative), fault) < 0) {
        if (importer->domain) domain_close(importer->domain);
        release_let_go(importer->release);
        mem_free(importer);
        return -1;
    }
    struct buf all = {0};
    buf_format(&all, "%s\n%s\n%s", options->tenant, relative, options->source);
    importer->source = hash_of(buf_slice(&all));
    buf_release(&all);
    inbox_init(&importer->answered, 0); /* the window bounds it */
    domain_thread_start();
    *opened = importer;
    return 0;
}

/* Any thread. */
static void importer_done(struct command *command)
{
    struct importer_origin *origin = command->user;
    inbox_put(&origin->importer->answered, &origin->link);
}

static void importer_answer(struct importer *importer, struct command *command)
{
    struct importer_origin *origin = command->user;
    importer->in_flight--;
    switch (command->fault.code) {
    case FAULT_NONE:
        if (command->repeated)
            importer->counts.skipped++;
        else if (command->is_fact)
            importer->counts.facts++;
        else
            importer->counts.commands++;
        break;
    case FAULT_DISK:
    case FAULT_CORRUPT:
    case FAULT_UNAVAILABLE:
    case FAULT_INTERNAL:
        if (importer->ended.code == FAULT_NONE) importer->ended = command->fault;
        break;
    default:
        importer->counts.rejected++;
        importer->options.refused(importer->options.user, origin->row, origin->source_line, &command->fault);
    }
    command_pool_give(&importer->commands, command);
}

/* Takes answers; waits until fewer than in_flight_max are under way. */
static void importer_drain(struct importer *importer, size_t in_flight_max)
{
    do {
        bool wait = importer->in_flight >= in_flight_max;
        struct inbox_link *list = importer->in_flight ? inbox_take(&importer->answered, wait ? -1 : 0) : NULL;
        while (list) {
            struct importer_origin *origin = (struct importer_origin *)list;
            list = list->next;
            importer_answer(importer, origin->command);
        }
    } while (importer->in_flight >= in_flight_max);
}

static void importer_list_put(struct importer_list *list, struct command *command)
{
    if (list->last)
        list->last->next = command;
    else
        list->first = command;
    list->last = command;
    list->count++;
}

static struct slice importer_id(struct importer *importer, struct arena *arena)
{
    struct {
        struct hash source;
        uint64_t row, ordinal;
    } place = {importer->source, importer->row, importer->ordinal};
    struct hash hash = hash_of(slice_make(&place, sizeof place));
    char text[RAND_UUID_SIZE + 1];
    rand_uuid_of(hash.bytes, text);
    return arena_copy(arena, slice_of(text));
}

/* One send or record of the script. Nothing is submitted before the whole row has ended well. */
static int importer_sink(void *user, const struct import_call *call, struct fault *fault)
{
    (void)fault;
    struct importer *importer = user;
    struct command *command = command_pool_take(&importer->commands);
    struct arena *arena = &command->arena;
    struct importer_origin *origin = arena_take(arena, sizeof *origin);
    *origin = (struct importer_origin){.command = command,
                                       .importer = importer,
                                       .row = importer->row,
                                       .source_line = arena_copy(arena, importer->source_line)};
    importer->ordinal++;
    command->tenant = slice_of(importer->options.tenant);
    command->context = arena_copy(arena, call->context);
    command->aggregate = arena_copy(arena, call->aggregate);
    command->id = arena_copy(arena, call->id);
    command->item_count = 1;
    command->items = arena_zero(arena, sizeof *command->items);
    command->items->type = arena_copy(arena, call->type);
    command->items->data = arena_copy(arena, call->data);
    command->items->is_checked = true;
    command->items->id =
        call->command_id.size ? arena_copy(arena, call->command_id) : importer_id(importer, arena);
    command->is_fact = call->is_fact;
    command->brief = true;
    command->at_ms = call->has_at ? call->at_ms : INT64_MIN;
    command->done = importer_done;
    command->user = origin;
    importer_list_put(&importer->messages, command);
    return 0;
}

static void importer_forget(struct importer *importer, struct importer_list *list)
{
    while (list->first) {
        struct command *next = list->first->next;
        command_pool_give(&importer->commands, list->first);
        list->first = next;
    }
    *list = (struct importer_list){0};
}

static int importer_submit(struct importer *importer, struct fault *fault)
{
    struct importer_list *chunk = &importer->chunk;
    while (chunk->first) {
        struct command *command = chunk->first;
        if (importer->in_flight == IMPORTER_IN_FLIGHT_MAX) {
            hub_rouse(importer->options.hub);
            importer_drain(importer, IMPORTER_IN_FLIGHT_FULL);
        }
        chunk->first = command->next;
        command->next = NULL;
        command->ordered = ++importer->ordered;
        importer->in_flight++;
        struct fault refused;
        if (hub_submit_quietly(importer->options.hub, command, true, &refused) == 0) continue;
        /* Refused at the door; its number is used up all the same. */
        command->fault = refused;
        importer_answer(importer, command);
    }
    *chunk = (struct importer_list){0};
    hub_rouse(importer->options.hub);
    importer_drain(importer, IMPORTER_IN_FLIGHT_MAX);
    if (importer->ended.code == FAULT_NONE) return 0;
    *fault = importer->ended;
    return -1;
}

static int importer_post(struct importer *importer, struct fault *fault)
{
    for (const struct command *command = importer->messages.first; command; command = command->next)
        if (importer->options.post(importer->options.post_user, command, importer->row, importer->source_line,
                                   fault) < 0) {
            importer->ended = *fault;
            break;
        }
    importer_forget(importer, &importer->messages);
    return importer->ended.code == FAULT_NONE ? 0 : -1;
}

/* The row at hand has ended well: its messages join the chunk. */
static int importer_add_row(struct importer *importer, struct fault *fault)
{
    if (importer->options.post) return importer_post(importer, fault);
    while (importer->messages.first) {
        struct command *command = importer->messages.first;
        importer->messages.first = command->next;
        command->next = NULL;
        importer_list_put(&importer->chunk, command);
    }
    importer->messages = (struct importer_list){0};
    return importer->chunk.count < IMPORTER_CHUNK ? 0 : importer_submit(importer, fault);
}

int importer_row(struct importer *importer, uint64_t number, struct slice row, struct slice source_line,
                 struct fault *fault)
{
    importer->row = number;
    importer->source_line = source_line;
    importer->ordinal = 0;
    if (importer->ended.code != FAULT_NONE) {
        *fault = importer->ended;
        return -1;
    }
    int done = domain_import_row(importer->domain, row, importer_sink, importer, fault);
    if (done < 0) {
        importer_forget(importer, &importer->messages);
        return -1;
    }
    return importer_add_row(importer, fault);
}

int importer_finish(struct importer *importer, struct fault *fault)
{
    int done = importer_submit(importer, fault);
    importer_drain(importer, 1);
    if (done == 0 && importer->ended.code == FAULT_NONE) return 0;
    *fault = importer->ended;
    return -1;
}

struct importer_counts importer_counts(const struct importer *importer)
{
    return importer->counts;
}

void importer_close(struct importer *importer)
{
    if (!importer) return;
    importer_forget(importer, &importer->messages);
    importer_forget(importer, &importer->chunk);
    importer_drain(importer, 1);
    domain_thread_stop();
    domain_close(importer->domain);
    release_let_go(importer->release);
    inbox_release(&importer->answered);
    command_pool_release(&importer->commands);
    mem_free(importer);
}
