/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: a ring of the last hundred, and the thread that works through those that wait. */
#include "server/jobs.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/time.h"
#include "server/job_errand.h"
#include "server/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RETAIN_EVERY_MS (INT64_C(3600) * 1000) /* ages are days; an hour late is on time */
#define RETRY_MS 60000 /* of a store that has no model yet */
#define LOWEST_PRIORITY 19

struct job {
    int64_t id; /* 0: empty */
    struct hd_job_order order;
    enum hd_job_state state;
    bool cancel;
    heed_time asked, started, ended;
    char part[64]; /* of the progress: what is counted */
    int64_t done, total;
    char error[HD_ERROR_BYTES_MAX];
    char *result; /* a JSON object, on the heap */
};

struct hd_jobs {
    heed_engine *engine;
    const char *folder;
    struct hd_jobs_opts opts;
    struct hd_metrics *metrics;
    pthread_t thread;
    int64_t next_train_ms, next_retain_ms; /* monotonic; the thread's own */
    int64_t trained_ms;                    /* when the last training here ended; 0: never */
    bool ended;                            /* it is joined; of whoever ends it */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t news;
    struct job ring[HD_JOBS_KEPT_MAX];
    int64_t last; /* the latest id */
    bool ending;
};

static const char *const kind_names[HD_JOB_KINDS] = {"train", "evaluate", "export"};
static const char *const state_names[HD_JOB_STATES] = {"waiting", "running", "done", "failed",
                                                       "cancelled"};

const char *hd_job_kind_name(enum hd_job_kind kind)
{
    return kind_names[kind];
}

static int64_t monotonic_ms(void)
{
    return hd_monotonic_ns() / 1000000;
}

/* The job of that id, under the lock; NULL where it is forgotten or never was. */
static struct job *find_job(hd_jobs *jobs, int64_t id)
{
    struct job *job = &jobs->ring[(uint64_t)id % HD_JOBS_KEPT_MAX];

    return id > 0 && job->id == id ? job : NULL;
}

/* ---- doing them */

/* The job that runs, for its progress callback. */
struct running {
    hd_jobs *jobs;
    int64_t id;
};

static bool on_progress(void *context, const char *what, int64_t done, int64_t total)
{
    struct running *running = context;
    bool go_on = false;

    pthread_mutex_lock(&running->jobs->lock);
    struct job *job = find_job(running->jobs, running->id);
    if (job) {
        snprintf(job->part, sizeof job->part, "%s", what);
        job->done = done;
        job->total = total;
        go_on = !job->cancel && !running->jobs->ending;
    }
    pthread_mutex_unlock(&running->jobs->lock);
    return go_on;
}

static void log_job(const struct job *job)
{
    struct hd_log_line line;

    hd_log_begin(&line, job->state == HD_JOB_FAILED ? HEED_LOG_WARN : HEED_LOG_INFO, "job");
    hd_log_int(&line, "id", job->id);
    hd_log_text(&line, "kind", kind_names[job->order.kind]);
    hd_log_text(&line, "state", state_names[job->state]);
    hd_log_text(&line, "by", job->order.by);
    if (job->ended)
        hd_log_int(&line, "ms", job->ended - job->started);
    hd_log_text(&line, "result", job->result);
    hd_log_text(&line, "error", *job->error ? job->error : NULL);
    hd_log_end(&line, HD_LOG_FILE);
}

