/* repl.c: lore repl: questions to the hub in Lua, typed or given.
 *
 *   repl_prompt      somebody types                repl_script    what is given by -e or stdin
 *   repl_line        a line edited: libedit        repl_history   what was typed in earlier runs
 *   repl_command     what begins with a colon      repl_session   the session, and what is said of it
 *   repl_evaluate    one evaluation, its lines     repl_talk      the protocol; repl_wake: signals meanwhile
 *   repl_locale      what its characters are
 *   repl_show        values, rows, texts, by repl_value, repl_table, repl_plot; repl_save, repl_csv: files */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/host.h"
#include "cli/repl_locale.h"
#include "cli/repl_prompt.h"
#include "cli/repl_script.h"
#include "cli/repl_wake.h"

/* One that came at the very end, or with the end of stdin. */
static void repl_look_at_signals(struct repl *repl)
{
    for (int number; !repl->signal_number && (number = repl_wake_take());)
        if (repl_wake_is_end(number) || (number == SIGINT && !repl->is_interactive))
            repl->signal_number = number;
}

/* A reader of our output that has left ends us as it ends others, silently. */
static void repl_look_at_output(struct repl *repl)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if ((fflush(stdout) == 0 && !ferror(stdout)) || repl->signal_number) return;
    if (poll(&output, 1, 0) == 1 && (output.revents & POLLERR)) repl->signal_number = SIGPIPE;
}

static int repl_run(struct cli *cli)
{
    struct client *client;
    struct fault fault;
    struct repl repl = {.cli = cli};
    repl_locale_set();
    if (client_open(cli, CLIENT_VIEWS, &client, &fault) < 0) return cli_fail(&fault);
    repl.is_interactive =
        cli->many_count == 0 && !cli->json && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    char *socket_path = cli->to ? NULL : host_socket_path(cli->data);
    repl.talk = repl_talk_new(client, cli->to ? cli->to : socket_path, cli->tenant);
    repl_wake_start();
    if (repl.is_interactive)
        repl_prompt_run(&repl);
    else if (cli->many_count)
        repl_script_expressions(&repl, cli->many, cli->many_count);
    else
        repl_script_run(&repl);
    repl_look_at_signals(&repl);
    repl_look_at_output(&repl);
    repl_talk_close(repl.talk);
    repl_talk_free(repl.talk);
    client_close(client);
    mem_free(socket_path);
    buf_release(&repl.tenant);
    buf_release(&repl.at);
    buf_release(&repl.file_name);
    buf_release(&repl.file);
    if (repl.signal_number) repl_wake_die(repl.signal_number);
    return repl.code;
}

static const struct cli_option repl_options[] = {
    {"e", "EXPR", "evaluate it and end; may be given several times"},
    {NULL, NULL, NULL},
};

const struct cli_command cli_repl = {
    .name = "repl",
    .summary = "ask questions in Lua: streams, views, events, past and future",
    .arguments = "",
    .help =
        "Lua 5.4 with the domain at hand. Everything runs in the hub, in a session of its own with limits of "
        "time\n"
        "and memory, and nothing can be written before :write says so. Works on the hub that has the data\n"
        "directory, on any hub by --to URL, or without a hub on the data directory alone.\n\n"
        "  billing.bill \"7\"                      a stream: version, position, state\n"
        "  billing.bill(\"7\"):at \"2026-05-01\"     as it was\n"
        "  views.billing.outstanding_invoices:range(\"due_on\", nil, now())\n"
        "  events { type = \"BillClosed\" }:group(function(e) return e.at:sub(1, 7) end):count()\n"
        "  it:plot()                             the last result as a drawing\n"
        "  dry(billing.bill \"7\", CloseBill {})    what would follow; nothing is written\n\n"
        "At the prompt :help lists all that can be called and the commands of the terminal, TAB completes, "
        "^R\n"
        "searches what was typed before. An input goes on over several lines until it is whole; two empty "
        "lines\n"
        "or Ctrl-C give it up. Ctrl-C during an evaluation stops it, and variables stay. Ctrl-D leaves.\n"
        "What is typed is kept in $XDG_STATE_HOME/lore/history (~/.local/state/lore/history), but for what\n"
        "begins with a blank. Keys can be bound in ~/.editrc. Colours: not with NO_COLOR.\n\n"
        "Without a terminal a script is read from stdin and shown piece by piece as if it were typed. A "
        "local ends\n"
        "with its piece, so from a line that begins with local on the rest of a script is one piece.\n"
        "With -e or a script all rows and lines are shown, and the exit code is 1 where something failed. "
        "--json\n"
        "prints NDJSON: each value is one line of JSON, and so is each row of a query, so that several rows\n"
        "are several lines and no array; what print() says goes to stderr.\n\n"
        "Files are written here, never by the hub, and only those that are named in what was typed: :save "
        "FILE,\n"
        "it:save \"FILE\". CSV is RFC 4180 and holds texts as they are; how many of them a spreadsheet would "
        "take\n"
        "for a formula is said. A file that exists is overwritten with :save! FILE only.\n\n"
        "  lore repl\n"
        "  lore repl --to https://hub.example\n"
        "  lore repl --json -e 'events { type = \"BillClosed\" }:count()'\n"
        "  lore repl < report.lua > report.txt",
    .options = repl_options,
    .takes_scripts = true,
    .takes_data = true,
    .takes_tenant = true,
    .takes_to = true,
    .takes_json = true,
    .run = repl_run,
};
