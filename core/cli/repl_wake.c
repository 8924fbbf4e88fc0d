#include "cli/repl_wake.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/say.h"

static const int wake_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH};
static int wake_pipe[2] = {-1, -1};

/* A full pipe holds thousands of signals that nobody took: one more or less is the same. */
static void wake_on_signal(int number)
{
    int before = errno;
    uint8_t byte = (uint8_t)number;
    if (write(wake_pipe[1], &byte, 1) < 0) errno = before;
    errno = before;
}

void repl_wake_start(void)
{
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) < 0) say_stop("no pipe can be made: out of files?");
    struct sigaction action = {.sa_handler = wake_on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t at = 0; at < sizeof wake_signals / sizeof *wake_signals; at++)
        sigaction(wake_signals[at], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int repl_wake_fd(void)
{
    return wake_pipe[0];
}

int repl_wake_take(void)
{
    uint8_t byte;
    return read(wake_pipe[0], &byte, 1) == 1 ? byte : 0;
}

bool repl_wake_is_end(int number)
{
    return number == SIGTERM || number == SIGHUP;
}

void repl_wake_die(int number)
{
    signal(number, SIG_DFL);
    raise(number);
    _exit(128 + number);
}
