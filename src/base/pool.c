/* SPDX-License-Identifier: Apache-2.0
 *
 * One job at a time: the caller publishes it under the lock, workers take task numbers from a
 * shared counter, the last one to finish wakes the caller. Workers spin a few microseconds before
 * they sleep, because a training step is a train of short jobs. */
#define _GNU_SOURCE /* sched_getaffinity: how many processors this process may use */
#include "base/pool.h"
#include "base/limits.h"
#include "base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define SPINS_MAX 2000 /* about 20 us of pause instructions */

struct heed_pool {
    int threads;
    pthread_t *thread;
    pthread_mutex_t caller; /* one job at a time; taken before `lock` */
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t wake, done;
    bool stop;
    atomic_uint job; /* number of the current job, so that a worker knows a new one */
    atomic_int busy; /* workers not yet through with it */
    hd_task_fn task;
    void *arg;
    int64_t count;
    atomic_llong next;
    atomic_bool failed;
    int64_t failed_task;
    heed_status status;
    char message[HD_ERROR_BYTES_MAX];
};

struct worker {
    heed_pool *pool;
    int index;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_tasks(heed_pool *pool, int worker)
{
    int64_t task;

    while ((task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->count) {
        if (atomic_load_explicit(&pool->failed, memory_order_relaxed))
            return;
        heed_status status = pool->task(pool->arg, task, worker);
        if (status == HEED_OK)
            continue;
        pthread_mutex_lock(&pool->lock);
        if (pool->status == HEED_OK || task < pool->failed_task) {
            pool->status = status;
            pool->failed_task = task;
            memcpy(pool->message, heed_error_message(), sizeof pool->message);
            pool->message[sizeof pool->message - 1] = 0;
        }
        pthread_mutex_unlock(&pool->lock);
        atomic_store(&pool->failed, true);
    }
}

static void *worker_main(void *arg)
{
    struct worker w = *(struct worker *)arg;
    heed_pool *pool = w.pool;
    unsigned seen = 0;

    hd_free(arg);
    for (;;) {
        for (int i = 0; i < SPINS_MAX && atomic_load(&pool->job) == seen; i++)
            relax();
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->job) == seen && !pool->stop)
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->stop) {
            pthread_mutex_unlock(&pool->lock);
            return NULL;
        }
        seen = atomic_load(&pool->job);
        pthread_mutex_unlock(&pool->lock);

        take_tasks(pool, w.index);
        if (atomic_fetch_sub(&pool->busy, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static int processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

heed_status heed_pool_new(int threads, heed_pool **out)
{
    if (threads < 0 || threads > HD_THREADS_MAX)
        return hd_fail(HEED_E_ARG, "pool: %d threads, not 0 to %d", threads, HD_THREADS_MAX);
    heed_pool *pool = hd_alloc(1, sizeof *pool);
    if (!pool)
        return hd_fail(HEED_E_NOMEM, "pool: no memory");
    int want = threads ? threads : processors();
    pool->threads = 1;
    pthread_mutex_init(&pool->caller, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->thread = hd_alloc((size_t)want, sizeof *pool->thread);
    if (!pool->thread)
        goto fail;
    for (int i = 1; i < want; i++) {
        struct worker *w = hd_alloc(1, sizeof *w);
        if (!w)
            goto fail;
        *w = (struct worker){pool, i};
        if (pthread_create(&pool->thread[i], NULL, worker_main, w) != 0) {
            hd_free(w);
            goto fail;
        }
        pool->threads = i + 1;
    }
    *out = pool;
    return HEED_OK;
fail:
    want -= pool->threads;
    heed_pool_free(pool);
    return hd_fail(HEED_E_NOMEM, "pool: %d of the threads asked for could not be started", want);
}

void heed_pool_free(heed_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->caller);
    hd_free(pool->thread);
    hd_free(pool);
}

int heed_pool_threads(const heed_pool *pool)
{
    return pool ? pool->threads : 1;
}

heed_status hd_pool_run(heed_pool *pool, int64_t count, hd_task_fn task, void *arg)
{
    if (!pool || pool->threads == 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++)
            HD_TRY(task(arg, i, 0));
        return HEED_OK;
    }
    pthread_mutex_lock(&pool->caller);
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->arg = arg;
    pool->count = count;
    pool->status = HEED_OK;
    atomic_store(&pool->failed, false);
    atomic_store(&pool->next, 0);
    atomic_store(&pool->busy, pool->threads - 1);
    atomic_fetch_add(&pool->job, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);

    take_tasks(pool, 0);
    for (int i = 0; i < SPINS_MAX && atomic_load(&pool->busy) > 0; i++)
        relax();
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->busy) > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    heed_status status = pool->status;
    if (status != HEED_OK)
        hd_fail(status, "%s", pool->message);
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->caller);
    return status;
}
