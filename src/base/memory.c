/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator hook and the arenas.
 *
 *     arena ─▶ block ─▶ block ─▶ block          blocks before `current` are full,
 *                         ▲ current              those after it are empty and kept
 */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static void *libc_resize(void *context, void *pointer, size_t bytes)
{
    (void)context;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, bytes);
}

static heed_allocator heap = {libc_resize, NULL};

void heed_set_allocator(const heed_allocator *allocator)
{
    heap = allocator ? *allocator : (heed_allocator){libc_resize, NULL};
}

void *hd_resize(void *pointer, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return heap.resize(heap.context, pointer, bytes ? bytes : 1);
}

void *hd_alloc(size_t count, size_t size)
{
    void *pointer = hd_resize(NULL, count, size);

    if (pointer)
        memset(pointer, 0, count * size);
    return pointer;
}

void hd_free(void *pointer)
{
    if (pointer)
        heap.resize(heap.context, pointer, 0);
}

char *hd_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = hd_resize(NULL, bytes, 1);

    return copy ? memcpy(copy, text, bytes) : NULL;
}

#define BLOCK_BYTES_DEFAULT ((size_t)64 << 10)

struct block {
    struct block *next;
    size_t bytes, used; /* of the part that starts at `start` */
    char *start;        /* aligned, inside the same allocation */
};

struct hd_arena {
    struct block *first, *current;
    size_t block_bytes, heap_bytes;
};

hd_arena *hd_arena_new(size_t block_bytes)
{
    hd_arena *arena = hd_alloc(1, sizeof *arena);

    if (arena)
        arena->block_bytes = block_bytes ? block_bytes : BLOCK_BYTES_DEFAULT;
    return arena;
}

void hd_arena_free(hd_arena *arena)
{
    if (!arena)
        return;
    for (struct block *b = arena->first, *next; b; b = next) {
        next = b->next;
        hd_free(b);
    }
    hd_free(arena);
}

static struct block *block_new(hd_arena *arena, size_t bytes)
{
    size_t want = bytes > arena->block_bytes ? bytes : arena->block_bytes, total;
    struct block *b;

    if (__builtin_add_overflow(want, sizeof *b + HD_ARENA_ALIGN, &total))
        return NULL;
    b = hd_resize(NULL, total, 1);
    if (!b)
        return NULL;
    uintptr_t start = (uintptr_t)(b + 1);
    start = (start + HD_ARENA_ALIGN - 1) & ~(uintptr_t)(HD_ARENA_ALIGN - 1);
    *b = (struct block){.bytes = want, .start = (char *)start};
    arena->heap_bytes += total;
    /* Blocks double up to 8 MiB, so that a step of any size ends up in few of them. */
    if (arena->block_bytes < ((size_t)8 << 20))
        arena->block_bytes *= 2;
    return b;
}

/* bytes > 0. */
static void *take(hd_arena *arena, size_t bytes, size_t align)
{
    struct block *b = arena->current;
    size_t at = b ? (b->used + align - 1) & ~(align - 1) : 0;

    while (b && (at > b->bytes || b->bytes - at < bytes) && b->next) {
        b = b->next;
        at = 0;
    }
    if (!b || at > b->bytes || b->bytes - at < bytes) {
        struct block *fresh = block_new(arena, hd_arena_lines(bytes));
        if (!fresh)
            return NULL;
        if (b)
            b->next = fresh;
        else
            arena->first = fresh;
        b = fresh;
        at = 0;
    }
    arena->current = b;
    b->used = at + bytes;
    return b->start + at;
}

void *hd_arena_alloc(hd_arena *arena, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    return take(arena, bytes > 0 ? hd_arena_lines(bytes) : HD_ARENA_ALIGN, HD_ARENA_ALIGN);
}

void *hd_arena_alloc_small(hd_arena *arena, size_t bytes)
{
    return bytes > SIZE_MAX / 2 ? NULL : take(arena, bytes > 0 ? bytes : 1, sizeof(void *));
}

void *hd_arena_zalloc(hd_arena *arena, size_t count, size_t size)
{
    void *pointer = hd_arena_alloc(arena, count, size);

    if (pointer)
        memset(pointer, 0, count * size);
    return pointer;
}

char *hd_arena_strdup(hd_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = hd_arena_alloc(arena, bytes, 1);

    return copy ? memcpy(copy, text, bytes) : NULL;
}

void hd_arena_reset(hd_arena *arena)
{
    arena->current = arena->first;
    if (arena->first)
        arena->first->used = 0;
}

struct hd_arena_mark hd_arena_mark(const hd_arena *arena)
{
    return (struct hd_arena_mark){arena->current, arena->current ? arena->current->used : 0};
}

void hd_arena_release(hd_arena *arena, struct hd_arena_mark mark)
{
    if (!mark.block) {
        hd_arena_reset(arena);
        return;
    }
    arena->current = mark.block;
    arena->current->used = mark.used;
}

size_t hd_arena_bytes(const hd_arena *arena)
{
    return arena->heap_bytes;
}
