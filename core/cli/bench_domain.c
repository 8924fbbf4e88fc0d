#include "cli/bench_domain.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/slice.h"

enum { ORDER_ROWS = 3, RETURNED_EVERY = 1000, DAYS = 365, CUSTOMERS = 5000, ARTICLES = 300 };

static const char contracts[] =
    "contracts [[\n"
    "  let placed = (customer: string, amount: decimal, article: integer, day: string)\n"
    "  PlaceOrder?    (placed)\n"
    "  OrderPlaced!   (placed)\n"
    "  PayOrder?      (amount: decimal, day: string)\n"
    "  OrderPaid!     (amount: decimal, day: string)\n"
    "  ShipOrder?     (carrier: string, day: string)\n"
    "  OrderShipped!  (carrier: string, day: string)\n"
    "  ReturnOrder?   (reason: string, day: string)\n"
    "  OrderReturned! (reason: string, day: string)\n"
    "]]\n";

static const char order[] =
    "local order = aggregate \"order\" { initial = {} }\n"
    "\n"
    "function order.apply.OrderPlaced(state, e) state.amount, state.open = e.amount, e.amount end\n"
    "function order.apply.OrderPaid(state, e) state.open = state.open - e.amount end\n"
    "function order.apply.OrderShipped(state, e) state.shipped = e.day end\n"
    "function order.apply.OrderReturned(state, e) state.returned = e.day end\n"
    "\n"
    "local function must_exist(state, m)\n"
    "  if not state.amount then reject(\"unknown\", \"there is no order %s\", m.id) end\n"
    "end\n"
    "\n"
    "function order.execute.PlaceOrder(state, c, m)\n"
    "  if state.amount then reject(\"exists\", \"order %s was placed\", m.id) end\n"
    "  return OrderPlaced { customer = c.customer, amount = c.amount, article = c.article, day = c.day }\n"
    "end\n"
    "function order.execute.PayOrder(state, c, m)\n"
    "  must_exist(state, m)\n"
    "  if c.amount > state.open then reject(\"too_much\", \"%s of %s are open\", state.open, state.amount) "
    "end\n"
    "  return OrderPaid { amount = c.amount, day = c.day }\n"
    "end\n"
    "function order.execute.ShipOrder(state, c, m)\n"
    "  must_exist(state, m)\n"
    "  return OrderShipped { carrier = c.carrier, day = c.day }\n"
    "end\n"
    "function order.execute.ReturnOrder(state, c, m)\n"
    "  must_exist(state, m)\n"
    "  return OrderReturned { reason = c.reason, day = c.day }\n"
    "end\n";

static const char orders[] =
    "local orders = projection \"orders\" { initial = { events = 0 }, index = { \"status\" } }\n"
    "\n"
    "local function step(view, e, status)\n"
    "  view.events, view.last, view.status = view.events + 1, e.day, status\n"
    "end\n"
    "\n"
    "function orders.when.OrderPlaced(view, e)\n"
    "  view.customer, view.amount, view.open = e.customer, e.amount, e.amount\n"
    "  step(view, e, \"placed\")\n"
    "end\n"
    "function orders.when.OrderPaid(view, e)\n"
    "  view.open = view.open - e.amount\n"
    "  step(view, e, \"paid\")\n"
    "end\n"
    "function orders.when.OrderShipped(view, e) step(view, e, \"shipped\") end\n"
    "function orders.when.OrderReturned(view, e) step(view, e, \"returned\") end\n";

static const char sales_by_day[] =
    "local sales = projection \"sales_by_day\" { key = false }\n"
    "\n"
    "local function add(docs, e, m, amount)\n"
    "  docs:update(e.day, {}, function(day)\n"
    "    local kind = day[m.type]\n"
    "    if not kind then\n"
    "      kind = { count = 0 }\n"
    "      day[m.type] = kind\n"
    "    end\n"
    "    kind.count = kind.count + 1\n"
    "    if amount then kind.amount = (kind.amount or decimal \"0.00\") + amount end\n"
    "  end)\n"
    "end\n"
    "\n"
    "function sales.when.OrderPlaced(docs, e, m) add(docs, e, m, e.amount) end\n"
    "function sales.when.OrderPaid(docs, e, m) add(docs, e, m, e.amount) end\n"
    "function sales.when.OrderShipped(docs, e, m) add(docs, e, m) end\n"
    "function sales.when.OrderReturned(docs, e, m) add(docs, e, m) end\n";

