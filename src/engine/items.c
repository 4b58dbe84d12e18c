/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue as rows become plain arrays. Tags and authors become numbers, so that similarity is
 * a merge of two short rising rows.
 *
 * A snapshot (struct hd_items) never changes, and new items come in every second. So snapshots share
 * a shelf: arrays with room at their end, which a new item is written to, past what older snapshots
 * can see. Only where an item is said something new about, or the room is used up, are the arrays
 * copied (60 bytes an item); texts stay where they are, in the arena that all shelves share. Either
 * happens under the engine's lock.
 *
 *     snapshot, 3 items ──┐
 *     snapshot, 5 items ──┴─▶ shelf  [0 1 2 3 4 . . .] ──▶ texts, topic names
 */
#include "base/map.h"
#include "base/order.h"
#include "engine/state.h"
#include "text/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_LEAST 1024

/* Where texts and topics lie. Grows until nobody holds it; topic names have numbers for as long. */
struct hd_texts {
    atomic_int uses;
    hd_arena *arena;
    hd_map *topics;
    size_t loaded_bytes; /* when all items had just been read */
};

/* The arrays of struct hd_catalogue before they are const. */
struct hd_shelf {
    atomic_int uses;
    hd_arena *arena; /* of the arrays */
    struct hd_texts *texts;
    int64_t room, filled;
    const char **id, **title, **author, **url;
    heed_time *created, *expires;
    bool *hidden;
    heed_time created_last, expires_first; /* never too narrow; an item that changed may leave them wide */
    const int32_t **topic;
    int32_t *topic_count;
};

static void texts_drop(struct hd_texts *t)
{
    if (!t || atomic_fetch_sub(&t->uses, 1) > 1)
        return;
    hd_arena_free(t->arena);
    hd_map_free(t->topics);
    hd_free(t);
}

static void shelf_drop(struct hd_shelf *s)
{
    if (!s || atomic_fetch_sub(&s->uses, 1) > 1)
        return;
    texts_drop(s->texts);
    hd_arena_free(s->arena);
    hd_free(s);
}

void hd_items_drop(struct hd_items *items)
{
    if (!items || atomic_fetch_sub(&items->uses, 1) > 1)
        return;
    shelf_drop(items->shelf);
    hd_free(items);
}

static heed_status texts_new(struct hd_texts **out)
{
    struct hd_texts *t = hd_alloc(1, sizeof *t);

    if (!t)
        return hd_fail(HEED_E_NOMEM, "items: no memory");
    atomic_init(&t->uses, 1);
    t->topics = hd_map_new(0);
    t->arena = hd_arena_new(0);
    if (!t->topics || !t->arena) {
        texts_drop(t);
        return hd_fail(HEED_E_NOMEM, "items: no memory");
    }
    *out = t;
    return HEED_OK;
}

/* Empty, with room; holds the texts. */
static heed_status shelf_new(struct hd_texts *texts, int64_t room, struct hd_shelf **out)
{
    size_t n = (size_t)(room > ROOM_LEAST ? room : ROOM_LEAST);
    struct hd_shelf *s = hd_alloc(1, sizeof *s);

    if (!s)
        return hd_fail(HEED_E_NOMEM, "items: no memory");
    atomic_init(&s->uses, 1);
    s->room = (int64_t)n;
    s->arena = hd_arena_new(0);
    if (s->arena) {
        s->id = hd_arena_zalloc(s->arena, n, sizeof *s->id);
        s->title = hd_arena_zalloc(s->arena, n, sizeof *s->title);
        s->author = hd_arena_zalloc(s->arena, n, sizeof *s->author);
        s->url = hd_arena_zalloc(s->arena, n, sizeof *s->url);
        s->created = hd_arena_zalloc(s->arena, n, sizeof *s->created);
        s->expires = hd_arena_zalloc(s->arena, n, sizeof *s->expires);
        s->hidden = hd_arena_zalloc(s->arena, n, sizeof *s->hidden);
        s->topic = hd_arena_zalloc(s->arena, n, sizeof *s->topic);
        s->topic_count = hd_arena_zalloc(s->arena, n, sizeof *s->topic_count);
    }
    if (!s->arena || !s->id || !s->title || !s->author || !s->url || !s->created || !s->expires ||
        !s->hidden || !s->topic || !s->topic_count) {
        shelf_drop(s);
        return hd_fail(HEED_E_NOMEM, "items: no memory for %zu items", n);
    }
    atomic_fetch_add(&texts->uses, 1);
    s->texts = texts;
    *out = s;
    return HEED_OK;
}

