/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: what heed keeps on disk, behind one small interface. A data folder holds heed.db
 * (SQLite, write-ahead log), heed.lock (who is writing) and models/. Nothing here decides anything:
 * rows go in and come out. Users and items have ids, the caller's texts, and numbers, 0 .. count -
 * 1 in the order in which they were first named; everything inside heed works with the numbers.
 *
 * An event's identity is its `id` where it brings one, else (user, ts, nth, item, kind): putting it
 * a second time changes nothing. Events come out per user in order of time, ties in the order in
 * which they went in.
 *
 * Texts handed out point into the store or into the arena that was passed in; which one is said. */
#ifndef HD_STORE_H
#define HD_STORE_H

#include "base/memory.h"
#include "base/status.h"

typedef struct hd_store hd_store; /* confined */

struct hd_store_opts {
    bool must_exist; /* a missing folder is HEED_E_NOTFOUND instead of being made */
    int busy_ms;     /* how long to wait for another writer; 0: 5,000 */
};

/* Opens a data folder, makes it where it is not there, migrates its tables forward.
 * HEED_E_NOTFOUND, HEED_E_VERSION (from a newer heed), HEED_E_IO (cannot be read or written: the
 * message says what), HEED_E_FORMAT (heed.db is something else, or damaged), HEED_E_BUSY. */
HEED_CHECKED heed_status hd_store_open(const char *folder, const struct hd_store_opts *opts,
                                       hd_store **store);
void hd_store_close(hd_store *store);

/* Goes up whenever this or another process has committed something: what was derived from the store
 * before may be stale then. */
HEED_CHECKED heed_status hd_store_version(hd_store *store, uint64_t *version);

/* Counters of their own for what is derived from items alone (they go up when one is added or said
 * something else of), and for what is derived from users (when one was erased, or has given or
 * withdrawn a consent). New events move neither. Cheap; of the open transaction where there
 * is one. */
struct hd_store_changes {
    int64_t items, users;
    int64_t seq; /* the next event's; it skips one where what was counted up to it is true no more */
};
HEED_CHECKED heed_status hd_store_changes(hd_store *store, struct hd_store_changes *out);
/* In a transaction; hd_store_put_item(), hd_store_intern_item() and hd_store_put_user() do so by
 * themselves. */
void hd_store_touch_items(hd_store *store);
void hd_store_touch_users(hd_store *store);

/* ---- writing
 *
 * One writer at a time, across processes. A job of many transactions (an import, a training that
 * will register its model) holds the lock throughout; a lone transaction takes it by itself. Locks
 * nest. HEED_E_BUSY names the process that is writing. */
HEED_CHECKED heed_status hd_store_lock(hd_store *store);
void hd_store_unlock(hd_store *store);

HEED_CHECKED heed_status hd_store_begin(hd_store *store);
/* On disk when it returns HEED_OK; rolled back when it does not. */
HEED_CHECKED heed_status hd_store_commit(hd_store *store);
/* Without a transaction: nothing. */
void hd_store_rollback(hd_store *store);

/* ---- numbers and ids */

/* -1 where the id is not known. */
HEED_CHECKED heed_status hd_store_find_user(hd_store *store, const char *id, size_t id_bytes,
                                            int32_t *number);
HEED_CHECKED heed_status hd_store_find_item(hd_store *store, const char *id, size_t id_bytes,
                                            int32_t *number);
/* The same, and adds it where it is not known; in a transaction. *fresh may be NULL. */
HEED_CHECKED heed_status hd_store_intern_user(hd_store *store, const char *id, size_t id_bytes,
                                              int32_t *number, bool *fresh);
HEED_CHECKED heed_status hd_store_intern_item(hd_store *store, const char *id, size_t id_bytes,
                                              int32_t *number, bool *fresh);
/* Points into the store; good until it is closed, a transaction rolled back, or the user erased. */
HEED_CHECKED heed_status hd_store_user_id(hd_store *store, int32_t number, const char **id);
HEED_CHECKED heed_status hd_store_item_id(hd_store *store, int32_t number, const char **id);

/* ---- rows */

