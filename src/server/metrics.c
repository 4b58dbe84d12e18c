/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters, and the page that /metrics gives of them. */
#include "server/metrics.h"
#include "base/memory.h"
#include "base/time.h"
#include "server/request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATUSES 28 /* those below, and one for every other */
#define BOUNDS 19
#define STEPS_MAX 16 /* steps of the feed's pipeline, by name, in the order in which they are met */
#define POLICIES_MAX 16

static const int statuses[STATUSES - 1] = {200, 201, 202, 204, 206, 301, 304, 400, 401,
                                           403, 404, 405, 406, 408, 409, 411, 412, 413,
                                           414, 415, 417, 429, 431, 500, 501, 503, 505};
/* Seconds: from a cached step to a training that somebody waits for. */
static const double bounds[BOUNDS] = {1e-5, 2.5e-5, 5e-5, 1e-4,   2.5e-4, 5e-4, 1e-3,
                                      2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2,   0.1,  0.25,
                                      0.5,    1,    2.5,  5,      10};

struct histogram {
    atomic_llong bucket[BOUNDS + 1]; /* each alone; the page adds them up */
    atomic_llong sum_us;
};

struct route_count {
    const struct hd_route *route; /* NULL: whatever no route answered */
    atomic_llong status[STATUSES];
    struct histogram took;
};

/* Something counted under a name that is found out as it comes. */
struct named {
    _Atomic(const char *) name; /* static text of the engine's, or a copy; set once */
    atomic_llong count;
    struct histogram took;
};

struct hd_metrics {
    int64_t started_ms;
    int routes;
    struct named step[STEPS_MAX], policy[POLICIES_MAX];
    atomic_llong accepted, duplicate, rejected, bodies, groups_failed, trainings, kept_out;
    _Atomic double valid_ndcg10;
    struct route_count route[];
};

heed_status hd_metrics_new(const struct hd_route_table *const *tables, struct hd_metrics **out)
{
    int routes = 1;

    for (int t = 0; tables[t]; t++)
        routes += tables[t]->count;
    struct hd_metrics *metrics = hd_alloc(
        1, sizeof *metrics + (size_t)routes * sizeof(struct route_count));
    if (!metrics)
        return hd_fail(HEED_E_NOMEM, "metrics: no memory");
    metrics->started_ms = hd_clock_now(NULL);
    for (int t = 0; tables[t]; t++)
        for (int i = 0; i < tables[t]->count; i++)
            metrics->route[metrics->routes++].route = &tables[t]->routes[i];
    metrics->routes++; /* the last one, of no route */
    *out = metrics;
    return HEED_OK;
}

void hd_metrics_free(struct hd_metrics *metrics)
{
    for (int i = 0; metrics && i < STEPS_MAX; i++)
        hd_free((void *)(uintptr_t)metrics->step[i].name);
    for (int i = 0; metrics && i < POLICIES_MAX; i++)
        hd_free((void *)(uintptr_t)metrics->policy[i].name);
    hd_free(metrics);
}

/* ---- counting */

static void observe(struct histogram *h, double us)
{
    int b = 0;

    while (b < BOUNDS && us > bounds[b] * 1e6)
        b++;
    atomic_fetch_add_explicit(&h->bucket[b], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, (long long)us, memory_order_relaxed);
}

static struct route_count *find_route(struct hd_metrics *metrics, const struct hd_access *access)
{
    const char *method = strcmp(access->method, "HEAD") == 0 ? "GET" : access->method;
    int i = 0;

    for (; access->route && i < metrics->routes - 1; i++)
        if (metrics->route[i].route->pattern == access->route &&
            strcmp(hd_method_name(metrics->route[i].route->method), method) == 0)
            return &metrics->route[i];
    return &metrics->route[metrics->routes - 1];
}

void hd_metrics_access(struct hd_metrics *metrics, const struct hd_access *access)
{
    struct route_count *route = find_route(metrics, access);
    int s = 0;

    while (s < STATUSES - 1 && statuses[s] != access->status)
        s++;
    atomic_fetch_add_explicit(&route->status[s], 1, memory_order_relaxed);
    observe(&route->took, (double)access->took_us);
}

/* The place of a name, taken where it is new; NULL where all are taken. */
static struct named *find_name(struct named *all, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        const char *there = atomic_load(&all[i].name);
        if (!there) {
            const char *copy = hd_strdup(name);
            if (!copy)
                return NULL;
            if (atomic_compare_exchange_strong(&all[i].name, &there, copy))
                return &all[i];
            hd_free((void *)(uintptr_t)copy); /* another thread was faster, and set `there` */
        }
        if (strcmp(there, name) == 0)
            return &all[i];
    }
    return NULL;
}

