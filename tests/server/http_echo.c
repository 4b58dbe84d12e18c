/* SPDX-License-Identifier: Apache-2.0
 *
 * A server of nothing, for the tests of the HTTP floor: it answers with what it was sent, later
 * from another thread, piece by piece, or not at all. Prints its port; stops at the end of its
 * input, or at a line `stop MS`; `count` prints what the door counted; `flush` ends the lines of
 * the access log.
 *
 *     http_echo [NAME=VALUE ...]    listen, threads, cors, certificate, key, and every limit by
 * name */
#include "base/time.h"
#include "http/http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *access_log;

static int number(const hd_exchange *x, const char *name, int otherwise)
{
    const char *text = hd_exchange_query(x, name, 0);

    return text ? atoi(text) : otherwise;
}

static void pause_ms(int ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};

    nanosleep(&pause, NULL);
}

/* ---- answers */

static void echo(hd_exchange *x)
{
    size_t bytes;
    const char *body = hd_exchange_body(x, &bytes), *type = hd_exchange_header(x, "Content-Type");

    hd_exchange_answer(x, number(x, "status", 200), type ? type : "text/plain", body, bytes);
}

static void repeat(hd_exchange *x)
{
    int bytes = number(x, "bytes", 10);
    char *text = hd_arena_alloc(hd_exchange_arena(x), (size_t)bytes + 1, 1);

    for (int i = 0; i < bytes; i++)
        text[i] = (char)("abcdefghijklmnop"[(i / 7 + i / 111) % 16]);
    if (hd_exchange_query(x, "cache", 0))
        hd_exchange_put_header(x, "Cache-Control", hd_exchange_query(x, "cache", 0));
    hd_exchange_put_header(x, "X-Bad", "a\r\nInjected: b");
    hd_exchange_answer(x, 200, "text/plain", text, (size_t)bytes);
}

static void *answer_later(void *context)
{
    hd_exchange *x = context;

    pause_ms(number(x, "ms", 50));
    echo(x);
    return NULL;
}

static void later(hd_exchange *x)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    hd_exchange_later(x);
    if (pthread_create(&thread, &attributes, answer_later, x) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

struct lines {
    int count, at, fail_at;
};
static atomic_int lines_done;

static int64_t next_lines(void *context, char *buffer, size_t room)
{
    struct lines *lines = context;
    size_t used = 0;

    while (lines->at < lines->count && room - used > 32) {
        if (lines->at == lines->fail_at)
            return -1;
        used += (size_t)snprintf(buffer + used, room - used, "{\"line\":%d}\n", lines->at++);
    }
    return (int64_t)used;
}

static void end_lines(void *context)
{
    atomic_fetch_add(&lines_done, 1);
    ((struct lines *)context)->count = -1;
}

static void stream(hd_exchange *x)
{
    struct lines *lines = hd_arena_alloc(hd_exchange_arena(x), 1, sizeof *lines);

    *lines = (struct lines){number(x, "lines", 10), 0, number(x, "fail", -1)};
    hd_exchange_stream(x, 200, "application/x-ndjson", next_lines, end_lines, lines);
}

static void show(hd_exchange *x)
{
    char text[2048];
    const char *name, *value, *decoded = "?";
    size_t used = 0, bytes;

    if (hd_http_decode(hd_exchange_arena(x), hd_exchange_path(x), strlen(hd_exchange_path(x)),
                       &decoded) != HEED_OK)
        decoded = "malformed";
    hd_exchange_body(x, &bytes);
    used += (size_t)snprintf(text, sizeof text, "%s|%zu|%d", decoded, bytes,
                             hd_exchange_content_is(x, "application/json"));
    for (int i = 0; hd_exchange_query_at(x, i, &name, &value) && used < 1500; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "|%.200s=%.200s", name, value);
    hd_exchange_answer(x, 200, "text/plain", text, used);
}

static const struct {
    const char *path;
    void (*answer)(hd_exchange *x);
} routes[] = {{"/echo", echo}, {"/repeat", repeat}, {"/later", later}, {"/stream", stream}};

static void admit(void *context, hd_exchange *x)
{
    (void)context;
    if (strcmp(hd_exchange_path(x), "/secret") == 0)
        hd_exchange_answer(x, 401, "text/plain", "no", 2);
}

static void handle(void *context, hd_exchange *x)
{
    (void)context;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(hd_exchange_path(x), routes[i].path) == 0) {
            hd_exchange_label(x, routes[i].path, "tester");
            routes[i].answer(x);
            return;
        }
    if (strncmp(hd_exchange_path(x), "/show", 5) == 0)
        show(x);
    else if (strcmp(hd_exchange_path(x), "/nobody") != 0)
        hd_exchange_answer(x, 404, "text/plain", "none", 4);
}

