/* SPDX-License-Identifier: Apache-2.0
 *
 * Records while the engine is open: pieces of text become rows, thousands to a transaction, and what
 * requests read from memory follows each commit.
 *
 *     events read ─▶ write lock ─▶ put ... commit ─▶ engine's lock: items, tally follow ─▶ unlock
 *
 * Reading events takes a third of the time, and needs no lock: while one call waits for the disk another
 * reads. The writer has a store handle of its own, so that feeds read beside it. What is kept in memory is
 * brought along only where it stood at what the transaction started from; where another process has
 * written in between it is read again by whoever asks next. */
#include "acquire/fields.h"
#include "acquire/user.h"
#include "base/limits.h"
#include "base/order.h"
#include "base/time.h"
#include "engine/ingest_read.h"
#include "engine/put.h"
#include "engine/state.h"
#include "text/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ROWS 250000 /* of a few bodies at once: pages that many of them touch are written once */

struct looked_at {
    int32_t user, item;
    heed_time ts;
};

/* What a transaction has changed. */
struct delta {
    struct hd_store_changes before;
    int32_t *item; /* changed or new; may name one twice */
    int64_t items, item_room;
    struct looked_at *event; /* new attention that may be learned from */
    int64_t events, event_room;
    bool recount; /* events that the tally holds do not count any more, or those that it left out do */
};

/* An event that has its numbers and waits to be put. */
struct waiting {
    struct hd_event_row row;
    heed_ingest *piece;
};

/* Events are put in the order of their tree, (user, time), so that each of its pages is looked for once
 * a batch and not once an event; what is sorted is small. */
struct place {
    heed_time ts;
    int32_t user;
    int32_t waiting; /* also the order of arrival */
};

struct ingesting {
    heed_engine *engine;
    struct hd_put put;
    hd_json_reader *json;
    struct hd_read_events read;
    heed_ingest *piece;
    int64_t rows;        /* in the open transaction */
    int64_t items_known; /* numbers below it are in the store already */
    struct waiting *waiting;
    int64_t waitings, waiting_room;
    struct delta delta;
    int32_t asked; /* whose consent was asked for last in this transaction, or -1, and what it was */
    bool asked_may;
    char trouble[HD_ERROR_BYTES_MAX]; /* for the log, once no lock is held */
};

/* ---- what follows a commit */

static heed_status note_item(struct ingesting *g, int32_t item)
{
    struct delta *d = &g->delta;

    HD_TRY(hd_ingest_grow((void **)&d->item, d->items, &d->item_room, sizeof *d->item));
    d->item[d->items++] = item;
    return HEED_OK;
}

/* Events that wait come user by user, so each is asked for about once. */
static heed_status may_learn(struct ingesting *g, int32_t user, bool *may)
{
    unsigned consent = 0;

    if (g->asked != user) {
        HD_TRY(hd_store_get_consent(g->put.store, user, &consent));
        g->asked = user;
        g->asked_may = (consent & HD_CONSENT_LEARN) != 0;
    }
    *may = g->asked_may;
    return HEED_OK;
}

static heed_status note_event(struct ingesting *g, const struct hd_event_row *row)
{
    struct delta *d = &g->delta;
    bool may = false;

    if (!(HD_KINDS_ATTENTION >> row->kind & 1))
        return HEED_OK;
    HD_TRY(may_learn(g, row->user, &may));
    if (!may)
        return HEED_OK;
    HD_TRY(hd_ingest_grow((void **)&d->event, d->events, &d->event_room, sizeof *d->event));
    d->event[d->events++] = (struct looked_at){row->user, row->item, row->ts};
    return HEED_OK;
}

/* A count that is under way (refresh.c) is told of those whom it has passed already. */
static heed_status tell_count(struct hd_tally *counting, const struct delta *d,
                              const struct hd_store_changes *now)
{
    heed_status status = HEED_OK;

    if (!counting->loaded || counting->seq != d->before.seq || d->recount)
        return HEED_OK;
    for (int64_t e = 0; status == HEED_OK && e < d->events; e++)
        if (d->event[e].user < counting->counted)
            status = hd_tally_add(counting, d->event[e].item, d->event[e].ts);
    if (status == HEED_OK) /* else it finds that it has missed something */
        counting->seq = now->seq;
    return status;
}

/* Under the engine's lock. A part that cannot follow is left as it was, and is read again later. */
static heed_status follow(heed_engine *engine, struct delta *d, const struct hd_store_changes *now)
{
    heed_status status = HEED_OK;
    int64_t kept = 0;

    if (d->items > 0)
        qsort(d->item, (size_t)d->items, sizeof *d->item, hd_order_i32);
    for (int64_t i = 0; i < d->items; i++)
        if (i == 0 || d->item[i] != d->item[i - 1])
            d->item[kept++] = d->item[i];
    if (engine->items && engine->items_changes == d->before.items && !hd_items_worn(engine->items)) {
        if (kept > 0)
            status = hd_items_change(engine, d->item, kept);
        if (status == HEED_OK)
            engine->items_changes = now->items;
    }
    if (!engine->tally.loaded || engine->tally.seq != d->before.seq || d->recount)
        return status;
    engine->tally.horizon = hd_clock_now(&engine->clock) + HD_TALLY_AHEAD_MS;
    for (int64_t e = 0; status == HEED_OK && e < d->events; e++)
        status = hd_tally_add(&engine->tally, d->event[e].item, d->event[e].ts);
    if (status == HEED_OK)
        engine->tally.seq = now->seq;
    else
        engine->tally.loaded = false; /* half of it was counted */
    return status;
}

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    if (x->ts != y->ts)
        return x->ts < y->ts ? -1 : 1;
    return (x->waiting > y->waiting) - (x->waiting < y->waiting);
}

