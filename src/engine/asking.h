/* SPDX-License-Identifier: Apache-2.0
 *
 * One request about one reader: what the store says of them and what is there to choose from, read
 * in one go under the engine's lock. Deciding happens afterwards, without it. */
#ifndef HD_ASKING_H
#define HD_ASKING_H

#include "engine/state.h"

struct hd_asking {
    struct hd_items *items;
    struct hd_model *model; /* or NULL, then `trouble` says why */
    const char *trouble;
    heed_time now;
    heed_time model_now; /* the same, for the model; see asking.c */
    int32_t user;        /* -1: not known */
    int64_t as_of;       /* hd_kept_all.forgotten then */
    unsigned consent;    /* HD_CONSENT_...; of an unknown user the ordinary ones */
    /* Visits up to now, oldest first, of items that the model knows (all, where there is no model);
     * none of a user who does not want to be shown what they lead to, but for the session's. */
    int64_t count;
    int32_t *item;
    heed_time *when; /* as it was given; 0: not known */
    heed_time *time; /* the same, for the model; NULL: only the order is known */
    /* What must not come back: looked at at any time (with consent), turned away, blocked, or excluded
     * by the request. */
    int64_t away_count;
    int32_t *away;
    /* Topics, rising: never wanted (with those of items that the user wrote), and followed. */
    int32_t *block, *follow;
    int64_t blocks, follows;
};

struct hd_asking_opts {
    heed_time at; /* 0: now; else events after it have not happened yet */
    const char *const *exclude;
    int exclude_count;
    const heed_feed_visit *session; /* goes after the user's own events */
    int session_count;
};

/* Texts and arrays go into the arena. An unknown user is no error, nor is none (NULL). Undone by hd_asking_clear(),
 * also after a failure. */
HEED_CHECKED heed_status hd_asking_init(struct hd_asking *asking, heed_engine *engine,
                                        const char *user, const struct hd_asking_opts *opts,
                                        hd_arena *arena);
void hd_asking_clear(struct hd_asking *asking);

/* The model's scores of its own items for a history, and how one of them stands. */
struct hd_standing {
    double log_probability; /* softmax over all the model's items */
    int64_t rank; /* among the items that are not out, ties against it; itself counts in */
};
void hd_stand(const float *scores, int64_t items, const uint8_t *out, int32_t target,
              struct hd_standing *standing);
/* ln sum exp(scores). */
double hd_log_sum_exp(const float *scores, int64_t items);

/* Fails with HEED_E_NOTFOUND and names ids (and titles) that look like what was asked for. */
heed_status hd_fail_no_user(heed_engine *engine, const char *subject, const char *id);
heed_status hd_fail_no_item(const struct hd_catalogue *catalogue, const char *subject,
                            const char *id);

#endif
