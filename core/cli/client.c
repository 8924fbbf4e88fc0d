#include "cli/client.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "cli/fields.h"
#include "cli/host.h"

enum {
    CLIENT_SETTLE_MS = 24 * 60 * 60 * 1000
}; /* bringing views up may take long; progress is said meanwhile */

struct client {
    CURL *curl;
    char *base;        /* "http://localhost" or --to without a slash at the end */
    char *socket_path; /* NULL: TCP */
    struct host *host; /* our own hub */
    pthread_t thread;
    /* the answer at hand */
    struct buf *body;
    struct buf pending; /* of a line not yet whole */
    bool (*line)(void *user, struct slice line);
    void *user;
    bool enough;
};

static void *client_host_main(void *host)
{
    host_run(host);
    return NULL;
}

/* Whether somebody listens there. */
static bool client_socket_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool answers = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return answers;
}

bool client_finds_hub(const struct cli *cli)
{
    char *path = host_socket_path(cli->data);
    bool answers = client_socket_answers(path);
    mem_free(path);
    return answers;
}

static int client_open_own(struct client *client, const struct cli *cli, enum client_needs needs,
                           struct fault *fault)
{
    struct buf errors = {0};
    struct host_options options = {
        .hub = {.scripts = needs == CLIENT_LOG ? NULL : cli->scripts,
                .data = cli->data,
                .projectors =
                    needs == CLIENT_VIEWS || needs == CLIENT_STATUS || needs == CLIENT_DEPLOY ? 0 : -1,
                .shards = 1,
                .quiet = needs == CLIENT_SEND,
                .recorded = needs == CLIENT_DEPLOY,
                .read_only = needs == CLIENT_LOG || needs == CLIENT_STATUS,
                .errors = &errors}};
    say_set_level(needs == CLIENT_VIEWS ? SAY_INFO : SAY_WARN);
    int done = host_open(&options, &client->host, fault);
    if (done < 0) cli_tell_errors(&errors, cli->scripts, fault);
    buf_release(&errors);
    if (done < 0) return -1;
    if (needs == CLIENT_VIEWS) hub_settle(host_hub(client->host), CLIENT_SETTLE_MS);
    client->thread = thread_start(client_host_main, client->host, "host");
    return 0;
}

int client_open(const struct cli *cli, enum client_needs needs, struct client **opened, struct fault *fault)
{
    struct client *client = MEM_NEW(struct client);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (cli->to) {
        size_t size = strlen(cli->to);
        while (size && cli->to[size - 1] == '/') size--;
        client->base = mem_text(cli->to, size);
    } else {
        client->base = mem_text("http://localhost", 16);
        client->socket_path = host_socket_path(cli->data);
        if (!client_socket_answers(client->socket_path) &&
            ((needs != CLIENT_SEND && cli_find_data(cli, fault) < 0) ||
             client_open_own(client, cli, needs, fault) < 0)) {
            client_close(client);
            return -1;
        }
    }
    client->curl = curl_easy_init();
    *opened = client;
    return 0;
}

struct client *client_beside(const struct client *client)
{
    struct client *beside = MEM_NEW(struct client);
    beside->base = mem_text(client->base, strlen(client->base));
    if (client->socket_path) beside->socket_path = mem_text(client->socket_path, strlen(client->socket_path));
    beside->curl = curl_easy_init();
    return beside;
}

void client_close(struct client *client)
{
    if (client->curl) curl_easy_cleanup(client->curl);
    if (client->host) {
        struct hub *hub = host_hub(client->host);
        hub_settle(
            hub, CLIENT_SETTLE_MS); /* a rebuild that was asked for is finished, not left to the next start */
        host_stop(client->host);
        pthread_join(client->thread, NULL);
        host_close(client->host);
    }
    buf_release(&client->pending);
    mem_free(client->socket_path);
    mem_free(client->base);
    mem_free(client);
}

bool client_is_own(const struct client *client)
{
    return client->host != NULL;
}

/* Whether the answer at hand is of a kind that hubs give to what is no error. */
static bool client_is_of_hub(CURL *curl)
{
    static const char *const types[] = {"application/json", "application/x-ndjson", "text/event-stream"};
    char *type = NULL;
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    size_t size = type ? strcspn(type, "; ") : 0;
    for (size_t at = 0; at < sizeof types / sizeof *types; at++)
        if (size == strlen(types[at]) && strncasecmp(type, types[at], size) == 0) return true;
    return false;
}

