/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /v1/reports, the queue behind it, and the thread that empties it. */
#include "server/reports.h"
#include "acquire/event.h"
#include "base/limits.h"
#include "base/memory.h"
#include "server/request.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOWEST_PRIORITY 19

struct hd_reports {
    heed_engine *engine;
    pthread_t thread;
    atomic_bool ending;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t news;
    struct hd_report_order *first, **last;
    int waiting;
};

/* ---- the queue */

static bool go_on(void *context, const char *what, int64_t done, int64_t total)
{
    hd_reports *reports = context;

    (void)what;
    (void)done;
    (void)total;
    return !reports->ending;
}

/* NULL: there is none, and the end was asked for. */
static struct hd_report_order *take_order(hd_reports *reports)
{
    pthread_mutex_lock(&reports->lock);
    while (!reports->first && !reports->ending)
        pthread_cond_wait(&reports->news, &reports->lock);
    struct hd_report_order *order = reports->first;
    if (order) {
        reports->first = order->next;
        if (!reports->first)
            reports->last = &reports->first;
        reports->waiting--;
    }
    pthread_mutex_unlock(&reports->lock);
    return order;
}

static void make(hd_reports *reports, struct hd_report_order *order)
{
    hd_exchange *x = order->x; /* the order is gone with it */
    heed_text *text = NULL;

    order->opts.progress = (heed_progress){go_on, reports};
    heed_status status = heed_engine_report(reports->engine, &order->opts, &text);
    if (status == HEED_OK)
        status = hd_reply_text(x, text);
    if (status == HEED_E_CANCELLED)
        hd_reply_busy(x, "the server is stopping");
    else if (status != HEED_OK)
        hd_reply_problem(x, status, heed_error_message(), NULL);
}

