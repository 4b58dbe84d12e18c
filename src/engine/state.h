/* SPDX-License-Identifier: Apache-2.0
 *
 * What an engine holds, and how its parts reach it.
 *
 * The store is confined, so the engine's lock stands before it, and is held while rows are read,
 * never while a model works or a caller's callback runs. What was read lives in objects that are
 * counted and never change (struct hd_items, hd_past, hd_model): a request takes them under the
 * lock and works on them without it, while the next request may already be given newer ones.
 *
 *     request ─▶ lock: take items, model, one reader's events ─▶ unlock ─▶ decide ─▶ drop
 *
 * Writers that take long (import, training) bring their own store handle and hold no lock here. */
#ifndef HD_STATE_H
#define HD_STATE_H

#include "allocate/catalogue.h"
#include "base/memory.h"
#include "heed/engine.h"
#include "models/histories.h"
#include "models/sequence.h"
#include "store/store.h"

#include "base/limits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define HD_DESKS_MAX 64 /* requests at once that leave no heap traffic; more are served too */
#define HD_MODEL_FILE "models/sequence.safetensors"
#define HD_MODEL_UNTIL "events_until_ms" /* in a model's description: see model_until */
#define HD_CHECKPOINT_FILE "models/sequence.checkpoint"
#define HD_TRAINING_LOCK_FILE "models/training.lock"

/* All items with what is said of them. immutable, counted. */
struct hd_items {
    atomic_int uses;
    hd_arena *arena;
    struct hd_catalogue catalogue;
};

/* All histories, made of attention alone, and what is popular in them. immutable, counted. */
struct hd_past {
    atomic_int uses;
    struct hd_store_histories raw; /* owns the arrays */
    struct hd_histories histories;
    heed_time latest; /* of all events; 0: no times */
    float *popular;   /* items: events, an event two weeks older than the latest counting half */
};

/* One thread's seat at the model: the reader's scratch and a page of scores. confined. */
struct hd_seat {
    hd_sequence_reader *reader;
    float *scores; /* the model's items */
    struct hd_seat *next;
};

/* The model that is served. immutable but for its idle seats, counted. */
struct hd_model {
    atomic_int uses;
    hd_sequence *sequence;
    const struct hd_sequence_config *config;
    pthread_mutex_t lock; /* guards idle; taken after the engine's lock, or alone */
    struct hd_seat *idle;
};

struct heed_engine {
    char *folder;
    int threads;
    heed_clock clock;
    heed_log log;
    uint64_t decision_key; /* makes decision ids differ between processes */
    atomic_ullong decision_count;
    int decisions; /* the folder whose file they are kept in; -1: it cannot be written */

    pthread_mutex_t lock; /* guards what follows */
    hd_store *store;
    struct hd_items *items; /* as of items_version */
    uint64_t items_version;
    struct hd_past *past; /* as of past_version */
    uint64_t past_version;
    struct hd_model *model; /* of the file that model_stat describes */
    struct stat model_stat;
    heed_time
        model_until; /* of the latest event it learned from, at the version below; 0: unknown */
    uint64_t model_until_version;
    char model_trouble[HD_ERROR_BYTES_MAX]; /* why model is NULL */
    bool model_news;                        /* the log has not been told of it yet */
    hd_arena *desk[HD_DESKS_MAX];           /* scratch that requests have given back */
    int desks;
};

void hd_engine_log(const heed_engine *engine, heed_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Lets go of the engine's lock, then tells the log what a look at the model has found. Whoever took
 * the model under the lock ends with this, so that no callback runs while it is held. */
void hd_engine_unlock(heed_engine *engine);
/* FOLDER/name, on the heap; NULL: no memory. */
char *hd_engine_path(const heed_engine *engine, const char *name);

/* Scratch of one request, empty; warm after the first ones. */
HEED_CHECKED heed_status hd_desk_take(heed_engine *engine, hd_arena **desk);
void hd_desk_return(heed_engine *engine, hd_arena *desk); /* NULL is fine */

/* ---- the counted objects: _take under the engine's lock, _drop anywhere; _drop(NULL) is fine. */

/* The current items, read again where the store has changed. */
HEED_CHECKED heed_status hd_items_take(heed_engine *engine, struct hd_items **items);
void hd_items_drop(struct hd_items *items);

HEED_CHECKED heed_status hd_past_take(heed_engine *engine, struct hd_past **past);
void hd_past_drop(struct hd_past *past);

/* The current model, loaded again where its file has changed. NULL where there is none, or none
 * that can be used: engine->model_trouble says why, as the end of a sentence. It may know items
 * that were read a moment before it was: hd_model_fits() tells. */
HEED_CHECKED heed_status hd_model_take(heed_engine *engine, struct hd_model **model);
void hd_model_drop(struct hd_model *model);
/* HEED_E_BUSY where `model` (NULL is fine) knows more than `items` items: another process has added
 * some and trained on them since they were read. Asked again, all is there. */
HEED_CHECKED heed_status hd_model_fits(const struct hd_model *model, int64_t items);

HEED_CHECKED heed_status hd_seat_take(struct hd_model *model, struct hd_seat **seat);
void hd_seat_return(struct hd_model *model, struct hd_seat *seat); /* NULL is fine */

/* A user was erased: what is kept at hand of them goes now. */
void hd_engine_forget_user(heed_engine *engine, int32_t user);

/* Events on the same item that follow each other directly are one visit (a view, then a click on
 * what was viewed); it has the time of its first event. In place; returns how many are left. time
 * and kind may be NULL. */
int64_t hd_fold_visits(int32_t *item, heed_time *time, uint8_t *kind, int64_t count);

#endif
