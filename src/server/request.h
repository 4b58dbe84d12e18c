/* SPDX-License-Identifier: Apache-2.0
 *
 * One request on its way from HTTP to its handler, and the ways a handler answers. */
#ifndef HD_REQUEST_H
#define HD_REQUEST_H

#include "server/problem.h"
#include "server/route.h"
#include "server/server.h"

struct hd_request {
    struct hd_server *server;
    hd_exchange *x;
    const struct hd_route *route;
    const char *parameter[HD_PATH_PARAMETERS_MAX]; /* of the path, decoded */
    struct hd_caller caller;
    hd_json_reader *reader; /* made when it is first needed; its document lives as long as the handler */
    const char *field;      /* at fault, for the problem document */
};

/* For hd_http_opts; the context is the server. */
void hd_request_admit(void *server, hd_exchange *x);
void hd_request_handle(void *server, hd_exchange *x);

/* The query by the route's table, into a struct that starts all zero. */
HEED_CHECKED heed_status hd_request_query(struct hd_request *r, void *out);
/* The body, one JSON object, by the route's shape. */
HEED_CHECKED heed_status hd_request_body(struct hd_request *r, void *out);
/* The body as JSON. */
HEED_CHECKED heed_status hd_request_json(struct hd_request *r, hd_json **root);

/* Answers with the finished document, and clears the writer whatever happens. */
HEED_CHECKED heed_status hd_reply_json(hd_exchange *x, int status, struct hd_json_writer *w);
/* Answers with JSON that the engine wrote, and frees it. */
HEED_CHECKED heed_status hd_reply_text(hd_exchange *x, heed_text *text);
/* A problem of a failed call, with what the log has to know; `who` may be NULL. */
void hd_reply_problem(hd_exchange *x, heed_status status, const char *message, const char *field);
/* 503 with Retry-After. */
void hd_reply_busy(hd_exchange *x, const char *detail);

/* Records an operator's action. Its failure is logged and no reason to refuse. */
void hd_request_audit(const struct hd_request *r, const char *action, const char *subject);

#endif