static void run_job(hd_jobs *jobs, int64_t id, const struct hd_job_order *order)
{
    struct running running = {jobs, id};
    struct hd_job_errand errand = {jobs->engine, jobs->folder, jobs->metrics,
                                   id,           order,        {on_progress, &running}};
    struct hd_json_writer w = {0};
    const char *text = NULL;
    char message[HD_ERROR_BYTES_MAX] = "";

    hd_json_begin_object(&w, NULL);
    heed_status status = hd_job_perform(&errand, &w);
    if (status == HEED_OK) {
        hd_json_end(&w);
        status = hd_json_finish(&w, &text, NULL);
    }
    if (status != HEED_OK)
        snprintf(message, sizeof message, "%s", heed_error_message());
    else if (order->kind == HD_JOB_TRAIN)
        jobs->trained_ms = monotonic_ms();
    pthread_mutex_lock(&jobs->lock);
    struct job *job = find_job(jobs, id);
    job->state = status == HEED_OK          ? HD_JOB_DONE
                 : status == HEED_E_CANCELLED ? HD_JOB_CANCELLED
                                              : HD_JOB_FAILED;
    job->ended = hd_clock_now(NULL);
    job->result = status == HEED_OK ? hd_strdup(text) : NULL;
    memcpy(job->error, message, sizeof message);
    struct job told = *job; /* for the log, which is written without the lock */
    told.result = status == HEED_OK ? w.text : NULL;
    pthread_mutex_unlock(&jobs->lock);
    log_job(&told);
    hd_json_clear(&w);
}

/* ---- the thread */

/* The oldest that waits, now running; false where none does. Under the lock. */
static bool next_job(hd_jobs *jobs, int64_t *id, struct hd_job_order *order)
{
    for (int64_t i = jobs->last - HD_JOBS_KEPT_MAX + 1; i <= jobs->last; i++) {
        struct job *job = find_job(jobs, i);
        if (!job || job->state != HD_JOB_WAITING)
            continue;
        job->state = HD_JOB_RUNNING;
        job->started = hd_clock_now(NULL);
        *id = job->id;
        *order = job->order;
        return true;
    }
    return false;
}

static void retain(hd_jobs *jobs)
{
    heed_time now = hd_clock_now(NULL);

    for (int i = 0; i < jobs->opts.retain_count; i++) {
        const struct hd_retain_rule *rule = &jobs->opts.retain[i];
        struct hd_log_line line;
        int64_t removed = 0;
        heed_status status = heed_engine_retain(jobs->engine, *rule->kind ? rule->kind : NULL,
                                                now - rule->age, &removed);
        if (status == HEED_OK && removed == 0)
            continue;
        hd_log_begin(&line, status == HEED_OK ? HEED_LOG_INFO : HEED_LOG_ERROR, "retain");
        hd_log_text(&line, "kind", *rule->kind ? rule->kind : "all");
        hd_log_int(&line, "removed", removed);
        hd_log_text(&line, "error", status == HEED_OK ? NULL : heed_error_message());
        hd_log_end(&line, HD_LOG_FILE);
    }
}

static void order_training(hd_jobs *jobs)
{
    struct hd_job_order order = {.kind = HD_JOB_TRAIN, .by = "schedule"};
    int64_t id;

    order.train.only_better = true;
    if (hd_jobs_add(jobs, &order, &id) != HEED_OK)
        hd_log_say(HD_LOG_FILE, HEED_LOG_WARN, "schedule", "message", heed_error_message());
}

/* A store without a model is looked at again soon: there may be enough to learn from by then. One that
 * somebody has trained meanwhile waits its time from there. */
static void train_when_due(hd_jobs *jobs, int64_t now)
{
    int64_t every = jobs->opts.train_every, soon = every < RETRY_MS ? every : RETRY_MS;
    heed_engine_counts counts = {0};

    if (jobs->trained_ms && now - jobs->trained_ms < every) {
        jobs->next_train_ms = jobs->trained_ms + every;
        return;
    }
    if (heed_engine_count(jobs->engine, &counts) == HEED_OK && counts.events > 0)
        order_training(jobs);
    jobs->next_train_ms = now + (counts.has_model ? every : soon);
}

