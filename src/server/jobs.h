/* SPDX-License-Identifier: Apache-2.0
 *
 * Long work beside serving: train, evaluate, export. One at a time, on one thread at the lowest priority
 * (the pool that a training makes inherits it), so that answers go first. The last hundred are
 * remembered. The same thread trains on schedule and forgets what retention says. */
#ifndef HD_JOBS_H
#define HD_JOBS_H

#include "heed/operate.h"
#include "text/json.h"

typedef struct hd_jobs hd_jobs; /* locked */
struct hd_metrics;

#define HD_RETAIN_RULES_MAX 16 /* kinds of events are ten */

struct hd_retain_rule {
    char kind[24]; /* "": every kind */
    heed_span age;
};

struct hd_jobs_opts {
    heed_span train_every; /* 0: only when asked */
    struct hd_retain_rule retain[HD_RETAIN_RULES_MAX];
    int retain_count;
};

enum hd_job_kind { HD_JOB_TRAIN, HD_JOB_EVALUATE, HD_JOB_EXPORT, HD_JOB_KINDS };
enum hd_job_state {
    HD_JOB_WAITING,
    HD_JOB_RUNNING,
    HD_JOB_DONE,
    HD_JOB_FAILED,
    HD_JOB_CANCELLED,
    HD_JOB_STATES
};

struct hd_job_order { /* what is asked for */
    enum hd_job_kind kind;
    heed_train_opts train;
    char what[16]; /* export: "events", "items", "users", "model" */
    char by[65];   /* who */
};

const char *hd_job_kind_name(enum hd_job_kind kind);
/* "waiting|running|done|failed|cancelled" */
#define HD_JOB_STATE_WORDS "waiting|running|done|failed|cancelled"

/* folder: the data folder; exports go below it. metrics may be NULL. */
HEED_CHECKED heed_status hd_jobs_new(heed_engine *engine, const char *folder,
                                     const struct hd_jobs_opts *opts, struct hd_metrics *metrics,
                                     hd_jobs **jobs);
/* Cancels what runs and waits for it; nothing is begun any more. NULL is fine, as below. */
void hd_jobs_end(hd_jobs *jobs);
/* Ends it first, where it has not ended. */
void hd_jobs_free(hd_jobs *jobs);
/* HEED_E_BUSY: too many wait. */
HEED_CHECKED heed_status hd_jobs_add(hd_jobs *jobs, const struct hd_job_order *order, int64_t *id);
/* HEED_E_NOTFOUND; HEED_E_STATE: it has ended already. */
HEED_CHECKED heed_status hd_jobs_cancel(hd_jobs *jobs, int64_t id);
/* As JSON: one job, or all, newest first. HEED_E_NOTFOUND. */
HEED_CHECKED heed_status hd_jobs_write(hd_jobs *jobs, int64_t id, struct hd_json_writer *w);
void hd_jobs_list(hd_jobs *jobs, struct hd_json_writer *w);
/* How many are in each state. */
void hd_jobs_count(hd_jobs *jobs, int64_t count[HD_JOB_STATES]);

#endif
