/* SPDX-License-Identifier: Apache-2.0
 *
 * The course of a request, in the library's callbacks.
 *
 *     target read ─▶ exchange ─▶ head checked ─▶ admit ─▶ body ─▶ handle ─▶ answer | suspended
 *                                                                             ▲          │
 *                                                                             └ resumed ◀┘
 */
#include "http/inside.h"

#include "base/limits.h"
#include "base/time.h"

static const char *const preflight_methods = "GET, HEAD, POST, PUT, PATCH, DELETE";
static const char *const preflight_headers =
    "Authorization, Content-Type, Content-Encoding, Idempotency-Key, If-None-Match, X-API-Key, "
    "X-Request-ID";

/* ---- step by step */

static void answer_preflight(hd_exchange *x)
{
    hd_exchange_put_header(x, "Access-Control-Allow-Methods", preflight_methods);
    hd_exchange_put_header(x, "Access-Control-Allow-Headers", preflight_headers);
    hd_exchange_put_header(x, "Access-Control-Max-Age", "600");
    hd_exchange_label(x, "preflight", NULL);
    hd_exchange_answer(x, 204, NULL, "", 0);
}

/* The head is there. */
static void begin(hd_exchange *x, const char *method, const char *version)
{
    hd_http *http = x->http;
    const char *why, *coding;
    uint64_t length;
    int status = hd_head_check(x, method, version, &why);

    x->has_body = status != 0 || hd_head_body(x, &length); /* refused: who knows what follows */
    if (status) {
        hd_exchange_refuse(x, status, why, true);
        return;
    }
    if (http->opts.cors_origin && x->method == HD_OPTIONS && hd_exchange_header(x, "Origin") &&
        hd_exchange_header(x, "Access-Control-Request-Method")) {
        answer_preflight(x);
        return;
    }
    if (http->opts.admit)
        http->opts.admit(http->opts.context, x);
    if (hd_exchange_answered(x) || !x->has_body)
        return;
    coding = hd_exchange_header(x, "Content-Encoding");
    status = hd_body_begin(&x->body, &http->bodies, coding ? hd_coding_named(coding) : HD_IDENTITY,
                           http->opts.limits.body_bytes);
    if (status)
        hd_exchange_refuse(x, status, "out of memory", true);
    hd_link_give(x->link, http->opts.limits.body_ms);
}

static const char *body_problem(int status)
{
    switch (status) {
    case 400:
        return "the body is not what its Content-Encoding says";
    case 413:
        return "the body is longer than is taken here";
    default:
        return "too many bodies are being received";
    }
}

/* The library takes an answer before the body or after it, not between: what is sent after the
 * fault is read and thrown away, up to a bound. False: past it. */
static bool take_body(hd_exchange *x, const char *bytes, size_t count)
{
    x->in_bytes += count;
    if (!x->refusal) {
        x->refusal = hd_body_take(&x->body, bytes, count);
        if (x->refusal)
            hd_body_clear(&x->body);
    }
    return !x->refusal || x->in_bytes <= HD_HTTP_DRAIN_BYTES;
}

/* The body is there. */
static void finish(hd_exchange *x)
{
    if (hd_exchange_answered(x))
        return;
    if (x->has_body && !x->refusal)
        x->refusal = hd_body_end(&x->body);
    hd_link_give(x->link, 0);
    if (x->refusal)
        hd_exchange_refuse(x, x->refusal, body_problem(x->refusal), false);
    else
        x->http->opts.handle(x->http->opts.context, x);
}

static enum MHD_Result queue(hd_exchange *x)
{
    hd_link_give(x->link, x->http->opts.limits.answer_ms);
    if (!x->response)
        return MHD_NO;
    return MHD_queue_response(x->connection, (unsigned)x->status, x->response);
}

