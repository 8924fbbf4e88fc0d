#include "cli/load.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum { LOAD_ANSWER_MAX = 8192, LOAD_EVENTS = 256 };

struct load_connection {
    int fd;
    int64_t sent_ns;
    size_t size; /* of the answer so far */
    char answer[LOAD_ANSWER_MAX];
};

struct load_run {
    const struct load *load;
    struct fault *fault;
    struct load_connection *connections;
    int epoll, open; /* connections whose answer is outstanding */
    int64_t end_ns;
    uint64_t sent;
    struct buf request;
    struct buf took; /* uint32_t microseconds each */
};

static int load_connect(struct load_run *run, struct load_connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)run->load->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0)
        return fault_errno(run->fault, errno, "the hub on port %d cannot be reached", run->load->port);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        return fault_errno(run->fault, errno, "epoll");
    return 0;
}

/* A request is far smaller than a socket's buffer, which is empty: it is taken whole. */
static int load_send(struct load_run *run, struct load_connection *connection)
{
    const struct load *load = run->load;
    buf_clear(&run->request);
    buf_format(&run->request,
               "POST %s%s%" PRIu64 " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
               "Idempotency-Key: %s%" PRIu64 "\r\nContent-Length: %zu\r\n\r\n%s",
               load->path, load->prefix, run->sent, load->prefix, run->sent, strlen(load->body), load->body);
    run->sent++;
    connection->size = 0;
    connection->sent_ns = clock_monotonic_ns();
    ssize_t size = send(connection->fd, run->request.data, run->request.size, MSG_NOSIGNAL);
    if (size != (ssize_t)run->request.size)
        return fault_set(run->fault, FAULT_UNAVAILABLE, "the hub cut a connection: %s", strerror(errno));
    run->open++;
    return 0;
}

/* Whether the answer is whole; -1 if it is no answer. */
static int load_whole(struct load_connection *connection)
{
    connection->answer[connection->size] = 0;
    const char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end) return connection->size == LOAD_ANSWER_MAX - 1 ? -1 : 0;
    const char *length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (!length || length > end) return -1;
    size_t whole = (size_t)(end + 4 - connection->answer) + strtoul(length + 17, NULL, 10);
    return whole > LOAD_ANSWER_MAX - 1 ? -1 : connection->size >= whole;
}

static int load_receive(struct load_run *run, struct load_connection *connection)
{
    ssize_t size = recv(connection->fd, connection->answer + connection->size,
                        LOAD_ANSWER_MAX - 1 - connection->size, 0);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
    if (size <= 0) return fault_set(run->fault, FAULT_UNAVAILABLE, "the hub cut a connection");
    connection->size += (size_t)size;
    int whole = load_whole(connection);
    if (whole < 0) return fault_set(run->fault, FAULT_UNAVAILABLE, "what the hub answers cannot be read");
    if (!whole) return 0;
    if (strncmp(connection->answer, "HTTP/1.1 200", 12) != 0)
        return fault_set(run->fault, FAULT_REJECTED, "a command was answered with %.*s",
                         (int)strcspn(connection->answer, "\r"), connection->answer);
    int64_t now_ns = clock_monotonic_ns();
    uint32_t took_us = (uint32_t)((now_ns - connection->sent_ns) / 1000);
    buf_put(&run->took, &took_us, sizeof took_us);
    run->open--;
    return now_ns < run->end_ns ? load_send(run, connection) : 0;
}

static int load_loop(struct load_run *run)
{
    struct epoll_event events[LOAD_EVENTS];
    for (int at = 0; at < run->load->connections; at++)
        if (load_connect(run, &run->connections[at]) < 0) return -1;
    for (int at = 0; at < run->load->connections; at++)
        if (load_send(run, &run->connections[at]) < 0) return -1;
    while (run->open) {
        int count = epoll_wait(run->epoll, events, LOAD_EVENTS, -1);
        if (count < 0 && errno != EINTR) return fault_errno(run->fault, errno, "epoll");
        for (int at = 0; at < count; at++)
            if (load_receive(run, events[at].data.ptr) < 0) return -1;
    }
    return 0;
}

static int load_order(const void *one, const void *other)
{
    uint32_t a, b;
    memcpy(&a, one, sizeof a);
    memcpy(&b, other, sizeof b);
    return (a > b) - (a < b);
}

static void load_count(struct load_run *run, struct load_result *result)
{
    uint32_t *took = (uint32_t *)run->took.data;
    result->answered = run->took.size / sizeof *took;
    qsort(took, result->answered, sizeof *took, load_order);
    result->p50_ms = took[result->answered / 2] / 1e3;
    result->p99_ms = took[result->answered * 99 / 100] / 1e3;
}

int load_run(const struct load *load, struct load_result *result, struct fault *fault)
{
    struct load_run run = {.load = load, .fault = fault, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    if (run.epoll < 0) return fault_errno(fault, errno, "epoll");
    run.connections = mem_zero((size_t)load->connections * sizeof *run.connections);
    for (int at = 0; at < load->connections; at++) run.connections[at].fd = -1;
    int64_t began_ns = clock_monotonic_ns();
    run.end_ns = began_ns + (int64_t)(load->seconds * 1e9);
    int done = load_loop(&run);
    result->seconds = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    if (done == 0) load_count(&run, result);
    for (int at = 0; at < load->connections; at++)
        if (run.connections[at].fd >= 0) close(run.connections[at].fd);
    close(run.epoll);
    mem_free(run.connections);
    buf_release(&run.request);
    buf_release(&run.took);
    return done;
}
