/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the HTTP floor share and nobody above sees. */
#ifndef HD_HTTP_INSIDE_H
#define HD_HTTP_INSIDE_H

#include "http/http.h"
#include "http/body.h"
#include "http/guard.h"

#include <microhttpd.h>
#include <pthread.h>

struct hd_header {
    const char *name, *value;
};

struct hd_http {
    struct hd_http_opts opts; /* with the defaults filled in; texts are its own */
    struct MHD_Daemon *daemon;
    hd_guard *guard;
    char *certificate, *key; /* PEM */
    bool heads_checked_here; /* http_head.c knows how this version of the library lays heads out */
    struct hd_bodies bodies;
    uint64_t id_seed;
    _Atomic uint64_t id_count;
    atomic_bool stopping; /* answers say that the connection ends */
    _Atomic int active;   /* exchanges that the library still works on */
    _Atomic int holders;  /* exchanges that exist, and who started it: the last one frees it */
    pthread_mutex_t lock; /* guards all below; before an exchange's */
    bool ending;          /* nobody waits for anybody any more */
    hd_exchange *waiting; /* suspended */
    hd_exchange *spare;   /* to be used again */
    int spares;
};

struct hd_exchange {
    pthread_mutex_t lock; /* of the answer, below */
    hd_arena *arena;
    hd_http *http;                     /* from here on zero again before it is used again */
    struct MHD_Connection *connection; /* the library's; gone once completed */
    struct hd_link *link;              /* as long as the connection */
    int64_t began_ns;
    /* ---- the request */
    const char *line_at; /* where the library has the target, and how long it was there */
    size_t line_bytes;
    const char *target; /* a copy; NULL: no memory */
    const char *path, *query;
    enum hd_method method;             /* HD_METHODS: another */
    struct hd_header *headers, *pairs; /* pairs: of the query, decoded */
    int header_count, pair_count;
    char peer[INET6_ADDRSTRLEN], id[65];
    struct hd_body body;
    size_t in_bytes; /* of the body, as sent */
    int refusal;     /* a status found while the body came in */
    bool has_body, begun, handled;
    /* ---- the layers above */
    void *own;
    const char *route, *who;
    struct hd_put *puts;
    /* ---- the answer: under the lock */
    _Atomic int holders; /* the library, who answers later, a stream */
    bool later, suspended;
    bool orphan; /* ended by us while somebody still works on it */
    struct MHD_Response *response;
    int status;
    size_t out_bytes;
    /* ---- lists of the server */
    bool listed;
    hd_exchange *previous, *next;
};

/* A header of the answer. */
struct hd_put {
    const char *name, *value;
    struct hd_put *next;
};

/* ---- http_exchange.c */
hd_exchange *hd_exchange_new(hd_http *http, struct MHD_Connection *connection, const char *target);
void hd_exchange_release(hd_exchange *x);
void hd_exchange_free(hd_exchange *x);
/* The server's own word: a problem document; close: the connection ends with it. */
void hd_exchange_refuse(hd_exchange *x, int status, const char *detail, bool close);
/* Answers a suspended exchange for somebody who does not; under the server's lock. */
void hd_exchange_orphan(hd_exchange *x);
void hd_http_release(hd_http *http);

/* ---- http_answer.c: an answer as the library takes it; NULL: no memory */
struct MHD_Response *hd_answer_text(hd_exchange *x, int *status, const char *media_type,
                                    const char *text, size_t bytes, size_t *out_bytes);
/* orphan: somebody else may be working on x, so nothing that the layers above put there is read. */
struct MHD_Response *hd_answer_problem(const hd_exchange *x, int status, const char *detail,
                                       bool close, bool orphan, size_t *out_bytes);
struct MHD_Response *hd_answer_stream(hd_exchange *x, const char *media_type,
                                      int64_t (*next)(void *context, char *buffer, size_t room),
                                      void (*done)(void *context), void *context);

/* ---- http_head.c: looks the head over; 0, or the status and words with which to refuse it */
int hd_head_check(hd_exchange *x, const char *method, const char *version, const char **why);
/* Whether a body follows, and how long it says it is (0: in chunks). After the check. */
bool hd_head_body(const hd_exchange *x, uint64_t *length);

/* ---- http_course.c: the library's callbacks; context: the server */
void *hd_on_target(void *context, const char *target, struct MHD_Connection *connection);
enum MHD_Result hd_on_request(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **own);
void hd_on_completed(void *context, struct MHD_Connection *connection, void **own,
                     enum MHD_RequestTerminationCode how);
void hd_on_connection(void *context, struct MHD_Connection *connection, void **own,
                      enum MHD_ConnectionNotificationCode what);

#endif
