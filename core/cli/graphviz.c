#include "cli/graphviz.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* All three are files in memory: nobody waits for the other side of a pipe. */
struct pictures {
    int graph, picture, errors;
};

static int graphviz_put(int fd, struct slice text)
{
    while (text.size) {
        ssize_t size = write(fd, text.data, text.size);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return -1;
        text = slice_make(text.data + size, text.size - (size_t)size);
    }
    return lseek(fd, 0, SEEK_SET) < 0 ? -1 : 0;
}

static int graphviz_take(int fd, struct buf *out)
{
    ssize_t size;
    if (lseek(fd, 0, SEEK_SET) < 0) return -1;
    while ((size = read(fd, buf_room(out, 65536), 65536)) > 0) out->size += (size_t)size;
    return size < 0 ? -1 : 0;
}

static int graphviz_run(const struct pictures *files, struct fault *fault)
{
    static char *const arguments[] = {"dot", "-Tsvg", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, files->graph, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, files->picture, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, files->errors, STDERR_FILENO);
    pid_t pid;
    int status, error = posix_spawnp(&pid, "dot", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == ENOENT)
        return fault_set(fault, FAULT_UNAVAILABLE,
                         "diagrams are laid out by the program dot of Graphviz, which is not installed: apt "
                         "install graphviz");
    if (error) return fault_errno(fault, error, "dot cannot be started");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return fault_errno(fault, errno, "dot");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    struct buf said = {0};
    graphviz_take(files->errors, &said);
    fault_set(fault, FAULT_UNAVAILABLE, "dot of Graphviz failed: %.*s", SLICE_ARGS(buf_slice(&said)));
    buf_release(&said);
    return -1;
}

int graphviz_draw(struct slice dot, struct buf *svg, struct fault *fault)
{
    struct pictures files = {memfd_create("graph", MFD_CLOEXEC), memfd_create("picture", MFD_CLOEXEC),
                             memfd_create("errors", MFD_CLOEXEC)};
    int done = -1;
    if (files.graph < 0 || files.picture < 0 || files.errors < 0 || graphviz_put(files.graph, dot) < 0)
        fault_errno(fault, errno, "a graph cannot be given to dot");
    else if (graphviz_run(&files, fault) == 0 && (done = graphviz_take(files.picture, svg)) < 0)
        fault_errno(fault, errno, "a picture of dot cannot be read");
    if (files.graph >= 0) close(files.graph);
    if (files.picture >= 0) close(files.picture);
    if (files.errors >= 0) close(files.errors);
    return done;
}
