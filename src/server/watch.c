/* SPDX-License-Identifier: Apache-2.0
 *
 * For those who keep the server running, and for programs that ask what it can do. */
#include "server/request.h"
#include "server/log.h"
#include "base/memory.h"

static const struct hd_field health_fields[] = {{"status", HD_IS_TEXT, HD_NEEDED}, {0}};
static const struct hd_shape health_shape = {"Health", health_fields, 0, "the process lives"};

static const struct hd_field ready_fields[] = {
    {"status", HD_IS_TEXT, HD_NEEDED},
    {"users", HD_IS_INT, HD_NEEDED},
    {"items", HD_IS_INT, HD_NEEDED},
    {"events", HD_IS_INT, HD_NEEDED},
    {"model", HD_IS_BOOL, HD_NEEDED, .help = "whether feeds are personal yet"},
    {"missing", HD_IS_TEXT, HD_MANY | HD_NEEDED, .help = "what better answers wait for"},
    {0},
};
static const struct hd_shape ready_shape = {"Ready", ready_fields, 0, "the store can be read"};

static heed_status healthz(struct hd_request *r)
{
    static const char text[] = "{\"status\":\"alive\"}";

    hd_exchange_answer(r->x, 200, "application/json", text, sizeof text - 1);
    return HEED_OK;
}

static heed_status readyz(struct hd_request *r)
{
    struct hd_json_writer w = {0};
    heed_engine_counts counts;

    heed_status status = heed_engine_count(r->server->engine, &counts);
    if (status != HEED_OK) {
        hd_log_say(HD_LOG_FILE, HEED_LOG_ERROR, "not-ready", "message", heed_error_message());
        hd_problem_answer(r->x, &(struct hd_problem){.status = 503,
                                                     .type = "not-ready",
                                                     .title = "the store cannot be read",
                                                     .detail = heed_status_text(status)});
        return HEED_OK;
    }
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "status", "ready");
    hd_json_put_int(&w, "users", counts.users);
    hd_json_put_int(&w, "items", counts.items);
    hd_json_put_int(&w, "events", counts.events);
    hd_json_put_bool(&w, "model", counts.has_model);
    hd_json_begin_array(&w, "missing");
    if (counts.items == 0)
        hd_json_put_text(&w, NULL, "items");
    if (counts.events == 0)
        hd_json_put_text(&w, NULL, "events");
    if (!counts.has_model)
        hd_json_put_text(&w, NULL, "model");
    hd_json_end(&w);
    hd_json_end(&w);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status metrics(struct hd_request *r)
{
    char *text;
    size_t bytes;

    HD_TRY(hd_metrics_write(r->server, &text, &bytes));
    hd_exchange_answer(r->x, 200, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
    hd_free(text);
    return HEED_OK;
}

static heed_status openapi(struct hd_request *r)
{
    hd_exchange_answer(r->x, 200, "application/json", r->server->openapi, r->server->openapi_bytes);
    return HEED_OK;
}

static const struct hd_route routes[] = {
    {HD_GET, "/healthz", HD_ANYBODY, healthz, "healthz", "does the process live?",
     .answers = {{200, .shape = &health_shape}}},
    {HD_GET, "/readyz", HD_ANYBODY, readyz, "readyz", "can it answer, and what is missing?",
     .answers = {{200, .shape = &ready_shape}}},
    {HD_GET, "/metrics", 0, metrics, "metrics", "counters for Prometheus",
     .answers = {{200, .media_type = "text/plain", .help = "text format 0.0.4"}}},
    {HD_GET, "/openapi.json", HD_ANYBODY, openapi, "openapi", "this description",
     .answers = {{200, .media_type = "application/json", .help = "OpenAPI 3.1"}}},
};

const struct hd_route_table hd_routes_watch = {"watch", routes, sizeof routes / sizeof *routes};
