/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread pool's inner side. Work is cut into `count` tasks by what the work is, never by how many
 * threads there are; which thread takes which task is open, what a task computes is not. */
#ifndef HD_POOL_H
#define HD_POOL_H

#include "base/status.h"

/* task: 0 .. count - 1. worker: 0 .. threads - 1, for scratch memory of one's own. */
typedef heed_status (*hd_task_fn)(void *arg, int64_t task, int worker);

/* Runs all tasks and waits for them. NULL pool: here, one after the other. The status and message of
 * the lowest task that failed; tasks not yet begun are dropped after a failure.
 * Must not be called from inside a task of the same pool. */
HEED_CHECKED heed_status hd_pool_run(heed_pool *pool, int64_t count, hd_task_fn task, void *arg);

#endif