static void *run(void *context)
{
    hd_reports *reports = context;
    struct hd_report_order *order;

    /* As the jobs: Linux has a priority for each thread, and failing costs nothing but it. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOWEST_PRIORITY);
    while ((order = take_order(reports)))
        make(reports, order);
    return NULL;
}

heed_status hd_reports_new(heed_engine *engine, hd_reports **out)
{
    hd_reports *reports = hd_alloc(1, sizeof *reports);

    if (!reports)
        return hd_fail(HEED_E_NOMEM, "reports: no memory");
    reports->engine = engine;
    reports->last = &reports->first;
    atomic_init(&reports->ending, false);
    pthread_mutex_init(&reports->lock, NULL);
    pthread_cond_init(&reports->news, NULL);
    if (pthread_create(&reports->thread, NULL, run, reports) != 0) {
        pthread_cond_destroy(&reports->news);
        pthread_mutex_destroy(&reports->lock);
        hd_free(reports);
        return hd_fail(HEED_E_NOMEM, "reports: no thread could be had");
    }
    *out = reports;
    return HEED_OK;
}

void hd_reports_free(hd_reports *reports)
{
    if (!reports)
        return;
    pthread_mutex_lock(&reports->lock);
    reports->ending = true;
    pthread_cond_signal(&reports->news);
    pthread_mutex_unlock(&reports->lock);
    pthread_join(reports->thread, NULL);
    pthread_cond_destroy(&reports->news);
    pthread_mutex_destroy(&reports->lock);
    hd_free(reports);
}

heed_status hd_reports_put(hd_reports *reports, struct hd_report_order *order)
{
    pthread_mutex_lock(&reports->lock);
    bool full = reports->ending || reports->waiting == HD_REPORTS_WAITING_MAX;
    if (!full) {
        hd_exchange_later(order->x);
        order->next = NULL;
        *reports->last = order;
        reports->last = &order->next;
        reports->waiting++;
        pthread_cond_signal(&reports->news);
    }
    pthread_mutex_unlock(&reports->lock);
    return full ? hd_fail(HEED_E_BUSY, "reports: %d wait already; try again",
                          HD_REPORTS_WAITING_MAX)
                : HEED_OK;
}

/* ---- the route */

struct report_query {
    const char *by, *kind;
    heed_time from, to;
    int64_t k, n;
};
#define AT(field) .at = offsetof(struct report_query, field)
static const struct hd_field query_fields[] = {
    {"by", HD_IS_CHOICE, HD_NEEDED, AT(by), .words = "tag|author|item|kind|day|hour",
     .help = "what makes a group; hour: of the week, UTC, 0 to 167, from Monday"},
    {"from", HD_IS_TIME, AT(from), .help = "events from then on"},
    {"to", HD_IS_TIME, AT(to), .help = "events before"},
    {"kind", HD_IS_CHOICE, AT(kind), .help = "of this kind; every kind that is attention",
     .words = HD_EVENT_KIND_WORDS},
    {"k", HD_IS_INT, AT(k), .least = HD_REPORT_READERS_LEAST, .most = HD_REPORT_READERS_MAX,
     .help = "no line is of fewer readers; 10"},
    {"n", HD_IS_INT, AT(n), .least = 1, .most = HD_REPORT_GROUPS_MAX,
     .help = "groups, those of the most readers; 50"},
    {0},
};

#define SUMS                                                                                    \
    {"readers", HD_IS_INT, HD_NEEDED, .help = "users whose attention it was, each once"},       \
    {"events", HD_IS_INT, HD_NEEDED},                                                           \
    {"impressions", HD_IS_INT, HD_NEEDED, .help = "how often it was shown"},                    \
    {"dwell_ms", HD_IS_INT, HD_NEEDED},                                                         \
    {"share", HD_IS_NUMBER, HD_NEEDED, .help = "of the events of all lines that are there"}
static const struct hd_field group_fields[] = {
    {"group", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL, .help = "null: items without an author, or a tag"},
    SUMS,
    {0},
};
static const struct hd_shape group_shape = {"ReportGroup", group_fields, 0, NULL};
static const struct hd_field other_fields[] = {SUMS, {0}};
static const struct hd_shape other_shape = {"ReportOther", other_fields, 0,
                                            "every other group in one"};
static const struct hd_field report_fields[] = {
    {"by", HD_IS_TEXT, HD_NEEDED},
    {"from", HD_IS_TIME, HD_NEEDED | HD_OR_NULL},
    {"to", HD_IS_TIME, HD_NEEDED | HD_OR_NULL},
    {"kind", HD_IS_TEXT, HD_NEEDED | HD_OR_NULL},
    {"k", HD_IS_INT, HD_NEEDED, .help = "no line is of fewer readers"},
    {"groups", HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &group_shape,
     .most_count = HD_REPORT_GROUPS_MAX, .help = "most readers first; days and hours as they come"},
    {"other", HD_IS_SHAPE, 0, .shape = &other_shape, .help = "where there is one of k readers"},
    {"withheld", HD_IS_BOOL, HD_NEEDED,
     .help = "some groups have fewer than k readers, and are in other or in no line"},
    {0},
};
static const struct hd_shape report_shape = {"Report", report_fields, 0,
                                             "attention taken, by group"};

static heed_status get_report(struct hd_request *r)
{
    struct report_query query = {0};
    struct hd_report_order *order = hd_arena_zalloc(hd_exchange_arena(r->x), 1, sizeof *order);

    if (!order)
        return hd_fail(HEED_E_NOMEM, "report: no memory");
    HD_TRY(hd_request_query(r, &query));
    order->x = r->x;
    order->opts = (heed_report_opts){.by = query.by,
                                     .from = query.from,
                                     .to = query.to,
                                     .kind = query.kind,
                                     .k = query.k,
                                     .n = (int)query.n};
    if (hd_reports_put(r->server->reports, order) != HEED_OK)
        hd_reply_busy(r->x, heed_error_message());
    return HEED_OK;
}

static const struct hd_route routes[] = {
    {HD_GET, "/v1/reports", 0, get_report, "getReport",
     "attention taken, by group; no group of fewer than k readers", .query = query_fields,
     HD_GIVES(200, report_shape, "the report")},
};

const struct hd_route_table hd_routes_reports = {"reports", routes, sizeof routes / sizeof *routes};