static heed_status shelf_copy(const struct hd_shelf *from, int64_t room, struct hd_shelf **out)
{
    struct hd_shelf *s;
    size_t n = (size_t)from->filled;

    HD_TRY(shelf_new(from->texts, room, &s));
    memcpy(s->id, from->id, n * sizeof *s->id);
    memcpy(s->title, from->title, n * sizeof *s->title);
    memcpy(s->author, from->author, n * sizeof *s->author);
    memcpy(s->url, from->url, n * sizeof *s->url);
    memcpy(s->created, from->created, n * sizeof *s->created);
    memcpy(s->expires, from->expires, n * sizeof *s->expires);
    memcpy(s->hidden, from->hidden, n * sizeof *s->hidden);
    memcpy(s->topic, from->topic, n * sizeof *s->topic);
    memcpy(s->topic_count, from->topic_count, n * sizeof *s->topic_count);
    s->filled = from->filled;
    s->created_last = from->created_last;
    s->expires_first = from->expires_first;
    *out = s;
    return HEED_OK;
}

/* ---- one item */

/* mark keeps a tag and an author of the same name apart. */
static size_t topic_key(char mark, const char *name, size_t bytes, char key[HD_ID_BYTES_MAX + 1])
{
    if (bytes > HD_ID_BYTES_MAX)
        bytes = HD_ID_BYTES_MAX;
    key[0] = mark;
    memcpy(key + 1, name, bytes);
    return bytes + 1;
}

static heed_status add_topic(struct hd_texts *t, char mark, const char *name, size_t bytes,
                             int32_t *numbers, int32_t *count)
{
    char key[HD_ID_BYTES_MAX + 1];

    if (bytes == 0 || *count > HD_TAGS_MAX)
        return HEED_OK;
    return hd_map_add(t->topics, key, topic_key(mark, name, bytes, key), &numbers[(*count)++],
                      NULL);
}

static heed_status put_topics(struct hd_shelf *s, int32_t item, const struct hd_item_row *row,
                              hd_json_reader *json)
{
    int32_t number[HD_TAGS_MAX + 1], count = 0, kept = 0;
    int32_t *own;
    hd_json *tags;

    if (row->author)
        HD_TRY(add_topic(s->texts, 'a', row->author, strlen(row->author), number, &count));
    if (row->tags) {
        HD_TRY(hd_json_read(json, row->tags, strlen(row->tags), &tags));
        for (size_t i = 0; i < hd_json_length(tags); i++) {
            size_t bytes;
            const char *tag = hd_json_text(hd_json_at(tags, i), &bytes);
            HD_TRY(add_topic(s->texts, 't', tag, bytes, number, &count));
        }
    }
    qsort(number, (size_t)count, sizeof *number, hd_order_i32);
    for (int32_t i = 0; i < count; i++)
        if (i == 0 || number[i] != number[i - 1])
            number[kept++] = number[i];
    own = hd_arena_alloc_small(s->texts->arena, (size_t)kept * sizeof *own);
    if (!own)
        return hd_fail(HEED_E_NOMEM, "items: no memory for topics");
    memcpy(own, number, (size_t)kept * sizeof *own);
    s->topic[item] = own;
    s->topic_count[item] = kept;
    return HEED_OK;
}

static heed_status keep(struct hd_texts *t, const char *text, const char **out)
{
    size_t bytes = text ? strlen(text) + 1 : 0;
    char *copy = text ? hd_arena_alloc_small(t->arena, bytes) : NULL;

    if (text && !copy)
        return hd_fail(HEED_E_NOMEM, "items: no memory for a text");
    if (copy)
        memcpy(copy, text, bytes);
    *out = copy;
    return HEED_OK;
}

/* item is below the room, and no snapshot in use can see it. */
static heed_status shelf_put(struct hd_shelf *s, int32_t item, const char *id,
                             const struct hd_item_row *row, hd_json_reader *json)
{
    if (!s->id[item] || strcmp(s->id[item], id) != 0)
        HD_TRY(keep(s->texts, id, &s->id[item]));
    HD_TRY(keep(s->texts, row->title, &s->title[item]));
    HD_TRY(keep(s->texts, row->author, &s->author[item]));
    HD_TRY(keep(s->texts, row->url, &s->url[item]));
    s->created[item] = row->created;
    s->expires[item] = row->expires;
    s->hidden[item] = row->hidden;
    if (row->created > s->created_last)
        s->created_last = row->created;
    if (row->expires != 0 && (s->expires_first == 0 || row->expires < s->expires_first))
        s->expires_first = row->expires;
    HD_TRY(put_topics(s, item, row, json));
    if (item >= s->filled)
        s->filled = item + 1;
    return HEED_OK;
}

/* ---- snapshots */

/* The shelf as it is now; the shelf's own use goes to the snapshot. */
static heed_status snapshot(struct hd_shelf *s, struct hd_items **out)
{
    struct hd_items *items = hd_alloc(1, sizeof *items);

    if (!items)
        return hd_fail(HEED_E_NOMEM, "items: no memory");
    atomic_init(&items->uses, 1);
    items->shelf = s;
    items->catalogue = (struct hd_catalogue){.items = s->filled,
                                             .id = s->id,
                                             .title = s->title,
                                             .author = s->author,
                                             .url = s->url,
                                             .created = s->created,
                                             .expires = s->expires,
                                             .hidden = s->hidden,
                                             .created_last = s->created_last,
                                             .expires_first = s->expires_first,
                                             .topic = s->topic,
                                             .topic_count = s->topic_count};
    *out = items;
    return HEED_OK;
}

