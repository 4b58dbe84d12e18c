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

#include "allocate/feed.h"
#include "base/memory.h"
#include "heed/engine.h"
#include "engine/kept.h"
#include "models/histories.h"
#include "models/retrieve.h"
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

#define HD_CHART_ITEMS 64
#define HD_TALLY_AHEAD_MS INT64_C(86400000) /* how far an event's clock may be ahead of ours */
#define HD_TEXTS_SLACK ((size_t)16 << 20) /* of texts that nobody needs any more, before all is read anew */

/* All items with what is said of them. immutable, counted. */
struct hd_items {
    atomic_int uses;
    struct hd_shelf *shelf; /* holds the arrays; items.c */
    struct hd_catalogue catalogue;
};

/* All histories, made of attention that may be learned from: for a training or an evaluation. */
struct hd_past {
    struct hd_store_histories raw; /* owns the arrays */
    struct hd_histories histories;
    heed_time latest; /* of all events; 0: no times */
};

/* How much each item is looked at, kept up with each event: sums of 2^((ts - base) / half-life) over
 * its events, from which the sum as of another moment is a product away. Guarded by the lock. */
struct hd_tally {
    bool loaded;
    int64_t items, room;
    double *slow, *fast; /* items; of events with a time; half-lives in tally.c */
    double *untimed;     /* items; how many events have none */
    heed_time base, first, latest; /* of all events; 0: none has a time */
    heed_time horizon;      /* what is later counts as if it were then */
    int64_t events;         /* counted in */
    int64_t seq;            /* the next event's in the store: what it is up to date with */
    int64_t saved_seq;
    int32_t counted;        /* events of users below it are in; INT32_MAX: all are */
};

/* The tally as of its latest event. immutable, counted. */
struct hd_popular {
    atomic_int uses;
    int64_t items, events;
    heed_time latest;
    float *popular;  /* events, one two weeks older than the latest counting half; tally.c */
    float *trending; /* how far the last day stands above what these two weeks let expect */
    struct hd_pick chart[HD_CHART_ITEMS]; /* the highest of these, best first */
    int64_t chart_count;
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
    bool discreet;
    heed_clock clock;
    heed_log log;
    uint64_t decision_key; /* makes decision ids differ between processes */
    atomic_ullong decision_count;
    int decisions; /* the folder whose file they are kept in; -1: it cannot be written */

    pthread_mutex_t refresh_lock; /* one refresh at a time; taken before write_lock */
    pthread_mutex_t write_lock; /* guards writer; taken before lock */
    hd_store *writer;           /* NULL until something is written */
    int64_t refresh_at_ns, save_at_ns; /* not before; guarded by refresh_lock */

