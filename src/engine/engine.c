/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing, counting, importing, and handing out the model's file. */
#include "base/time.h"
#include "engine/decision_file.h"
#include "engine/files.h"
#include "engine/import.h"
#include "engine/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_BYTES_DEFAULT (INT64_C(64) << 20)

void hd_engine_log(const heed_engine *engine, heed_log_level level, const char *fmt, ...)
{
    char text[HD_ERROR_BYTES_MAX];
    va_list args;

    if (!engine->log.line)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    engine->log.line(engine->log.context, level, text);
}

void hd_engine_unlock(heed_engine *engine)
{
    char news[HD_ERROR_BYTES_MAX] = "";

    if (engine->model_news)
        snprintf(news, sizeof news, "%s", engine->model_trouble);
    engine->model_news = false;
    pthread_mutex_unlock(&engine->lock);
    if (*news)
        hd_engine_log(engine, HEED_LOG_ERROR, "%s", news);
}

char *hd_engine_path(const heed_engine *engine, const char *name)
{
    return hd_join_path(engine->folder, name);
}

/* Without the file there are feeds all the same, only no memory of them. */
static void open_decisions(heed_engine *engine)
{
    if (hd_decisions_open(engine->folder, &engine->decisions) != HEED_OK)
        hd_engine_log(engine, HEED_LOG_WARN, "%s: %s", engine->folder, heed_error_message());
}

heed_status heed_engine_open(const char *folder, const heed_engine_opts *opts, heed_engine **out)
{
    static const heed_engine_opts ordinary;
    heed_engine *engine;

    if (!opts)
        opts = &ordinary;
    if (!folder || !*folder)
        return hd_fail(HEED_E_ARG, "engine: no folder was given");
    if (opts->threads < 0 || opts->threads > HD_THREADS_MAX)
        return hd_fail(HEED_E_ARG, "engine: %d threads, not 0 to %d", opts->threads,
                       HD_THREADS_MAX);
    if (opts->memory_bytes < 0)
        return hd_fail(HEED_E_ARG, "engine: %" PRId64 " bytes of memory", opts->memory_bytes);
    engine = hd_alloc(1, sizeof *engine);
    if (!engine || !(engine->folder = hd_strdup(folder))) {
        hd_free(engine);
        return hd_fail(HEED_E_NOMEM, "engine: no memory");
    }
    pthread_mutex_init(&engine->lock, NULL);
    pthread_mutex_init(&engine->write_lock, NULL);
    pthread_mutex_init(&engine->refresh_lock, NULL);
    engine->decisions = -1;
    engine->items_changes = engine->kept_changes = -1;
    engine->threads = opts->threads;
    engine->kept.most = opts->memory_bytes ? opts->memory_bytes : MEMORY_BYTES_DEFAULT;
    engine->discreet = opts->discreet;
    engine->clock = opts->clock;
    engine->log = opts->log;
    /* Decisions of two processes must not share an id. It need not be unguessable. */
    if (getentropy(&engine->decision_key, sizeof engine->decision_key) != 0)
        engine->decision_key = (uint64_t)hd_monotonic_ns() ^ (uint64_t)getpid() << 40;
    heed_status status = hd_store_open(
        folder, &(struct hd_store_opts){.must_exist = opts->must_exist}, &engine->store);
    if (status != HEED_OK) {
        heed_engine_close(engine);
        return status;
    }
    open_decisions(engine);
    *out = engine;
    return HEED_OK;
}

void heed_engine_close(heed_engine *engine)
{
    if (!engine)
        return;
    while (engine->desks > 0)
        hd_arena_free(engine->desk[--engine->desks]);
    hd_engine_settle(engine);
    hd_kept_clear(&engine->kept);
    hd_table_drop(engine->table);
    hd_model_drop(engine->model);
    hd_popular_drop(engine->popular);
    hd_tally_clear(&engine->tally);
    hd_items_drop(engine->items);
    hd_store_close(engine->writer);
    hd_store_close(engine->store);
    if (engine->decisions >= 0)
        close(engine->decisions);
    pthread_mutex_destroy(&engine->lock);
    pthread_mutex_destroy(&engine->write_lock);
    pthread_mutex_destroy(&engine->refresh_lock);
    hd_free(engine->folder);
    hd_free(engine);
}

