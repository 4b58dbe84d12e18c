/* SPDX-License-Identifier: Apache-2.0
 *
 *     slot:  hash of the text ─▶ number of the entry + 1, or 0 where it is free
 *     entry: number ─▶ hash, text in a block
 *
 * The table is at most half full, so a search looks at two slots on average. Cutting rebuilds the
 * table: it happens after a failed transaction, which is rare. */
#include "base/map.h"
#include "base/memory.h"
#include "base/random.h"

#include <assert.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)64 << 10)
#define SLOTS_MIN 64

struct entry {
    uint64_t hash;
    const char *text;
    size_t bytes;
};

struct block {
    struct block *next;
    size_t used, room;
    char text[];
};

struct hd_map {
    uint64_t seed;
    int32_t count;
    size_t entry_room, slots; /* slots: a power of two */
    struct entry *entry;
    uint32_t *slot;
    struct block *block; /* the newest first */
};

/* Eight bytes at a time through the mixer; the length is in the first of them, so that a text and
 * the same with NULs after it differ. */
uint64_t hd_hash(uint64_t seed, const char *text, size_t bytes)
{
    uint64_t hash = hd_mix64(seed ^ bytes), word;

    for (; bytes >= sizeof word; bytes -= sizeof word, text += sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = hd_mix64(hash ^ word);
    }
    if (bytes > 0) {
        word = 0;
        memcpy(&word, text, bytes);
        hash = hd_mix64(hash ^ word);
    }
    return hash;
}

hd_map *hd_map_new(uint64_t seed)
{
    hd_map *map = hd_alloc(1, sizeof *map);

    if (!map)
        return NULL;
    map->seed = seed;
    map->slots = SLOTS_MIN;
    map->slot = hd_alloc(map->slots, sizeof *map->slot);
    if (!map->slot) {
        hd_free(map);
        return NULL;
    }
    return map;
}

void hd_map_free(hd_map *map)
{
    if (!map)
        return;
    for (struct block *b = map->block, *next; b; b = next) {
        next = b->next;
        hd_free(b);
    }
    hd_free(map->entry);
    hd_free(map->slot);
    hd_free(map);
}

/* The slot that holds the text, or the free one where it would go. */
static size_t find_slot(const hd_map *map, uint64_t hash, const char *text, size_t bytes)
{
    size_t mask = map->slots - 1, i = hash & mask;

    for (; map->slot[i]; i = (i + 1) & mask) {
        const struct entry *e = &map->entry[map->slot[i] - 1];
        if (e->hash == hash && e->bytes == bytes && memcmp(e->text, text, bytes) == 0)
            break;
    }
    return i;
}

int32_t hd_map_find(const hd_map *map, const char *text, size_t bytes)
{
    size_t i = find_slot(map, hd_hash(map->seed, text, bytes), text, bytes);

    return (int32_t)map->slot[i] - 1;
}

static void fill_slots(hd_map *map)
{
    size_t mask = map->slots - 1;

    memset(map->slot, 0, map->slots * sizeof *map->slot);
    for (int32_t n = 0; n < map->count; n++) {
        size_t i = map->entry[n].hash & mask;
        while (map->slot[i])
            i = (i + 1) & mask;
        map->slot[i] = (uint32_t)n + 1;
    }
}

