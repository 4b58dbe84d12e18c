/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of chains with the order of asking threaded through it. */
#include "engine/kept.h"
#include "base/random.h"
#include "engine/state.h"

#include <string.h>

#define SLOTS_LEAST 256

static struct hd_kept **slot_of(const struct hd_kept_all *all, int32_t user)
{
    return &all->slot[hd_mix64((uint64_t)(uint32_t)user) & (uint64_t)(all->slots - 1)];
}

static void unlink_kept(struct hd_kept_all *all, struct hd_kept *k)
{
    struct hd_kept **at = slot_of(all, k->user);

    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    *(k->older ? &k->older->newer : &all->oldest) = k->newer;
    *(k->newer ? &k->newer->older : &all->newest) = k->older;
    k->older = k->newer = k->next = NULL;
    all->bytes -= k->bytes;
    all->count--;
}

static struct hd_kept *find(const struct hd_kept_all *all, int32_t user)
{
    struct hd_kept *k = all->slots > 0 ? *slot_of(all, user) : NULL;

    while (k && k->user != user)
        k = k->next;
    return k;
}

struct hd_kept *hd_kept_take(struct hd_kept_all *all, const struct hd_model *model, int32_t user,
                             int64_t as_of)
{
    struct hd_kept *k = find(all, user);

    if (!k || k->model != model) {
        all->missed++;
        return NULL;
    }
    all->found++;
    unlink_kept(all, k);
    k->as_of = as_of;
    return k;
}

heed_status hd_kept_new(struct hd_model *model, int32_t user, int64_t as_of, struct hd_kept **out)
{
    struct hd_kept *k = hd_alloc(1, sizeof *k);

    if (!k)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    heed_status status = hd_sequence_state_new(model->sequence, &k->state);
    if (status != HEED_OK) {
        hd_free(k);
        return status;
    }
    k->user = user;
    k->as_of = as_of;
    k->model = model;
    atomic_fetch_add(&model->uses, 1);
    *out = k;
    return HEED_OK;
}

void hd_kept_free(struct hd_kept *list)
{
    for (struct hd_kept *next; list; list = next) {
        next = list->next;
        hd_sequence_state_free(list->state);
        hd_model_drop(list->model);
        hd_free(list);
    }
}

/* Twice the slots; where there is no memory for them the chains grow longer instead. */
static void grow(struct hd_kept_all *all)
{
    int64_t slots = all->slots > 0 ? 2 * all->slots : SLOTS_LEAST;
    struct hd_kept **slot = hd_alloc((size_t)slots, sizeof *slot);

    if (!slot)
        return;
    hd_free(all->slot);
    all->slot = slot;
    all->slots = slots;
    for (struct hd_kept *k = all->oldest; k; k = k->newer) {
        struct hd_kept **at = slot_of(all, k->user);
        k->next = *at;
        *at = k;
    }
}

static void push(struct hd_kept **list, struct hd_kept *k)
{
    k->next = *list;
    *list = k;
}

/* Lets go of the oldest until `more` bytes fit. */
static void make_room(struct hd_kept_all *all, int64_t more, struct hd_kept **out)
{
    while (all->oldest && all->bytes + more > all->most) {
        struct hd_kept *oldest = all->oldest;
        unlink_kept(all, oldest);
        push(out, oldest);
    }
}

struct hd_kept *hd_kept_limit(struct hd_kept_all *all, int64_t most)
{
    struct hd_kept *out = NULL;

    all->most = most > 0 ? most : 0;
    make_room(all, 0, &out);
    return out;
}

struct hd_kept *hd_kept_put(struct hd_kept_all *all, struct hd_kept *k)
{
    struct hd_kept *out = NULL, *twin;

    k->bytes = (int64_t)hd_sequence_state_bytes(k->state) + (int64_t)sizeof *k;
    if (all->count >= all->slots)
        grow(all);
    if (k->bytes > all->most || all->slots == 0 || k->as_of != all->forgotten) {
        push(&out, k);
        return out;
    }
    if ((twin = find(all, k->user))) { /* of an older model, or of a question at the same time */
        unlink_kept(all, twin);
        push(&out, twin);
    }
    make_room(all, k->bytes, &out);
    struct hd_kept **at = slot_of(all, k->user);
    k->next = *at;
    *at = k;
    k->older = all->newest;
    k->newer = NULL;
    *(all->newest ? &all->newest->newer : &all->oldest) = k;
    all->newest = k;
    all->bytes += k->bytes;
    all->count++;
    return out;
}

struct hd_kept *hd_kept_forget_those(struct hd_kept_all *all, bool (*is)(void *context, int32_t user),
                                     void *context)
{
    struct hd_kept *out = NULL;

    all->forgotten++;
    for (struct hd_kept *k = all->oldest, *newer; k; k = newer) {
        newer = k->newer;
        if (is(context, k->user)) {
            unlink_kept(all, k);
            push(&out, k);
        }
    }
    return out;
}

static bool is_this(void *context, int32_t user)
{
    const int32_t *whom = context;

    return *whom < 0 || user == *whom;
}

struct hd_kept *hd_kept_forget(struct hd_kept_all *all, int32_t user)
{
    return hd_kept_forget_those(all, is_this, &user);
}

void hd_kept_clear(struct hd_kept_all *all)
{
    hd_kept_free(hd_kept_forget(all, -1));
    hd_free(all->slot);
    *all = (struct hd_kept_all){.most = all->most};
}
