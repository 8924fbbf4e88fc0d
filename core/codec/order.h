/* order.h: index values as bytes whose order (memcmp) is the order of the values:
 * false < true < numbers by value (integers, floats by their shortest digits, decimals) < text by bytes.
 * 1, 1.0 and decimal "1.00" are equal. No form is the beginning of another, so a key may follow it. Threads:
 * any. */
#ifndef LORE_CODEC_ORDER_H
#define LORE_CODEC_ORDER_H

#include "base/buf.h"
#include "base/slice.h"

/* Appends the ordered form of one MessagePack scalar. False (nothing appended) for nil, lists and maps: not
 * indexed. Texts are cut to LIMIT_INDEX_VALUE_SIZE_MAX bytes; the form is at most two bytes longer. */
bool order_put(struct buf *out, struct slice value);
/* A query value as it is written in a URL or command line: reads as a JSON number -> a number; "7" in quotes
 * -> text; true and false -> boolean; anything else -> text. Appends it as a MessagePack scalar. */
void order_query(struct buf *out, struct slice text);

#endif