void hd_metrics_feed(struct hd_metrics *metrics, const heed_feed *feed)
{
    struct named *policy = find_name(metrics->policy, POLICIES_MAX, feed->policy);

    if (policy)
        atomic_fetch_add_explicit(&policy->count, 1, memory_order_relaxed);
    for (int i = 0; i < feed->step_count; i++) {
        struct named *step = find_name(metrics->step, STEPS_MAX, feed->steps[i].name);
        if (step)
            observe(&step->took, feed->steps[i].us);
    }
}

void hd_metrics_taken(void *context, const struct hd_delivery *delivery)
{
    struct hd_metrics *metrics = context;
    const heed_ingest *p = &delivery->piece;

    atomic_fetch_add_explicit(&metrics->bodies, 1, memory_order_relaxed);
    if (delivery->status != HEED_OK)
        atomic_fetch_add_explicit(&metrics->groups_failed, 1, memory_order_relaxed);
    if (p->what != HEED_RECORD_EVENT)
        return;
    atomic_fetch_add_explicit(&metrics->accepted, p->accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&metrics->duplicate, p->duplicate, memory_order_relaxed);
    atomic_fetch_add_explicit(&metrics->rejected, p->rejected, memory_order_relaxed);
}

void hd_metrics_trained(struct hd_metrics *metrics, const heed_train_report *report)
{
    atomic_fetch_add(&metrics->trainings, 1);
    if (report->kept_out)
        atomic_fetch_add(&metrics->kept_out, 1);
    metrics->valid_ndcg10 = report->kept_out ? report->rival_ndcg10 : report->valid_ndcg10;
}

/* ---- the page */

struct page {
    char *text;
    size_t bytes, room;
    bool no_memory;
};

static void say(struct page *page, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct page *page, const char *fmt, ...)
{
    char line[512];
    va_list args;

    va_start(args, fmt);
    int bytes = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    size_t length = bytes < 0 ? 0 : (size_t)bytes < sizeof line ? (size_t)bytes : sizeof line - 1;
    if (page->bytes + length + 1 > page->room) {
        size_t room = 2 * page->room + 16384;
        char *text = hd_resize(page->text, room, 1);
        if (!text) {
            page->no_memory = true;
            return;
        }
        page->text = text;
        page->room = room;
    }
    memcpy(page->text + page->bytes, line, length + 1);
    page->bytes += length;
}

