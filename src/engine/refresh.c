/* SPDX-License-Identifier: Apache-2.0
 *
 * What is done beside requests so that none has to wait for it: reading again what other processes
 * have changed, and putting the tally aside. All of it through the writer's store, under the write
 * lock, so that no ingest of our own comes in between; the engine's lock is taken to look and to swap,
 * never while rows are read. */
#include "base/time.h"
#include "engine/state.h"

#include <unistd.h>

#define SAVE_NS INT64_C(60000000000) /* between two savings of the tally: what a crash costs is a walk */
#define PIECE_EVENTS 200000 /* counted without a pause: some 50 ms, which an ingest may have to wait */
#define PAUSE_US 20000
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

static void swap_tally(heed_engine *engine, struct hd_tally *fresh)
{
    pthread_mutex_lock(&engine->lock);
    struct hd_tally old = engine->tally;
    engine->tally = *fresh;
    pthread_mutex_unlock(&engine->lock);
    *fresh = (struct hd_tally){0};
    hd_tally_clear(&old);
}

/* After a crash all events are counted again, which takes a second for each ten million. So that nobody
 * who writes waits for it the lock is given up after each piece; what comes in meanwhile is added by its
 * ingest where its user was counted already. *whole false: somebody else wrote, or what was counted counts no
 * more; then the next refresh begins again. */
static heed_status count_pieces(heed_engine *engine, hd_store *store, bool *whole)
{
    struct hd_tally *t = &engine->counting;

    for (;;) {
        HD_TRY(hd_tally_count(store, PIECE_EVENTS, t, whole));
        if (!*whole || t->counted == INT32_MAX)
            return HEED_OK;
        pthread_mutex_unlock(&engine->write_lock);
        usleep(PAUSE_US); /* the lock is not fair: others get it now, or never */
        pthread_mutex_lock(&engine->write_lock);
    }
}

static heed_status count_anew(heed_engine *engine, hd_store *store)
{
    heed_time now = hd_clock_now(&engine->clock);
    bool whole = false;

    if (!engine->tally.loaded) { /* until then what was put aside last, which is nearly right */
        struct hd_tally stale;
        HD_TRY(hd_tally_begin(store, now, true, &stale));
        if (stale.counted == INT32_MAX)
            swap_tally(engine, &stale);
        hd_tally_clear(&stale);
    }
    HD_TRY(hd_tally_begin(store, now, false, &engine->counting));
    heed_status status = count_pieces(engine, store, &whole);
    if (status == HEED_OK && whole)
        swap_tally(engine, &engine->counting);
    hd_tally_clear(&engine->counting);
    return status;
}

static heed_status refresh_tally(heed_engine *engine, hd_store *store)
{
    struct hd_store_changes changes;

    HD_TRY(hd_store_changes(store, &changes));
    pthread_mutex_lock(&engine->lock);
    bool stale = !engine->tally.loaded || engine->tally.seq != changes.seq;
    pthread_mutex_unlock(&engine->lock);
    return stale ? count_anew(engine, store) : HEED_OK;
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
        if (status == HEED_OK) {
            engine->kept_fresh = true; /* from here on no request counts */
            status = refresh_tally(engine, store);
        }
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
