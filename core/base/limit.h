/* limit.h: every bound of the program in one place, each with its reason. Sizes from outside meet these
 * first. Those marked (hub.lua) are defaults that scripts/hub.lua may change. */
#ifndef LORE_BASE_LIMIT_H
#define LORE_BASE_LIMIT_H

enum {
    /* Names and keys: an LMDB key holds at most 511 bytes, and a stream's index key is two name ids, id,
       version. */
    LIMIT_TENANT_SIZE_MAX = 63,
    LIMIT_NAME_SIZE_MAX = 63, /* contexts, declarations, fields, message types */
    LIMIT_ID_SIZE_MAX = 200,  /* aggregate ids and command ids */
    LIMIT_DOCUMENT_KEY_SIZE_MAX = 255,
    LIMIT_INDEX_VALUE_SIZE_MAX = 160, /* longer texts are indexed by this prefix, then compared in full */
    LIMIT_INDEXES_MAX = 8,            /* indexes of one projection: each costs a write per changed document */

    LIMIT_MESSAGE_SIZE_MAX = 1 << 20,  /* (hub.lua) a command or an event, encoded */
    LIMIT_BATCH_COMMANDS_MAX = 1000,   /* (hub.lua) commands in one transaction */
    LIMIT_DOCUMENT_SIZE_MAX = 4 << 20, /* (hub.lua) a state or a document, encoded */
    LIMIT_TRANSACTION_SIZE_MAX =
        64 << 20, /* events of one transaction: what one call may give, however many commands give them */
    LIMIT_HEADERS_SIZE_MAX = 16 << 10, /* (hub.lua) */
    LIMIT_CONNECTIONS_MAX = 10000,     /* (hub.lua) */
    LIMIT_BODY_SIZE_MAX = 64 << 20,    /* (hub.lua) an HTTP body */
    LIMIT_BULK_LINES_MAX = 100000,     /* commands in one bulk body: about a second of work */
    LIMIT_BODY_DROPPED_MAX =
        100 << 20, /* what is read and dropped of a body too large, so a client sees the 413 */
    LIMIT_BODY_DROPPED_MS = 5000,

    LIMIT_DEPTH_MAX = 100, /* nesting of JSON, MessagePack and state: keeps recursion off the C stack's end */

    LIMIT_CAUSATION_DEPTH_MAX = 100, /* (hub.lua) messages that cause each other: a longer chain is a loop */
    LIMIT_RETRIES = 8, /* (hub.lua) of what a receptor or a service sends and nobody can take: some three
                          minutes, then it is parked */

    LIMIT_RESPONSE_SIZE_MAX =
        1 << 20, /* (hub.lua: http_response_size) an answer to a service's HTTP request */
    LIMIT_RESPONSE_HEADERS_SIZE_MAX = 64 << 10, /* of it and of the redirects before it */
    LIMIT_QUEUE_SERVICES = 1024, /* commands to services that wait or run: each holds a few KB, then 429 */

    LIMIT_QUEUE_COMMANDS = 8192,       /* waiting commands of one shard: about 0.2 s of work, then 429 */
    LIMIT_QUEUE_WRITER = 8192,         /* decided commits waiting for the disk */
    LIMIT_BATCH_WRITE_BYTES = 8 << 20, /* one group commit: bounds its memory and the time until its answer */

    /* One half of the journal, at first and at most: it doubles when it was filled, so a small directory
       stays small; what both hold is read at a start after a crash, and is in memory meanwhile. */
    LIMIT_JOURNAL_SIZE_MIN = 1 << 20,
    LIMIT_JOURNAL_SIZE_MAX = 16 << 20,

    LIMIT_INDEX_BEHIND =
        50000, /* events that the index may lag behind the log: bounds memory and start after a crash */

    /* Shapes of events (store/shapes.h). A contract rarely nests beyond three; what is deeper lies in fields
       of type any, which no contract looks into. */
    LIMIT_SHAPE_DEPTH_MAX = 6,
    LIMIT_SHAPE_FIELDS_MAX = 200, /* named in one shape: more are a map whose keys look like names */
    LIMIT_SHAPES_MAX = 64, /* of one version of a type: six optional fields in any combination. Each costs the
                              gate two events to read; beyond it fields are counted one by one. */
    LIMIT_SHAPES_SIZE_MAX = 64 << 10, /* their texts: a thousand types at their bounds take 64 MiB */

    LIMIT_INSTRUCTIONS_MAX =
        10000000, /* (hub.lua) of one handler call: about 100 ms, so that others are not kept waiting. No
                     processor may run as many before the watchdog asks for the exact count (8 ms of CPU
                     time, 1.2 instructions a nanosecond), or the verdict would depend on the machine. */
    LIMIT_CALL_MEMORY_MAX = 64 << 20,   /* allocated by one handler call */
    LIMIT_STATE_MEMORY_MAX = 512 << 20, /* of one Lua state, caches included */
    LIMIT_RUN_CALLS_MAX = 100, /* how often a run of a service or task, between what it waits for and pages of
                                  views, may use the instructions of one call */
    LIMIT_RUN_MEMORY_SHARE = 32,   /* of the state's memory one run may keep while it waits, 16 MiB: so many
                                      must do so before others are refused */
    LIMIT_RUN_REQUESTS_MAX = 1000, /* HTTP requests of one run */
    LIMIT_WATCHDOG_TICK_MS = 4,    /* what the kernel counts CPU time in */
    LIMIT_WATCHDOG_TICKS =
        1 /* a call longer than this many ticks of CPU time is repeated under an exact count */
};

#endif
