/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a line says to rows. */
#include "engine/put.h"
#include "base/limits.h"
#include "text/json.h"

#include <string.h>

heed_status hd_event_to_row(struct hd_put *put, const struct hd_event *e, struct hd_event_row *out)
{
    struct hd_event_row row = {
        .ts = e->ts,
        .kind = (uint8_t)e->kind,
        .position = e->position,
        .dwell_ms = e->dwell_ms,
        .value = e->value,
        .id = e->id,
        .decision = e->decision,
        .context = e->context,
        .ext = e->ext,
    };

    HD_TRY(hd_store_intern_user(put->store, e->user.at, e->user.bytes, &row.user, NULL));
    HD_TRY(hd_store_intern_item(put->store, e->item.at, e->item.bytes, &row.item, NULL));
    *out = row;
    return HEED_OK;
}

/* ---- items */

/* Ends in NUL, in the arena; NULL where nothing was given. */
static heed_status text_of(hd_arena *arena, struct hd_span span, const char **out)
{
    *out = NULL;
    if (!span.at)
        return HEED_OK;
    char *copy = hd_arena_alloc(arena, span.bytes + 1, 1);
    if (!copy)
        return hd_fail(HEED_E_NOMEM, "import: no memory for a text");
    memcpy(copy, span.at, span.bytes);
    copy[span.bytes] = 0;
    *out = copy;
    return HEED_OK;
}

static heed_status tags_of(struct hd_put *put, const struct hd_item *item, const char **out)
{
    *out = NULL;
    if (item->tags == 0)
        return HEED_OK;
    hd_json_clear(&put->tags);
    hd_json_begin_array(&put->tags, NULL);
    for (int i = 0; i < item->tags; i++)
        hd_json_put_text_bytes(&put->tags, NULL, item->tag[i].at, item->tag[i].bytes);
    hd_json_end(&put->tags);
    return hd_json_finish(&put->tags, out, NULL);
}

/* What the item does not speak of is taken from what the store holds. */
static heed_status merge_item(struct hd_put *put, int32_t number, unsigned given,
                              struct hd_item_row *row, struct hd_feature_row **features)
{
    struct hd_item_row old;

    HD_TRY(hd_store_get_item(put->store, number, put->arena, &old));
    row->title = given & HD_ITEM_TITLE ? row->title : old.title;
    row->text = given & HD_ITEM_TEXT ? row->text : old.text;
    row->tags = given & HD_ITEM_TAGS ? row->tags : old.tags;
    row->author = given & HD_ITEM_AUTHOR ? row->author : old.author;
    row->url = given & HD_ITEM_URL ? row->url : old.url;
    row->created = given & HD_ITEM_CREATED ? row->created : old.created;
    row->expires = given & HD_ITEM_EXPIRES ? row->expires : old.expires;
    row->hidden = given & HD_ITEM_HIDDEN ? row->hidden : old.hidden;
    if (!(given & HD_ITEM_FEATURES))
        return hd_store_get_features(put->store, number, put->arena, features, &row->features);
    return HEED_OK;
}

heed_status hd_put_item(struct hd_put *put, const struct hd_item *item, bool merge, int32_t *number,
                        bool *fresh)
{
    struct hd_feature_row own[HD_FEATURES_MAX], *features = own;
    struct hd_item_row row = {
        .created = item->created,
        .expires = item->expires,
        .hidden = item->hidden,
        .features = item->features,
    };
    bool changed;

    HD_TRY(text_of(put->arena, item->title, &row.title));
    HD_TRY(text_of(put->arena, item->text, &row.text));
    HD_TRY(text_of(put->arena, item->author, &row.author));
    HD_TRY(text_of(put->arena, item->url, &row.url));
    HD_TRY(tags_of(put, item, &row.tags));
    for (int i = 0; i < item->features; i++)
        own[i] = (struct hd_feature_row){item->feature[i].name, item->feature[i].value,
                                         item->feature[i].count};
    HD_TRY(hd_store_intern_item(put->store, item->id.at, item->id.bytes, number, fresh));
    if (merge && !*fresh)
        HD_TRY(merge_item(put, *number, item->given, &row, &features));
    HD_TRY(hd_store_put_item(put->store, *number, &row, features, &changed));
    *fresh = *fresh || changed;
    return HEED_OK;
}

/* ---- users */

/* The marks that will be: those the user speaks of, and with merge the others that are there. */
static heed_status marks_of(struct hd_put *put, const struct hd_user *user, int32_t number,
                            bool merge, struct hd_mark_row **out, int64_t *out_count)
{
    struct hd_mark_row *old = NULL, *mark;
    int64_t olds = 0, count = 0;

    if (merge)
        HD_TRY(hd_store_get_marks(put->store, number, put->arena, &old, &olds));
    mark = hd_arena_alloc(put->arena, (size_t)(olds + user->marks), sizeof *mark);
    if (!mark)
        return hd_fail(HEED_E_NOMEM, "user: no memory for marks");
    for (int64_t i = 0; i < user->marks; i++)
        mark[count++] = (struct hd_mark_row){hd_user_mark_word(user->mark[i].list),
                                             hd_user_what_word(user->mark[i].list),
                                             user->mark[i].name};
    for (int64_t i = 0; i < olds; i++)
        if (!(user->given & hd_user_list_of(old[i].mark, old[i].what)))
            mark[count++] = old[i];
    *out = mark;
    *out_count = count;
    return HEED_OK;
}

heed_status hd_put_user(struct hd_put *put, const struct hd_user *user, bool merge, int32_t *number,
                        bool *fresh)
{
    struct hd_user_row row = {.attributes = user->attributes, .consent = user->consent}, old;
    struct hd_mark_row *mark = NULL;
    int64_t marks = 0;
    bool said, marked;

    HD_TRY(hd_store_intern_user(put->store, user->id.at, user->id.bytes, number, fresh));
    merge = merge && !*fresh;
    if (merge) {
        HD_TRY(hd_store_get_user(put->store, *number, put->arena, &old));
        unsigned given = user->given & HD_CONSENT_ALL;
        row.consent = (user->consent & given) | (old.consent & ~given);
        if (!(user->given & HD_USER_ATTRIBUTES))
            row.attributes = old.attributes;
    }
    HD_TRY(marks_of(put, user, *number, merge, &mark, &marks));
    HD_TRY(hd_store_put_user(put->store, *number, &row, &said));
    HD_TRY(hd_store_put_marks(put->store, *number, mark, marks, &marked));
    *fresh = *fresh || said || marked;
    return HEED_OK;
}
