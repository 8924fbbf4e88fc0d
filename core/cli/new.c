/* new.c: lore new: a small, working scripts folder to begin with. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"

static const char new_readme[] =
    "# A lore hub\n"
    "\n"
    "    lore check              do the scripts load?\n"
    "    lore test               run the specs\n"
    "    lore serve --watch      run the hub on http://127.0.0.1:7070, data in ./data; what is saved is "
    "deployed\n"
    "\n"
    "Then, in another terminal:\n"
    "\n"
    "    lore send shop/order/1 PlaceOrder '{\"customer\":\"ada\",\"amount\":\"12.50\"}'\n"
    "    lore events\n"
    "    lore state shop/order/1\n"
    "    lore view open_orders\n"
    "\n"
    "`scripts/shop` is a bounded context: `contracts.lua` names its commands and events, `order.lua` is an "
    "aggregate\n"
    "that decides, `open_orders.lua` a projection that shows. Edit a handler: the running hub takes the new "
    "code "
    "between two\n"
    "commands and builds only the views whose code changed. Before that, `lore deploy --plan` shows what the "
    "change "
    "would do to\n"
    "the data that is there; `lore deploy` brings it to a hub without --watch, `lore undeploy` goes back.\n";

static const char new_contracts[] = "contracts [[\n"
                                    "  PlaceOrder?  (customer: string, amount: decimal)\n"
                                    "  OrderPlaced! (customer: string, amount: decimal)\n"
                                    "  ShipOrder?\n"
                                    "  OrderShipped!\n"
                                    "]]\n";

static const char new_order[] =
    "local order = aggregate \"order\" { initial = {} }\n"
    "\n"
    "function order.apply.OrderPlaced(state, e) state.customer = e.customer end\n"
    "function order.apply.OrderShipped(state) state.shipped = true end\n"
    "\n"
    "function order.execute.PlaceOrder(state, c, m)\n"
    "  if state.customer then reject(\"exists\", \"order %s was placed by %s\", m.id, state.customer) end\n"
    "  return OrderPlaced { customer = c.customer, amount = c.amount }\n"
    "end\n"
    "\n"
    "function order.execute.ShipOrder(state, _, m)\n"
    "  if not state.customer then reject(\"unknown\", \"there is no order %s\", m.id) end\n"
    "  if state.shipped then reject(\"shipped\", \"order %s is on its way\", m.id) end\n"
    "  return OrderShipped {}\n"
    "end\n";

static const char new_open_orders[] =
    "local open = projection \"open_orders\" { index = { \"customer\" } }\n"
    "\n"
    "function open.when.OrderPlaced(view, e) view.customer, view.amount = e.customer, e.amount end\n"
    "function open.when.OrderShipped() return false end -- false removes the document\n";

static const char new_spec[] =
    "describe(\"placing an order\", function()\n"
    "  it(\"records it\", function()\n"
    "    aggregate(\"order\", \"1\")\n"
    "      :when   { PlaceOrder { customer = \"ada\", amount = decimal \"12.50\" } }\n"
    "      :expect { OrderPlaced { customer = \"ada\", amount = decimal \"12.50\" } }\n"
    "  end)\n"
    "\n"
    "  it(\"is refused the second time\", function()\n"
    "    aggregate(\"order\", \"1\")\n"
    "      :given   { OrderPlaced { customer = \"ada\", amount = decimal \"12.50\" } }\n"
    "      :when    { PlaceOrder { customer = \"bob\", amount = decimal \"1.00\" } }\n"
    "      :rejects \"exists\"\n"
    "  end)\n"
    "end)\n"
    "\n"
    "describe(\"shipping an order\", function()\n"
    "  it(\"takes it off the list\", function()\n"
    "    projection \"open_orders\"\n"
    "      :given  { on(\"1\", OrderPlaced { customer = \"ada\", amount = decimal \"12.50\" }), on(\"1\", "
    "OrderShipped {}) }\n"
    "      :expect {}\n"
    "  end)\n"
    "\n"
    "  it(\"is refused for an order that was never placed\", function()\n"
    "    aggregate(\"order\", \"1\"):when { ShipOrder {} }:rejects \"unknown\"\n"
    "  end)\n"
    "end)\n";

static const struct {
    const char *path, *text; /* text NULL: a folder */
} new_files[] = {
    {"", NULL},
    {"/scripts", NULL},
    {"/scripts/shop", NULL},
    {"/specs", NULL},
    {"/specs/shop", NULL},
    {"/README.md", new_readme},
    {"/scripts/shop/contracts.lua", new_contracts},
    {"/scripts/shop/order.lua", new_order},
    {"/scripts/shop/open_orders.lua", new_open_orders},
    {"/specs/shop/order_spec.lua", new_spec},
};

/* Never overwrites: a file that is there is an error. */
static int new_write(const char *path, const char *text, struct fault *fault)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST)
        return fault_set(fault, FAULT_USAGE, "%s is there already: nothing was overwritten", path);
    if (fd < 0) return fault_errno(fault, errno, "%s cannot be written", path);
    size_t size = strlen(text);
    ssize_t written = write(fd, text, size);
    int error = errno;
    if (close(fd) < 0 || written != (ssize_t)size)
        return fault_errno(fault, written < 0 ? error : ENOSPC, "%s cannot be written", path);
    return 0;
}

/* A folder as a shell takes it. */
static void new_put_word(struct buf *out, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+,:@%";
    if (*word && word[strspn(word, plain)] == 0) {
        buf_put_text(out, word);
        return;
    }
    buf_put_byte(out, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            buf_put_text(out, "'\\''");
        else
            buf_put(out, word, 1);
    }
    buf_put_byte(out, '\'');
}

static int new_run(struct cli *cli)
{
    struct fault fault;
    for (size_t at = 0; at < sizeof new_files / sizeof *new_files; at++) {
        struct buf path = {0};
        buf_format(&path, "%s%s", cli->rest[0], new_files[at].path);
        buf_put_byte(&path, 0);
        int done = 0;
        if (new_files[at].text)
            done = new_write(path.data, new_files[at].text, &fault);
        else if (mkdir(path.data, 0777) < 0 && errno != EEXIST)
            done = fault_errno(&fault, errno, "the folder %s cannot be made", path.data);
        buf_release(&path);
        if (done < 0) return cli_fail(&fault);
    }
    struct buf folder = {0};
    new_put_word(&folder, cli->rest[0]);
    printf("%s holds a small hub: cd %.*s, then lore test and lore serve; README.md says more\n",
           cli->rest[0], SLICE_ARGS(buf_slice(&folder)));
    buf_release(&folder);
    return CLI_OK;
}

const struct cli_command cli_new = {
    .name = "new",
    .summary = "a small, working scripts folder with one context and its spec",
    .arguments = "DIR",
    .help = "Makes DIR with scripts/, specs/ and a README. Nothing that is there is overwritten.",
    .rest_min = 1,
    .rest_max = 1,
    .run = new_run,
};
