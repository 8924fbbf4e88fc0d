/* client.h: a raw HTTP client for tests: it says bytes and hears answers, well-formed or not. A time-out only
 * ends a test that hangs. */
#ifndef LORE_TESTS_NET_CLIENT_H
#define LORE_TESTS_NET_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/slice.h"

enum { CLIENT_TIMEOUT_S = 60 };

struct answer {
    int status; /* 0: the connection ended */
    char head[8192];
    struct buf body;
    bool is_whole;
};

struct client {
    int fd;
    struct buf heard; /* not yet used */
};

static inline struct client client_connect(int port)
{
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval timeout = {CLIENT_TIMEOUT_S, 0};
    setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(client.fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(client.fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("connect");
        abort();
    }
    return client;
}

static inline void client_close(struct client *client)
{
    close(client->fd);
    buf_release(&client->heard);
}

/* False when the other side has closed. */
static inline bool client_say_bytes(struct client *client, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(client->fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

static inline bool client_say(struct client *client, const char *text)
{
    return client_say_bytes(client, text, strlen(text));
}

/* One more piece into heard; false at the end of the connection. */
static inline bool client_hear(struct client *client)
{
    char *room = buf_room(&client->heard, 65536);
    ssize_t got = recv(client->fd, room, 65536, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        fprintf(stderr, "nothing heard for %d s; so far: %.*s\n", CLIENT_TIMEOUT_S,
                SLICE_ARGS(buf_slice(&client->heard)));
        abort();
    }
    if (got <= 0) return false;
    client->heard.size += (size_t)got;
    return true;
}

static inline void client_use(struct client *client, size_t size)
{
    memmove(client->heard.data, client->heard.data + size, client->heard.size - size);
    client->heard.size -= size;
}

static inline const char *answer_header(const struct answer *answer, const char *name)
{
    static _Thread_local char value[512];
    size_t size = strlen(name);
    for (const char *at = strstr(answer->head, "\r\n"); at; at = strstr(at, "\r\n")) {
        at += 2;
        if (strncasecmp(at, name, size) != 0 || at[size] != ':') continue;
        const char *end = strstr(at, "\r\n");
        snprintf(value, sizeof value, "%.*s", (int)(end - at - (long)size - 2), at + size + 2);
        return value;
    }
    return NULL;
}

/* Hears until size bytes are there. */
static inline bool client_need(struct client *client, size_t size)
{
    while (client->heard.size < size)
        if (!client_hear(client)) return false;
    return true;
}

static inline bool client_hear_chunks(struct client *client, struct answer *answer)
{
    for (;;) {
        char *end;
        while (!(end = client->heard.size ? memmem(client->heard.data, client->heard.size, "\r\n", 2) : NULL))
            if (!client_hear(client)) return false;
        size_t line = (size_t)(end - client->heard.data) + 2;
        size_t size = strtoul(client->heard.data, NULL, 16);
        if (!client_need(client, line + size + 2)) return false;
        buf_put(&answer->body, client->heard.data + line, size);
        client_use(client, line + size + 2);
        if (size == 0) return true;
    }
}

/* The next answer, interim ones (100) included. is_bodiless: it answers HEAD. */
static inline struct answer client_answer_to(struct client *client, bool is_bodiless)
{
    struct answer answer = {0};
    char *end;
    while (!(end = client->heard.size ? memmem(client->heard.data, client->heard.size, "\r\n\r\n", 4) : NULL))
        if (!client_hear(client)) return answer;
    size_t size = (size_t)(end - client->heard.data) + 4;
    snprintf(answer.head, sizeof answer.head, "%.*s", (int)size, client->heard.data);
    client_use(client, size);
    sscanf(answer.head, "HTTP/%*s %d", &answer.status);
    const char *length = answer_header(&answer, "Content-Length");
    if (answer.status == 100 || answer.status == 204 || is_bodiless) {
        answer.is_whole = true;
    } else if (length) {
        size = strtoul(length, NULL, 10);
        answer.is_whole = client_need(client, size);
        if (!answer.is_whole) size = client->heard.size;
        buf_put(&answer.body, client->heard.data, size);
        client_use(client, size);
    } else if (answer_header(&answer, "Transfer-Encoding")) {
        answer.is_whole = client_hear_chunks(client, &answer);
    } else {
        while (client_hear(client)) {
        }
        buf_put_slice(&answer.body, buf_slice(&client->heard));
        client->heard.size = 0;
        answer.is_whole = true;
    }
    buf_put_byte(&answer.body, 0);
    answer.body.size--;
    return answer;
}

static inline struct answer client_answer(struct client *client)
{
    return client_answer_to(client, false);
}

static inline void answer_release(struct answer *answer)
{
    buf_release(&answer->body);
}

/* Whether nothing but the end comes now. */
static inline bool client_is_over(struct client *client)
{
    if (client->heard.size) return false;
    return !client_hear(client);
}

#endif
