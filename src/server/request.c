/* SPDX-License-Identifier: Apache-2.0
 *
 * From the head of a request to its handler: the route, who asks and whether they may, what they send.
 * All of that is known before the body is read, so that no stranger's body is waited for. */
#include "server/request.h"
#include "base/limits.h"
#include "server/log.h"

#include <stdio.h>
#include <string.h>

/* ---- answers */

heed_status hd_reply_json(hd_exchange *x, int status, struct hd_json_writer *w)
{
    const char *text;
    size_t bytes;
    heed_status finished = hd_json_finish(w, &text, &bytes);

    if (finished == HEED_OK)
        hd_exchange_answer(x, status, "application/json", text, bytes);
    hd_json_clear(w);
    return finished;
}

heed_status hd_reply_text(hd_exchange *x, heed_text *text)
{
    hd_exchange_answer(x, 200, "application/json", text->text, text->bytes);
    heed_text_free(text);
    return HEED_OK;
}

void hd_reply_busy(hd_exchange *x, const char *detail)
{
    hd_exchange_put_header(x, "Retry-After", "1");
    hd_problem_answer(x, &(struct hd_problem){.status = 503, .type = "busy", .detail = detail});
}

/* What failed inside is the log's to tell, with the request's id to find it by. */
static void log_failure(hd_exchange *x, heed_status status, const char *message)
{
    struct hd_log_line line;

    hd_log_begin(&line, HEED_LOG_ERROR, "failed");
    hd_log_text(&line, "request", hd_exchange_id(x));
    hd_log_text(&line, "path", hd_exchange_path(x));
    hd_log_text(&line, "status", heed_status_name(status));
    hd_log_text(&line, "message", message);
    hd_log_end(&line, HD_LOG_FILE);
}

void hd_reply_problem(hd_exchange *x, heed_status status, const char *message, const char *field)
{
    struct hd_problem problem;

    hd_problem_of(status, message, &problem);
    problem.field = field;
    if (problem.status >= 500)
        log_failure(x, status, message);
    if (problem.status == 503)
        hd_exchange_put_header(x, "Retry-After", "1");
    hd_problem_answer(x, &problem);
}

void hd_request_audit(const struct hd_request *r, const char *action, const char *subject)
{
    if (heed_engine_audit(r->server->engine, r->caller.name, action, subject) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_ERROR, "audit", "message", heed_error_message());
}

/* ---- what was sent */

heed_status hd_request_query(struct hd_request *r, void *out)
{
    return hd_shape_query(r->route->query, r->x, hd_exchange_arena(r->x), out, &r->field);
}

heed_status hd_request_json(struct hd_request *r, hd_json **root)
{
    size_t bytes;
    const char *body = hd_exchange_body(r->x, &bytes);

    if (bytes == 0)
        return hd_fail(HEED_E_FORMAT, "body: empty, and a JSON object is wanted");
    if (!r->reader)
        HD_TRY(hd_json_reader_new(&r->reader));
    heed_status status = hd_json_read(r->reader, body, bytes, root);
    return status == HEED_OK ? HEED_OK : hd_fail_prefix(status, "body: ");
}

heed_status hd_request_body(struct hd_request *r, void *out)
{
    hd_json *root;

    HD_TRY(hd_request_json(r, &root));
    if (hd_json_kind(root) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "body: %s, not an object",
                       hd_json_kind_name(hd_json_kind(root)));
    return hd_shape_read(r->route->body, root, hd_exchange_arena(r->x), out, &r->field);
}

/* ---- admission */

static void refuse(hd_exchange *x, int status, const char *detail)
{
    hd_problem_answer(x, &(struct hd_problem){.status = status, .detail = detail});
}

/* Nothing has this path, or not this method. */
static void refuse_route(hd_exchange *x, const struct hd_route_match *match)
{
    char allow[64];

    if (!match->allowed) {
        refuse(x, 404, "there is nothing at this path; /openapi.json lists what there is");
        return;
    }
    hd_route_allow(match->allowed, allow);
    hd_exchange_put_header(x, "Allow", allow);
    if (hd_exchange_method(x) == HD_OPTIONS)
        hd_exchange_answer(x, 204, NULL, NULL, 0);
    else
        refuse(x, 405, "this path has other methods; Allow lists them");
}

static bool role_may(const struct hd_route *route, const struct hd_caller *caller)
{
    if (route->roles & HD_ANYBODY)
        return true;
    if (!caller->known)
        return false;
    switch (caller->role) {
    case HEED_ROLE_OPERATOR:
        return true;
    case HEED_ROLE_INGEST:
        return route->roles & HD_BY_INGEST;
    case HEED_ROLE_SERVE:
        return route->roles & HD_BY_SERVE;
    case HEED_ROLE_ADVERTISER:
    case HEED_ROLES:
        break;
    }
    return false;
}

