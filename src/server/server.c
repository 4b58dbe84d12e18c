/* SPDX-License-Identifier: Apache-2.0
 *
 * Putting the parts together, and taking them apart in the reverse order. */
#include "server/server.h"
#include "base/memory.h"
#include "base/time.h"
#include "server/log.h"
#include "server/request.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_SPARE 16 /* one part in so many, for what requests take between two ticks */
#define QUOTAS_FILE "quotas.txt"
#define STOP_WAIT_MS 10000 /* for answers under way; a service manager waits longer before it kills */

const struct hd_route_table *const hd_route_tables[] = {
    &hd_routes_feeds, &hd_routes_records, &hd_routes_work,
    &hd_routes_reports, &hd_routes_watch,
    &hd_routes_gorse, &hd_routes_gorse_records, &hd_routes_gorse_feedback, NULL,
};

/* ---- logs */

static void on_engine_line(void *context, heed_log_level level, const char *text)
{
    (void)context;
    if (level <= HEED_LOG_INFO)
        hd_log_say(HD_LOG_FILE, level, "engine", "message", text);
}

static void on_access(void *context, const struct hd_access *access)
{
    struct hd_server *server = context;
    struct hd_log_line line;

    hd_metrics_access(server->metrics, access);
    hd_log_begin(&line, HEED_LOG_INFO, "access");
    hd_log_text(&line, "method", access->method);
    hd_log_text(&line, "path", access->path);
    hd_log_int(&line, "status", access->status);
    hd_log_int(&line, "us", access->took_us);
    hd_log_int(&line, "in", (int64_t)access->in_bytes);
    hd_log_int(&line, "out", (int64_t)access->out_bytes);
    hd_log_text(&line, "peer", access->peer);
    if (access->who && *access->who)
        hd_log_text(&line, "who", access->who);
    hd_log_text(&line, "request", access->request_id);
    hd_log_end(&line, server->access_file);
}

