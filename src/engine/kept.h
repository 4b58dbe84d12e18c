/* SPDX-License-Identifier: Apache-2.0
 *
 * What the model has worked out of readers, kept between their questions within a budget of bytes, the
 * longest unasked leaving first. A state belongs to whoever asks while the question lasts: it is taken
 * out, brought up to the history and put back, so that no two threads work on one. */
#ifndef HD_KEPT_H
#define HD_KEPT_H

#include "models/sequence_state.h"

struct hd_model;

/* One reader's. */
struct hd_kept {
    int32_t user;
    struct hd_model *model; /* that it is of; held */
    hd_sequence_state *state;
    int64_t bytes;
    int64_t as_of; /* hd_kept_all.forgotten when the history was read that it is brought up to */
    struct hd_kept *older, *newer; /* in the order of asking */
    struct hd_kept *next;          /* in the same slot */
};

/* All zero but `most` is empty. Guarded by the engine's lock, but for hd_kept_free(). */
struct hd_kept_all {
    int64_t most, bytes; /* what may be, what is */
    int64_t count;
    struct hd_kept **slot;
    int64_t slots; /* a power of two, or 0 */
    struct hd_kept *oldest, *newest;
    int64_t found, missed;
    int64_t forgotten; /* how often somebody was: what was out then does not come back */
};

/* Out of the table, NULL where there is none of this model. as_of: hd_kept_all.forgotten when the
 * history was read. */
struct hd_kept *hd_kept_take(struct hd_kept_all *all, const struct hd_model *model, int32_t user,
                             int64_t as_of);
/* A new one; holds the model. Needs no lock. */
HEED_CHECKED heed_status hd_kept_new(struct hd_model *model, int32_t user, int64_t as_of,
                                     struct hd_kept **kept);
/* Back into the table. What does not fit any more comes out in a list by `next`, for hd_kept_free()
 * without the lock; so does `kept` itself where there is no room for it at all. */
struct hd_kept *hd_kept_put(struct hd_kept_all *all, struct hd_kept *kept);
void hd_kept_free(struct hd_kept *list); /* NULL is fine */
/* The budget is another one: what does not fit, as a list. */
struct hd_kept *hd_kept_limit(struct hd_kept_all *all, int64_t most);
/* Of this user, or of all (-1): out, as a list. */
struct hd_kept *hd_kept_forget(struct hd_kept_all *all, int32_t user);
/* Of the users of whom `is` says so: out, as a list. */
struct hd_kept *hd_kept_forget_those(struct hd_kept_all *all, bool (*is)(void *context, int32_t user),
                                     void *context);
void hd_kept_clear(struct hd_kept_all *all);

#endif
