/* SPDX-License-Identifier: Apache-2.0
 *
 * The model that is served: loaded once, loaded again when its file is another, and never the
 * reason why a feed fails. Whoever trains replaces the file by rename, so a look at the file's
 * identity is all that is needed to notice, whichever process it was. */
#include "engine/state.h"
#include "text/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* store_items: as many as the store held a moment ago. */
static heed_status model_load(const char *path, int64_t store_items, struct hd_model **out)
{
    struct hd_model *model;
    hd_sequence *sequence;

    HD_TRY(hd_sequence_load(path, &sequence));
    const struct hd_sequence_config *config = hd_sequence_config(sequence);
    /* Items are only ever added, so a model knows as many as the store or fewer. */
    if (config->items < 1 || config->items > store_items) {
        int64_t items = config->items;
        hd_sequence_free(sequence);
        return hd_fail(HEED_E_FORMAT,
                       "%s: it is of %" PRId64 " items, the store holds %" PRId64
                       ": it belongs to other data",
                       path, items, store_items);
    }
    model = hd_alloc(1, sizeof *model);
    if (!model) {
        hd_sequence_free(sequence);
        return hd_fail(HEED_E_NOMEM, "model: no memory");
    }
    atomic_init(&model->uses, 1);
    pthread_mutex_init(&model->lock, NULL);
    model->sequence = sequence;
    model->config = config;
    *out = model;
    return HEED_OK;
}

/* What a look at the file has found. */
struct found {
    char *path;
    struct stat stat; /* all zero: there is no file */
    bool same;        /* as what is in use */
    struct hd_model *model;
    char trouble[HD_ERROR_BYTES_MAX];
    bool news; /* the trouble is the log's to tell */
};

/* Under the engine's lock. */
static heed_status look(heed_engine *engine, struct found *found, int64_t *store_items)
{
    struct hd_store_counts counts;

    if (!(found->path = hd_engine_path(engine, HD_MODEL_FILE)))
        return hd_fail(HEED_E_NOMEM, "model: no memory");
    if (stat(found->path, &found->stat) != 0) {
        found->stat = (struct stat){0};
        snprintf(found->trouble, sizeof found->trouble, "%s",
                 errno == ENOENT ? "no model has been trained yet" : strerror(errno));
        found->same = strcmp(found->trouble, engine->model_trouble) == 0;
        return HEED_OK;
    }
    found->same = same_file(&found->stat, &engine->model_stat);
    if (found->same)
        return HEED_OK;
    HD_TRY(hd_store_count(engine->store, &counts));
    *store_items = counts.items;
    return HEED_OK;
}

/* Needs no lock. A file that cannot be used is remembered too, so that it is not tried again at each
 * request. */
static heed_status load(struct found *found, int64_t store_items)
{
    if (found->same || found->stat.st_ino == 0)
        return HEED_OK;
    heed_status status = model_load(found->path, store_items, &found->model);
    if (status == HEED_OK || status == HEED_E_NOMEM)
        return status;
    snprintf(found->trouble, sizeof found->trouble, "the model cannot be used: %s",
             heed_error_message());
    found->news = true;
    return HEED_OK;
}

/* Under the engine's lock. What was made of the old model goes with it, but for what requests under way
 * still hold. */
static void put_to_use(heed_engine *engine, const struct found *found)
{
    if (found->same)
        return;
    hd_kept_free(hd_kept_forget(&engine->kept, -1));
    hd_table_drop(engine->table);
    engine->table = NULL;
    hd_model_drop(engine->model);
    engine->model = found->model;
    engine->model_stat = found->stat;
    memcpy(engine->model_trouble, found->trouble, sizeof engine->model_trouble);
    engine->model_news = engine->model_news || found->news;
}

/* What the model's row says of its data; without a row, or with one that cannot be read, 0. The row
 * comes after the file, so it is looked at again when the store has changed. */
static heed_status refresh_until(heed_engine *engine)
{
    struct hd_model_row row;
    hd_json *description;
    hd_json_reader *json = NULL;
    hd_arena *arena;
    uint64_t version;

    HD_TRY(hd_store_version(engine->store, &version));
    if (engine->model_until_version == version)
        return HEED_OK;
    engine->model_until = 0;
    engine->model_until_version = version;
    arena = hd_arena_new(0);
    if (arena && hd_store_get_model(engine->store, "sequence", arena, &row) == HEED_OK &&
        row.description && hd_json_reader_new(&json) == HEED_OK &&
        hd_json_read(json, row.description, strlen(row.description), &description) == HEED_OK)
        engine->model_until = hd_json_int(hd_json_get(description, HD_MODEL_UNTIL));
    hd_json_reader_free(json);
    hd_arena_free(arena);
    return HEED_OK;
}

