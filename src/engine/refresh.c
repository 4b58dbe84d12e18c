/* SPDX-License-Identifier: Apache-2.0
 *
 * What is done beside requests so that none has to wait for it: reading again what other processes
 * have changed, and putting the tally aside. All of it through the writer's store, under the write
 * lock, so that no ingest of our own comes in between; the engine's lock is taken to look and to swap,
 * never while rows are read. */
#include "base/time.h"
#include "engine/state.h"


#define SAVE_NS INT64_C(60000000000) /* between two savings of the tally: what a crash costs is a walk */
#define REST 20 /* after reading again for t, nothing is read again for 20 t: an import beside us does
                   not keep us busy */

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

/* Items, tally and savings, through the writer's store. */
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