static void head(struct page *page, const char *name, const char *type, const char *help)
{
    say(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct page *page, const char *name, const char *type, const char *help,
                double value)
{
    head(page, name, type, help);
    say(page, "%s %.15g\n", name, value);
}

static int64_t total_of(const struct histogram *h)
{
    int64_t total = 0;

    for (int b = 0; b <= BOUNDS; b++)
        total += h->bucket[b];
    return total;
}

/* labels: `route="...",method="..."` */
static void put_histogram(struct page *page, const char *name, const char *labels,
                          const struct histogram *h)
{
    int64_t sum = 0;

    for (int b = 0; b < BOUNDS; b++) {
        sum += h->bucket[b];
        say(page, "%s_bucket{%s,le=\"%g\"} %" PRId64 "\n", name, labels, bounds[b], sum);
    }
    sum += h->bucket[BOUNDS];
    say(page, "%s_bucket{%s,le=\"+Inf\"} %" PRId64 "\n", name, labels, sum);
    say(page, "%s_sum{%s} %.6f\n", name, labels, (double)h->sum_us * 1e-6);
    say(page, "%s_count{%s} %" PRId64 "\n", name, labels, sum);
}

static void put_routes(struct page *page, const struct hd_metrics *metrics)
{
    char labels[160];

    head(page, "heed_http_requests_total", "counter", "Answers, by route, method and status.");
    for (int i = 0; i < metrics->routes; i++) {
        const struct hd_route *route = metrics->route[i].route;
        for (int s = 0; s < STATUSES; s++) {
            int64_t count = metrics->route[i].status[s];
            if (count > 0)
                say(page,
                    "heed_http_requests_total{route=\"%s\",method=\"%s\",status=\"%d\"} %" PRId64
                    "\n",
                    route ? route->pattern : "", route ? hd_method_name(route->method) : "",
                    s < STATUSES - 1 ? statuses[s] : 0, count);
        }
    }
    head(page, "heed_http_request_seconds", "histogram", "From the request's head to its answer.");
    for (int i = 0; i < metrics->routes; i++) {
        const struct hd_route *route = metrics->route[i].route;
        if (total_of(&metrics->route[i].took) == 0)
            continue;
        snprintf(labels, sizeof labels, "route=\"%s\",method=\"%s\"", route ? route->pattern : "",
                 route ? hd_method_name(route->method) : "");
        put_histogram(page, "heed_http_request_seconds", labels, &metrics->route[i].took);
    }
}

static void put_feeds(struct page *page, const struct hd_metrics *metrics)
{
    char labels[160];

    head(page, "heed_feeds_total", "counter", "Feeds, by the policy that answered.");
    for (int i = 0; i < POLICIES_MAX && metrics->policy[i].name; i++)
        say(page, "heed_feeds_total{policy=\"%s\"} %lld\n", metrics->policy[i].name,
            (long long)metrics->policy[i].count);
    head(page, "heed_feed_step_seconds", "histogram", "Steps of the feed's pipeline.");
    for (int i = 0; i < STEPS_MAX && metrics->step[i].name; i++) {
        snprintf(labels, sizeof labels, "step=\"%s\"", metrics->step[i].name);
        put_histogram(page, "heed_feed_step_seconds", labels, &metrics->step[i].took);
    }
}

static void put_records(struct page *page, const struct hd_metrics *metrics)
{
    head(page, "heed_events_total", "counter", "Events that came in, by what became of them.");
    say(page, "heed_events_total{outcome=\"accepted\"} %lld\n", (long long)metrics->accepted);
    say(page, "heed_events_total{outcome=\"duplicate\"} %lld\n", (long long)metrics->duplicate);
    say(page, "heed_events_total{outcome=\"rejected\"} %lld\n", (long long)metrics->rejected);
    one(page, "heed_bodies_total", "counter", "Bodies with records that came in.",
        (double)metrics->bodies);
    one(page, "heed_bodies_failed_total", "counter", "Bodies that the store could not take in.",
        (double)metrics->groups_failed);
}

double hd_resident_bytes(void)
{
    long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void put_server(struct page *page, struct hd_server *server)
{
    static const char *const states[HD_JOB_STATES] = {"waiting", "running", "done", "failed",
                                                      "cancelled"};
    const struct hd_metrics *metrics = server->metrics;
    struct hd_http_counts http = {0};
    int64_t jobs[HD_JOB_STATES];

    if (server->http)
        hd_http_count(server->http, &http);
    one(page, "heed_connections", "gauge", "Connections that are open.", (double)http.connections);
    one(page, "heed_connections_waiting", "gauge", "Of those, that have not asked anything yet.",
        (double)http.waiting);
    one(page, "heed_connections_total", "counter", "Connections so far.", (double)http.accepted);
    one(page, "heed_connections_refused_total", "counter", "Connections past a limit.",
        (double)http.refused);
    one(page, "heed_connections_cut_off_total", "counter", "Connections past a deadline.",
        (double)http.cut_off);
    one(page, "heed_intake_waiting", "gauge", "Bodies that wait for the disk.",
        hd_intake_waiting(server->intake));
    hd_jobs_count(server->jobs, jobs);
    head(page, "heed_jobs", "gauge", "Jobs that are remembered, by state.");
    for (int s = 0; s < HD_JOB_STATES; s++)
        say(page, "heed_jobs{state=\"%s\"} %" PRId64 "\n", states[s], jobs[s]);
    one(page, "heed_trainings_total", "counter", "Trainings that ran to their end.",
        (double)metrics->trainings);
    one(page, "heed_trainings_kept_out_total", "counter",
        "Of them those whose model was worse than the current one.", (double)metrics->kept_out);
    if (metrics->valid_ndcg10 > 0)
        one(page, "heed_model_valid_ndcg10", "gauge",
            "NDCG@10 of the current model on its validation, as of the last training here.",
            metrics->valid_ndcg10);
    one(page, "process_resident_memory_bytes", "gauge", "Resident memory.", hd_resident_bytes());
    one(page, "process_start_time_seconds", "gauge", "When the server started.",
        (double)metrics->started_ms / 1000);
}

heed_status hd_metrics_write(struct hd_server *server, char **text, size_t *bytes)
{
    struct page page = {0};
    heed_engine_counts counts;

    say(&page, "# HELP heed_build_info Which heed this is.\n# TYPE heed_build_info gauge\n"
               "heed_build_info{version=\"%s\"} 1\n", heed_version());
    put_routes(&page, server->metrics);
    put_feeds(&page, server->metrics);
    put_records(&page, server->metrics);
    if (heed_engine_count(server->engine, &counts) == HEED_OK) {
        one(&page, "heed_users", "gauge", "Users in the store.", (double)counts.users);
        one(&page, "heed_kept_users", "gauge", "Users of whom something is kept at hand.",
            (double)counts.kept);
        one(&page, "heed_kept_bytes", "gauge", "What is kept at hand of users.",
            (double)counts.kept_bytes);
        one(&page, "heed_items", "gauge", "Items in the store.", (double)counts.items);
        one(&page, "heed_events", "gauge", "Events in the store.", (double)counts.events);
        one(&page, "heed_model", "gauge", "Whether a model is served.", counts.has_model);
    }
    put_server(&page, server);
    if (page.no_memory) {
        hd_free(page.text);
        return hd_fail(HEED_E_NOMEM, "metrics: no memory");
    }
    *text = page.text;
    *bytes = page.bytes;
    return HEED_OK;
}
