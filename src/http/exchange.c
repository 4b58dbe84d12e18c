/* SPDX-License-Identifier: Apache-2.0
 *
 * One request and its answer. Its holders are the library, until the answer has left or the client
 * has, somebody who answers later, and a stream. Whichever lets go last gives it back, so that
 * neither a client who goes away nor a server that stops pulls it from under another.
 *
 * Where a server stops before somebody has answered, the exchange is an orphan: the client was told
 * 503, and what is answered to it now is thrown away. */
#include "http/inside.h"

#include "base/limits.h"
#include "base/random.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SPARES_MAX 64 /* exchanges kept for reuse: as many as are often under way at once */
#define ARENA_BYTES 4096
#define ARENA_KEPT ((size_t)256 << 10) /* one that grew past this gives its memory back */

/* ---- from first to last */

static hd_exchange *take_spare(hd_http *http)
{
    hd_exchange *x;

    pthread_mutex_lock(&http->lock);
    x = http->spare;
    if (x) {
        http->spare = x->next;
        http->spares--;
    }
    pthread_mutex_unlock(&http->lock);
    if (x)
        return x;
    x = hd_alloc(1, sizeof *x);
    if (x && !(x->arena = hd_arena_new(ARENA_BYTES))) {
        hd_free(x);
        return NULL;
    }
    if (x)
        pthread_mutex_init(&x->lock, NULL);
    return x;
}

hd_exchange *hd_exchange_new(hd_http *http, struct MHD_Connection *connection, const char *target)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    hd_exchange *x = take_spare(http);

    if (!x)
        return NULL;
    atomic_fetch_add(&http->holders, 1);
    atomic_fetch_add(&http->active, 1);
    x->http = http;
    x->connection = connection;
    x->link = info->socket_context;
    x->began_ns = hd_monotonic_ns();
    x->method = HD_METHODS;
    x->path = "-";
    atomic_store(&x->holders, 1);
    memcpy(x->peer, x->link->peer, sizeof x->peer);
    snprintf(x->id, sizeof x->id, "%016llx",
             (unsigned long long)hd_mix64(http->id_seed + atomic_fetch_add(&http->id_count, 1)));
    if (target) {
        x->line_at = target;
        x->line_bytes = strlen(target);
        x->target = hd_arena_strdup(x->arena, target);
    }
    return x;
}

void hd_exchange_free(hd_exchange *x)
{
    hd_arena_free(x->arena);
    pthread_mutex_destroy(&x->lock);
    hd_free(x);
}

static void wipe(hd_exchange *x)
{
    hd_arena_reset(x->arena);
    memset((char *)x + offsetof(hd_exchange, http), 0, sizeof *x - offsetof(hd_exchange, http));
}

void hd_exchange_release(hd_exchange *x)
{
    hd_http *http = x->http;

    if (atomic_fetch_sub(&x->holders, 1) > 1)
        return;
    hd_body_clear(&x->body);
    if (hd_arena_bytes(x->arena) <= ARENA_KEPT) {
        wipe(x);
        pthread_mutex_lock(&http->lock);
        if (http->spares < SPARES_MAX) {
            x->next = http->spare;
            http->spare = x;
            http->spares++;
            x = NULL;
        }
        pthread_mutex_unlock(&http->lock);
    }
    if (x)
        hd_exchange_free(x);
    hd_http_release(http);
}

/* ---- the request */

enum hd_method hd_exchange_method(const hd_exchange *x)
{
    return x->method;
}

const char *hd_exchange_path(const hd_exchange *x)
{
    return x->path;
}

const char *hd_exchange_query(const hd_exchange *x, const char *name, int nth)
{
    for (int i = 0; i < x->pair_count; i++)
        if (strcmp(x->pairs[i].name, name) == 0 && nth-- == 0)
            return x->pairs[i].value;
    return NULL;
}

bool hd_exchange_query_at(const hd_exchange *x, int i, const char **name, const char **value)
{
    if (i >= x->pair_count)
        return false;
    *name = x->pairs[i].name;
    *value = x->pairs[i].value;
    return true;
}

const char *hd_exchange_header(const hd_exchange *x, const char *name)
{
    for (int i = 0; i < x->header_count; i++)
        if (strcasecmp(x->headers[i].name, name) == 0)
            return x->headers[i].value;
    return NULL;
}