static void on_access(void *context, const struct hd_access *a)
{
    (void)context;
    if (!access_log)
        return;
    pthread_mutex_lock(&log_lock);
    fprintf(access_log, "%s %s %d %s %s %s %zu %zu %d\n", a->method, a->path, a->status,
            a->route ? a->route : "-", a->who ? a->who : "-", a->request_id, a->in_bytes,
            a->out_bytes, a->broken);
    fflush(access_log);
    pthread_mutex_unlock(&log_lock);
}

/* ---- options */

static struct hd_http_opts opts = {
    .listen = "127.0.0.1:0", .threads = 2, .admit = admit, .handle = handle, .access = on_access};

static const struct {
    const char *name;
    const char **text;
    int *number;
    size_t *bytes;
} settings[] = {{"listen", &opts.listen, NULL, NULL},
                {"threads", NULL, &opts.threads, NULL},
                {"cors", &opts.cors_origin, NULL, NULL},
                {"certificate", &opts.tls_certificate, NULL, NULL},
                {"key", &opts.tls_key, NULL, NULL},
                {"body_bytes", NULL, NULL, &opts.limits.body_bytes},
                {"bodies_bytes", NULL, NULL, &opts.limits.bodies_bytes},
                {"head_bytes", NULL, NULL, &opts.limits.head_bytes},
                {"url_bytes", NULL, NULL, &opts.limits.url_bytes},
                {"connections", NULL, &opts.limits.connections, NULL},
                {"per_address", NULL, &opts.limits.connections_per_address, NULL},
                {"head_ms", NULL, &opts.limits.head_ms, NULL},
                {"body_ms", NULL, &opts.limits.body_ms, NULL},
                {"answer_ms", NULL, &opts.limits.answer_ms, NULL},
                {"idle_ms", NULL, &opts.limits.idle_ms, NULL}};

static void set(char *word)
{
    char *value = strchr(word, '=');
    size_t i = 0;

    if (!value)
        exit(2);
    *value++ = 0;
    if (strcmp(word, "log") == 0) {
        access_log = fopen(value, "w");
        return;
    }
    while (i < sizeof settings / sizeof *settings && strcmp(settings[i].name, word) != 0)
        i++;
    if (i == sizeof settings / sizeof *settings)
        exit(2);
    if (settings[i].text)
        *settings[i].text = value;
    else if (settings[i].number)
        *settings[i].number = atoi(value);
    else
        *settings[i].bytes = strtoull(value, NULL, 10);
}

int main(int argc, char **argv)
{
    hd_http *http;
    struct hd_http_counts counts;
    char line[64];
    int wait_ms = 2000;

    for (int i = 1; i < argc; i++)
        set(argv[i]);
    if (hd_http_start(&opts, &http) != HEED_OK) {
        printf("error %s\n", heed_error_message());
        return 1;
    }
    printf("port %d loopback %d\n", hd_http_port(http), hd_http_loopback(opts.listen));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "stop %d", &wait_ms) == 1)
            break;
        hd_http_count(http, &counts);
        printf("open %lld waiting %lld accepted %lld refused %lld cut_off %lld streams %d\n",
               (long long)counts.connections, (long long)counts.waiting, (long long)counts.accepted,
               (long long)counts.refused, (long long)counts.cut_off, atomic_load(&lines_done));
        fflush(stdout);
    }
    int64_t began = hd_monotonic_ns();
    hd_http_stop(http, wait_ms);
    printf("stopped after %lld ms\n", (long long)((hd_monotonic_ns() - began) / 1000000));
    fflush(stdout);
    /* Threads that still hold an exchange come to their end. */
    pause_ms(fgets(line, sizeof line, stdin) ? atoi(line) : 0);
    if (access_log)
        fclose(access_log);
    return 0;
}
