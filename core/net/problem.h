/* problem.h: answers that say no, as application/problem+json (RFC 9457) with a stable code.
 *
 *     problem_begin(out, 409, "conflict", detail);
 *     json_put_int_member(out, "version", 7);          members of the kind of problem
 *     problem_end(out);
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_NET_PROBLEM_H
#define LORE_NET_PROBLEM_H

#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

#define PROBLEM_TYPE "application/problem+json"

void problem_begin(struct buf *out, int status, const char *code, struct slice detail);
void problem_end(struct buf *out);
/* The whole of it. */
void problem_put(struct buf *out, int status, const char *code, struct slice detail);
/* The same from a fault, with "reason" if it has one. */
void problem_put_fault(struct buf *out, const struct fault *fault);
/* Seconds for Retry-After, 0: none. */
int problem_retry_s(int status, const char *code);
/* "Conflict": the standard phrase of a status. */
const char *problem_phrase(int status);

#endif