static const char import[] =
    "local rows = {}\n"
    "\n"
    "function rows.place(row)\n"
    "  return PlaceOrder { customer = row.customer, amount = decimal(row.amount), article = row.article, day "
    "= row.day }\n"
    "end\n"
    "function rows.pay(row) return PayOrder { amount = decimal(row.amount), day = row.day } end\n"
    "function rows.ship(row) return ShipOrder { carrier = row.carrier, day = row.day } end\n"
    "function rows.back(row) return ReturnOrder { reason = row.reason, day = row.day } end\n"
    "\n"
    "return function(row) send.order(row.id, rows[row.what](row)) end\n";

static const struct {
    const char *path, *text; /* text NULL: a folder */
} files[] = {
    {"scripts", NULL},
    {"scripts/" BENCH_CONTEXT, NULL},
    {"scripts/" BENCH_CONTEXT "/import", NULL},
    {"scripts/" BENCH_CONTEXT "/contracts.lua", contracts},
    {"scripts/" BENCH_CONTEXT "/order.lua", order},
    {"scripts/" BENCH_CONTEXT "/orders.lua", orders},
    {"scripts/" BENCH_CONTEXT "/sales_by_day.lua", sales_by_day},
    {BENCH_IMPORT, import},
};

static int write_text(const char *path, const char *text, struct fault *fault)
{
    FILE *file = fopen(path, "we");
    if (!file) return fault_errno(fault, errno, "%s cannot be written", path);
    bool failed = fputs(text, file) < 0;
    if (fclose(file) != 0 || failed) return fault_errno(fault, errno, "%s cannot be written", path);
    return 0;
}

int bench_domain_write(const char *folder, struct fault *fault)
{
    for (size_t at = 0; at < sizeof files / sizeof *files; at++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, files[at].path);
        if (!files[at].text && mkdir(path, 0755) < 0)
            return fault_errno(fault, errno, "%s cannot be made", path);
        if (files[at].text && write_text(path, files[at].text, fault) < 0) return -1;
    }
    return 0;
}

/* The rows of one order; neighbours in time are of different orders, as in a shop: it is paid and shipped
 * while others come. */
static void write_row(FILE *file, uint64_t number, unsigned step)
{
    unsigned day = (unsigned)(number % DAYS), cents = (unsigned)(number * 7919 % 100000) + 100;
    char date[16];
    snprintf(date, sizeof date, "2026-%02u-%02u", day / 31 + 1, day % 28 + 1);
    if (step == 0)
        fprintf(file,
                "{\"what\":\"place\",\"id\":\"o-%" PRIu64 "\",\"customer\":\"c-%" PRIu64
                "\",\"amount\":\"%u.%02u\",\"article\":%" PRIu64 ",\"day\":\"%s\"}\n",
                number, number % CUSTOMERS, cents / 100, cents % 100, number % ARTICLES, date);
    else if (step == 1)
        fprintf(file, "{\"what\":\"pay\",\"id\":\"o-%" PRIu64 "\",\"amount\":\"%u.%02u\",\"day\":\"%s\"}\n",
                number, cents / 100, cents % 100, date);
    else if (step == 2)
        fprintf(file, "{\"what\":\"ship\",\"id\":\"o-%" PRIu64 "\",\"carrier\":\"post\",\"day\":\"%s\"}\n",
                number, date);
    else
        fprintf(file,
                "{\"what\":\"back\",\"id\":\"o-%" PRIu64 "\",\"reason\":\"too small\",\"day\":\"%s\"}\n",
                number, date);
}

int bench_domain_rows(const char *path, uint64_t events, uint64_t *rows, uint64_t *rare, struct fault *fault)
{
    FILE *file = fopen(path, "we");
    if (!file) return fault_errno(fault, errno, "%s cannot be written", path);
    uint64_t count = (events + ORDER_ROWS - 1) / ORDER_ROWS, apart = count / 4 + 1;
    *rows = *rare = 0;
    for (uint64_t at = 0; at < count + 2 * apart; at++) {
        for (unsigned step = 0; step < ORDER_ROWS; step++) {
            uint64_t behind = step * apart;
            if (at < behind || at - behind >= count) continue;
            write_row(file, at - behind, step);
            ++*rows;
            if (step != 2 || (at - behind) % RETURNED_EVERY != 0) continue;
            write_row(file, at - behind, 3);
            ++*rows;
            ++*rare;
        }
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) return fault_errno(fault, errno, "%s cannot be written", path);
    return 0;
}