/* One event. NULL and the values named below mean `not given`; texts end in NUL. */
struct hd_event_row {
    int32_t user, item;
    heed_time ts;     /* 0: the time is not known, only the order */
    int32_t nth;      /* part of the identity of an event without an id; see above */
    uint8_t kind;     /* enum hd_event_kind of acquire/event.h; the store keeps a small number */
    int32_t position; /* -1: not given */
    int64_t seq;      /* decides between equal times; 0: after all that is there */
    int64_t dwell_ms; /* -1: not given */
    double value;     /* NAN: not given */
    const char *id, *decision;
    const char *context, *ext; /* JSON */
};

/* In a transaction: `count` places in the order of arrival, from *seq on, for rows that will be put in
 * another order. */
HEED_CHECKED heed_status hd_store_take_seqs(hd_store *store, int64_t count, int64_t *seq);
/* In a transaction. *fresh: false where it was there already. */
HEED_CHECKED heed_status hd_store_put_event(hd_store *store, const struct hd_event_row *row,
                                            bool *fresh);

/* What is said about an item. NULL and 0: not given. */
struct hd_item_row {
    const char *id; /* of hd_store_get_item() alone */
    const char *title, *text, *author, *url;
    const char *tags; /* a JSON array of texts */
    heed_time created, expires;
    bool hidden;
    int64_t features; /* how many; read apart */
};

struct hd_feature_row {
    const char *name;
    const float *value;
    int64_t count;
};

/* In a transaction; replaces what was said before. *changed: false where nothing is new. */
HEED_CHECKED heed_status hd_store_put_item(hd_store *store, int32_t item,
                                           const struct hd_item_row *row,
                                           const struct hd_feature_row *features, bool *changed);

/* Texts go into the arena. HEED_E_NOTFOUND where there is no such number. */
HEED_CHECKED heed_status hd_store_get_item(hd_store *store, int32_t item, hd_arena *arena,
                                           struct hd_item_row *row);
/* All items in the order of their numbers; the row's texts are good during the call only. A status
 * other than HEED_OK ends it and is passed on. */
typedef heed_status (*hd_item_fn)(void *context, int32_t item, const char *id,
                                  const struct hd_item_row *row);
HEED_CHECKED heed_status hd_store_each_item(hd_store *store, hd_item_fn fn, void *context);
/* In the arena, by name. */
HEED_CHECKED heed_status hd_store_get_features(hd_store *store, int32_t item, hd_arena *arena,
                                               struct hd_feature_row **features, int64_t *count);

/* ---- users */

/* What a user says of himself. consent is bits of acquire/user.h; the store keeps a number. */
struct hd_user_row {
    const char *attributes; /* a JSON object; NULL: none */
    unsigned consent;
};
/* In a transaction; replaces what was said before. *changed: false where nothing is new. A consent
 * that is given or withdrawn touches the users; where it decides whether events of theirs count, a
 * number of arrival is left out. */
HEED_CHECKED heed_status hd_store_put_user(hd_store *store, int32_t user,
                                           const struct hd_user_row *row, bool *changed);
/* Texts go into the arena. HEED_E_NOTFOUND where there is no such number. */
HEED_CHECKED heed_status hd_store_get_user(hd_store *store, int32_t user, hd_arena *arena,
                                           struct hd_user_row *row);
/* The consent alone; no memory is taken. */
HEED_CHECKED heed_status hd_store_get_consent(hd_store *store, int32_t user, unsigned *consent);
/* Whether nothing but the number is left of this user. */
HEED_CHECKED heed_status hd_store_user_erased(hd_store *store, int32_t user, bool *erased);

/* What a user follows or never wants to see: "block" "item" ID, "follow" "author" NAME, ... */
struct hd_mark_row {
    const char *mark, *what, *name;
};
/* In a transaction; these are all the marks from then on. They are put in order where they are;
 * twins count once. */
HEED_CHECKED heed_status hd_store_put_marks(hd_store *store, int32_t user,
                                            struct hd_mark_row *marks, int64_t count,
                                            bool *changed);
/* In the arena, by mark, what and name. */
HEED_CHECKED heed_status hd_store_get_marks(hd_store *store, int32_t user, hd_arena *arena,
                                            struct hd_mark_row **marks, int64_t *count);

/* All users but the erased, in the order of their numbers, beginning with `from`; the row's texts
 * are good during the call only. A status other than HEED_OK ends it and is passed on. */
typedef heed_status (*hd_user_fn)(void *context, int32_t user, const char *id,
                                  const struct hd_user_row *row);
