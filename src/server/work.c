/* SPDX-License-Identifier: Apache-2.0
 *
 * Models, jobs and the audit log. */
#include "server/request.h"
#include "base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked for */

struct order {
    const char *kind, *what, *recipe;
    int64_t epochs, dim, layers, heads, length, batch, seed;
    double rate, dropout;
    bool resume, only_better;
};
#define AT(field) .at = offsetof(struct order, field)
static const struct hd_field order_fields[] = {
    {"kind", HD_IS_CHOICE, HD_NEEDED, AT(kind), .words = "train|evaluate|export"},
    {"what", HD_IS_CHOICE, AT(what), .words = "events|items|users|model",
     .help = "export: what; it goes to the data folder's exports/"},
    {"recipe", HD_IS_CHOICE, AT(recipe), .words = "ligr|hstu|sasrec", .help = "train: which model"},
    {"epochs", HD_IS_INT, AT(epochs), .least = 1, .most = 100000, .help = "train: at most"},
    {"dim", HD_IS_INT, AT(dim), .least = 1, .most = 4096, .help = "train: of an item's vector"},
    {"layers", HD_IS_INT, AT(layers), .least = 1, .most = 32, .help = "train"},
    {"heads", HD_IS_INT, AT(heads), .least = 1, .most = 64, .help = "train"},
    {"length", HD_IS_INT, AT(length), .least = 1, .most = 8192,
     .help = "train: events the model sees at once"},
    {"batch", HD_IS_INT, AT(batch), .least = 1, .most = 65535, .help = "train: histories in a step"},
    {"rate", HD_IS_NUMBER, AT(rate), .least = 0, .most = 1, .help = "train: learning rate"},
    {"dropout", HD_IS_NUMBER, AT(dropout), .least = -1, .most = 1, .help = "train: below 0: none"},
    {"seed", HD_IS_INT, AT(seed), .least = 0, .most = INT64_MAX, .help = "train: the same seed, the same model"},
    {"resume", HD_IS_BOOL, AT(resume), .help = "train: go on where a run was interrupted"},
    {"only_better", HD_IS_BOOL, AT(only_better),
     .help = "train: keep the current model where the new one is worse on the same validation"},
    {0},
};
static const struct hd_shape order_shape = {"JobRequest", order_fields, sizeof(struct order), NULL};

/* ---- what is answered */

static const struct hd_field progress_fields[] = {
    {"what", HD_IS_TEXT, HD_NEEDED, .help = "what is counted"},
    {"done", HD_IS_INT, HD_NEEDED},
    {"total", HD_IS_INT, HD_NEEDED, .help = "0: not known"},
    {0},
};
static const struct hd_shape progress_shape = {"Progress", progress_fields, 0, NULL};
static const struct hd_field job_fields[] = {
    {"id", HD_IS_TEXT, HD_NEEDED},
    {"kind", HD_IS_CHOICE, HD_NEEDED, .words = "train|evaluate|export"},
    {"state", HD_IS_CHOICE, HD_NEEDED, .words = HD_JOB_STATE_WORDS},
    {"by", HD_IS_TEXT, HD_NEEDED, .help = "a key's name, local, or schedule"},
    {"asked", HD_IS_TIME, HD_NEEDED},
    {"started", HD_IS_TIME, 0},
    {"ended", HD_IS_TIME, 0},
    {"progress", HD_IS_SHAPE, 0, .shape = &progress_shape},
    {"result", HD_IS_MAP, 0, .help = "of a job that is done"},
    {"error", HD_IS_TEXT, 0, .help = "of one that is not"},
    {0},
};
static const struct hd_shape job_shape = {"Job", job_fields, 0, NULL};
static const struct hd_field jobs_fields[] = {
    {"jobs", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &job_shape, .help = "newest first"},
    {0},
};
static const struct hd_shape jobs_shape = {"Jobs", jobs_fields, 0, NULL};

static const struct hd_field model_fields[] = {
    {"name", HD_IS_TEXT, HD_NEEDED},
    {"file", HD_IS_TEXT, HD_NEEDED, .help = "below the data folder"},
    {"made", HD_IS_TIME, HD_NEEDED},
    {"description", HD_IS_MAP, HD_NEEDED, .help = "recipe, sizes, seed, quality"},
    {0},
};
static const struct hd_shape model_shape = {"Model", model_fields, 0, NULL};
static const struct hd_field models_fields[] = {
    {"models", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &model_shape},
    {0},
};
static const struct hd_shape models_shape = {"Models", models_fields, 0, NULL};

static const struct hd_field audit_line_fields[] = {
    {"at", HD_IS_TIME, HD_NEEDED},
    {"who", HD_IS_TEXT, HD_NEEDED},
    {"action", HD_IS_TEXT, HD_NEEDED},
    {"subject", HD_IS_TEXT, HD_NEEDED},
    {0},
};
static const struct hd_shape audit_line_shape = {"AuditLine", audit_line_fields, 0, NULL};
static const struct hd_field audit_fields[] = {
    {"audit", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &audit_line_shape, .help = "newest first"},
    {0},
};
static const struct hd_shape audit_shape = {"Audit", audit_fields, 0, NULL};

/* ---- jobs */

