/* gate_contracts.h: parts (b) and (d) of the gate: do new scripts read what is stored, and does the running
 * version read what new scripts may write?
 *
 * What is stored: the log's shapes (store/shapes.h). The first and the last event of each shape are read from
 * the log and put through the new upcasters and contract, as a handler would get them. Appended to json:
 *
 *   "contracts":[{"event":"billing.BillClosed","version":1,"events":12345,"verdict":"breaks",
 *                 "error":"…","field":"lines[].price","before":true,
 *                 "position":17,"stream":"main/billing/bill/7","example":{…}}, …],
 *   "back":[{"event":"billing.BillClosed","version":2,"reason":"…"}, …]
 *
 *   verdict  breaks: a handler or state needs the event and cannot get it as the contract says
 *            loses:  a field of the event is not in the contract any more; or the type is not, or it has no
 *                    handler any more
 *            fine:   all of it is read. One row for each type and version without any other row, and one for
 *                    each field that an upcaster makes something else of
 *   events   how many have this: of all shapes it was found in
 *   error    the words of contract or upcaster ("BillClosed.sum: expected decimal, got nothing"), or what
 *            became of the field; absent where nothing is to be said
 *   field    the path in the stored event; absent where it is the event as a whole or the error names it
 *   before   the running version does not read this either: it is not counted. Else absent
 *   position, stream, example: of one such event; absent in fine rows and where its record is erased
 *
 * Rows are in order of event and version; breaks before loses before fine. "back" names what new scripts may
 * write and the running version does not read as it is: event types it does not have or has in a lower
 * version only, fields it does not have, or has of another type, or needs and may not get. Without a running
 * version it is empty.
 *
 * Threads: the one that may call both domains (domain_thread_start). Owns: nothing. */
#ifndef LORE_RUN_GATE_CONTRACTS_H
#define LORE_RUN_GATE_CONTRACTS_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/fault.h"
#include "store/engine.h"
#include "store/shapes.h"
#include "vm/domain.h"

struct gate_contracts {
    struct engine *engine;
    struct shapes *shapes;   /* of the engine's log (shapes_of_log) */
    struct domain *fresh;    /* of the new scripts */
    struct domain *running;  /* NULL: this is the first deploy */
    const atomic_bool *stop; /* may be NULL */
};

struct gate_contracts_counts {
    uint64_t breaks, loses, fine;         /* rows; of the first two without those that were before */
    uint64_t breaks_events, loses_events; /* of the rows */
    uint64_t back;                        /* rows of "back" */
};

/* Appends the two members, behind others of an object or as its first. Faults: CORRUPT, DISK (the log);
 * UNAVAILABLE (*stop). */
int gate_contracts(const struct gate_contracts *gate, struct buf *json, struct gate_contracts_counts *counts,
                   struct fault *fault);

/* gate_back.c: "back" alone. */
void gate_contracts_back(const struct gate_contracts *gate, struct buf *json,
                         struct gate_contracts_counts *counts);

#endif