heed_status hd_desk_take(heed_engine *engine, hd_arena **desk)
{
    pthread_mutex_lock(&engine->lock);
    hd_arena *arena = engine->desks > 0 ? engine->desk[--engine->desks] : NULL;
    pthread_mutex_unlock(&engine->lock);
    if (!arena && !(arena = hd_arena_new(0)))
        return hd_fail(HEED_E_NOMEM, "engine: no memory for a request");
    hd_arena_reset(arena);
    *desk = arena;
    return HEED_OK;
}

void hd_desk_return(heed_engine *engine, hd_arena *desk)
{
    pthread_mutex_lock(&engine->lock);
    if (desk && engine->desks < HD_DESKS_MAX) {
        engine->desk[engine->desks++] = desk;
        desk = NULL;
    }
    pthread_mutex_unlock(&engine->lock);
    hd_arena_free(desk);
}

void heed_engine_remember(heed_engine *engine, int64_t bytes)
{
    pthread_mutex_lock(&engine->lock);
    struct hd_kept *out = hd_kept_limit(&engine->kept, bytes);
    pthread_mutex_unlock(&engine->lock);
    hd_kept_free(out);
}

heed_status heed_engine_count(heed_engine *engine, heed_engine_counts *out)
{
    struct hd_store_counts counts;
    struct hd_model *model = NULL;
    int64_t users = 0;

    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_store_count(engine->store, &counts);
    if (status == HEED_OK)
        status = hd_store_count_living(engine->store, &users);
    if (status == HEED_OK)
        status = hd_model_take(engine, &model);
    int64_t kept_bytes = engine->kept.bytes, kept = engine->kept.count;
    hd_engine_unlock(engine);
    if (status == HEED_OK)
        *out = (heed_engine_counts){.kept_bytes = kept_bytes,
                                    .kept = kept,
                                    .users = users,
                                    .items = counts.items,
                                    .events = counts.events,
                                    .has_times = counts.timed > 0,
                                    .has_model = model != NULL};
    hd_model_drop(model);
    return status;
}

/* So that whoever opens the store next does not have to. What was imported is there in any case. */
static void count_popular(heed_engine *engine, hd_store *store)
{
    struct hd_tally tally;
    heed_status status = hd_tally_load(store, hd_clock_now(&engine->clock), &tally);

    if (status == HEED_OK) {
        if (tally.seq != tally.saved_seq)
            status = hd_tally_save(store, &tally);
        hd_tally_clear(&tally);
    }
    if (status != HEED_OK)
        hd_engine_log(engine, HEED_LOG_WARN, "import: what is popular was not counted: %s",
                      heed_error_message());
}

/* The import has a store handle of its own: feeds go on being answered beside it. */
heed_status heed_engine_import(heed_engine *engine, heed_import_kind kind, const char *path,
                               const heed_import_opts *opts, heed_import_report *report)
{
    static const heed_import_opts ordinary;
    hd_store *store = NULL;

    if (!path || !*path)
        return hd_fail(HEED_E_ARG, "import: no file was given");
    HD_TRY(hd_store_open(engine->folder, &(struct hd_store_opts){.must_exist = true}, &store));
    heed_status status = hd_import(store, kind, path, opts ? opts : &ordinary, report);
    if (status == HEED_OK && kind != HEED_IMPORT_ITEMS)
        count_popular(engine, store);
    hd_store_close(store);
    return status;
}

/* ---- export */

heed_status heed_engine_export_model(heed_engine *engine, const char *name, const char *path)
{
    if (!name || strcmp(name, "sequence") != 0)
        return hd_fail(HEED_E_NOTFOUND, "export: there is no model \"%s\": sequence",
                       name ? name : "");
    if (!path || !*path)
        return hd_fail(HEED_E_ARG, "export: no file was given");
    char *from = hd_engine_path(engine, HD_MODEL_FILE);
    if (!from)
        return hd_fail(HEED_E_NOMEM, "export: no memory");
    heed_status status = hd_copy_file(from, path);
    if (status == HEED_E_NOTFOUND)
        status = hd_fail(HEED_E_STATE, "export: no model has been trained: %s: %s", from,
                         strerror(ENOENT));
    hd_free(from);
    return status;
}