static heed_status open_access_log(struct hd_server *server)
{
    if (!server->access_log)
        return HEED_OK;
    int file = open(server->access_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (file < 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot write", server->access_log);
    if (server->access_file == HD_LOG_FILE) {
        server->access_file = file;
        return HEED_OK;
    }
    /* Under the same number, so that a line which is being written finds either file. */
    bool done = dup2(file, server->access_file) >= 0 &&
                fcntl(server->access_file, F_SETFD, FD_CLOEXEC) == 0;
    close(file);
    return done ? HEED_OK : hd_fail_errno(HEED_E_IO, "%s: cannot write", server->access_log);
}

/* ---- parts */

static heed_status open_engine(struct hd_server *server, const struct hd_server_opts *opts)
{
    heed_engine_opts engine = {
        .memory_bytes = opts->memory_bytes / 2, /* until the first tick knows what the rest takes */
        .discreet = true,
        .log = {on_engine_line, NULL},
    };

    return heed_engine_open(opts->data, &engine, &server->engine);
}

/* A file that was damaged costs some quotas, and not the service. */
static heed_status recall_quotas(struct hd_server *server, const char *data)
{
    size_t bytes = strlen(data) + sizeof "/" QUOTAS_FILE;

    server->quotas = hd_alloc(bytes, 1);
    if (!server->quotas)
        return hd_fail(HEED_E_NOMEM, "serve: no memory");
    snprintf(server->quotas, bytes, "%s/" QUOTAS_FILE, data);
    if (hd_keys_recall(server->keys, server->quotas) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_WARN, "quotas", "message", heed_error_message());
    return HEED_OK;
}

static void save_quotas(struct hd_server *server)
{
    if (server->quotas && hd_keys_save(server->keys, server->quotas) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_WARN, "quotas", "message", heed_error_message());
}

static heed_status open_keys(struct hd_server *server, const struct hd_server_opts *opts)
{
    bool loopback = hd_http_loopback(opts->listen);

    HD_TRY(hd_keys_new(loopback, opts->rate, opts->cors_origin, &server->keys));
    HD_TRY(hd_keys_load(server->keys, server->engine));
    HD_TRY(recall_quotas(server, opts->data));
    if (!loopback && !hd_keys_any(server->keys))
        return hd_fail(HEED_E_ARG,
                       "--listen: %s can be reached from other machines, and no key is in use: "
                       "`heed key add NAME --role operator` makes one; without, only this machine "
                       "is served (127.0.0.1)",
                       opts->listen);
    return HEED_OK;
}

static heed_status describe(struct hd_server *server)
{
    struct hd_json_writer w = {0};
    const char *text;

    hd_openapi_write(&w, hd_route_tables);
    heed_status status = hd_json_finish(&w, &text, &server->openapi_bytes);
    if (status == HEED_OK && !(server->openapi = hd_strdup(text)))
        status = hd_fail(HEED_E_NOMEM, "serve: no memory");
    hd_json_clear(&w);
    return status;
}

static heed_status listen_on(struct hd_server *server, const struct hd_server_opts *opts)
{
    struct hd_http_opts http = {
        .listen = opts->listen,
        .threads = opts->threads,
        .tls_certificate = opts->tls_certificate,
        .tls_key = opts->tls_key,
        .cors_origin = opts->cors_origin,
        .admit = hd_request_admit,
        .handle = hd_request_handle,
        .access = on_access,
        .context = server,
    };

    return hd_http_start(&http, &server->http);
}

static void log_start(const struct hd_server *server, const struct hd_server_opts *opts)
{
    struct hd_log_line line;

    hd_log_begin(&line, HEED_LOG_INFO, "listening");
    hd_log_text(&line, "address", opts->listen);
    hd_log_int(&line, "port", hd_http_port(server->http));
    hd_log_text(&line, "data", opts->data);
    hd_log_text(&line, "tls", opts->tls_certificate ? "yes" : "no");
    hd_log_text(&line, "keys", hd_keys_any(server->keys) ? "needed" : "none: this machine alone");
    hd_log_text(&line, "version", heed_version());
    hd_log_end(&line, HD_LOG_FILE);
}

static heed_status start_parts(struct hd_server *server, const struct hd_server_opts *opts)
{
    struct hd_intake_watch watch = {.taken = hd_metrics_taken};

    HD_TRY(open_access_log(server));
    HD_TRY(open_engine(server, opts));
    HD_TRY(open_keys(server, opts));
    HD_TRY(describe(server));
    HD_TRY(hd_metrics_new(hd_route_tables, &server->metrics));
    watch.context = server->metrics;
    HD_TRY(hd_intake_new(server->engine, &watch, &server->intake));
    HD_TRY(hd_jobs_new(server->engine, opts->data, &opts->jobs, server->metrics, &server->jobs));
    HD_TRY(hd_reports_new(server->engine, &server->reports));
    return listen_on(server, opts);
}

heed_status hd_server_start(const struct hd_server_opts *opts, struct hd_server **out)
{
    struct hd_server *server = hd_alloc(1, sizeof *server);

    if (!server)
        return hd_fail(HEED_E_NOMEM, "serve: no memory");
    server->explore = opts->explore;
    server->memory_bytes = opts->memory_bytes;
    server->access_log = opts->access_log;
    server->access_file = HD_LOG_FILE;
    heed_status status = start_parts(server, opts);
    if (status != HEED_OK) {
        hd_server_stop(server);
        return status;
    }
    log_start(server, opts);
    *out = server;
    return HEED_OK;
}

/* What the rest of the process takes is not asked for its size, only measured: the process's own less
 * what is kept. Memory that was given back to the allocator but not to the system counts as taken, so
 * where too much is held the allocator is asked for it. */
static void hold_memory(struct hd_server *server)
{
    heed_engine_counts counts;
    int64_t resident = (int64_t)hd_resident_bytes();

    if (server->memory_bytes == 0 || resident == 0 ||
        heed_engine_count(server->engine, &counts) != HEED_OK)
        return;
    int64_t most = server->memory_bytes - server->memory_bytes / MEMORY_SPARE;
    if (resident > most) {
        malloc_trim(0);
        resident = (int64_t)hd_resident_bytes();
    }
    heed_engine_remember(server->engine, most - (resident - counts.kept_bytes));
}

void hd_server_tick(struct hd_server *server)
{
    hold_memory(server);
    if (heed_engine_refresh(server->engine) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_WARN, "refresh", "message", heed_error_message());
    if (hd_keys_load(server->keys, server->engine) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_WARN, "keys", "message", heed_error_message());
    save_quotas(server);
}

void hd_server_reload(struct hd_server *server)
{
    if (open_access_log(server) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_ERROR, "access-log", "message", heed_error_message());
    hd_server_tick(server);
    hd_log_say(HD_LOG_FILE, HEED_LOG_INFO, "reloaded", NULL, NULL);
}

/* Jobs first: one that is cancelled may take its time, and answers go on meanwhile. Nothing is freed
 * before HTTP has stopped; what waits in the intake then is taken in all the same. */
void hd_server_stop(struct hd_server *server)
{
    if (!server)
        return;
    if (server->http)
        hd_log_say(HD_LOG_FILE, HEED_LOG_INFO, "stopping", NULL, NULL);
    hd_jobs_end(server->jobs);
    if (server->http)
        hd_http_stop(server->http, STOP_WAIT_MS);
    hd_reports_free(server->reports);
    hd_intake_free(server->intake);
    hd_jobs_free(server->jobs);
    hd_metrics_free(server->metrics);
    save_quotas(server);
    hd_keys_free(server->keys);
    hd_free(server->quotas);
    heed_engine_close(server->engine);
    hd_free(server->openapi);
    if (server->access_file != HD_LOG_FILE)
        close(server->access_file);
    hd_free(server);
}
