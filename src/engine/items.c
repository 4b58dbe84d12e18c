/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue as rows become plain arrays. Tags and authors become numbers, so that similarity is
 * a merge of two short rising rows. */
#include "base/map.h"
#include "engine/state.h"
#include "text/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A catalogue in the making; the arrays of struct hd_catalogue before they are const. */
struct shelf {
    hd_arena *arena;
    hd_map *names; /* of topics */
    hd_json_reader *json;
    int64_t items, room;
    const char **id, **title;
    heed_time *created, *expires;
    bool *hidden;
    int64_t *topic_offset;
    int32_t *topic; /* on the heap while it grows */
    int64_t topics, topic_room;
};

static int compare_i32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* mark keeps a tag and an author of the same name apart. */
static heed_status add_topic(struct shelf *s, char mark, const char *name, size_t bytes)
{
    char key[HD_ID_BYTES_MAX + 1];
    int32_t number;

    if (bytes == 0)
        return HEED_OK;
    if (bytes > HD_ID_BYTES_MAX)
        bytes = HD_ID_BYTES_MAX;
    key[0] = mark;
    memcpy(key + 1, name, bytes);
    HD_TRY(hd_map_add(s->names, key, bytes + 1, &number, NULL));
    if (s->topics == s->topic_room) {
        int64_t room = s->topic_room > 0 ? 2 * s->topic_room : 1024;
        int32_t *topic = hd_resize(s->topic, (size_t)room, sizeof *topic);
        if (!topic)
            return hd_fail(HEED_E_NOMEM, "items: no memory for %" PRId64 " topics", room);
        s->topic = topic;
        s->topic_room = room;
    }
    s->topic[s->topics++] = number;
    return HEED_OK;
}

static heed_status add_topics(struct shelf *s, const struct hd_item_row *row)
{
    int64_t first = s->topics, kept = first;
    hd_json *tags;

    if (row->author)
        HD_TRY(add_topic(s, 'a', row->author, strlen(row->author)));
    if (row->tags) {
        HD_TRY(hd_json_read(s->json, row->tags, strlen(row->tags), &tags));
        for (size_t i = 0; i < hd_json_length(tags); i++) {
            size_t bytes;
            const char *tag = hd_json_text(hd_json_at(tags, i), &bytes);
            HD_TRY(add_topic(s, 't', tag, bytes));
        }
    }
    if (s->topics > first)
        qsort(s->topic + first, (size_t)(s->topics - first), sizeof *s->topic, compare_i32);
    for (int64_t i = first; i < s->topics; i++)
        if (i == first || s->topic[i] != s->topic[i - 1])
            s->topic[kept++] = s->topic[i];
    s->topics = kept;
    return HEED_OK;
}

static heed_status add_item(void *context, int32_t item, const char *id,
                            const struct hd_item_row *row)
{
    struct shelf *s = context;

    /* Another process may have added some since they were counted; the next version brings them. */
    if (item != s->items || s->items == s->room)
        return HEED_OK;
    s->id[item] = hd_arena_strdup(s->arena, id);
    s->title[item] = row->title ? hd_arena_strdup(s->arena, row->title) : NULL;
    if (!s->id[item] || (row->title && !s->title[item]))
        return hd_fail(HEED_E_NOMEM, "items: no memory for item %" PRId32, item);
    s->created[item] = row->created;
    s->expires[item] = row->expires;
    s->hidden[item] = row->hidden;
    HD_TRY(add_topics(s, row));
    s->topic_offset[++s->items] = s->topics;
    return HEED_OK;
}

static heed_status shelf_init(struct shelf *s, int64_t room)
{
    size_t n = (size_t)room + 1;

    HD_TRY(hd_json_reader_new(&s->json));
    s->names = hd_map_new(0);
    s->arena = hd_arena_new(0);
    if (!s->names || !s->arena)
        return hd_fail(HEED_E_NOMEM, "items: no memory");
    s->room = room;
    s->id = hd_arena_zalloc(s->arena, n, sizeof *s->id);
    s->title = hd_arena_zalloc(s->arena, n, sizeof *s->title);
    s->created = hd_arena_zalloc(s->arena, n, sizeof *s->created);
    s->expires = hd_arena_zalloc(s->arena, n, sizeof *s->expires);
    s->hidden = hd_arena_zalloc(s->arena, n, sizeof *s->hidden);
    s->topic_offset = hd_arena_zalloc(s->arena, n, sizeof *s->topic_offset);
    if (!s->id || !s->title || !s->created || !s->expires || !s->hidden || !s->topic_offset)
        return hd_fail(HEED_E_NOMEM, "items: no memory for %" PRId64 " items", room);
    return HEED_OK;
}

/* The shelf's arena becomes the items' own. */
static heed_status shelf_take(struct shelf *s, struct hd_items **out)
{
    struct hd_items *items = hd_alloc(1, sizeof *items);
    int32_t *topic = hd_arena_alloc(s->arena, (size_t)s->topics, sizeof *topic);

    if (!items || !topic) {
        hd_free(items);
        return hd_fail(HEED_E_NOMEM, "items: no memory for %" PRId64 " topics", s->topics);
    }
    if (s->topics > 0)
        memcpy(topic, s->topic, (size_t)s->topics * sizeof *topic);
    items->catalogue = (struct hd_catalogue){.items = s->items,
                                             .id = s->id,
                                             .title = s->title,
                                             .created = s->created,
                                             .expires = s->expires,
                                             .hidden = s->hidden,
                                             .topic_offset = s->topic_offset,
                                             .topic = topic};
    items->arena = s->arena, s->arena = NULL;
    atomic_init(&items->uses, 1);
    *out = items;
    return HEED_OK;
}

static heed_status items_load(hd_store *store, struct hd_items **items)
{
    struct hd_store_counts counts;
    struct shelf s = {0};

    HD_TRY(hd_store_count(store, &counts));
    heed_status status = shelf_init(&s, counts.items);
    if (status == HEED_OK)
        status = hd_store_each_item(store, add_item, &s);
    if (status == HEED_OK)
        status = shelf_take(&s, items);
    hd_free(s.topic);
    hd_arena_free(s.arena);
    hd_map_free(s.names);
    hd_json_reader_free(s.json);
    return status;
}

heed_status hd_items_take(heed_engine *engine, struct hd_items **out)
{
    struct hd_items *fresh = NULL;
    uint64_t version;

    HD_TRY(hd_store_version(engine->store, &version));
    if (!engine->items || engine->items_version != version) {
        HD_TRY(items_load(engine->store, &fresh));
        hd_items_drop(engine->items);
        engine->items = fresh;
        engine->items_version = version;
    }
    atomic_fetch_add(&engine->items->uses, 1);
    *out = engine->items;
    return HEED_OK;
}

void hd_items_drop(struct hd_items *items)
{
    if (!items || atomic_fetch_sub(&items->uses, 1) > 1)
        return;
    hd_arena_free(items->arena);
    hd_free(items);
}
