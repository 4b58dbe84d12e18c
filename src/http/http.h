/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP as heed serve needs it, behind a small interface so that the library underneath can be
 * replaced: whoever includes this sees neither it nor a socket. What is kept here and not above:
 * limits and deadlines, refusal of ambiguous requests, compressed bodies both ways, conditional
 * requests, CORS, HEAD, request ids, the access log.
 *
 *     head read ─▶ admit(x) ─▶ body read, decompressed ─▶ handle(x) ─▶ answer, now or later
 */
#ifndef HD_HTTP_H
#define HD_HTTP_H

#include "base/memory.h"
#include "base/status.h"

typedef struct hd_http hd_http;         /* locked */
typedef struct hd_exchange hd_exchange; /* one request and its answer; confined to who holds it */

enum hd_method { HD_GET, HD_HEAD, HD_POST, HD_PUT, HD_PATCH, HD_DELETE, HD_OPTIONS, HD_METHODS };

struct hd_http_limits {  /* 0: the default of limits.h */
    size_t body_bytes;   /* of a request, after decompression too */
    size_t bodies_bytes; /* of all that are being received or worked on; past it 503 */
    size_t head_bytes;   /* request line and header */
    size_t url_bytes;
    int connections;
    int connections_per_address; /* of an IPv4 address or an IPv6 /64. The default spares this
                                    machine's own: a proxy here stands for all clients. Negative:
                                    none */
    /* Absolute deadlines of each phase, not of inactivity. answer_ms: to take the answer; of a
     * stream, each piece. While a request is being handled there is none. */
    int head_ms, body_ms, answer_ms, idle_ms;
};

struct hd_access {             /* one finished exchange, for the log and the metrics */
    const char *method, *path; /* "-" where none was made out; no query */
    const char *peer, *request_id;
    const char *route, *who;    /* NULL: not labelled */
    int status;                 /* 0: ended before an answer was known */
    bool broken;                /* the client went away, was cut off, or the answer broke */
    size_t in_bytes, out_bytes; /* of the bodies, as sent */
    int64_t took_us;
};

struct hd_http_opts {
    const char *listen;                    /* HOST:PORT, [HOST]:PORT, :PORT for all; port 0: any */
    int threads;                           /* 0: as many as processors */
    const char *tls_certificate, *tls_key; /* PEM files, or NULL */
    const char *cors_origin;               /* "*", an origin, or NULL: none */
    struct hd_http_limits limits;
    /* Called once the head is read. It may answer, and then the body is not waited for. */
    void (*admit)(void *context, hd_exchange *x);
    /* Called once the body is there. It answers, or hands x to somebody who will
     * (hd_exchange_later). */
    void (*handle)(void *context, hd_exchange *x);
    void (*access)(void *context, const struct hd_access *access); /* from any thread */
    void *context;
};

/* Raises the process's soft limit of open files to its hard one: each connection takes a file.
 * Where that is less than limits.connections, fewer are taken. Threads are started with all signals
 * blocked. */
HEED_CHECKED heed_status hd_http_start(const struct hd_http_opts *opts, hd_http **http);
int hd_http_port(const hd_http *http);
bool hd_http_loopback(const char *listen); /* only this machine can reach it */
/* Takes no more connections, lets answers under way finish for up to wait_ms, then stops: who was
 * to be answered later gets 503, and the answer, when it comes, is thrown away (it must still be
 * given). */
void hd_http_stop(hd_http *http, int wait_ms);

struct hd_http_counts {
    /* Now; waiting: of the connections, those that have not asked anything yet. */
    int64_t connections, waiting, requests, body_bytes;
    int64_t accepted, refused, cut_off; /* since the start; refused: for the limits' sake */
};
void hd_http_count(const hd_http *http, struct hd_http_counts *out);

/* ---- the request */
enum hd_method hd_exchange_method(const hd_exchange *x);
const char *hd_exchange_path(const hd_exchange *x); /* as sent, without the query, not decoded */
/* Decoded; NULL: not there. nth: of several of that name, from 0. */
const char *hd_exchange_query(const hd_exchange *x, const char *name, int nth);
/* The i-th pair of the query, from 0; false: there are fewer. */
bool hd_exchange_query_at(const hd_exchange *x, int i, const char **name, const char **value);
const char *hd_exchange_header(const hd_exchange *x, const char *name);
const char *hd_exchange_body(const hd_exchange *x, size_t *bytes);         /* ends in NUL */
bool hd_exchange_content_is(const hd_exchange *x, const char *media_type); /* parameters aside */
const char *hd_exchange_peer(const hd_exchange *x);
const char *hd_exchange_id(const hd_exchange *x); /* X-Request-ID: the caller's where it is plain */
hd_arena *hd_exchange_arena(hd_exchange *x);      /* lives as long as the exchange */
/* Percent-decodes a piece of a path. HEED_E_FORMAT: malformed, a control, or not UTF-8. */
HEED_CHECKED heed_status hd_http_decode(hd_arena *arena, const char *text, size_t bytes,
                                        const char **out);

/* ---- what the layers above remember with it */
void hd_exchange_set(hd_exchange *x, void *own);
void *hd_exchange_get(const hd_exchange *x);
/* For the access log and the metrics: the route's pattern ("/v1/users/{id}"), the key's name.
 * Static text, or of the exchange's arena. */
void hd_exchange_label(hd_exchange *x, const char *route, const char *who);

/* ---- the answer */
/* Adds one; malformed ones are dropped. ETag, Vary, Server and X-Request-ID are put by the server,
 * and Cache-Control: no-store where none was added. */
void hd_exchange_put_header(hd_exchange *x, const char *name, const char *value);
/* Once; a second answer is thrown away. The bytes are copied. Successful answers to GET get an
 * ETag, and 304 where it matches; long ones are compressed where the caller takes that. status 204:
 * no body. */
void hd_exchange_answer(hd_exchange *x, int status, const char *media_type, const char *text,
                        size_t bytes);
/* An answer made piece by piece while it is sent: `next` fills the buffer, returns how much, 0 at
 * the end, -1 where it broke; `done` is called once, however it ends, and x lives until then. Both
 * are called by the server's threads, which serve others too: next should not wait long. */
void hd_exchange_stream(hd_exchange *x, int status, const char *media_type,
                        int64_t (*next)(void *context, char *buffer, size_t room),
                        void (*done)(void *context), void *context);
/* Inside handle, before x is handed on: the answer will be given by another thread, by one of the
 * two calls above, which end its hold on x. All of the request stays readable until then, whether
 * or not the client or the server is still there. */
void hd_exchange_later(hd_exchange *x);
bool hd_exchange_answered(const hd_exchange *x);

#endif
