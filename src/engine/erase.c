/* SPDX-License-Identifier: Apache-2.0
 *
 * Forgetting people and what is old, and saying what is known of somebody.
 *
 * A user's traces are: rows of the store, lines of the decisions, and what a process keeps at hand.
 * The rows go in one transaction, which also moves the counter that tells every process to look
 * again; then the decisions are rewritten; then the log of the database is emptied, which still held
 * the rows. An erasure that is killed in between is done by erasing again: each step asks for
 * itself what is still there. */
#include "acquire/event.h"
#include "base/limits.h"
#include "engine/decision_file.h"
#include "engine/keep.h"
#include "engine/text.h"
#include "heed/operate.h"

#include <string.h>

heed_status hd_write_begin(heed_engine *engine, hd_store **out)
{
    hd_store *store = NULL;

    pthread_mutex_lock(&engine->write_lock);
    heed_status status = hd_engine_writer(engine, &store);
    if (status == HEED_OK)
        status = hd_store_begin(store);
    if (status != HEED_OK)
        pthread_mutex_unlock(&engine->write_lock);
    else
        *out = store;
    return status;
}

heed_status hd_write_end(heed_engine *engine, hd_store *store, heed_status status)
{
    if (status == HEED_OK)
        status = hd_store_commit(store);
    hd_store_rollback(store);
    pthread_mutex_unlock(&engine->write_lock);
    return status;
}

void hd_engine_forget_user(heed_engine *engine, int32_t user)
{
    pthread_mutex_lock(&engine->lock);
    struct hd_kept *kept = hd_kept_forget(&engine->kept, user);
    pthread_mutex_unlock(&engine->lock);
    hd_kept_free(kept);
}

static bool is_erased(void *context, int32_t user)
{
    bool erased = true;

    return hd_store_user_erased(context, user, &erased) != HEED_OK || erased;
}

/* Mostly users have changed because of a consent, and nobody was erased: then nothing is looked at. */
heed_status hd_engine_forget_erased(heed_engine *engine, struct hd_kept **gone)
{
    struct hd_store_changes changes;
    int64_t erased = 0;

    HD_TRY(hd_store_changes(engine->store, &changes));
    if (engine->kept_changes == changes.users)
        return HEED_OK;
    HD_TRY(hd_store_count_erased(engine->store, &erased));
    if (erased != engine->kept_erased)
        *gone = hd_kept_forget_those(&engine->kept, is_erased, engine->store);
    engine->kept_changes = changes.users;
    engine->kept_erased = erased;
    return HEED_OK;
}

/* An id that no user can have is of nobody. */
static heed_status check_user(const char *user, bool *possible)
{
    if (!user || !*user)
        return hd_fail(HEED_E_ARG, "user: no id was given");
    *possible = hd_check_id("user", user, strlen(user)) == HEED_OK;
    return HEED_OK;
}

static heed_status erase_rows(heed_engine *engine, const char *user, struct hd_store_trace *removed)
{
    int32_t number = -1;
    hd_store *store = NULL;

    HD_TRY(hd_write_begin(engine, &store));
    heed_status status = hd_store_overwrite_freed(store);
    if (status == HEED_OK)
        status = hd_store_look_up_user(store, user, &number);
    if (status == HEED_OK && number >= 0)
        status = hd_store_erase_user(store, number, removed);
    HD_TRY(hd_write_end(engine, store, status));
    if (number >= 0)
        hd_engine_forget_user(engine, number);
    return HEED_OK;
}

static heed_status empty_log(heed_engine *engine)
{
    hd_store *store = NULL;

    HD_TRY(hd_open_beside(engine, &store));
    heed_status status = hd_store_flush_log(store);
    hd_store_close(store);
    return status;
}

static heed_status open_decisions(const heed_engine *engine)
{
    if (engine->decisions < 0)
        return hd_fail(HEED_E_IO, "%s: its decisions cannot be read", engine->folder);
    return HEED_OK;
}

heed_status heed_engine_erase(heed_engine *engine, const char *user, heed_erasure *report)
{
    struct hd_store_trace removed = {0};
    int64_t decisions = 0;
    bool possible = false;

    HD_TRY(check_user(user, &possible));
    if (possible) {
        HD_TRY(open_decisions(engine));
        HD_TRY(erase_rows(engine, user, &removed));
        HD_TRY(hd_decisions_erase(engine->decisions, user, &decisions));
        if (empty_log(engine) != HEED_OK) /* it is emptied when whoever reads it has ended */
            hd_engine_log(engine, HEED_LOG_WARN,
                          "erase: what was erased stands in the log until it is emptied: %s",
                          heed_error_message());
    }
    if (report)
        *report = (heed_erasure){removed.known, removed.events, removed.marks, decisions};
    return HEED_OK;
}