static void do_what_is_due(hd_jobs *jobs)
{
    int64_t now = monotonic_ms();

    if (jobs->opts.retain_count > 0 && now >= jobs->next_retain_ms) {
        retain(jobs);
        jobs->next_retain_ms = now + RETAIN_EVERY_MS;
    }
    if (jobs->opts.train_every > 0 && now >= jobs->next_train_ms)
        train_when_due(jobs, now);
}

/* Waits for news, a second at the longest; false once the end was asked for. */
static bool wait_for_job(hd_jobs *jobs, int64_t *id, struct hd_job_order *order, bool *found)
{
    struct timespec until;

    pthread_mutex_lock(&jobs->lock);
    *found = !jobs->ending && next_job(jobs, id, order);
    if (!*found && !jobs->ending) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&jobs->news, &jobs->lock, &until);
    }
    bool go_on = !jobs->ending;
    pthread_mutex_unlock(&jobs->lock);
    return go_on;
}

static void *work(void *context)
{
    hd_jobs *jobs = context;
    struct hd_job_order order;
    heed_engine_counts counts;
    bool found;
    int64_t id;

    /* Linux has a priority for each thread, and those it makes inherit it. Failing costs nothing but
     * speed. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOWEST_PRIORITY);
    if (heed_engine_count(jobs->engine, &counts) == HEED_OK && counts.has_model)
        jobs->next_train_ms = monotonic_ms() + jobs->opts.train_every;
    do_what_is_due(jobs);
    while (wait_for_job(jobs, &id, &order, &found)) {
        if (found)
            run_job(jobs, id, &order);
        do_what_is_due(jobs);
    }
    return NULL;
}

/* ---- the callers' side */

heed_status hd_jobs_new(heed_engine *engine, const char *folder, const struct hd_jobs_opts *opts,
                        struct hd_metrics *metrics, hd_jobs **out)
{
    hd_jobs *jobs = hd_alloc(1, sizeof *jobs);

    if (!jobs)
        return hd_fail(HEED_E_NOMEM, "jobs: no memory");
    jobs->engine = engine;
    jobs->folder = folder;
    jobs->opts = *opts;
    jobs->metrics = metrics;
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->news, NULL);
    if (pthread_create(&jobs->thread, NULL, work, jobs) != 0) {
        pthread_cond_destroy(&jobs->news);
        pthread_mutex_destroy(&jobs->lock);
        hd_free(jobs);
        return hd_fail(HEED_E_NOMEM, "jobs: no thread could be had");
    }
    *out = jobs;
    return HEED_OK;
}

void hd_jobs_end(hd_jobs *jobs)
{
    if (!jobs || jobs->ended)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->ending = true;
    pthread_cond_signal(&jobs->news);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->thread, NULL);
    jobs->ended = true;
}

void hd_jobs_free(hd_jobs *jobs)
{
    if (!jobs)
        return;
    hd_jobs_end(jobs);
    for (int i = 0; i < HD_JOBS_KEPT_MAX; i++)
        hd_free(jobs->ring[i].result);
    pthread_cond_destroy(&jobs->news);
    pthread_mutex_destroy(&jobs->lock);
    hd_free(jobs);
}

static int count_waiting(const hd_jobs *jobs)
{
    int waiting = 0;

    for (int i = 0; i < HD_JOBS_KEPT_MAX; i++)
        waiting += jobs->ring[i].id && jobs->ring[i].state == HD_JOB_WAITING;
    return waiting;
}

heed_status hd_jobs_add(hd_jobs *jobs, const struct hd_job_order *order, int64_t *id)
{
    pthread_mutex_lock(&jobs->lock);
    struct job *job = &jobs->ring[(uint64_t)(jobs->last + 1) % HD_JOBS_KEPT_MAX];
    /* A training may run while a hundred short jobs are asked for after it. */
    bool full = count_waiting(jobs) >= HD_JOBS_WAITING_MAX ||
                (job->id && (job->state == HD_JOB_WAITING || job->state == HD_JOB_RUNNING));
    if (!full) {
        hd_free(job->result);
        *job = (struct job){.id = ++jobs->last, .order = *order, .asked = hd_clock_now(NULL)};
        *id = job->id;
        pthread_cond_signal(&jobs->news);
    }
    pthread_mutex_unlock(&jobs->lock);
    return full ? hd_fail(HEED_E_BUSY, "jobs: %d wait already", HD_JOBS_WAITING_MAX) : HEED_OK;
}