    pthread_mutex_t lock; /* guards what follows */
    hd_store *store;
    struct hd_items *items; /* as of items_changes */
    int64_t items_changes;
    atomic_bool kept_fresh; /* heed_engine_refresh() reads what has changed, so that no request has to */
    struct hd_tally tally;
    struct hd_tally counting; /* the next one, while its events are counted; guarded by the write lock */
    struct hd_popular *popular; /* as of popular_seq, made at popular_ns */
    int64_t popular_seq, popular_ns;
    struct hd_model *model; /* of the file that model_stat describes */
    struct stat model_stat;
    struct hd_table *table; /* the last that was made, or NULL */
    struct hd_kept_all kept; /* what the model has worked out of readers, none of whom was erased: */
    int64_t kept_changes, kept_erased; /* as of this state of the users, with so many erased */
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

/* The store that is written to; under the write lock. */
HEED_CHECKED heed_status hd_engine_writer(heed_engine *engine, hd_store **writer);
/* Puts the tally aside where somebody kept it up. At closing time: a failure costs a walk, no more. */
void hd_engine_settle(heed_engine *engine);

/* Scratch of one request, empty; warm after the first ones. */
HEED_CHECKED heed_status hd_desk_take(heed_engine *engine, hd_arena **desk);
void hd_desk_return(heed_engine *engine, hd_arena *desk); /* NULL is fine */

/* ---- the counted objects: _take under the engine's lock, _drop anywhere; _drop(NULL) is fine. */

/* The current items, read again where the store has changed. */
HEED_CHECKED heed_status hd_items_take(heed_engine *engine, struct hd_items **items);
void hd_items_drop(struct hd_items *items);
/* All of them, from a store of the caller's. */
HEED_CHECKED heed_status hd_items_load(hd_store *store, struct hd_items **items);
/* These were changed or added in the store: the next ones taken know it. Under the lock. */
HEED_CHECKED heed_status hd_items_change(heed_engine *engine, const int32_t *item, int64_t count);
/* Whether numbers of topics mean the same in both. */
bool hd_items_share_topics(const struct hd_items *a, const struct hd_items *b);
/* More is kept of texts that were replaced than is worth it. */
bool hd_items_worn(const struct hd_items *items);
/* The number of a tag ('t') or an author ('a') in the catalogue's topics, -1: none has it. Under the
 * engine's lock. */
int32_t hd_items_topic(const struct hd_items *items, char mark, const char *name);
/* How many topics there are, and the mark and name of one, good as long as the items. Both under the
 * engine's lock. */
int32_t hd_items_topics(const struct hd_items *items);
const char *hd_items_topic_name(const struct hd_items *items, int32_t topic, char *mark);

/* Reads all histories, through a store handle of its own: nobody waits for it. */
HEED_CHECKED heed_status hd_past_read(heed_engine *engine, struct hd_past *past);
/* The same, through a store of the caller's. */
HEED_CHECKED heed_status hd_past_load(hd_store *store, struct hd_past *past);
void hd_past_clear(struct hd_past *past);

/* ---- the tally; under the lock, but for loading and counting one that nobody else has yet */
/* From the store: what was put aside, where that is up to date, else by a walk over all events. */
HEED_CHECKED heed_status hd_tally_load(hd_store *store, heed_time now, struct hd_tally *tally);
/* The same in pieces. begin: what was put aside, if it is of now (stale: of whenever it is), or nothing
 * counted yet; count: so many events more. *whole false: in between something came that is not in it. */
HEED_CHECKED heed_status hd_tally_begin(hd_store *store, heed_time now, bool stale,
                                        struct hd_tally *tally);
HEED_CHECKED heed_status hd_tally_count(hd_store *store, int64_t events, struct hd_tally *tally,
                                        bool *whole);
void hd_tally_clear(struct hd_tally *tally);
/* Counts in one event of attention. */
HEED_CHECKED heed_status hd_tally_add(struct hd_tally *tally, int32_t item, heed_time ts);
/* Puts the tally aside, in a transaction of its own. */
HEED_CHECKED heed_status hd_tally_save(hd_store *store, struct hd_tally *tally);
/* age_ns: how old what is given may be; 0: as of the last event. */
HEED_CHECKED heed_status hd_popular_take(heed_engine *engine, int64_t age_ns,
                                         struct hd_popular **popular);
void hd_popular_drop(struct hd_popular *popular);

/* The current model, loaded again where its file has changed. NULL where there is none, or none
 * that can be used: engine->model_trouble says why, as the end of a sentence. It may know items
 * that were read a moment before it was: hd_model_fits() tells. */
HEED_CHECKED heed_status hd_model_take(heed_engine *engine, struct hd_model **model);
void hd_model_drop(struct hd_model *model);
/* Looks whether there is another; without the engine's lock, under the refresh lock. */
HEED_CHECKED heed_status hd_model_refresh(heed_engine *engine);
/* HEED_E_BUSY where `model` (NULL is fine) knows more than `items` items: another process has added
 * some and trained on them since they were read. Asked again, all is there. */
HEED_CHECKED heed_status hd_model_fits(const struct hd_model *model, int64_t items);

/* The model's table beside the content of these items. immutable, counted; holds both. */
struct hd_table {
    atomic_int uses;
    struct hd_model *model;
    struct hd_items *items;
    hd_retrieval *retrieval;
};
/* old: one of the same model, from which what is not of the items is taken, or NULL. Needs no lock. */
HEED_CHECKED heed_status hd_table_new(const struct hd_table *old, struct hd_model *model,
                                      struct hd_items *items, struct hd_table **table);
/* Under the lock; made where the one at hand is of other items or another model. */
HEED_CHECKED heed_status hd_table_take(heed_engine *engine, struct hd_model *model,
                                       struct hd_items *items, struct hd_table **table);
void hd_table_drop(struct hd_table *table);

HEED_CHECKED heed_status hd_seat_take(struct hd_model *model, struct hd_seat **seat);
void hd_seat_return(struct hd_model *model, struct hd_seat *seat); /* NULL is fine */
void hd_seats_clear(struct hd_model *model); /* the idle ones */
/* How well the model foretells each user's second last event (models/evaluate.h). */
HEED_CHECKED heed_status hd_model_validate(struct hd_model *model, const struct hd_histories *h,
                                           heed_pool *pool, heed_ranking_quality *quality);

/* A user was erased: what is kept at hand of them goes now. */
void hd_engine_forget_user(heed_engine *engine, int32_t user);
/* The same of those whom another process has erased. Under the lock; what has gone comes out as a list, for
 * hd_kept_free() without it. */
HEED_CHECKED heed_status hd_engine_forget_erased(heed_engine *engine, struct hd_kept **gone);

/* Events on the same item that follow each other directly are one visit (a view, then a click on
 * what was viewed); it has the time of its first event. In place; returns how many are left. time
 * and kind may be NULL. */
int64_t hd_fold_visits(int32_t *item, heed_time *time, uint8_t *kind, int64_t count);
/* Oldest first: what has no time (0) gets that of the next that has one, and `end` after the last of
 * these. A model's time bias speaks of spans, and from 0 to today it would be one of fifty years, which
 * nobody has lived through; so it is told of no span instead, as where all times are unknown. */
void hd_fill_times(heed_time *time, int64_t count, heed_time end);

#endif