static heed_status refresh(heed_engine *engine)
{
    struct found found = {0};
    int64_t store_items = 0;
    heed_status status = look(engine, &found, &store_items);

    if (status == HEED_OK)
        status = load(&found, store_items);
    if (status == HEED_OK)
        put_to_use(engine, &found);
    hd_free(found.path);
    return status == HEED_OK ? refresh_until(engine) : status;
}

/* The same with the lock held for moments only: while a large model is read, and its table made, the
 * old one answers. */
heed_status hd_model_refresh(heed_engine *engine)
{
    struct found found = {0};
    struct hd_items *items = NULL;
    struct hd_table *table = NULL;
    int64_t store_items = 0;

    pthread_mutex_lock(&engine->lock);
    heed_status status = look(engine, &found, &store_items);
    if (status == HEED_OK && !found.same)
        status = hd_items_take(engine, &items);
    pthread_mutex_unlock(&engine->lock);
    if (status == HEED_OK)
        status = load(&found, store_items);
    /* One that knows more items than we do waits until they have been read. */
    if (status == HEED_OK && found.model && items->catalogue.items < found.model->config->items) {
        hd_model_drop(found.model);
        found = (struct found){.path = found.path, .same = true};
        engine->refresh_at_ns = 0;
    }
    if (status == HEED_OK && found.model)
        status = hd_table_new(NULL, found.model, items, &table);
    pthread_mutex_lock(&engine->lock);
    if (status == HEED_OK) {
        put_to_use(engine, &found);
        if (table) {
            engine->table = table;
            table = NULL;
        }
        status = refresh_until(engine);
    } else {
        hd_model_drop(found.model);
    }
    hd_engine_unlock(engine);
    hd_table_drop(table);
    hd_items_drop(items);
    hd_free(found.path);
    return status;
}

heed_status hd_model_take(heed_engine *engine, struct hd_model **model)
{
    if (!engine->kept_fresh)
        HD_TRY(refresh(engine));
    if (engine->model)
        atomic_fetch_add(&engine->model->uses, 1);
    *model = engine->model;
    return HEED_OK;
}

heed_status hd_model_fits(const struct hd_model *model, int64_t items)
{
    if (!model || model->config->items <= items)
        return HEED_OK;
    return hd_fail(HEED_E_BUSY,
                   "model: it knows %" PRId64 " items, %" PRId64
                   " were read before it: items are coming in; try again",
                   model->config->items, items);
}

static void seat_free(struct hd_seat *seat)
{
    hd_sequence_reader_free(seat->reader);
    hd_free(seat->scores);
    hd_free(seat);
}

void hd_seats_clear(struct hd_model *model)
{
    for (struct hd_seat *seat = model->idle, *next; seat; seat = next) {
        next = seat->next;
        seat_free(seat);
    }
    model->idle = NULL;
}

void hd_model_drop(struct hd_model *model)
{
    if (!model || atomic_fetch_sub(&model->uses, 1) > 1)
        return;
    hd_seats_clear(model);
    hd_sequence_free(model->sequence);
    pthread_mutex_destroy(&model->lock);
    hd_free(model);
}

heed_status hd_seat_take(struct hd_model *model, struct hd_seat **out)
{
    struct hd_seat *seat;

    pthread_mutex_lock(&model->lock);
    seat = model->idle;
    if (seat)
        model->idle = seat->next;
    pthread_mutex_unlock(&model->lock);
    if (!seat) {
        seat = hd_alloc(1, sizeof *seat);
        if (!seat)
            return hd_fail(HEED_E_NOMEM, "model: no memory for a seat");
        seat->scores = hd_alloc((size_t)model->config->items, sizeof *seat->scores);
        heed_status status = seat->scores ? hd_sequence_reader_new(model->sequence, &seat->reader)
                                          : hd_fail(HEED_E_NOMEM, "model: no memory for scores");
        if (status != HEED_OK) {
            hd_free(seat->scores);
            hd_free(seat);
            return status;
        }
    }
    seat->next = NULL;
    *out = seat;
    return HEED_OK;
}

void hd_seat_return(struct hd_model *model, struct hd_seat *seat)
{
    if (!seat)
        return;
    pthread_mutex_lock(&model->lock);
    seat->next = model->idle;
    model->idle = seat;
    pthread_mutex_unlock(&model->lock);
}
