/* SPDX-License-Identifier: Apache-2.0
 *
 * What is done beside requests so that none has to wait for it: reading again what other processes
 * have changed, and putting the tally aside. All of it through the writer's store, under the write
 * lock, so that no ingest of our own comes in between; the engine's lock is taken to look and to swap,
 * never while rows are read. */
#include "acquire/user.h"
#include "base/order.h"
#include "base/time.h"
#include "engine/state.h"
#include "store/records.h"

#include <inttypes.h>
#include <stdlib.h>

#define SAVE_NS INT64_C(60000000000) /* between two savings of the tally: what a crash costs is a walk */
#define REST 20 /* after reading again for t, nothing is read again for 20 t: an import beside us does
                   not keep us busy */

/* ---- who does not want to be learned from
 *
 * Their numbers are a list in memory. There may be a million, and one of them who says yes makes another list,
 * so under the engine's lock it is read only where nobody refreshes. Else it is read beside requests, and until
 * then the few users of an ingest are asked for one by one. */

/* Returns those before, to be freed without the lock. */
static int32_t *swap_silent(heed_engine *engine, int32_t *silent, int64_t silents, int64_t changes)
{
    int32_t *old = engine->silent;

    engine->silent = silent;
    engine->silents = silents;
    engine->silent_changes = changes;
    return old;
}

/* As of one state of the store. */
static heed_status read_silent(hd_store *store, int32_t **silent, int64_t *silents, int64_t *changes)
{
    struct hd_store_changes now;
    bool own = false;

    HD_TRY(hd_store_begin_reading(store, &own));
    heed_status status = hd_store_changes(store, &now);
    if (status == HEED_OK)
        status = hd_store_silent_users(store, silent, silents);
    hd_store_end_reading(store, own);
    if (status == HEED_OK)
        *changes = now.users;
    return status;
}

heed_status hd_engine_learn_silent(heed_engine *engine)
{
    struct hd_store_changes now;
    int32_t *silent = NULL;
    int64_t silents = 0, changes = 0;

    HD_TRY(hd_store_changes(engine->store, &now));
    engine->silent_asked = -1;
    engine->silent_stale = engine->silent_changes != now.users;
    if (!engine->silent_stale || engine->kept_fresh)
        return HEED_OK;
    HD_TRY(read_silent(engine->store, &silent, &silents, &changes));
    hd_free(swap_silent(engine, silent, silents, changes));
    engine->silent_stale = false;
    return HEED_OK;
}

/* Events of one user come next to each other. */
static bool ask_silent(heed_engine *engine, int32_t user)
{
    unsigned consent = 0;

    if (engine->silent_asked == user)
        return engine->silent_answer;
    if (hd_store_get_consent(engine->store, user, &consent) != HEED_OK) {
        engine->tally.loaded = false; /* whether their events count is found out by a walk */
        return true;
    }
    engine->silent_asked = user;
    engine->silent_answer = !(consent & HD_CONSENT_LEARN);
    return engine->silent_answer;
}

bool hd_engine_is_silent(heed_engine *engine, int32_t user)
{
    if (engine->silent_stale)
        return ask_silent(engine, user);
    return engine->silents > 0 && bsearch(&user, engine->silent, (size_t)engine->silents,
                                          sizeof *engine->silent, hd_order_i32);
}

static heed_status refresh_silent(heed_engine *engine, hd_store *store)
{
    struct hd_store_changes now;
    int32_t *silent = NULL;
    int64_t silents = 0, changes = 0;

    HD_TRY(hd_store_changes(store, &now));
    pthread_mutex_lock(&engine->lock);
    bool stale = engine->silent_changes != now.users;
    pthread_mutex_unlock(&engine->lock);
    if (!stale)
        return HEED_OK;
    HD_TRY(read_silent(store, &silent, &silents, &changes));
    pthread_mutex_lock(&engine->lock);
    int32_t *old = swap_silent(engine, silent, silents, changes);
    pthread_mutex_unlock(&engine->lock);
    hd_free(old);
    return HEED_OK;
}