heed_status heed_engine_erase_verify(heed_engine *engine, const char *user, heed_erasure *report)
{
    struct hd_store_trace found = {0};
    int64_t decisions = 0;
    hd_store *store = NULL;
    bool possible = false;

    HD_TRY(check_user(user, &possible));
    if (possible) {
        HD_TRY(open_decisions(engine));
        HD_TRY(hd_open_beside(engine, &store));
        heed_status status = hd_store_trace_user(store, user, &found);
        hd_store_close(store);
        HD_TRY(status);
        HD_TRY(hd_decisions_of(engine->decisions, user, NULL, NULL, &decisions));
    }
    if (report)
        *report = (heed_erasure){found.known, found.events, found.marks, decisions};
    return HEED_OK;
}

/* ---- everything about a user */

struct telling {
    struct hd_json_writer json;
    hd_arena *line; /* a decision's line, to end in NUL */
};

static heed_status tell_event(void *context, const struct hd_event_record *event)
{
    struct telling *t = context;

    hd_put_event_json(&t->json, NULL, event);
    return HEED_OK;
}

static heed_status tell_decision(void *context, const char *line, size_t bytes)
{
    struct telling *t = context;

    hd_arena_reset(t->line);
    char *text = hd_arena_alloc(t->line, bytes + 1, 1);
    if (!text)
        return hd_fail(HEED_E_NOMEM, "export: no memory for a decision");
    memcpy(text, line, bytes);
    text[bytes] = 0;
    hd_json_put_raw(&t->json, NULL, text);
    return HEED_OK;
}

static heed_status tell_rows(struct telling *t, hd_store *store, const char *user)
{
    struct hd_event_range range = {.user = -1, .item = -1, .kind = -1};
    struct hd_user_row row;

    HD_TRY(hd_store_look_up_user(store, user, &range.user));
    if (range.user < 0)
        return hd_fail(HEED_E_NOTFOUND, "user: there is no \"%.80s\"", user);
    HD_TRY(hd_store_get_user(store, range.user, t->line, &row));
    HD_TRY(hd_put_user_json(&t->json, "user", store, t->line, range.user, user, &row));
    hd_json_begin_array(&t->json, "events");
    HD_TRY(hd_store_list_events(store, &range, tell_event, t));
    hd_json_end(&t->json);
    return HEED_OK;
}

static heed_status tell_all(struct telling *t, heed_engine *engine, const char *user)
{
    hd_store *store = NULL;
    int64_t count = 0;
    bool own = false;

    hd_json_begin_object(&t->json, NULL);
    HD_TRY(hd_open_beside(engine, &store));
    heed_status status = hd_store_begin_reading(store, &own);
    if (status == HEED_OK)
        status = tell_rows(t, store, user);
    hd_store_end_reading(store, own);
    hd_store_close(store);
    HD_TRY(status);
    hd_json_begin_array(&t->json, "decisions");
    if (engine->decisions >= 0)
        HD_TRY(hd_decisions_of(engine->decisions, user, tell_decision, t, &count));
    hd_json_end(&t->json);
    hd_json_end(&t->json);
    return HEED_OK;
}

heed_status heed_engine_export_user(heed_engine *engine, const char *user, heed_text **out)
{
    struct telling t = {0};

    if (!user)
        return hd_fail(HEED_E_ARG, "user: no id was given");
    HD_TRY(hd_desk_take(engine, &t.line));
    heed_status status = tell_all(&t, engine, user);
    if (status == HEED_OK)
        status = hd_text_take(&t.json, out);
    hd_json_clear(&t.json);
    hd_desk_return(engine, t.line);
    return status;
}

/* ---- what is old */

heed_status heed_engine_retain(heed_engine *engine, const char *kind, heed_time before,
                               int64_t *removed)
{
    int number = kind ? hd_event_kind_find(kind, strlen(kind)) : -1;
    hd_store *store = NULL;
    int64_t count = 0;

    if (kind && number < 0)
        return hd_fail(HEED_E_ARG, "kind: there is no \"%.40s\"", kind);
    HD_TRY(hd_open_beside(engine, &store));
    heed_status status =
        hd_store_retain(store, kind ? HD_KIND(number) : UINT32_MAX, before, &count);
    hd_store_close(store);
    if (removed)
        *removed = count;
    return status;
}
