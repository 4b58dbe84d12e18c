/* SPDX-License-Identifier: Apache-2.0
 *
 * Which function answers what. A route is a row: its method and pattern, who may ask, what it takes and
 * gives. The rows do the finding, 404, 405, 415, the roles, the reading of the query, the labels of log
 * and metrics, and /openapi.json.
 *
 * To add routes: write a file with a `const struct hd_route_table`, declare it below beside the others,
 * and name it in hd_route_tables (server.c). A handler reads its parameters with hd_request_query() and
 * hd_request_body(), and answers with hd_reply_json(), hd_reply_text() or, through the intake, later. It
 * returns HEED_OK once it has answered or handed the exchange to somebody who will; any other status
 * becomes a problem document. */
#ifndef HD_ROUTE_H
#define HD_ROUTE_H

#include "heed/operate.h"
#include "server/shape.h"

struct hd_server;
struct hd_request;

#define HD_PATH_PARAMETERS_MAX 3
#define HD_ROUTE_ANSWERS_MAX 3

/* Sets of roles. Operators may do everything and are in none of them. */
enum {
    HD_ANYBODY = 1 << 0, /* without a key too */
    HD_BY_INGEST = 1 << 1,
    HD_BY_SERVE = 1 << 2,
    HD_BY_OPERATOR = 1 << 3,
};

enum hd_body_kind {
    HD_BODY_NONE,
    HD_BODY_JSON,    /* one object of `body` */
    HD_BODY_RECORDS, /* NDJSON of `body`, or one object, or an array of them */
};

struct hd_answer {
    int status; /* 0: the end */
    const struct hd_shape *shape; /* NULL: no body, or one that is no object of ours */
    const char *media_type;       /* NULL: application/json where there is a shape */
    const char *help;
    const char *also; /* another media type in which it can come */
    bool many;        /* an array: of `shape`, or of anything */
};

/* The one answer of most routes. */
#define HD_GIVES(status_, shape_, help_) .answers = {{status_, .shape = &shape_, .help = help_}}

struct hd_route {
    enum hd_method method; /* HD_GET answers HEAD too */
    const char *pattern;   /* "/v1/users/{id}": a parameter is a whole piece of the path */
    unsigned roles;
    heed_status (*handle)(struct hd_request *r);
    const char *name, *summary; /* of the operation; the name is unique */
    const struct hd_field *query;
    enum hd_body_kind body_kind;
    const struct hd_shape *body;
    struct hd_answer answers[HD_ROUTE_ANSWERS_MAX + 1];
};

struct hd_route_table {
    const char *tag; /* in /openapi.json */
    const struct hd_route *routes;
    int count;
};

extern const struct hd_route_table hd_routes_records; /* events, items, users */
extern const struct hd_route_table hd_routes_feeds;   /* feeds, lists, explanations */
extern const struct hd_route_table hd_routes_work;    /* models, jobs, the audit log */
extern const struct hd_route_table hd_routes_reports; /* attention taken, by group */
extern const struct hd_route_table hd_routes_watch;   /* health, metrics, the description of all */
extern const struct hd_route_table hd_routes_gorse;   /* Gorse's recommendations, under /api */
extern const struct hd_route_table hd_routes_gorse_records;  /* its items and users */
extern const struct hd_route_table hd_routes_gorse_feedback; /* its feedback */
extern const struct hd_route_table *const hd_route_tables[]; /* ends with NULL */

struct hd_route_match {
    const struct hd_route *route; /* NULL: none has this path, or this method */
    unsigned allowed; /* methods of the path: bit m for enum hd_method m; 0: there is no such path */
    struct {
        const char *at;
        size_t bytes;
    } parameter[HD_PATH_PARAMETERS_MAX]; /* not decoded */
    int parameters;
};
/* Of several that match, the first in the order of the tables: what is spelt out stands before what a
 * parameter would take. */
void hd_route_find(const struct hd_route_table *const *tables, enum hd_method method,
                   const char *path, struct hd_route_match *match);
const char *hd_method_name(enum hd_method method);
/* "GET, HEAD, POST" of a set of methods. */
void hd_route_allow(unsigned methods, char out[64]);

/* /openapi.json, OpenAPI 3.1, of all tables. */
void hd_openapi_write(struct hd_json_writer *w, const struct hd_route_table *const *tables);

#endif