struct loading {
    struct hd_shelf *shelf;
    hd_json_reader *json;
};

static heed_status load_item(void *context, int32_t item, const char *id,
                             const struct hd_item_row *row)
{
    struct loading *l = context;

    /* Another process may have added some since they were counted; the next look brings them. */
    if (item != l->shelf->filled || l->shelf->filled == l->shelf->room)
        return HEED_OK;
    return shelf_put(l->shelf, item, id, row, l->json);
}

heed_status hd_items_load(hd_store *store, struct hd_items **items)
{
    struct hd_store_counts counts;
    struct loading l = {0};
    struct hd_texts *texts = NULL;

    HD_TRY(hd_store_count(store, &counts));
    heed_status status = hd_json_reader_new(&l.json);
    if (status == HEED_OK)
        status = texts_new(&texts);
    if (status == HEED_OK)
        status = shelf_new(texts, counts.items + counts.items / 8, &l.shelf);
    if (status == HEED_OK)
        status = hd_store_each_item(store, load_item, &l);
    if (status == HEED_OK) {
        texts->loaded_bytes = hd_arena_bytes(texts->arena);
        status = snapshot(l.shelf, items);
    }
    if (status != HEED_OK)
        shelf_drop(l.shelf);
    texts_drop(texts);
    hd_json_reader_free(l.json);
    return status;
}

/* A copy where a visible item changes or the room is used up; else the same shelf, used once more. */
static heed_status shelf_for(const struct hd_items *old, const int32_t *item, int64_t count,
                             struct hd_shelf **out)
{
    int64_t most = old->catalogue.items;
    bool visible = old->shelf->filled != old->catalogue.items;

    for (int64_t i = 0; i < count; i++) {
        visible = visible || item[i] < old->catalogue.items;
        most = item[i] >= most ? item[i] + 1 : most;
    }
    if (visible || most > old->shelf->room)
        return shelf_copy(old->shelf, most > old->shelf->room ? most + most / 4 : old->shelf->room,
                          out);
    atomic_fetch_add(&old->shelf->uses, 1);
    *out = old->shelf;
    return HEED_OK;
}

heed_status hd_items_change(heed_engine *engine, const int32_t *item, int64_t count)
{
    struct hd_items *fresh = NULL;
    struct hd_shelf *shelf = NULL;
    hd_json_reader *json = NULL;
    hd_arena *arena = NULL;
    heed_status status;

    HD_TRY(shelf_for(engine->items, item, count, &shelf));
    status = hd_json_reader_new(&json);
    if (status == HEED_OK && !(arena = hd_arena_new(0)))
        status = hd_fail(HEED_E_NOMEM, "items: no memory");
    for (int64_t i = 0; status == HEED_OK && i < count; i++) {
        struct hd_item_row row;
        hd_arena_reset(arena);
        status = hd_store_get_item(engine->store, item[i], arena, &row);
        if (status == HEED_OK)
            status = shelf_put(shelf, item[i], row.id, &row, json);
    }
    if (status == HEED_OK)
        status = snapshot(shelf, &fresh);
    hd_arena_free(arena);
    hd_json_reader_free(json);
    if (status != HEED_OK) {
        shelf_drop(shelf);
        return status;
    }
    hd_items_drop(engine->items);
    engine->items = fresh;
    return HEED_OK;
}

bool hd_items_share_topics(const struct hd_items *a, const struct hd_items *b)
{
    return a->shelf->texts == b->shelf->texts;
}

bool hd_items_worn(const struct hd_items *items)
{
    const struct hd_texts *t = items->shelf->texts;

    return hd_arena_bytes(t->arena) > 2 * t->loaded_bytes + HD_TEXTS_SLACK;
}

heed_status hd_items_take(heed_engine *engine, struct hd_items **out)
{
    struct hd_items *fresh = NULL;
    struct hd_store_changes changes;

    HD_TRY(hd_store_changes(engine->store, &changes));
    if (!engine->items || (engine->items_changes != changes.items && !engine->kept_fresh)) {
        HD_TRY(hd_items_load(engine->store, &fresh));
        hd_items_drop(engine->items);
        engine->items = fresh;
        engine->items_changes = changes.items;
    }
    atomic_fetch_add(&engine->items->uses, 1);
    *out = engine->items;
    return HEED_OK;
}

int32_t hd_items_topic(const struct hd_items *items, char mark, const char *name)
{
    char key[HD_ID_BYTES_MAX + 1];

    return hd_map_find(items->shelf->texts->topics, key, topic_key(mark, name, strlen(name), key));
}

int32_t hd_items_topics(const struct hd_items *items)
{
    return hd_map_count(items->shelf->texts->topics);
}

const char *hd_items_topic_name(const struct hd_items *items, int32_t topic, char *mark)
{
    const char *key = hd_map_text(items->shelf->texts->topics, topic, NULL);

    *mark = key[0];
    return key + 1;
}
