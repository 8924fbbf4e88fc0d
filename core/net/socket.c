#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/faultpoint.h"
#include "net/problem.h"

enum { BACKLOG = 1024 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int read_address(const char *host, int port, union address *address, socklen_t *size,
                        struct fault *fault)
{
    memset(address, 0, sizeof *address);
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons((uint16_t)port);
        *size = sizeof address->v4;
        if (ntohl(address->v4.sin_addr.s_addr) >> 24 == 127) return 0;
    } else if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        *size = sizeof address->v6;
        if (IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr)) return 0;
    }
    return fault_set(
        fault, FAULT_USAGE,
        "listening on %s needs access control, which this version has not: use 127.0.0.1 and a proxy", host);
}

static int chosen_port(int fd)
{
    union address address;
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) < 0) return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static int refuse_port(int error, const char *host, int port, struct fault *fault)
{
    if (error == EADDRINUSE)
        return fault_set(
            fault, FAULT_IN_USE,
            "port %d is taken by another program: stop that program or choose another with --listen", port);
    return fault_errno(fault, error, "cannot listen on %s:%d", host, port);
}

/* A descriptor that does not block and is not inherited; -1 with errno. */
static int open_socket(int family)
{
    return fault_point(POINT_NET_LISTEN) ? -1 : socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int socket_listen(const char *host, int *port, int *fd, struct fault *fault)
{
    union address address;
    socklen_t size = 0;
    if (*port < 0 || *port > 65535) return fault_set(fault, FAULT_USAGE, "there is no port %d", *port);
    if (read_address(host, *port, &address, &size, fault) < 0) return -1;
    int opened = open_socket(address.any.sa_family);
    if (opened < 0) return fault_errno(fault, errno, "cannot open a socket");
    int on = 1;
    setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(opened, &address.any, size) < 0 || listen(opened, BACKLOG) < 0) {
        int error = errno;
        close(opened);
        return refuse_port(error, host, *port, fault);
    }
    *port = chosen_port(opened);
    *fd = opened;
    return 0;
}

static bool is_answered(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool answered = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    close(fd);
    return answered;
}

int socket_listen_local(const char *path, int *fd, struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path)
        return fault_set(fault, FAULT_USAGE,
                         "the path of the socket %s has %zu bytes, a system allows %zu: use a shorter --data",
                         path, size, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, size + 1);
    struct stat found;
    if (lstat(path, &found) == 0) {
        if (!S_ISSOCK(found.st_mode))
            return fault_set(fault, FAULT_IN_USE, "%s is in the way and no socket: remove it", path);
        if (is_answered(&address)) return fault_set(fault, FAULT_IN_USE, "another hub answers on %s", path);
        unlink(path);
    }
    int opened = open_socket(AF_UNIX);
    if (opened < 0) return fault_errno(fault, errno, "cannot open a socket");
    /* Nobody can connect before listen, so the mode is right from the first moment that counts. A umask would
     * do as well, but it belongs to the whole process and other threads make files meanwhile. */
    if (bind(opened, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0600) < 0 ||
        listen(opened, BACKLOG) < 0) {
        int error = errno;
        close(opened);
        return fault_errno(fault, error, "cannot listen on %s", path);
    }
    *fd = opened;
    return 0;
}

int socket_accept(int fd)
{
    return fault_point(POINT_NET_ACCEPT) ? -1 : accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

bool socket_is_own(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

void socket_send_problem(int fd, int status, const char *code, const char *detail)
{
    struct buf body = {0}, raw = {0};
    problem_put(&body, status, code, slice_of(detail));
    buf_format(&raw, "HTTP/1.1 %d %s\r\nContent-Type: " PROBLEM_TYPE "\r\nContent-Length: %zu\r\n", status,
               problem_phrase(status), body.size);
    int retry_s = problem_retry_s(status, code);
    if (retry_s) buf_format(&raw, "Retry-After: %d\r\n", retry_s);
    buf_put_text(&raw, "Connection: close\r\n\r\n");
    buf_put_slice(&raw, buf_slice(&body));
    ssize_t sent = send(fd, raw.data, raw.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* it was a courtesy */
    buf_release(&body);
    buf_release(&raw);
}

void socket_raise_limit(uint64_t count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= count) return;
    limit.rlim_cur = limit.rlim_max < count ? limit.rlim_max : count;
    setrlimit(RLIMIT_NOFILE, &limit);
}