/* Nobody has answered yet, and it was said that somebody will. */
static void suspend(hd_exchange *x)
{
    hd_http *http = x->http;
    bool ending;

    pthread_mutex_lock(&http->lock);
    ending = http->ending;
    pthread_mutex_lock(&x->lock);
    if (x->status == 0 && !ending) {
        x->suspended = true;
        x->listed = true;
        x->next = http->waiting;
        if (x->next)
            x->next->previous = x;
        http->waiting = x;
        MHD_suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
    pthread_mutex_unlock(&http->lock);
    if (ending)
        hd_exchange_orphan(x);
}

static enum MHD_Result settle(hd_exchange *x)
{
    if (!hd_exchange_answered(x)) {
        if (!x->later) {
            hd_exchange_refuse(x, 500, "nobody answered", false);
        } else {
            suspend(x);
            if (x->suspended) /* perhaps resumed by now; then the library calls again */
                return MHD_YES;
        }
    }
    return queue(x);
}

enum MHD_Result hd_on_request(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **own)
{
    hd_exchange *x = *own;

    (void)context, (void)connection, (void)url;
    if (!x)
        return MHD_NO; /* no memory */
    if (!x->begun) {
        x->begun = true;
        begin(x, method, version);
        /* An answer before the body costs the connection, so where none comes it waits for the next
         * call, which follows at once. */
        if (!x->has_body || !hd_exchange_answered(x))
            return MHD_YES;
        atomic_store(&x->link->drain, true);
        return queue(x);
    }
    if (*upload_bytes > 0) {
        bool well = take_body(x, upload, *upload_bytes);
        *upload_bytes = 0;
        return well ? MHD_YES : MHD_NO;
    }
    if (!x->handled) {
        x->handled = true;
        finish(x);
    }
    return settle(x);
}

void *hd_on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    hd_exchange *x = hd_exchange_new(context, connection, target);

    if (x)
        atomic_store(&x->link->busy, true);
    return x;
}

static void unlist(hd_exchange *x)
{
    hd_http *http = x->http;

    pthread_mutex_lock(&http->lock);
    if (x->previous)
        x->previous->next = x->next;
    else
        http->waiting = x->next;
    if (x->next)
        x->next->previous = x->previous;
    pthread_mutex_unlock(&http->lock);
}

static void tell_access(hd_exchange *x, bool whole)
{
    static const char *const names[HD_METHODS + 1] = {"GET",   "HEAD",   "POST",    "PUT",
                                                      "PATCH", "DELETE", "OPTIONS", "-"};
    const union MHD_ConnectionInfo *info;
    struct hd_access access = {.method = names[x->method],
                               .path = x->path,
                               .peer = x->peer,
                               .request_id = x->id,
                               .status = x->status,
                               .in_bytes = x->in_bytes,
                               .out_bytes = x->out_bytes,
                               .broken = !whole};

    if (!x->orphan) { /* else somebody may be writing to them */
        access.route = x->route;
        access.who = x->who;
    }
    /* Some refusals are the library's own. */
    if (!x->status &&
        (info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_HTTP_STATUS)))
        access.status = (int)info->http_status;
    access.took_us = (hd_monotonic_ns() - x->began_ns) / 1000;
    if (x->http->opts.access)
        x->http->opts.access(x->http->opts.context, &access);
}

void hd_on_completed(void *context, struct MHD_Connection *connection, void **own,
                     enum MHD_RequestTerminationCode how)
{
    hd_http *http = context;
    hd_exchange *x = *own;

    (void)connection;
    if (!x)
        return;
    *own = NULL;
    if (x->listed)
        unlist(x);
    tell_access(x, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    atomic_store(&x->link->busy, false);
    hd_link_give(x->link, http->opts.limits.idle_ms + http->opts.limits.head_ms);
    atomic_fetch_sub(&http->active, 1);
    /* Now, not with the last holder: a stream is held by its answer, and holds x itself. */
    if (x->response)
        MHD_destroy_response(x->response);
    x->response = NULL;
    hd_exchange_release(x);
}

void hd_on_connection(void *context, struct MHD_Connection *connection, void **own,
                      enum MHD_ConnectionNotificationCode what)
{
    hd_http *http = context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *own = hd_guard_opened(
            http->guard,
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
    else
        hd_guard_closed(http->guard, *own);
}
