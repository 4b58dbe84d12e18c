/* SPDX-License-Identifier: Apache-2.0
 *
 * Records as JSON: only what is there, in the words in which it is taken in. */
#include "acquire/user.h"
#include "base/time.h"
#include "engine/keep.h"

#include <math.h>
#include <string.h>

static void put_given_text(struct hd_json_writer *w, const char *key, const char *text)
{
    if (text)
        hd_json_put_text(w, key, text);
}

static void put_given_json(struct hd_json_writer *w, const char *key, const char *json)
{
    if (json)
        hd_json_put_raw(w, key, json);
}

static void put_given_time(struct hd_json_writer *w, const char *key, heed_time time)
{
    char text[HD_TIME_TEXT_BYTES];

    if (time == 0)
        return;
    hd_time_format(time, text);
    hd_json_put_text(w, key, text);
}

void hd_put_event_json(struct hd_json_writer *w, const char *key,
                       const struct hd_event_record *event)
{
    const struct hd_event_row *row = &event->row;

    hd_json_begin_object(w, key);
    put_given_text(w, "id", row->id);
    if (row->ts)
        put_given_time(w, "ts", row->ts);
    else
        hd_json_put_text(w, "ts", NULL); /* said, so that nobody takes it for now, or for forgotten */
    hd_json_put_text(w, "user", event->user);
    hd_json_put_text(w, "item", event->item);
    hd_json_put_text(w, "kind", hd_event_kind_name(row->kind));
    if (row->dwell_ms >= 0)
        hd_json_put_int(w, "dwell_ms", row->dwell_ms);
    if (!isnan(row->value))
        hd_json_put_number(w, "value", row->value);
    put_given_text(w, "decision", row->decision);
    if (row->position >= 0)
        hd_json_put_int(w, "position", row->position);
    put_given_json(w, "context", row->context);
    put_given_json(w, "ext", row->ext);
    hd_json_end(w);
}

static heed_status put_features(struct hd_json_writer *w, hd_store *store, hd_arena *arena,
                                int32_t item)
{
    struct hd_feature_row *features = NULL;
    int64_t count = 0;

    HD_TRY(hd_store_get_features(store, item, arena, &features, &count));
    hd_json_begin_object(w, "features");
    for (int64_t f = 0; f < count; f++) {
        hd_json_begin_array(w, features[f].name);
        for (int64_t i = 0; i < features[f].count; i++)
            hd_json_put_float(w, NULL, features[f].value[i]);
        hd_json_end(w);
    }
    hd_json_end(w);
    return HEED_OK;
}

heed_status hd_put_item_json(struct hd_json_writer *w, const char *key, hd_store *store,
                             hd_arena *arena, int32_t item, const char *id,
                             const struct hd_item_row *row)
{
    hd_json_begin_object(w, key);
    hd_json_put_text(w, "id", id);
    put_given_text(w, "title", row->title);
    put_given_text(w, "text", row->text);
    put_given_json(w, "tags", row->tags);
    put_given_text(w, "author", row->author);
    put_given_text(w, "url", row->url);
    put_given_time(w, "created", row->created);
    put_given_time(w, "expires", row->expires);
    if (row->hidden)
        hd_json_put_bool(w, "hidden", true);
    if (row->features > 0)
        HD_TRY(put_features(w, store, arena, item));
    hd_json_end(w);
    return HEED_OK;
}

/* The marks come in the order of mark and what, so that each list is one run. */
static void put_marks(struct hd_json_writer *w, const struct hd_mark_row *mark, int64_t count)
{
    for (int64_t i = 0; i < count;) {
        const char *kind = mark[i].mark;
        hd_json_begin_object(w, kind);
        while (i < count && strcmp(mark[i].mark, kind) == 0) {
            const char *what = mark[i].what;
            hd_json_begin_array(w, strcmp(what, "item") == 0     ? "items"
                                   : strcmp(what, "author") == 0 ? "authors"
                                                                 : "tags");
            for (; i < count && strcmp(mark[i].mark, kind) == 0 && strcmp(mark[i].what, what) == 0;
                 i++)
                hd_json_put_text(w, NULL, mark[i].name);
            hd_json_end(w);
        }
        hd_json_end(w);
    }
}

heed_status hd_put_user_json(struct hd_json_writer *w, const char *key, hd_store *store,
                             hd_arena *arena, int32_t user, const char *id,
                             const struct hd_user_row *row)
{
    struct hd_mark_row *marks = NULL;
    int64_t count = 0;

    HD_TRY(hd_store_get_marks(store, user, arena, &marks, &count));
    hd_json_begin_object(w, key);
    hd_json_put_text(w, "id", id);
    put_given_json(w, "attributes", row->attributes);
    hd_json_begin_object(w, "consent");
    hd_json_put_bool(w, "learn", (row->consent & HD_CONSENT_LEARN) != 0);
    hd_json_put_bool(w, "personalise", (row->consent & HD_CONSENT_PERSONALISE) != 0);
    hd_json_put_bool(w, "sell", (row->consent & HD_CONSENT_SELL) != 0);
    hd_json_end(w);
    put_marks(w, marks, count);
    hd_json_end(w);
    return HEED_OK;
}