/* Room for one more entry, its slot and its text. */
static heed_status make_room(hd_map *map, size_t bytes)
{
    if (map->count == INT32_MAX)
        return hd_fail(HEED_E_RANGE, "map: more than %d texts", INT32_MAX);
    if ((size_t)map->count == map->entry_room) {
        size_t room = map->entry_room ? map->entry_room * 2 : SLOTS_MIN / 2;
        struct entry *entry = hd_resize(map->entry, room, sizeof *entry);
        if (!entry)
            return hd_fail(HEED_E_NOMEM, "map: no memory for %zu texts", room);
        map->entry = entry;
        map->entry_room = room;
    }
    if ((size_t)map->count * 2 >= map->slots) {
        uint32_t *slot = hd_resize(NULL, map->slots * 2, sizeof *slot);
        if (!slot)
            return hd_fail(HEED_E_NOMEM, "map: no memory for %zu slots", map->slots * 2);
        hd_free(map->slot);
        map->slot = slot;
        map->slots *= 2;
        fill_slots(map);
    }
    if (!map->block || map->block->room - map->block->used <= bytes) {
        size_t room = bytes < BLOCK_BYTES / 4 ? BLOCK_BYTES : bytes + 1;
        struct block *b = hd_resize(NULL, sizeof *b + room, 1);
        if (!b)
            return hd_fail(HEED_E_NOMEM, "map: no memory for a text of %zu bytes", bytes);
        *b = (struct block){.next = map->block, .room = room};
        map->block = b;
    }
    return HEED_OK;
}

/* A copy of the text, for which there is room. */
static const char *keep_text(hd_map *map, const char *text, size_t bytes)
{
    char *copy = map->block->text + map->block->used;

    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    map->block->used += bytes + 1;
    return copy;
}

heed_status hd_map_add(hd_map *map, const char *text, size_t bytes, int32_t *number, bool *fresh)
{
    uint64_t hash = hd_hash(map->seed, text, bytes);
    size_t i = find_slot(map, hash, text, bytes);

    if (map->slot[i]) {
        *number = (int32_t)map->slot[i] - 1;
        if (fresh)
            *fresh = false;
        return HEED_OK;
    }
    HD_TRY(make_room(map, bytes));
    const char *copy = keep_text(map, text, bytes);
    i = find_slot(map, hash, text, bytes); /* the table may have grown */
    map->entry[map->count] = (struct entry){hash, copy, bytes};
    *number = map->count++;
    map->slot[i] = (uint32_t)map->count;
    if (fresh)
        *fresh = true;
    return HEED_OK;
}

/* Frees a slot, and moves into the gap what was put behind it because it was taken (Knuth, The Art
 * of Computer Programming 3, 6.4, Algorithm R). */
static void free_slot(hd_map *map, size_t gap)
{
    size_t mask = map->slots - 1;

    for (size_t i = (gap + 1) & mask; map->slot[i]; i = (i + 1) & mask) {
        size_t home = map->entry[map->slot[i] - 1].hash & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            map->slot[gap] = map->slot[i];
            gap = i;
        }
    }
    map->slot[gap] = 0;
}

heed_status hd_map_rename(hd_map *map, int32_t number, const char *text, size_t bytes)
{
    uint64_t hash = hd_hash(map->seed, text, bytes);
    size_t i = find_slot(map, hash, text, bytes);

    assert(number >= 0 && number < map->count);
    if (map->slot[i])
        return map->slot[i] == (uint32_t)number + 1
                   ? HEED_OK
                   : hd_fail(HEED_E_EXISTS, "map: the text has another number");
    HD_TRY(make_room(map, bytes));
    struct entry *e = &map->entry[number];
    free_slot(map, find_slot(map, e->hash, e->text, e->bytes));
    memset((char *)(uintptr_t)e->text, 0, e->bytes); /* it lies in a block of ours */
    *e = (struct entry){hash, keep_text(map, text, bytes), bytes};
    map->slot[find_slot(map, hash, text, bytes)] = (uint32_t)number + 1;
    return HEED_OK;
}

const char *hd_map_text(const hd_map *map, int32_t number, size_t *bytes)
{
    assert(number >= 0 && number < map->count);
    if (bytes)
        *bytes = map->entry[number].bytes;
    return map->entry[number].text;
}

int32_t hd_map_count(const hd_map *map)
{
    return map->count;
}

/* The texts of the entries that go stay in their blocks: the numbers come back soon, with the same
 * texts as a rule, and a map that is cut again and again is a sign of worse. */
void hd_map_cut(hd_map *map, int32_t count)
{
    if (count >= map->count)
        return;
    map->count = count;
    fill_slots(map);
}
