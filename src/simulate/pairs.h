/* SPDX-License-Identifier: Apache-2.0
 *
 * A map from 64-bit keys to one byte, by open addressing: who has met what. Keys are never 0. */
#ifndef HD_PAIRS_H
#define HD_PAIRS_H

#include "base/memory.h"
#include "base/random.h"

struct hd_pairs {
    uint64_t *keys; /* (room), 0: free */
    uint8_t *values;
    size_t room, used; /* room: a power of two */
};

/* The place of the key, or the free one where it would go. room above used. */
static inline size_t hd_pairs_place(const struct hd_pairs *pairs, uint64_t key)
{
    size_t i = (size_t)hd_mix64(key) & (pairs->room - 1);

    while (pairs->keys[i] && pairs->keys[i] != key)
        i = (i + 1) & (pairs->room - 1);
    return i;
}

/* 0 for a key that is not there. */
static inline uint8_t hd_pairs_get(const struct hd_pairs *pairs, uint64_t key)
{
    return pairs->room ? pairs->values[hd_pairs_place(pairs, key)] : 0;
}

/* Makes room for `more` keys: after it so many hd_pairs_at() calls cannot fail. */
static inline bool hd_pairs_reserve(struct hd_pairs *pairs, size_t more)
{
    struct hd_pairs next = {.room = pairs->room ? pairs->room : 1024};

    if ((pairs->used + more) * 2 <= pairs->room)
        return true;
    while ((pairs->used + more) * 2 > next.room)
        next.room *= 2;
    next.keys = hd_alloc(next.room, sizeof *next.keys);
    next.values = hd_alloc(next.room, 1);
    if (!next.keys || !next.values) {
        hd_free(next.keys), hd_free(next.values);
        return false;
    }
    for (size_t i = 0; i < pairs->room; i++) {
        if (pairs->keys[i]) {
            size_t place = hd_pairs_place(&next, pairs->keys[i]);
            next.keys[place] = pairs->keys[i], next.values[place] = pairs->values[i];
        }
    }
    next.used = pairs->used;
    hd_free(pairs->keys), hd_free(pairs->values);
    *pairs = next;
    return true;
}

/* The key's value, made as 0 where it is new. Room must have been made. */
static inline uint8_t *hd_pairs_at(struct hd_pairs *pairs, uint64_t key)
{
    size_t place = hd_pairs_place(pairs, key);

    if (!pairs->keys[place])
        pairs->keys[place] = key, pairs->used++;
    return pairs->values + place;
}

static inline void hd_pairs_clear(struct hd_pairs *pairs)
{
    hd_free(pairs->keys), hd_free(pairs->values);
    *pairs = (struct hd_pairs){0};
}

#endif
