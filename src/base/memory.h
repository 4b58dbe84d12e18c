/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap, through the caller's allocator, and arenas on it.
 *
 * An arena hands out memory from blocks and gives it back all at once, or down to a mark. Once it has
 * grown to what a step needs, a step takes nothing from the heap: hd_arena_reset() keeps the blocks. */
#ifndef HD_MEMORY_H
#define HD_MEMORY_H

#include "base/status.h"

/* NULL where count * size overflows or there is no memory. The memory is zeroed. */
void *hd_alloc(size_t count, size_t size);
/* As realloc; the new part is not zeroed. NULL leaves the old memory as it was. */
void *hd_resize(void *pointer, size_t count, size_t size);
void hd_free(void *pointer);
/* A copy on the heap, or NULL. */
char *hd_strdup(const char *text);

typedef struct hd_arena hd_arena;
struct hd_arena_mark {
    void *block;
    size_t used;
};

#define HD_ARENA_ALIGN 64 /* a cache line, and the widest vector */

/* Rounded up to whole lines. */
static inline size_t hd_arena_lines(size_t bytes)
{
    return (bytes + HD_ARENA_ALIGN - 1) / HD_ARENA_ALIGN * HD_ARENA_ALIGN;
}

/* block_bytes 0: a default. NULL where there is no memory. confined. */
hd_arena *hd_arena_new(size_t block_bytes);
void hd_arena_free(hd_arena *arena);
/* 64-byte aligned, not zeroed; NULL where the product overflows or there is no memory. */
void *hd_arena_alloc(hd_arena *arena, size_t count, size_t size);
/* The same, zeroed. */
void *hd_arena_zalloc(hd_arena *arena, size_t count, size_t size);
/* For what comes by the million and is short: aligned for a pointer, packed. */
void *hd_arena_alloc_small(hd_arena *arena, size_t bytes);
char *hd_arena_strdup(hd_arena *arena, const char *text);
void hd_arena_reset(hd_arena *arena);
struct hd_arena_mark hd_arena_mark(const hd_arena *arena);
/* Gives back all that was allocated since the mark. */
void hd_arena_release(hd_arena *arena, struct hd_arena_mark mark);
/* Bytes taken from the heap so far: it stops growing once the arena is warm. */
size_t hd_arena_bytes(const hd_arena *arena);

#endif
