/* SPDX-License-Identifier: Apache-2.0
 *
 * The server: libmicrohttpd's threads, started and stopped.
 *
 * Of the library's own limits it uses none but memory per connection: its timeout counts
 * inactivity, so a client who sends a byte a second stays for ever. The guard has the deadlines.
 * http_course.c has what happens to a request in between. */
#include "http/inside.h"

#include "base/limits.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAST_WORD_MS 500 /* for the 503 of those who were not answered in time */
#define WATCH_MS 2

static const char *const tls_priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* The library would decode targets in place; they are decoded from the exchange's copy, checked. */
static size_t leave_escaped(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static bool adopt(void *context, int fd, const struct sockaddr *address, socklen_t bytes)
{
    hd_http *http = context;

    return MHD_add_connection(http->daemon, fd, address, bytes) == MHD_YES;
}

/* ---- starting */

static void fill_limits(struct hd_http_limits *l)
{
    l->body_bytes = l->body_bytes ? l->body_bytes : HD_HTTP_BODY_BYTES;
    l->bodies_bytes = l->bodies_bytes ? l->bodies_bytes : HD_HTTP_BODIES_BYTES;
    l->head_bytes = l->head_bytes ? l->head_bytes : HD_HTTP_HEAD_BYTES;
    l->url_bytes = l->url_bytes ? l->url_bytes : HD_HTTP_URL_BYTES;
    l->connections = l->connections ? l->connections : HD_HTTP_CONNECTIONS;
    l->head_ms = l->head_ms ? l->head_ms : HD_HTTP_HEAD_MS;
    l->body_ms = l->body_ms ? l->body_ms : HD_HTTP_BODY_MS;
    l->answer_ms = l->answer_ms ? l->answer_ms : HD_HTTP_ANSWER_MS;
    l->idle_ms = l->idle_ms ? l->idle_ms : HD_HTTP_IDLE_MS;
}

/* The shortest deadline, an eighth of it: how late a client may be put out. */
static int tick_of(const struct hd_http_limits *l)
{
    int ms = l->head_ms < l->body_ms ? l->head_ms : l->body_ms;

    ms = (ms < l->answer_ms ? ms : l->answer_ms) / 8;
    return ms < 10 ? 10 : ms > 250 ? 250 : ms;
}

static heed_status read_pem(const char *path, bool secret, char **out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    heed_status status = HEED_OK;
    struct stat about;
    char *text = NULL;

    if (fd < 0)
        return hd_fail_errno(HEED_E_IO, "tls: `%.200s`", path);
    if (fstat(fd, &about) != 0)
        status = hd_fail_errno(HEED_E_IO, "tls: `%.200s`", path);
    else if (!S_ISREG(about.st_mode) || about.st_size == 0 || about.st_size > HD_HTTP_PEM_BYTES_MAX)
        status = hd_fail(HEED_E_FORMAT, "tls: `%.200s` is no PEM file", path);
    else if (secret && (about.st_mode & (S_IROTH | S_IWOTH)))
        status = hd_fail(HEED_E_ARG,
                         "tls: the key `%.200s` is open to everybody (mode %03o): chmod o=", path,
                         (unsigned)about.st_mode & 0777);
    else if (!(text = hd_alloc((size_t)about.st_size + 1, 1)))
        status = hd_fail(HEED_E_NOMEM, "tls: out of memory");
    else if (read(fd, text, (size_t)about.st_size) != about.st_size)
        status = hd_fail(HEED_E_IO, "tls: `%.200s` cannot be read", path);
    close(fd);
    if (status == HEED_OK)
        *out = text;
    else
        hd_free(text);
    return status;
}

static heed_status read_keys(hd_http *http)
{
    if (!http->opts.tls_certificate != !http->opts.tls_key)
        return hd_fail(HEED_E_ARG, "tls: a certificate and its key are needed, not one of them");
    if (!http->opts.tls_certificate)
        return HEED_OK;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return hd_fail(HEED_E_UNSUPPORTED, "tls: libmicrohttpd was built without it");
    HD_TRY(read_pem(http->opts.tls_certificate, false, &http->certificate));
    return read_pem(http->opts.tls_key, true, &http->key);
}

static heed_status start_library(hd_http *http)
{
    const struct hd_http_limits *l = &http->opts.limits;
    struct MHD_OptionItem items[8];
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                     MHD_ALLOW_SUSPEND_RESUME;
    int count = 0;

    if (http->opts.threads > 1)
        items[count++] =
            (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, http->opts.threads, NULL};
    /* Later versions refuse by themselves what http_head.c looks for in this one. */
    http->heads_checked_here = strcmp(MHD_get_version(), "0.9.75") == 0;
    items[count++] = (struct MHD_OptionItem){MHD_OPTION_STRICT_FOR_CLIENT,
                                             http->heads_checked_here ? 0 : 1, NULL};
    if (http->key) {
        flags |= MHD_USE_TLS;
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0,
                                                 (void *)(uintptr_t)tls_priorities};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, http->certificate};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, http->key};
    }
    items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, hd_on_request, http, MHD_OPTION_NOTIFY_COMPLETED, hd_on_completed,
        http, MHD_OPTION_NOTIFY_CONNECTION, hd_on_connection, http, MHD_OPTION_URI_LOG_CALLBACK,
        hd_on_target, http, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, http,
        /* The head twice: as it came, and where its lines lie; and what an answer's head needs. */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, 2 * l->head_bytes + 8192,
        /* The guard counts; this one only has to be never less. */
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(l->connections + 2 * http->opts.threads + 64),
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (!http->daemon)
        return hd_fail(HEED_E_IO, "http: libmicrohttpd does not start%s",
                       http->key ? ": are the certificate and the key in PEM, and of each other?"
                                 : "");
    return HEED_OK;
}

