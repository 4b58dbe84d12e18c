/* SPDX-License-Identifier: Apache-2.0
 *
 * The tape: records of operations in an arena, linked from the last to the first, which is the
 * order in which backward replays them.
 *
 *     record ◀─ record ◀─ record       each: what to call, and a copy of what it needs
 *                           ▲ last
 *
 * Two arenas: one for what lives until the reset (results, gradients, records), one for the scratch
 * of a single operation, so that scratch never leaves holes between results. */
#include "tensor/tape.h"

#include <string.h>

#define ARENA_BYTES_FIRST ((size_t)1 << 20) /* a step of any real model needs at least this */
#define SCRATCH_BYTES_FIRST ((size_t)256 << 10)

struct record {
    struct record *before;
    hd_backward_fn backward;
    void *data;
};

/* Memory of a spent gradient: the list lies in it. */
struct spare {
    struct spare *next;
    size_t bytes;
};

struct heed_tape {
    heed_pool *pool;
    hd_arena *arena, *scratch;
    struct record *last;
    struct spare *spare;
    bool recording, bf16;
    bool replayed; /* backward has run: gradients are spent until the reset */
    heed_rng rng;  /* one number for each key that was asked for */
};

heed_status heed_tape_new(heed_pool *pool, uint64_t seed, heed_tape **out)
{
    heed_tape *tape = hd_alloc(1, sizeof *tape);

    if (!tape)
        return hd_fail(HEED_E_NOMEM, "tape: no memory");
    tape->pool = pool;
    tape->recording = true;
    tape->arena = hd_arena_new(ARENA_BYTES_FIRST);
    tape->scratch = hd_arena_new(SCRATCH_BYTES_FIRST);
    if (!tape->arena || !tape->scratch) {
        heed_tape_free(tape);
        return hd_fail(HEED_E_NOMEM, "tape: no memory");
    }
    heed_tape_seed(tape, seed, 0);
    *out = tape;
    return HEED_OK;
}

void heed_tape_free(heed_tape *tape)
{
    if (!tape)
        return;
    hd_arena_free(tape->scratch);
    hd_arena_free(tape->arena);
    hd_free(tape);
}

void heed_tape_reset(heed_tape *tape)
{
    tape->last = NULL;
    tape->spare = NULL;
    tape->replayed = false;
    hd_arena_reset(tape->arena);
    hd_arena_reset(tape->scratch);
}

void heed_tape_record(heed_tape *tape, bool on)
{
    tape->recording = on;
}

void heed_tape_bf16(heed_tape *tape, bool on)
{
    tape->bf16 = on;
}

bool hd_tape_bf16(const heed_tape *tape)
{
    return tape->bf16;
}

void heed_tape_seed(heed_tape *tape, uint64_t seed, uint64_t stream)
{
    tape->rng = hd_rng(seed, stream);
}

size_t heed_tape_bytes(const heed_tape *tape)
{
    return hd_arena_bytes(tape->arena) + hd_arena_bytes(tape->scratch);
}

heed_status hd_tape_push(heed_tape *tape, hd_backward_fn backward, const void *data, size_t bytes)
{
    struct record *record;

    if (!tape->recording)
        return HEED_OK;
    record = hd_arena_alloc(tape->arena, 1, sizeof *record + bytes);
    if (!record)
        return hd_fail(HEED_E_NOMEM, "tape: no memory for a record of %zu bytes", bytes);
    *record = (struct record){tape->last, backward, record + 1};
    memcpy(record->data, data, bytes);
    tape->last = record;
    return HEED_OK;
}

bool hd_tape_recording(const heed_tape *tape)
{
    return tape->recording;
}

hd_arena *hd_tape_arena(heed_tape *tape)
{
    return tape->arena;
}

hd_arena *hd_tape_scratch(heed_tape *tape)
{
    return tape->scratch;
}

heed_pool *hd_tape_pool(heed_tape *tape)
{
    return tape->pool;
}

uint64_t hd_tape_random_key(heed_tape *tape)
{
    return hd_random_u64(&tape->rng);
}

void *hd_tape_grad_memory(heed_tape *tape, size_t bytes)
{
    for (struct spare **s = &tape->spare; *s; s = &(*s)->next) {
        struct spare *found = *s;
        if (found->bytes != bytes)
            continue;
        *s = found->next;
        return found;
    }
    return hd_arena_alloc(tape->arena, bytes, 1);
}

void hd_tape_grad_spare(heed_tape *tape, void *memory, size_t bytes)
{
    struct spare *spare = memory;

    if (bytes < sizeof *spare)
        return;
    *spare = (struct spare){tape->spare, bytes};
    tape->spare = spare;
}

heed_status heed_tape_backward(heed_tape *tape, heed_tensor *loss)
{
    void *seed;

    if (hd_count(loss) != 1)
        return hd_fail(HEED_E_SHAPE, "backward: the loss is %s, not a single number",
                       hd_shape_text(loss));
    if (tape->replayed)
        return hd_fail(HEED_E_STATE, "backward: has run already; reset the tape first");
    if (!tape->last || !hd_wants_grad(tape, loss))
        return hd_fail(HEED_E_STATE, "backward: nothing was recorded that leads to this loss");
    HD_TRY(hd_grad(tape, loss, &seed));
    hd_kernels_of(loss)->fill(seed, 1, 1);
    tape->replayed = true;
    for (struct record *record = tape->last; record; record = record->before)
        HD_TRY(record->backward(tape, record->data));
    return HEED_OK;
}
