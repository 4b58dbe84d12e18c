/* SPDX-License-Identifier: Apache-2.0
 *
 * Doing one job, whoever keeps the list of them. */
#ifndef HD_JOB_ERRAND_H
#define HD_JOB_ERRAND_H

#include "server/jobs.h"

struct hd_job_errand {
    heed_engine *engine;
    const char *folder;         /* the data folder; exports go below it */
    struct hd_metrics *metrics; /* or NULL */
    int64_t id;
    const struct hd_job_order *order;
    heed_progress progress; /* also asks whether to go on */
};

/* Puts what came of it as members into the object that is open. */
HEED_CHECKED heed_status hd_job_perform(const struct hd_job_errand *errand,
                                        struct hd_json_writer *w);

#endif
