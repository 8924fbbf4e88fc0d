/* bench_domain.h: the domain and the rows that lore bench measures with: a shop's orders, placed, paid,
 * shipped, one in a thousand returned. */
#ifndef LORE_CLI_BENCH_DOMAIN_H
#define LORE_CLI_BENCH_DOMAIN_H

#include <stdint.h>

#include "base/fault.h"

#define BENCH_CONTEXT "shop"
#define BENCH_AGGREGATE "order"
#define BENCH_IMPORT "scripts/" BENCH_CONTEXT "/import/orders.lua"
#define BENCH_FEW "shop/sales_by_day" /* free style, 365 documents */
#define BENCH_MANY "shop/orders"      /* one document an order */
#define BENCH_RARE "OrderReturned"
#define BENCH_COMMAND                                                                                        \
    "{\"type\":\"PlaceOrder\",\"data\":{\"customer\":\"c-17\",\"amount\":\"12.50\",\"article\":17,\"day\":"  \
    "\"2026-01-01\"}}"

/* Writes scripts/ into folder. */
int bench_domain_write(const char *folder, struct fault *fault);
/* Writes about so many rows for BENCH_IMPORT; *rows is how many, *rare how many of them return an order. */
int bench_domain_rows(const char *path, uint64_t events, uint64_t *rows, uint64_t *rare, struct fault *fault);

#endif