/* Of two that have one id and differ, which one stays is not said. */
static heed_status put_in_order(struct ingesting *g, struct place *place, int64_t count)
{
    int64_t first;

    HD_TRY(hd_store_take_seqs(g->put.store, count, &first));
    for (int64_t i = 0; i < count; i++) {
        struct hd_event_row *row = &g->waiting[i].row;
        row->seq = first + i;
        place[i] = (struct place){row->ts, row->user, (int32_t)i};
    }
    qsort(place, (size_t)count, sizeof *place, by_place);
    for (int64_t i = 0; i < count; i++) {
        struct waiting *w = &g->waiting[place[i].waiting];
        bool fresh = false;
        HD_TRY(hd_store_put_event(g->put.store, &w->row, &fresh));
        w->piece->accepted += fresh;
        w->piece->duplicate += !fresh;
        if (fresh)
            HD_TRY(note_event(g, &w->row));
    }
    return HEED_OK;
}

static heed_status put_waiting(struct ingesting *g)
{
    int64_t count = g->waitings;

    g->waitings = 0;
    if (count == 0)
        return HEED_OK;
    struct place *place = hd_alloc((size_t)count, sizeof *place);
    if (!place)
        return hd_fail(HEED_E_NOMEM, "ingest: no memory for %" PRId64 " records", count);
    heed_status status = put_in_order(g, place, count);
    hd_free(place);
    return status;
}

static heed_status begin(struct ingesting *g)
{
    struct hd_store_counts counts;

    HD_TRY(hd_store_begin(g->put.store));
    HD_TRY(hd_store_changes(g->put.store, &g->delta.before));
    HD_TRY(hd_store_count(g->put.store, &counts));
    g->items_known = counts.items;
    g->delta.items = g->delta.events = g->rows = 0;
    g->delta.recount = false;
    g->asked = -1;
    return HEED_OK;
}

/* Whoever named them first: an event that turns out to be a duplicate, or an item that is turned away
 * after it got its number, leaves an item too, and the snapshot must have no holes. */
static heed_status note_new_items(struct ingesting *g)
{
    struct hd_store_counts counts;

    HD_TRY(hd_store_count(g->put.store, &counts));
    for (; g->items_known < counts.items; g->items_known++)
        HD_TRY(note_item(g, (int32_t)g->items_known));
    return HEED_OK;
}

static heed_status commit(struct ingesting *g)
{
    struct hd_store_changes now;
    heed_engine *engine = g->engine;

    HD_TRY(put_waiting(g));
    HD_TRY(note_new_items(g));
    HD_TRY(hd_store_changes(g->put.store, &now));
    HD_TRY(hd_store_commit(g->put.store));
    heed_status status = tell_count(&engine->counting, &g->delta, &now);
    pthread_mutex_lock(&engine->lock);
    heed_status followed = follow(engine, &g->delta, &now);
    pthread_mutex_unlock(&engine->lock);
    status = status == HEED_OK ? followed : status;
    if (status != HEED_OK) /* what is on disk is there: the caller is told of success */
        snprintf(g->trouble, sizeof g->trouble, "%s", heed_error_message());
    return HEED_OK;
}

/* ---- records */

/* One more row in the transaction. */
static heed_status count_row(struct ingesting *g)
{
    if (++g->rows < BATCH_ROWS)
        return HEED_OK;
    HD_TRY(commit(g));
    return begin(g);
}

/* A store that refuses an event (too many items) is the event's fault too. */
static heed_status wait_event(struct ingesting *g, const struct hd_read_event *read)
{
    struct waiting w = {.piece = read->piece};
    heed_status status = hd_event_to_row(&g->put, &read->event, &w.row);

    if (hd_is_refusal(status)) {
        hd_ingest_refuse(read->piece, read->line, heed_error_message());
        return HEED_OK;
    }
    HD_TRY(status);
    HD_TRY(hd_ingest_grow((void **)&g->waiting, g->waitings, &g->waiting_room, sizeof *g->waiting));
    g->waiting[g->waitings++] = w;
    return count_row(g);
}

/* Who lets heed learn no more, or again, was counted otherwise until now. */
static heed_status put_user(struct ingesting *g, const struct hd_user *user, bool *fresh)
{
    struct hd_store_changes before, now;
    int32_t number;

    HD_TRY(hd_store_changes(g->put.store, &before));
    heed_status status = hd_put_user(&g->put, user, g->piece->merge, &number, fresh);
    HD_TRY(hd_store_changes(g->put.store, &now));
    g->delta.recount = g->delta.recount || now.seq != before.seq;
    g->asked = -1;
    return status;
}