static heed_status take_order(struct hd_request *r, struct hd_job_order *order)
{
    struct order o = {0};

    HD_TRY(hd_request_body(r, &o));
    order->kind = HD_JOB_TRAIN;
    while (strcmp(hd_job_kind_name(order->kind), o.kind) != 0)
        order->kind++;
    order->train = (heed_train_opts){.dim = o.dim,
                                     .layers = o.layers,
                                     .heads = o.heads,
                                     .length = o.length,
                                     .epochs = o.epochs,
                                     .batch = o.batch,
                                     .rate = o.rate,
                                     .dropout = o.dropout,
                                     .seed = (uint64_t)o.seed,
                                     .resume = o.resume,
                                     .only_better = o.only_better};
    if (o.recipe)
        HD_TRY(heed_recipe_find(o.recipe, &order->train.recipe));
    if (order->kind == HD_JOB_EXPORT && !o.what) {
        r->field = "what";
        return hd_fail(HEED_E_FORMAT, "what: missing: events, items, users or model");
    }
    snprintf(order->what, sizeof order->what, "%s", o.what ? o.what : "");
    snprintf(order->by, sizeof order->by, "%s", r->caller.name);
    return HEED_OK;
}

static heed_status post_job(struct hd_request *r)
{
    struct hd_job_order order = {0};
    struct hd_json_writer w = {0};
    char where[40];
    int64_t id;

    HD_TRY(take_order(r, &order));
    if (hd_jobs_add(r->server->jobs, &order, &id) != HEED_OK) {
        hd_reply_busy(r->x, heed_error_message());
        return HEED_OK;
    }
    hd_request_audit(r, "job", hd_job_kind_name(order.kind));
    HD_TRY(hd_jobs_write(r->server->jobs, id, &w));
    snprintf(where, sizeof where, "/v1/jobs/%" PRId64, id);
    hd_exchange_put_header(r->x, "Location", where);
    return hd_reply_json(r->x, 202, &w);
}

static heed_status job_id(const struct hd_request *r, int64_t *id)
{
    char *end;

    errno = 0;
    *id = strtoll(r->parameter[0], &end, 10);
    if (*end || errno || *id < 1)
        return hd_fail(HEED_E_NOTFOUND, "job: there is no %.40s", r->parameter[0]);
    return HEED_OK;
}

static heed_status get_job(struct hd_request *r)
{
    struct hd_json_writer w = {0};
    int64_t id;

    HD_TRY(job_id(r, &id));
    HD_TRY(hd_jobs_write(r->server->jobs, id, &w));
    return hd_reply_json(r->x, 200, &w);
}

static heed_status list_jobs(struct hd_request *r)
{
    struct hd_json_writer w = {0};

    hd_jobs_list(r->server->jobs, &w);
    return hd_reply_json(r->x, 200, &w);
}

static heed_status cancel_job(struct hd_request *r)
{
    struct hd_json_writer w = {0};
    int64_t id;

    HD_TRY(job_id(r, &id));
    HD_TRY(hd_jobs_cancel(r->server->jobs, id));
    hd_request_audit(r, "cancel job", r->parameter[0]);
    HD_TRY(hd_jobs_write(r->server->jobs, id, &w));
    return hd_reply_json(r->x, 202, &w);
}

/* ---- models, the audit log */

static heed_status list_models(struct hd_request *r)
{
    heed_text *text = NULL;

    HD_TRY(heed_engine_models(r->server->engine, &text));
    return hd_reply_text(r->x, text);
}

struct audit_query {
    int64_t n;
};
static const struct hd_field audit_query_fields[] = {
    {"n", HD_IS_INT, 0, offsetof(struct audit_query, n), .least = 1, .most = HD_AUDIT_LINES_MAX,
     .help = "lines; 100"},
    {0},
};

static heed_status list_audit(struct hd_request *r)
{
    struct audit_query query = {.n = 100};
    heed_text *text = NULL;

    HD_TRY(hd_request_query(r, &query));
    HD_TRY(heed_engine_audit_list(r->server->engine, (int)query.n, &text));
    return hd_reply_text(r->x, text);
}

/* ---- the table */

#define GIVES(status_, shape_) HD_GIVES(status_, shape_, "the answer")

static const struct hd_route routes[] = {
    {HD_GET, "/v1/models", HD_BY_SERVE, list_models, "listModels", "the models that are served",
     GIVES(200, models_shape)},
    {HD_POST, "/v1/jobs", 0, post_job, "postJob",
     "train, evaluate or export beside serving, at low priority", .body_kind = HD_BODY_JSON,
     .body = &order_shape, GIVES(202, job_shape)},
    {HD_GET, "/v1/jobs", 0, list_jobs, "listJobs", "the last hundred jobs", GIVES(200, jobs_shape)},
    {HD_GET, "/v1/jobs/{id}", 0, get_job, "getJob", "one job", GIVES(200, job_shape)},
    {HD_DELETE, "/v1/jobs/{id}", 0, cancel_job, "cancelJob", "stop a job at its next safe place",
     GIVES(202, job_shape)},
    {HD_GET, "/v1/audit", 0, list_audit, "listAudit", "who did what",
     .query = audit_query_fields, GIVES(200, audit_shape)},
};

const struct hd_route_table hd_routes_work = {"work", routes, sizeof routes / sizeof *routes};
