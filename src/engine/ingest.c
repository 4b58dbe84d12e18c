/* SPDX-License-Identifier: Apache-2.0
 *
 * Records while the engine is open: pieces of text become rows, thousands to a transaction, and what
 * requests read from memory follows each commit.
 *
 *     write lock ─▶ parse, put ... commit ─▶ engine's lock: items, tally, consent follow ─▶ unlock
 *
 * The writer has a store handle of its own, so that feeds read beside it. What is kept in memory is
 * brought along only where it stood at what the transaction started from; where another process has
 * written in between it is read again by whoever asks next. */
#include "base/limits.h"
#include "base/order.h"
#include "base/time.h"
#include "engine/put.h"
#include "engine/state.h"
#include "text/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ROWS 100000 /* of a few bodies at once: pages that many of them touch are written once */

struct looked_at {
    int32_t user, item;
    heed_time ts;
};

/* What a transaction has changed. */
struct delta {
    struct hd_store_changes before;
    int32_t *item; /* changed or new; may name one twice */
    int64_t items, item_room;
    struct looked_at *event; /* new attention */
    int64_t events, event_room;
    bool recount; /* events that the tally holds do not count any more, or those that it left out do */
};

/* An event that was understood and waits to be put: all of a batch go in in the order of the tree of
 * events, (user, time), so that each of its pages is looked for once and not once an event. */
struct waiting {
    struct hd_event_row row;
    heed_ingest *piece;
};

struct ingesting {
    heed_engine *engine;
    struct hd_put put;
    hd_json_reader *json;
    heed_ingest *piece;
    int64_t rows;                /* in the open transaction */
    int64_t items_known;         /* numbers below it are in the store already */
    struct waiting *waiting;
    int64_t waitings, waiting_room;
    struct delta delta;
};

/* ---- what follows a commit */

static heed_status grow(void **array, int64_t count, int64_t *room, size_t size)
{
    if (count < *room)
        return HEED_OK;
    int64_t more = *room ? *room * 2 : 256;
    void *grown = hd_resize(*array, (size_t)more, size);
    if (!grown)
        return hd_fail(HEED_E_NOMEM, "ingest: no memory for %" PRId64 " records", more);
    *array = grown;
    *room = more;
    return HEED_OK;
}

static heed_status note_item(struct ingesting *g, int32_t item)
{
    struct delta *d = &g->delta;

    HD_TRY(grow((void **)&d->item, d->items, &d->item_room, sizeof *d->item));
    d->item[d->items++] = item;
    return HEED_OK;
}

static heed_status note_event(struct ingesting *g, const struct hd_event_row *row)
{
    struct delta *d = &g->delta;

    if (!(HD_KINDS_ATTENTION >> row->kind & 1))
        return HEED_OK;
    HD_TRY(grow((void **)&d->event, d->events, &d->event_room, sizeof *d->event));
    d->event[d->events++] = (struct looked_at){row->user, row->item, row->ts};
    return HEED_OK;
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
    if (status == HEED_OK)
        status = hd_engine_learn_silent(engine);
    engine->tally.horizon = hd_clock_now(&engine->clock) + HD_TALLY_AHEAD_MS;
    for (int64_t e = 0; status == HEED_OK && e < d->events; e++)
        if (!hd_engine_is_silent(engine, d->event[e].user))
            status = hd_tally_add(&engine->tally, d->event[e].item, d->event[e].ts);
    if (status == HEED_OK)
        engine->tally.seq = now->seq;
    else
        engine->tally.loaded = false; /* half of it was counted */
    return status;
}