/* ---- items and what is popular */

static heed_status refresh_items(heed_engine *engine, hd_store *store)
{
    struct hd_items *fresh, *old;
    struct hd_store_changes changes;

    HD_TRY(hd_store_changes(store, &changes));
    pthread_mutex_lock(&engine->lock);
    bool stale = !engine->items || engine->items_changes != changes.items ||
                 hd_items_worn(engine->items);
    pthread_mutex_unlock(&engine->lock);
    if (!stale)
        return HEED_OK;
    HD_TRY(hd_items_load(store, &fresh));
    pthread_mutex_lock(&engine->lock);
    old = engine->items;
    engine->items = fresh;
    engine->items_changes = changes.items;
    pthread_mutex_unlock(&engine->lock);
    hd_items_drop(old);
    return HEED_OK;
}

static heed_status refresh_tally(heed_engine *engine, hd_store *store)
{
    struct hd_tally fresh, old;
    struct hd_store_changes changes;

    HD_TRY(hd_store_changes(store, &changes));
    pthread_mutex_lock(&engine->lock);
    bool stale = !engine->tally.loaded || engine->tally.seq != changes.seq;
    pthread_mutex_unlock(&engine->lock);
    if (!stale)
        return HEED_OK;
    HD_TRY(hd_tally_load(store, hd_clock_now(&engine->clock), &fresh));
    pthread_mutex_lock(&engine->lock);
    old = engine->tally;
    engine->tally = fresh;
    pthread_mutex_unlock(&engine->lock);
    hd_tally_clear(&old);
    return HEED_OK;
}

/* Under the write lock the tally does not move, so it can be read without the other. */
static heed_status save_tally(heed_engine *engine, hd_store *store)
{
    struct hd_tally *t = &engine->tally;

    return t->loaded && t->seq != t->saved_seq ? hd_tally_save(store, t) : HEED_OK;
}

/* Items, tally, the silent and savings, through the writer's store. */
static heed_status refresh_rows(heed_engine *engine)
{
    int64_t began = hd_monotonic_ns();
    hd_store *store = NULL;

    pthread_mutex_lock(&engine->write_lock);
    heed_status status = hd_engine_writer(engine, &store);
    if (status == HEED_OK && began >= engine->refresh_at_ns) {
        status = refresh_items(engine, store);
        if (status == HEED_OK)
            status = refresh_tally(engine, store);
        if (status == HEED_OK)
            status = refresh_silent(engine, store);
        engine->refresh_at_ns = began + (REST + 1) * (hd_monotonic_ns() - began);
    }
    if (status == HEED_OK && began >= engine->save_at_ns) {
        if (engine->save_at_ns > 0)
            status = save_tally(engine, store);
        engine->save_at_ns = began + SAVE_NS;
    }
    pthread_mutex_unlock(&engine->write_lock);
    return status;
}

static heed_status refresh_kept(heed_engine *engine)
{
    struct hd_kept *gone = NULL;

    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_engine_forget_erased(engine, &gone);
    pthread_mutex_unlock(&engine->lock);
    hd_kept_free(gone);
    return status;
}

heed_status heed_engine_refresh(heed_engine *engine)
{
    pthread_mutex_lock(&engine->refresh_lock);
    heed_status status = hd_model_refresh(engine);
    if (status == HEED_OK)
        status = refresh_rows(engine);
    if (status == HEED_OK)
        status = refresh_kept(engine);
    if (status == HEED_OK)
        engine->kept_fresh = true;
    pthread_mutex_unlock(&engine->refresh_lock);
    return status;
}

void hd_engine_settle(heed_engine *engine)
{
    if (!engine->writer || !engine->tally.loaded)
        return;
    if (save_tally(engine, engine->writer) != HEED_OK)
        hd_engine_log(engine, HEED_LOG_WARN, "close: what is popular will be counted again: %s",
                      heed_error_message());
}
