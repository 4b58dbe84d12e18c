/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue of bodies and the threads that empty it. */
#include "server/intake.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct hd_intake {
    heed_engine *engine;
    struct hd_intake_watch watch;
    pthread_t thread[HD_INTAKE_THREADS];
    int threads;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t news;
    struct hd_delivery *first, **last;
    int waiting;
    size_t bytes; /* of those that wait */
    int taking;   /* groups that the engine has */
    bool ending;
};

static void on_reject(void *context, const heed_reject *reject)
{
    struct hd_delivery *delivery = context;

    if (delivery->error_count == HD_ERRORS_LISTED_MAX)
        return;
    char *reason = hd_arena_strdup(hd_exchange_arena(delivery->x), reject->reason);
    delivery->errors[delivery->error_count++] =
        (struct hd_bad_record){reject->line, reason ? reason : ""};
}

/* While the engine has one group the next may be read, which is worth it where there is much to read;
 * few small bodies gain more by waiting for company. */
static bool worth_taking(const hd_intake *intake)
{
    return intake->first && (intake->taking == 0 || intake->bytes >= HD_INTAKE_AHEAD_BYTES);
}

/* The next group, in the order of arrival; NULL once all is taken in and the end was asked for. */
static struct hd_delivery *take_group(hd_intake *intake, int *count)
{
    size_t bytes = 0;

    pthread_mutex_lock(&intake->lock);
    while (!worth_taking(intake) && (intake->first || !intake->ending))
        pthread_cond_wait(&intake->news, &intake->lock);
    struct hd_delivery *group = intake->first, **end = &intake->first;
    *count = 0;
    while (*end && *count < HD_INTAKE_GROUP_MAX &&
           (*count == 0 || bytes + (*end)->piece.bytes <= HD_INTAKE_GROUP_BYTES)) {
        bytes += (*end)->piece.bytes;
        end = &(*end)->next;
        ++*count;
    }
    intake->first = *end;
    if (!intake->first)
        intake->last = &intake->first;
    *end = NULL;
    intake->waiting -= *count;
    intake->bytes -= bytes;
    intake->taking += group != NULL;
    pthread_mutex_unlock(&intake->lock);
    return group;
}

/* Of a call that failed nothing is claimed: what of it is on disk comes again as a duplicate. */
static void finish(hd_intake *intake, struct hd_delivery *delivery, heed_status status)
{
    if (status != HEED_OK) {
        delivery->status = status;
        snprintf(delivery->message, sizeof delivery->message, "%s", heed_error_message());
    }
    if (intake->watch.taken)
        intake->watch.taken(intake->watch.context, delivery);
    delivery->done(delivery, delivery->context);
}

static void take_in(hd_intake *intake, struct hd_delivery *group, int count)
{
    heed_ingest pieces[HD_INTAKE_GROUP_MAX];
    struct hd_delivery *delivery = group;

    for (int i = 0; i < count; i++, delivery = delivery->next) {
        pieces[i] = delivery->piece;
        pieces[i].reject = on_reject;
        pieces[i].reject_context = delivery;
    }
    heed_status status = heed_engine_ingest(intake->engine, pieces, count);
    for (int i = 0; i < count; i++) {
        struct hd_delivery *next = group->next; /* finish() gives the delivery away */
        group->piece = pieces[i];
        finish(intake, group, status);
        group = next;
    }
}

static void group_done(hd_intake *intake)
{
    pthread_mutex_lock(&intake->lock);
    intake->taking--;
    pthread_cond_signal(&intake->news);
    pthread_mutex_unlock(&intake->lock);
}

static void *run(void *context)
{
    hd_intake *intake = context;
    struct hd_delivery *group;
    int count;

    while ((group = take_group(intake, &count))) {
        take_in(intake, group, count);
        group_done(intake);
    }
    return NULL;
}

heed_status hd_intake_new(heed_engine *engine, const struct hd_intake_watch *watch, hd_intake **out)
{
    hd_intake *intake = hd_alloc(1, sizeof *intake);

    if (!intake)
        return hd_fail(HEED_E_NOMEM, "intake: no memory");
    intake->engine = engine;
    intake->watch = watch ? *watch : (struct hd_intake_watch){0};
    intake->last = &intake->first;
    pthread_mutex_init(&intake->lock, NULL);
    pthread_cond_init(&intake->news, NULL);
    while (intake->threads < HD_INTAKE_THREADS &&
           pthread_create(&intake->thread[intake->threads], NULL, run, intake) == 0)
        intake->threads++;
    if (intake->threads == 0) {
        hd_intake_free(intake);
        return hd_fail(HEED_E_NOMEM, "intake: no thread could be had");
    }
    *out = intake;
    return HEED_OK;
}

void hd_intake_free(hd_intake *intake)
{
    if (!intake)
        return;
    pthread_mutex_lock(&intake->lock);
    intake->ending = true;
    pthread_cond_broadcast(&intake->news);
    pthread_mutex_unlock(&intake->lock);
    for (int i = 0; i < intake->threads; i++)
        pthread_join(intake->thread[i], NULL);
    pthread_cond_destroy(&intake->news);
    pthread_mutex_destroy(&intake->lock);
    hd_free(intake);
}

heed_status hd_intake_put(hd_intake *intake, struct hd_delivery *delivery)
{
    size_t bytes = delivery->piece.bytes;

    pthread_mutex_lock(&intake->lock);
    bool full = intake->ending || intake->waiting == HD_INTAKE_WAITING_MAX ||
                (intake->waiting > 0 && intake->bytes + bytes > HD_INTAKE_BYTES_MAX);
    if (!full) {
        hd_exchange_later(delivery->x);
        delivery->next = NULL;
        *intake->last = delivery;
        intake->last = &delivery->next;
        intake->waiting++;
        intake->bytes += bytes;
        pthread_cond_signal(&intake->news);
    }
    pthread_mutex_unlock(&intake->lock);
    if (full)
        return hd_fail(HEED_E_BUSY, "intake: %d bodies wait already", HD_INTAKE_WAITING_MAX);
    return HEED_OK;
}

int hd_intake_waiting(hd_intake *intake)
{
    pthread_mutex_lock(&intake->lock);
    int waiting = intake->waiting;
    pthread_mutex_unlock(&intake->lock);
    return waiting;
}