static heed_status put_record(void *context, const hd_json *root, int64_t line)
{
    struct ingesting *g = context;
    struct hd_item item;
    struct hd_user user;
    int32_t number;
    bool fresh = false;

    (void)line;
    hd_arena_reset(g->put.arena);
    if (g->piece->what == HEED_RECORD_ITEM) {
        HD_TRY(hd_item_of_json(root, g->put.arena, &item));
        HD_TRY(hd_put_item(&g->put, &item, g->piece->merge, &number, &fresh));
        if (fresh)
            HD_TRY(note_item(g, number));
    } else {
        HD_TRY(hd_user_of_json(root, g->put.arena, &user));
        HD_TRY(put_user(g, &user, &fresh));
    }
    g->piece->accepted += fresh;
    g->piece->duplicate += !fresh;
    return count_row(g);
}

/* ---- the call */

static heed_status check_pieces(const heed_ingest *pieces, int count)
{
    if (count < 0 || (count > 0 && !pieces))
        return hd_fail(HEED_E_ARG, "ingest: %d pieces", count);
    for (int i = 0; i < count; i++) {
        if ((unsigned)pieces[i].what >= HEED_RECORDS)
            return hd_fail(HEED_E_ARG, "ingest: piece %d: there is no kind of record %d", i,
                           (int)pieces[i].what);
        if (pieces[i].bytes > 0 && !pieces[i].text)
            return hd_fail(HEED_E_ARG, "ingest: piece %d has no text", i);
    }
    return HEED_OK;
}

/* Before any lock is taken. */
static heed_status read_all(struct ingesting *g, heed_ingest *pieces, int count)
{
    HD_TRY(hd_json_reader_new(&g->json));
    if (!(g->put.arena = hd_arena_new(0)) || !(g->read.arena = hd_arena_new(0)))
        return hd_fail(HEED_E_NOMEM, "ingest: no memory");
    for (int i = 0; i < count; i++)
        if (pieces[i].what == HEED_RECORD_EVENT)
            HD_TRY(hd_ingest_read_events(g->json, &pieces[i], &g->read));
    heed_time now = hd_clock_now(&g->engine->clock);
    for (int64_t e = 0; e < g->read.count; e++)
        if (g->read.event[e].event.ts == 0)
            g->read.event[e].event.ts = now;
    return HEED_OK;
}

/* In the order of the pieces: what is said of an item or a user comes after the events before it. */
static heed_status write_all(struct ingesting *g, heed_ingest *pieces, int count)
{
    int64_t e = 0;

    HD_TRY(hd_engine_writer(g->engine, &g->put.store));
    HD_TRY(begin(g));
    for (int i = 0; i < count; i++) {
        g->piece = &pieces[i];
        if (g->piece->what == HEED_RECORD_EVENT) {
            for (; e < g->read.count && g->read.event[e].piece == g->piece; e++)
                HD_TRY(wait_event(g, &g->read.event[e]));
        } else {
            HD_TRY(put_waiting(g));
            HD_TRY(hd_ingest_each(g->json, g->piece, put_record, g));
        }
    }
    return commit(g);
}

static void free_ingesting(struct ingesting *g)
{
    hd_json_clear(&g->put.tags);
    hd_json_reader_free(g->json);
    hd_arena_free(g->put.arena);
    hd_arena_free(g->read.arena);
    hd_free(g->read.event);
    hd_free(g->delta.item);
    hd_free(g->delta.event);
    hd_free(g->waiting);
    hd_free(g);
}

heed_status hd_engine_writer(heed_engine *engine, hd_store **writer)
{
    if (!engine->writer)
        HD_TRY(hd_store_open(engine->folder, &(struct hd_store_opts){.must_exist = true},
                             &engine->writer));
    *writer = engine->writer;
    return HEED_OK;
}

heed_status heed_engine_ingest(heed_engine *engine, heed_ingest *pieces, int count)
{
    HD_TRY(check_pieces(pieces, count));
    for (int i = 0; i < count; i++)
        pieces[i].accepted = pieces[i].duplicate = pieces[i].rejected = 0;
    struct ingesting *g = hd_alloc(1, sizeof *g);
    if (!g)
        return hd_fail(HEED_E_NOMEM, "ingest: no memory");
    g->engine = engine;
    heed_status status = read_all(g, pieces, count);
    if (status == HEED_OK) {
        pthread_mutex_lock(&engine->write_lock);
        status = write_all(g, pieces, count);
        if (g->put.store)
            hd_store_rollback(g->put.store);
        pthread_mutex_unlock(&engine->write_lock);
    }
    if (g->trouble[0])
        hd_engine_log(engine, HEED_LOG_WARN, "ingest: %s; it will be read again", g->trouble);
    free_ingesting(g);
    /* Of a call that failed nothing is claimed: some of it may be on disk, and comes again as a
     * duplicate. */
    for (int i = 0; status != HEED_OK && i < count; i++)
        pieces[i].accepted = pieces[i].duplicate = 0;
    return status;
}