const char *hd_exchange_body(const hd_exchange *x, size_t *bytes)
{
    *bytes = x->body.count;
    return x->body.bytes ? x->body.bytes : "";
}

bool hd_exchange_content_is(const hd_exchange *x, const char *media_type)
{
    return hd_media_is(hd_exchange_header(x, "Content-Type"), media_type);
}

const char *hd_exchange_peer(const hd_exchange *x)
{
    return x->peer;
}

const char *hd_exchange_id(const hd_exchange *x)
{
    return x->id;
}

hd_arena *hd_exchange_arena(hd_exchange *x)
{
    return x->arena;
}

heed_status hd_http_decode(hd_arena *arena, const char *text, size_t bytes, const char **out)
{
    char *decoded = hd_arena_alloc(arena, bytes + 1, 1);
    size_t count;

    if (!decoded)
        return hd_fail(HEED_E_NOMEM, "http: out of memory");
    HD_TRY(hd_http_unescape(text, bytes, false, decoded, &count));
    decoded[count] = 0;
    *out = decoded;
    return HEED_OK;
}

/* ---- what the layers above remember */

void hd_exchange_set(hd_exchange *x, void *own)
{
    x->own = own;
}

void *hd_exchange_get(const hd_exchange *x)
{
    return x->own;
}

void hd_exchange_label(hd_exchange *x, const char *route, const char *who)
{
    if (route)
        x->route = route;
    if (who)
        x->who = who;
}

void hd_exchange_put_header(hd_exchange *x, const char *name, const char *value)
{
    struct hd_put *p, **last = &x->puts;

    if (!hd_http_token(name, strlen(name)) || !hd_http_value(value, strlen(value)) ||
        !(p = hd_arena_alloc(x->arena, 1, sizeof *p)))
        return;
    *p = (struct hd_put){hd_arena_strdup(x->arena, name), hd_arena_strdup(x->arena, value), NULL};
    if (!p->name || !p->value)
        return;
    while (*last)
        last = &(*last)->next;
    *last = p;
}

/* ---- the answer */

/* Hands an answer over; NULL: there was no memory for it. The first one counts. */
static void deliver(hd_exchange *x, int status, struct MHD_Response *response, size_t out_bytes)
{
    bool later, spent;

    pthread_mutex_lock(&x->lock);
    later = x->later;
    spent = x->status != 0;
    if (!spent) {
        x->status = status;
        x->response = response;
        x->out_bytes = out_bytes;
        if (x->suspended)
            MHD_resume_connection(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
    if (spent && response)
        MHD_destroy_response(response);
    if (later)
        hd_exchange_release(x);
}

void hd_exchange_answer(hd_exchange *x, int status, const char *media_type, const char *text,
                        size_t bytes)
{
    size_t out_bytes = 0;
    struct MHD_Response *response = hd_answer_text(x, &status, status == 204 ? NULL : media_type,
                                                   text, status == 204 ? 0 : bytes, &out_bytes);

    deliver(x, status, response, out_bytes);
}

void hd_exchange_stream(hd_exchange *x, int status, const char *media_type,
                        int64_t (*next)(void *context, char *buffer, size_t room),
                        void (*done)(void *context), void *context)
{
    deliver(x, status, hd_answer_stream(x, media_type, next, done, context), 0);
}

void hd_exchange_refuse(hd_exchange *x, int status, const char *detail, bool close)
{
    size_t out_bytes;
    struct MHD_Response *response = hd_answer_problem(x, status, detail, close, false, &out_bytes);

    deliver(x, status, response, out_bytes);
}

void hd_exchange_later(hd_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->later = true;
    pthread_mutex_unlock(&x->lock);
    atomic_fetch_add(&x->holders, 1);
}

bool hd_exchange_answered(const hd_exchange *x)
{
    hd_exchange *own = (hd_exchange *)(uintptr_t)x; /* the lock is no part of what is read */
    bool answered;

    pthread_mutex_lock(&own->lock);
    answered = own->status != 0;
    pthread_mutex_unlock(&own->lock);
    return answered;
}

void hd_exchange_orphan(hd_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    if (x->status == 0) {
        x->orphan = true;
        x->status = 503;
        x->response =
            hd_answer_problem(x, 503, "the server is stopping", true, true, &x->out_bytes);
        if (x->suspended)
            MHD_resume_connection(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
}
