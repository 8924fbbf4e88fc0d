#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_ARGUMENTS_MAX = 32, CHILD_READ_SIZE = 4096 };

/* The signal may come on any thread. */
static atomic_int child_running; /* its pid, or 0 */
static atomic_bool child_interrupted;

void child_interrupt(void)
{
    child_interrupted = true;
    int running = child_running;
    if (running) kill(running, SIGINT);
}

bool child_is_interrupted(void)
{
    return child_interrupted;
}

/* Only what is safe behind a fork. */
static _Noreturn void child_become(const char *const *list, int descriptor, int pipe_end,
                                   const sigset_t *mask, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (getppid() != parent) _exit(127);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    if (descriptor != STDOUT_FILENO) dup2(null, STDOUT_FILENO);
    dup2(pipe_end, descriptor);
    execv("/proc/self/exe", (char *const *)list);
    _exit(127);
}

/* Makes the child with what it writes to the given descriptor going into *pipe_end. */
static pid_t child_start(const char *const *first, const char *const *arguments, int descriptor,
                         int *pipe_end, struct fault *fault)
{
    const char *list[CHILD_ARGUMENTS_MAX] = {"lore"};
    size_t count = 1;
    for (; *first; first++) list[count++] = *first;
    for (; *arguments && count + 1 < CHILD_ARGUMENTS_MAX; arguments++) list[count++] = *arguments;
    int ends[2];
    if (child_interrupted) return fault_set(fault, FAULT_UNAVAILABLE, "interrupted");
    if (pipe2(ends, O_CLOEXEC) < 0) return fault_errno(fault, errno, "a pipe to a child process");
    /* No interrupt is lost between the fork and the moment when it can be passed on. */
    sigset_t all, mask;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) child_become(list, descriptor, ends[1], &mask, parent);
    int error = errno;
    child_running = pid > 0 ? pid : 0;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    close(ends[1]);
    *pipe_end = ends[0];
    if (pid > 0) return pid;
    close(ends[0]);
    return fault_errno(fault, error, "a child process cannot be started");
}

/* Appends what comes next to out; 0: the end. */
static ssize_t child_read(int from, struct buf *out)
{
    ssize_t size;
    do size = read(from, buf_room(out, CHILD_READ_SIZE), CHILD_READ_SIZE);
    while (size < 0 && errno == EINTR);
    if (size > 0) out->size += (size_t)size;
    return size;
}

static int child_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    child_running = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int child_run(const char *const *arguments, int code_max, struct buf *out, struct fault *fault)
{
    int from;
    pid_t pid = child_start((const char *const[]){NULL}, arguments, STDOUT_FILENO, &from, fault);
    if (pid < 0) return -1;
    while (child_read(from, out) > 0) {
    }
    close(from);
    int code = child_wait(pid);
    if (code <= code_max) return 0;
    return fault_set(fault, FAULT_UNAVAILABLE, "lore %s ended with %d", arguments[0], code);
}

/* The port in the line that says where the hub listens; 0: not yet said. */
static int child_port(struct slice said)
{
    static const char listening[] = "listening on http://127.0.0.1:";
    const char *at = said.size == 0 ? NULL : memmem(said.data, said.size, listening, sizeof listening - 1);
    if (!at || !memchr(at, '\n', said.size - (size_t)(at - said.data))) return 0;
    return (int)strtol(at + sizeof listening - 1, NULL, 10);
}

int child_serve(struct child *child, const char *const *arguments, int *port, struct fault *fault)
{
    static const char *const serve[] = {"serve", "--listen", "127.0.0.1:0", NULL};
    child->pid = child_start(serve, arguments, STDERR_FILENO, &child->errors, fault);
    if (child->pid < 0) return -1;
    struct buf said = {0};
    while ((*port = child_port(buf_slice(&said))) == 0 && child_read(child->errors, &said) > 0) {
    }
    int done = 0;
    if (*port == 0) {
        close(child->errors);
        child_wait(child->pid);
        done =
            fault_set(fault, FAULT_UNAVAILABLE, "the hub did not start: %.*s", SLICE_ARGS(buf_slice(&said)));
    }
    buf_release(&said);
    return done;
}

bool child_runs(const struct child *child)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int child_stop(struct child *child, int signal_number, struct fault *fault)
{
    struct buf said = {0};
    kill(child->pid, signal_number);
    while (child_read(child->errors, &said) > 0) {
    }
    close(child->errors);
    int code = child_wait(child->pid), done = 0;
    if (signal_number == SIGTERM && code != 0)
        done = fault_set(fault, FAULT_UNAVAILABLE, "the hub ended with %d: %.*s", code,
                         SLICE_ARGS(buf_slice(&said)));
    buf_release(&said);
    return done;
}