static int by_place(const void *a, const void *b)
{
    const struct hd_event_row *x = &((const struct waiting *)a)->row,
                              *y = &((const struct waiting *)b)->row;

    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    if (x->ts != y->ts)
        return x->ts < y->ts ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Of two that have one id and differ, which one stays is not said. */
static heed_status put_waiting(struct ingesting *g)
{
    int64_t count = g->waitings, first;

    g->waitings = 0;
    if (count == 0)
        return HEED_OK;
    HD_TRY(hd_store_take_seqs(g->put.store, count, &first));
    for (int64_t i = 0; i < count; i++)
        g->waiting[i].row.seq = first + i;
    qsort(g->waiting, (size_t)count, sizeof *g->waiting, by_place);
    for (int64_t i = 0; i < count; i++) {
        struct waiting *w = &g->waiting[i];
        bool fresh = false;
        HD_TRY(hd_store_put_event(g->put.store, &w->row, &fresh));
        w->piece->accepted += fresh;
        w->piece->duplicate += !fresh;
        if (fresh)
            HD_TRY(note_event(g, &w->row));
    }
    hd_arena_reset(g->put.arena);
    return HEED_OK;
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
    pthread_mutex_lock(&engine->lock);
    heed_status status = follow(engine, &g->delta, &now);
    pthread_mutex_unlock(&engine->lock);
    if (status != HEED_OK) /* what is on disk is there: the caller is told of success */
        hd_engine_log(engine, HEED_LOG_WARN, "ingest: %s; it will be read again",
                      heed_error_message());
    return HEED_OK;
}

/* ---- records */

static heed_status turn_away(struct ingesting *g, int64_t line, const char *why)
{
    char reason[HD_ERROR_BYTES_MAX]; /* a copy: the callback may call us and fail */

    g->piece->rejected++;
    if (!g->piece->reject)
        return HEED_OK;
    snprintf(reason, sizeof reason, "%s", why);
    heed_reject told = {.reason = reason, .line = line};
    g->piece->reject(g->piece->reject_context, &told);
    return HEED_OK;
}

/* The texts that the row points to must outlive the document. */
static heed_status keep_text(struct ingesting *g, const char **text)
{
    size_t bytes = *text ? strlen(*text) + 1 : 0;
    char *copy = *text ? hd_arena_alloc_small(g->put.arena, bytes) : NULL;

    if (*text && !copy)
        return hd_fail(HEED_E_NOMEM, "ingest: no memory for a text");
    *text = copy ? memcpy(copy, *text, bytes) : NULL;
    return HEED_OK;
}

static heed_status wait_event(struct ingesting *g, const struct hd_event *event)
{
    struct waiting w = {.piece = g->piece};

    HD_TRY(hd_event_to_row(&g->put, event, &w.row));
    HD_TRY(keep_text(g, &w.row.id));
    HD_TRY(keep_text(g, &w.row.decision));
    HD_TRY(grow((void **)&g->waiting, g->waitings, &g->waiting_room, sizeof *g->waiting));
    g->waiting[g->waitings++] = w;
    return HEED_OK;
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
    return status;
}

static heed_status put_record(struct ingesting *g, const hd_json *root, bool *fresh)
{
    struct hd_event event;
    struct hd_item item;
    struct hd_user user;
    int32_t number;

    switch (g->piece->what) {
    case HEED_RECORD_EVENT:
        HD_TRY(hd_event_of_json(root, g->put.arena, &event));
        if (event.ts == 0)
            event.ts = hd_clock_now(&g->engine->clock);
        return wait_event(g, &event);
    case HEED_RECORD_ITEM:
        HD_TRY(hd_item_of_json(root, g->put.arena, &item));
        HD_TRY(hd_put_item(&g->put, &item, g->piece->merge, &number, fresh));
        return *fresh ? note_item(g, number) : HEED_OK;
    case HEED_RECORD_USER:
        HD_TRY(hd_user_of_json(root, g->put.arena, &user));
        return put_user(g, &user, fresh);
    case HEED_RECORDS:
        break;
    }
    return HEED_OK;
}

/* What a parser turns away is the record's fault; anything else ends the call. A store that refuses a
 * record for its size (too many items) counts as the record's too. */
static bool turned_away(heed_status status)
{
    return status == HEED_E_FORMAT || status == HEED_E_RANGE;
}

static heed_status take(struct ingesting *g, const hd_json *root, int64_t line)
{
    bool event = g->piece->what == HEED_RECORD_EVENT, fresh = false;

    if (!event)
        HD_TRY(put_waiting(g));
    heed_status status = put_record(g, root, &fresh);
    if (!event)
        hd_arena_reset(g->put.arena);
    if (turned_away(status))
        return turn_away(g, line, heed_error_message());
    HD_TRY(status);
    g->piece->accepted += fresh; /* an event's are counted when it is put */
    g->piece->duplicate += !fresh && !event;
    if (++g->rows < BATCH_ROWS)
        return HEED_OK;
    HD_TRY(commit(g));
    return begin(g);
}

static bool is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

static heed_status take_line(struct ingesting *g, const char *text, size_t bytes, int64_t line)
{
    char too_long[64];
    hd_json *root;

    if (is_blank(text, bytes))
        return HEED_OK;
    if (bytes > HD_LINE_BYTES_MAX) {
        snprintf(too_long, sizeof too_long, "longer than %d bytes", HD_LINE_BYTES_MAX);
        return turn_away(g, line, too_long);
    }
    heed_status status = hd_json_read(g->json, text, bytes, &root);
    if (turned_away(status))
        return turn_away(g, line, heed_error_message());
    HD_TRY(status);
    return take(g, root, line);
}

static heed_status take_lines(struct ingesting *g)
{
    const char *at = g->piece->text, *end = at + g->piece->bytes;

    for (int64_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        HD_TRY(take_line(g, at, (size_t)(stop - at), line));
        at = stop + 1;
    }
    return HEED_OK;
}

static heed_status take_document(struct ingesting *g)
{
    hd_json *root;
    heed_status status = hd_json_read(g->json, g->piece->text, g->piece->bytes, &root);

    if (turned_away(status))
        return turn_away(g, 1, heed_error_message());
    HD_TRY(status);
    if (hd_json_kind(root) != HD_JSON_ARRAY)
        return take(g, root, 1);
    for (size_t i = 0; i < hd_json_length(root); i++)
        HD_TRY(take(g, hd_json_at(root, i), (int64_t)i + 1));
    return HEED_OK;
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

static heed_status ingest_all(struct ingesting *g, heed_ingest *pieces, int count)
{
    HD_TRY(begin(g));
    for (int i = 0; i < count; i++) {
        g->piece = &pieces[i];
        HD_TRY(g->piece->document ? take_document(g) : take_lines(g));
    }
    return commit(g);
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
    struct ingesting g = {.engine = engine};

    HD_TRY(check_pieces(pieces, count));
    for (int i = 0; i < count; i++)
        pieces[i].accepted = pieces[i].duplicate = pieces[i].rejected = 0;
    heed_status status = hd_json_reader_new(&g.json);
    if (status == HEED_OK && !(g.put.arena = hd_arena_new(0)))
        status = hd_fail(HEED_E_NOMEM, "ingest: no memory");
    pthread_mutex_lock(&engine->write_lock);
    if (status == HEED_OK)
        status = hd_engine_writer(engine, &g.put.store);
    if (status == HEED_OK) {
        status = ingest_all(&g, pieces, count);
        hd_store_rollback(g.put.store);
    }
    pthread_mutex_unlock(&engine->write_lock);
    hd_json_clear(&g.put.tags);
    hd_json_reader_free(g.json);
    hd_arena_free(g.put.arena);
    hd_free(g.delta.item);
    hd_free(g.delta.event);
    hd_free(g.waiting);
    /* Of a call that failed nothing is claimed: some of it may be on disk, and comes again as a
     * duplicate. */
    for (int i = 0; status != HEED_OK && i < count; i++)
        pieces[i].accepted = pieces[i].duplicate = 0;
    return status;
}
