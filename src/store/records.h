/* SPDX-License-Identifier: Apache-2.0
 *
 * Records one by one: looked up, listed, forgotten. These functions do not need the map of ids in
 * memory, so that a handle that is opened for one of them reads no more than it must. */
#ifndef HD_STORE_RECORDS_H
#define HD_STORE_RECORDS_H

#include "store/store.h"

/* What belongs together is read from one state of the store, between these two; *own goes from the
 * first to the second. */
HEED_CHECKED heed_status hd_store_begin_reading(hd_store *store, bool *own);
void hd_store_end_reading(hd_store *store, bool own);

/* Straight from the table; -1 where the id is not known. */
HEED_CHECKED heed_status hd_store_look_up_user(hd_store *store, const char *id, int32_t *number);
HEED_CHECKED heed_status hd_store_look_up_item(hd_store *store, const char *id, int32_t *number);

/* As hd_store_each_item(), beginning with a number. */
HEED_CHECKED heed_status hd_store_each_item_from(hd_store *store, int32_t from, hd_item_fn fn,
                                                 void *context);

/* ---- events */

/* An event's place in the order of lists: by user, by time, by arrival. */
struct hd_event_key {
    int32_t user;
    heed_time ts;
    int64_t seq;
};

struct hd_event_record {
    struct hd_event_row row;
    int64_t seq;
    const char *user, *item; /* their ids */
};
/* Texts are good during the call only. A status other than HEED_OK ends the walk and is passed on. */
typedef heed_status (*hd_record_fn)(void *context, const struct hd_event_record *event);

struct hd_event_range {
    const struct hd_event_key *after; /* NULL: from the beginning */
    const struct hd_event_key *until; /* its user and time are the last; NULL: to the end */
    int32_t user, item;               /* -1: of all. There is no index by item: all are looked at */
    int kind;                         /* -1: of all */
};
/* The place `count` events after where a range begins, whatever their items and kinds, behind all of its
 * user and time; *there false: there are fewer. Costs a step in the tree for each of them. */
HEED_CHECKED heed_status hd_store_further_event(hd_store *store, const struct hd_event_range *range,
                                                int64_t count, struct hd_event_key *place,
                                                bool *there);
HEED_CHECKED heed_status hd_store_list_events(hd_store *store, const struct hd_event_range *range,
                                              hd_record_fn fn, void *context);
/* Calls fn for the event with this id. HEED_E_NOTFOUND where there is none. */
HEED_CHECKED heed_status hd_store_get_event(hd_store *store, const char *id, hd_record_fn fn,
                                            void *context);
/* In a transaction. HEED_E_NOTFOUND where there is none. */
HEED_CHECKED heed_status hd_store_remove_event(hd_store *store, const char *id);

/* Events of these kinds (bits) whose time is known and before `before` are forgotten and overwritten,
 * some thousands a transaction. *removed counts also what went before a failure. */
HEED_CHECKED heed_status hd_store_retain(hd_store *store, uint32_t kinds, heed_time before,
                                         int64_t *removed);

/* ---- users */

struct hd_store_trace {
    bool known;
    int64_t events, marks;
};
/* From now on this handle overwrites what it deletes. */
HEED_CHECKED heed_status hd_store_overwrite_freed(hd_store *store);
/* In a transaction; the user's number is left under an id that nobody can have. */
HEED_CHECKED heed_status hd_store_erase_user(hd_store *store, int32_t user,
                                             struct hd_store_trace *removed);
/* What there is of a user, and what was left of any that was erased. */
HEED_CHECKED heed_status hd_store_trace_user(hd_store *store, const char *id,
                                             struct hd_store_trace *found);
/* Moves the log into the database, so that no old page is left in it. HEED_E_BUSY: somebody reads
 * what stands there; then it happens later. */
HEED_CHECKED heed_status hd_store_flush_log(hd_store *store);

#endif