/* True where the caller may go on; else it is answered. */
static bool admit_caller(struct hd_request *r)
{
    struct hd_claim claim = {
        .authorization = hd_exchange_header(r->x, "Authorization"),
        .api_key = hd_exchange_header(r->x, "X-API-Key"),
        .host = hd_exchange_header(r->x, "Host"),
        .origin = hd_exchange_header(r->x, "Origin"),
        .peer = hd_exchange_peer(r->x),
    };
    char wait[16];
    int wait_s = 1;

    switch (hd_keys_check(r->server->keys, &claim, r->route->roles & HD_ANYBODY, &r->caller, &wait_s)) {
    case HD_WELCOME:
        break;
    case HD_NO_KEY:
    case HD_BAD_KEY:
        hd_exchange_put_header(r->x, "WWW-Authenticate", "Bearer realm=\"heed\"");
        refuse(r->x, 401, claim.authorization || claim.api_key
                              ? "the key is not one that is in use"
                              : "a key is needed: Authorization: Bearer KEY");
        return false;
    case HD_TOO_FAST:
        snprintf(wait, sizeof wait, "%d", wait_s);
        hd_exchange_put_header(r->x, "Retry-After", wait);
        refuse(r->x, 429, "more requests than this caller may make; Retry-After says when");
        return false;
    case HD_FOREIGN:
        refuse(r->x, 403, "without keys only this machine is served, under its own name, and to no "
                          "other site's page; `heed key add` makes a key");
        return false;
    }
    if (role_may(r->route, &r->caller))
        return true;
    refuse(r->x, 403, "the key's role does not allow this");
    return false;
}

/* The types in which a body may come. curl -d says that it sends a form: taken as what it looks like. */
static bool admit_type(struct hd_request *r)
{
    static const char *const types[] = {"application/json", "application/x-www-form-urlencoded",
                                        "application/x-ndjson", "application/ndjson",
                                        "application/jsonl"};
    size_t count = r->route->body_kind == HD_BODY_RECORDS ? sizeof types / sizeof *types : 2;

    if (r->route->body_kind == HD_BODY_NONE || !hd_exchange_header(r->x, "Content-Type"))
        return true;
    for (size_t i = 0; i < count; i++)
        if (hd_exchange_content_is(r->x, types[i]))
            return true;
    refuse(r->x, 415, r->route->body_kind == HD_BODY_RECORDS
                          ? "the body is to be application/json or application/x-ndjson"
                          : "the body is to be application/json");
    return false;
}

/* Can the answer be something that the caller takes? */
static bool admit_accept(struct hd_request *r)
{
    const char *accept = hd_exchange_header(r->x, "Accept");

    if (!accept || !*accept || strstr(accept, "*/*") || strstr(accept, "application/*"))
        return true;
    for (const struct hd_answer *a = r->route->answers; a->status; a++)
        if (strstr(accept, a->media_type ? a->media_type : "application/json") ||
            (a->also && strstr(accept, a->also)))
            return true;
    refuse(r->x, 406, "none of the types in Accept can be given; application/json can");
    return false;
}

static heed_status decode_parameters(struct hd_request *r, const struct hd_route_match *match)
{
    for (int i = 0; i < match->parameters; i++) {
        heed_status status =
            hd_http_decode(hd_exchange_arena(r->x), match->parameter[i].at,
                           match->parameter[i].bytes, &r->parameter[i]);
        if (status != HEED_OK)
            return hd_fail_prefix(status, "path: ");
    }
    return HEED_OK;
}

void hd_request_admit(void *context, hd_exchange *x)
{
    hd_arena *arena = hd_exchange_arena(x);
    struct hd_request *r = hd_arena_zalloc(arena, 1, sizeof *r);
    struct hd_route_match match;

    if (!r) {
        hd_reply_busy(x, "no memory");
        return;
    }
    r->server = context;
    r->x = x;
    hd_route_find(hd_route_tables, hd_exchange_method(x), hd_exchange_path(x), &match);
    if (!match.route) {
        refuse_route(x, &match);
        return;
    }
    r->route = match.route;
    hd_exchange_set(x, r);
    hd_exchange_label(x, match.route->pattern, NULL);
    if (!admit_caller(r) || !admit_type(r) || !admit_accept(r))
        return;
    hd_exchange_label(x, match.route->pattern, r->caller.name);
    if (decode_parameters(r, &match) != HEED_OK)
        hd_reply_problem(x, HEED_E_FORMAT, heed_error_message(), "path");
}

void hd_request_handle(void *context, hd_exchange *x)
{
    const struct hd_request *admitted = hd_exchange_get(x);

    (void)context;
    if (!admitted) {
        refuse(x, 404, NULL);
        return;
    }
    /* A copy: once a handler has handed the exchange on, it and its arena may be gone. */
    struct hd_request r = *admitted;
    heed_status status = r.route->handle(&r);
    if (status != HEED_OK)
        hd_reply_problem(x, status, heed_error_message(), r.field);
    hd_json_reader_free(r.reader);
}