heed_status hd_jobs_cancel(hd_jobs *jobs, int64_t id)
{
    enum hd_job_state state = HD_JOB_DONE;

    pthread_mutex_lock(&jobs->lock);
    struct job *job = find_job(jobs, id);
    if (job) {
        state = job->state;
        job->cancel = true;
        if (state == HD_JOB_WAITING) {
            job->state = HD_JOB_CANCELLED;
            job->ended = job->started = hd_clock_now(NULL);
        }
    }
    pthread_mutex_unlock(&jobs->lock);
    if (!job)
        return hd_fail(HEED_E_NOTFOUND, "job: there is no %" PRId64, id);
    if (state != HD_JOB_WAITING && state != HD_JOB_RUNNING)
        return hd_fail(HEED_E_STATE, "job: %" PRId64 " has ended already: %s", id,
                       state_names[state]);
    return HEED_OK;
}

static void put_time(struct hd_json_writer *w, const char *key, heed_time time)
{
    char text[HD_TIME_TEXT_BYTES];

    if (!time)
        return;
    hd_time_format(time, text);
    hd_json_put_text(w, key, text);
}

static void write_job(const struct job *job, struct hd_json_writer *w)
{
    char id[24];

    snprintf(id, sizeof id, "%" PRId64, job->id);
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "id", id);
    hd_json_put_text(w, "kind", kind_names[job->order.kind]);
    hd_json_put_text(w, "state", state_names[job->state]);
    hd_json_put_text(w, "by", job->order.by);
    put_time(w, "asked", job->asked);
    put_time(w, "started", job->started);
    put_time(w, "ended", job->ended);
    if (*job->part) {
        hd_json_begin_object(w, "progress");
        hd_json_put_text(w, "what", job->part);
        hd_json_put_int(w, "done", job->done);
        hd_json_put_int(w, "total", job->total);
        hd_json_end(w);
    }
    if (job->result)
        hd_json_put_raw(w, "result", job->result);
    if (*job->error)
        hd_json_put_text(w, "error", job->error);
    hd_json_end(w);
}

heed_status hd_jobs_write(hd_jobs *jobs, int64_t id, struct hd_json_writer *w)
{
    pthread_mutex_lock(&jobs->lock);
    const struct job *job = find_job(jobs, id);
    if (job)
        write_job(job, w);
    pthread_mutex_unlock(&jobs->lock);
    return job ? HEED_OK : hd_fail(HEED_E_NOTFOUND, "job: there is no %" PRId64, id);
}

void hd_jobs_list(hd_jobs *jobs, struct hd_json_writer *w)
{
    hd_json_begin_object(w, NULL);
    hd_json_begin_array(w, "jobs");
    pthread_mutex_lock(&jobs->lock);
    for (int64_t id = jobs->last; id > jobs->last - HD_JOBS_KEPT_MAX; id--) {
        const struct job *job = find_job(jobs, id);
        if (job)
            write_job(job, w);
    }
    pthread_mutex_unlock(&jobs->lock);
    hd_json_end(w);
    hd_json_end(w);
}

void hd_jobs_count(hd_jobs *jobs, int64_t count[HD_JOB_STATES])
{
    memset(count, 0, HD_JOB_STATES * sizeof *count);
    pthread_mutex_lock(&jobs->lock);
    for (int i = 0; i < HD_JOBS_KEPT_MAX; i++)
        if (jobs->ring[i].id)
            count[jobs->ring[i].state]++;
    pthread_mutex_unlock(&jobs->lock);
}
