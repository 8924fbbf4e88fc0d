/* rand.h: randomness enters the hub here. Threads: any. */
#ifndef LORE_BASE_RAND_H
#define LORE_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

enum { RAND_UUID_SIZE = 36 };

void rand_bytes(void *to, size_t size);
/* A version 7 UUID (RFC 9562): 36 lower-case characters and a NUL; sorts by now_ms. */
void rand_uuid(int64_t now_ms, char text[RAND_UUID_SIZE + 1]);
/* The UUID text (version 8) of 16 given bytes, for ids that are derived, not drawn. */
void rand_uuid_of(const uint8_t bytes[16], char text[RAND_UUID_SIZE + 1]);

#endif