/* Cuts what came into lines for the caller; a body of an error is kept whole. */
static size_t client_receive(char *data, size_t size, size_t count, void *user)
{
    struct client *client = user;
    size *= count;
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (!client->line || status >= 300 || !client_is_of_hub(client->curl)) {
        buf_put(client->body, data, size);
        return size;
    }
    size_t at = 0;
    while (at < size) {
        char *newline = memchr(data + at, '\n', size - at);
        size_t part = newline ? (size_t)(newline - data) - at : size - at;
        buf_put(&client->pending, data + at, part);
        at += part + 1;
        if (!newline) break;
        if (!client->line(client->user, buf_slice(&client->pending))) {
            client->enough = true;
            return 0;
        }
        buf_clear(&client->pending);
    }
    return size;
}

int client_problem(long status, struct slice body, struct fault *fault)
{
    struct fields problem = {0};
    struct fault unreadable;
    if (fields_read(&problem, body, &unreadable) < 0) {
        fields_release(&problem);
        return fault_set(fault, FAULT_UNAVAILABLE, "the answer is none of a hub: status %ld", status);
    }
    char code[64];
    struct slice name = fields_text(&problem, "code"), detail = fields_text(&problem, "detail"),
                 reason = fields_text(&problem, "reason");
    snprintf(code, sizeof code, "%.*s", SLICE_ARGS(name));
    fault_set(fault, fault_code_of(code), "%.*s",
              SLICE_ARGS(detail.size ? detail : fields_text(&problem, "title")));
    if (reason.size) snprintf(fault->reason, sizeof fault->reason, "%.*s", SLICE_ARGS(reason));
    fields_release(&problem);
    return -1;
}

const char *client_base(const struct client *client)
{
    return client->base;
}

void client_set_up(const struct client *client, void *curl)
{
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    if (client->socket_path) curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
}

static int client_perform(struct client *client, const char *path, struct curl_slist *headers,
                          struct slice *post, struct reply *reply, struct fault *fault)
{
    CURL *curl = client->curl;
    struct buf url = {0};
    char error[CURL_ERROR_SIZE] = "";
    buf_format(&url, "%s%s", client->base, path);
    buf_put_byte(&url, 0);
    curl_easy_reset(curl);
    client_set_up(client, curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.data);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, client_receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (post) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->data ? post->data : "");
    }
    buf_clear(&reply->body);
    buf_clear(&client->pending);
    client->body = &reply->body;
    client->enough = false;
    CURLcode code = curl_easy_perform(curl);
    while (reply->body.size && reply->body.data[reply->body.size - 1] == '\n') reply->body.size--;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    int done = 0;
    if (code != CURLE_OK && !client->enough)
        done = fault_set(fault, FAULT_UNAVAILABLE, "%s: %s",
                         client->socket_path ? client->socket_path : url.data,
                         *error ? error : curl_easy_strerror(code));
    else if (code == CURLE_OK && reply->status < 300 && !client_is_of_hub(curl))
        done = fault_set(fault, FAULT_UNAVAILABLE, "%s: the answer is none of a hub", url.data);
    else if (reply->status >= 300)
        done = client_problem(reply->status, buf_slice(&reply->body), fault);
    buf_release(&url);
    return done;
}

static struct curl_slist *client_accept(const char *accept)
{
    if (!accept) return NULL;
    char header[128];
    snprintf(header, sizeof header, "Accept: %s", accept);
    return curl_slist_append(NULL, header);
}

int client_get(struct client *client, const char *path, const char *accept, struct reply *reply,
               struct fault *fault)
{
    struct curl_slist *headers = client_accept(accept);
    client->line = NULL;
    int done = client_perform(client, path, headers, NULL, reply, fault);
    curl_slist_free_all(headers);
    return done;
}

int client_post(struct client *client, const char *path, struct slice body, const char *const *headers,
                struct reply *reply, struct fault *fault)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    list = curl_slist_append(list, "Expect:");
    for (; headers && *headers; headers++) list = curl_slist_append(list, *headers);
    client->line = NULL;
    int done = client_perform(client, path, list, &body, reply, fault);
    curl_slist_free_all(list);
    return done;
}

int client_lines(struct client *client, const char *path, const char *accept,
                 bool (*line)(void *user, struct slice line), void *user, struct fault *fault)
{
    struct curl_slist *headers = client_accept(accept);
    struct reply reply = {0};
    client->line = line;
    client->user = user;
    int done = client_perform(client, path, headers, NULL, &reply, fault);
    curl_slist_free_all(headers);
    buf_release(&reply.body);
    return done;
}

void client_put_encoded(struct buf *out, struct slice text)
{
    for (size_t at = 0; at < text.size; at++) {
        unsigned char c = (unsigned char)text.data[at];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
        if (plain && c)
            buf_put_byte(out, c);
        else
            buf_format(out, "%%%02X", c);
    }
}