/* Signals are for the threads of whoever starts a server. */
static heed_status start_threads(hd_http *http)
{
    sigset_t all, before;
    heed_status status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = start_library(http);
    if (status == HEED_OK)
        status = hd_guard_start(http->guard);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

static heed_status prepare(hd_http *http, const struct hd_http_opts *opts)
{
    const struct hd_http_limits *l = &http->opts.limits;
    int per_address = opts->limits.connections_per_address;

    http->opts = *opts;
    http->opts.cors_origin = NULL;
    fill_limits(&http->opts.limits);
    if (opts->threads < 0 || opts->threads > HD_HTTP_THREADS_MAX)
        return hd_fail(HEED_E_ARG, "http: %d threads, not 0 to %d", opts->threads,
                       HD_HTTP_THREADS_MAX);
    if (http->opts.threads == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        http->opts.threads = processors < 1                     ? 1
                             : processors > HD_HTTP_THREADS_MAX ? HD_HTTP_THREADS_MAX
                                                                : (int)processors;
    }
    if (opts->cors_origin && !(http->opts.cors_origin = hd_strdup(opts->cors_origin)))
        return hd_fail(HEED_E_NOMEM, "http: out of memory");
    if (per_address <= 0)
        per_address = per_address < 0 ? 0 : HD_HTTP_PER_ADDRESS;
    http->bodies.bytes_max = l->bodies_bytes;
    if (getrandom(&http->id_seed, sizeof http->id_seed, 0) != sizeof http->id_seed)
        http->id_seed = (uint64_t)hd_monotonic_ns();
    HD_TRY(read_keys(http));
    return hd_guard_open(&(struct hd_guard_opts){.listen = opts->listen,
                                                 .connections = l->connections,
                                                 .per_address = per_address,
                                                 .spare_loopback = l->connections_per_address == 0,
                                                 .tls = http->key != NULL,
                                                 .head_ms = l->head_ms,
                                                 .tick_ms = tick_of(l),
                                                 .adopt = adopt,
                                                 .context = http},
                         &http->guard);
}

heed_status hd_http_start(const struct hd_http_opts *opts, hd_http **out)
{
    hd_http *http = hd_alloc(1, sizeof *http);
    heed_status status;

    if (!http)
        return hd_fail(HEED_E_NOMEM, "http: out of memory");
    pthread_mutex_init(&http->lock, NULL);
    atomic_store(&http->holders, 1);
    status = prepare(http, opts);
    if (status == HEED_OK)
        status = start_threads(http);
    if (status == HEED_OK) {
        *out = http;
        return HEED_OK;
    }
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    hd_guard_close(http->guard);
    hd_http_release(http);
    return status;
}

int hd_http_port(const hd_http *http)
{
    return hd_guard_port(http->guard);
}

void hd_http_count(const hd_http *http, struct hd_http_counts *out)
{
    struct hd_guard_counts counts;

    hd_guard_count(http->guard, &counts);
    *out = (struct hd_http_counts){.connections = counts.open,
                                   .waiting = counts.waiting,
                                   .accepted = counts.accepted,
                                   .refused = counts.refused,
                                   .cut_off = counts.cut_off,
                                   .requests = atomic_load(&http->active),
                                   .body_bytes = (int64_t)atomic_load(&http->bodies.bytes)};
}

/* ---- stopping */

static void wait_for_answers(hd_http *http, int wait_ms)
{
    int64_t until = hd_monotonic_ns() + wait_ms * INT64_C(1000000);

    do {
        hd_guard_cut(http->guard, false);
        if (atomic_load(&http->active) == 0)
            return;
        struct timespec pause = {0, WATCH_MS * 1000000};
        nanosleep(&pause, NULL);
    } while (hd_monotonic_ns() < until);
}

void hd_http_release(hd_http *http)
{
    if (atomic_fetch_sub(&http->holders, 1) > 1)
        return;
    for (hd_exchange *x = http->spare, *next; x; x = next) {
        next = x->next;
        hd_exchange_free(x);
    }
    hd_free((void *)(uintptr_t)http->opts.cors_origin);
    hd_free(http->certificate);
    if (http->key)
        explicit_bzero(http->key, strlen(http->key));
    hd_free(http->key);
    pthread_mutex_destroy(&http->lock);
    hd_free(http);
}

void hd_http_stop(hd_http *http, int wait_ms)
{
    if (!http)
        return;
    atomic_store(&http->stopping, true);
    hd_guard_deafen(http->guard);
    wait_for_answers(http, wait_ms);
    pthread_mutex_lock(&http->lock);
    http->ending = true;
    for (hd_exchange *x = http->waiting; x; x = x->next)
        hd_exchange_orphan(x);
    pthread_mutex_unlock(&http->lock);
    wait_for_answers(http, LAST_WORD_MS);
    hd_guard_cut(http->guard, true);
    MHD_stop_daemon(http->daemon);
    hd_guard_close(http->guard);
    hd_http_release(http);
}