HEED_CHECKED heed_status hd_store_each_user(hd_store *store, int32_t from, hd_user_fn fn,
                                            void *context);

/* ---- counts and histories */

struct hd_store_counts {
    int64_t users, items, events;
    int64_t timed; /* events with a time of their own */
};
HEED_CHECKED heed_status hd_store_count(hd_store *store, struct hd_store_counts *out);
/* The erased keep their numbers, so hd_store_count() has them too: how many they are, and the users but
 * them. Nobody who was erased comes back, so as long as there are as many, they are the same. */
HEED_CHECKED heed_status hd_store_count_erased(hd_store *store, int64_t *erased);
HEED_CHECKED heed_status hd_store_count_living(hd_store *store, int64_t *users);
/* Whether this is what the erased are called: nobody's id. */
bool hd_store_is_erased_id(const char *id);

#define HD_KINDS_ALL UINT32_MAX /* a set of kinds: bit k for kind k */

/* Event e of user u is item[offset[u] + e]; oldest first, ties in the order they came in. */
struct hd_store_histories {
    int64_t users, items;
    int64_t *offset; /* users + 1 */
    int32_t *item;   /* offset[users] */
    heed_time *time; /* as many */
    uint8_t *kind;   /* as many */
    bool has_times;  /* some event of these has a time */
};
/* All users' events of these kinds, none of those who do not want to be learned from; on the heap, given back by hd_store_histories_clear(). */
HEED_CHECKED heed_status hd_store_load_histories(hd_store *store, uint32_t kinds,
                                                 struct hd_store_histories *out);
void hd_store_histories_clear(struct hd_store_histories *histories);

/* Each event of these kinds, user by user, but those of users who do not want to be learned from: from
 * user *next on, whole users, until there were so many events; *next is then who follows, or INT32_MAX.
 * *seq: the walk has seen every event before it of these users. */
typedef heed_status (*hd_event_fn)(void *context, int32_t user, int32_t item, heed_time ts);
HEED_CHECKED heed_status hd_store_walk_events(hd_store *store, uint32_t kinds, int64_t events,
                                              int32_t *next, hd_event_fn fn, void *context,
                                              int64_t *seq);
/* The same, all of a user's next to each other, of a span of time: from `from`, before `to`. Times that
 * are not known are 0. */
struct hd_event_look {
    int32_t user, item;
    uint8_t kind;
    heed_time ts;
    int64_t dwell_ms; /* 0: not given */
};
typedef heed_status (*hd_look_fn)(void *context, const struct hd_event_look *look);
HEED_CHECKED heed_status hd_store_walk_by_user(hd_store *store, uint32_t kinds, heed_time from,
                                               heed_time to, hd_look_fn fn, void *context);

/* What was computed from the events before `seq`. */
struct hd_summary_row {
    const char *name;
    int64_t seq;
    heed_time at;
    const double *value;
    int64_t count;
};
/* In the arena; without one of that name seq is -1 and count 0. */
HEED_CHECKED heed_status hd_store_get_summary(hd_store *store, const char *name, hd_arena *arena,
                                              struct hd_summary_row *row);
/* In a transaction. */
HEED_CHECKED heed_status hd_store_put_summary(hd_store *store, const struct hd_summary_row *row);

struct hd_store_history {
    int64_t count;
    int32_t *item;
    heed_time *time;
    uint8_t *kind;
};
/* One user's events of these kinds, oldest first, in the arena; with limit > 0 the latest so many.
 */
HEED_CHECKED heed_status hd_store_load_history(hd_store *store, int32_t user, uint32_t kinds,
                                               int64_t limit, hd_arena *arena,
                                               struct hd_store_history *out);

/* ---- models */

struct hd_model_row {
    const char *name;        /* "sequence" */
    const char *file;        /* under the data folder, such as "models/sequence-1.safetensors" */
    const char *description; /* JSON: recipe, sizes, seed, quality */
    heed_time made;
};
/* Makes it the current model of that name; takes its own transaction unless one is open. */
HEED_CHECKED heed_status hd_store_put_model(hd_store *store, const struct hd_model_row *row);
/* Texts go into the arena. HEED_E_NOTFOUND where there is none of that name. */
HEED_CHECKED heed_status hd_store_get_model(hd_store *store, const char *name, hd_arena *arena,
                                            struct hd_model_row *row);

#endif
