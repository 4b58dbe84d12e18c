/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps keys and values of a reader's rows (sequence_state.h). heed_attention_cache is not used: its
 * oldest rows leave one by one, while here a window that moves changes every row's place and with it
 * every row. */
#include "models/sequence_state.h"
#include "base/memory.h"
#include "models/sequence_impl.h"

#include <inttypes.h>
#include <string.h>

#define ROOM_LEAST 16

struct hd_sequence_state {
    const hd_sequence *model;
    int64_t rows, room; /* rows: whose inputs these are, and whose keys and values are kept */
    char *block;        /* what these lie in: */
    int32_t *item;
    int64_t *time, *query;
    struct hd_sequence_kept kept;
};

heed_status hd_sequence_state_new(const hd_sequence *model, hd_sequence_state **out)
{
    hd_sequence_state *state = hd_alloc(1, sizeof *state);

    if (!state)
        return hd_fail(HEED_E_NOMEM, "sequence state: no memory");
    state->model = model;
    *out = state;
    return HEED_OK;
}

void hd_sequence_state_free(hd_sequence_state *state)
{
    if (!state)
        return;
    hd_free(state->block);
    hd_free(state);
}

static size_t row_bytes(const struct hd_sequence_config *c)
{
    return 2 * sizeof(int64_t) + (size_t)(2 * c->layers * c->dim) * sizeof(float) + sizeof(int32_t);
}

uint64_t hd_sequence_state_bytes(const hd_sequence_state *state)
{
    return sizeof *state + (uint64_t)state->room * row_bytes(&state->model->config);
}

/* Cuts n bytes off the block and copies what is kept there. */
static void *take(char **block, size_t n, const void *old, size_t kept)
{
    void *array = *block;

    if (kept > 0)
        memcpy(array, old, kept);
    *block += n;
    return array;
}

/* Room for `rows`: all arrays lie in one block, the widest numbers first. */
static heed_status reserve(hd_sequence_state *s, int64_t rows)
{
    const struct hd_sequence_config *c = &s->model->config;
    int64_t room = 2 * s->room > ROOM_LEAST ? 2 * s->room : ROOM_LEAST;

    if (rows <= s->room)
        return HEED_OK;
    room = room < rows ? rows : room;
    room = room > c->length ? c->length : room;
    char *block = hd_resize(NULL, (size_t)room, row_bytes(c)), *at = block;
    if (!block)
        return hd_fail(HEED_E_NOMEM, "sequence state: no memory for %" PRId64 " rows", room);
    size_t n = (size_t)room, kept = (size_t)s->rows, row = (size_t)c->dim * sizeof(float);
    s->time = take(&at, n * sizeof *s->time, s->time, kept * sizeof *s->time);
    s->query = take(&at, n * sizeof *s->query, s->query, kept * sizeof *s->query);
    for (int64_t l = 0; l < c->layers; l++) {
        s->kept.key[l] = take(&at, n * row, s->kept.key[l], kept * row);
        s->kept.value[l] = take(&at, n * row, s->kept.value[l], kept * row);
    }
    s->item = take(&at, n * sizeof *s->item, s->item, kept * sizeof *s->item);
    hd_free(s->block);
    s->block = block;
    s->room = room;
    return HEED_OK;
}

/* How many rows have the inputs that they had. The last is passed again whatever it was: what leaves
 * the last layer is not kept. */
static int64_t same_rows(const hd_sequence_state *s, const struct hd_sequence_rows *rows, int64_t n)
{
    int64_t most = s->rows < n - 1 ? s->rows : n - 1, i = 0;

    while (i < most && s->item[i] == rows->item[i] && s->time[i] == rows->time[i] &&
           s->query[i] == rows->query[i])
        i++;
    return i;
}

static void keep_inputs(hd_sequence_state *s, const struct hd_sequence_rows *rows, int64_t from,
                        int64_t n)
{
    size_t count = (size_t)(n - from);

    memcpy(s->item + from, rows->item + from, count * sizeof *s->item);
    memcpy(s->time + from, rows->time + from, count * sizeof *s->time);
    memcpy(s->query + from, rows->query + from, count * sizeof *s->query);
    s->rows = n;
}

heed_status hd_sequence_state_ask(hd_sequence_reader *reader, hd_sequence_state *state,
                                  const int32_t *items, const heed_time *times, int64_t count,
                                  heed_time now, const float **vector, int64_t *seen, int64_t *fresh)
{
    const hd_sequence *model = reader->model;
    heed_tensor *last;

    if (state->model != model)
        return hd_fail(HEED_E_ARG, "sequence state: it is of another model");
    HD_TRY(hd_sequence_check_history(model, items, count));
    int64_t n = hd_sequence_window(model, &reader->rows, items, times, NULL, count, now);
    HD_TRY(reserve(state, n));
    struct hd_sequence_batch batch = hd_sequence_rows_batch(&reader->rows);
    state->kept.rows = state->rows = same_rows(state, &reader->rows, n);
    batch.last = true;
    batch.kept = &state->kept;
    heed_tape_reset(reader->tape);
    heed_tape_record(reader->tape, false);
    HD_TRY(hd_sequence_forward(reader->tape, &model->net, &batch, 0, &last, NULL));
    if (fresh)
        *fresh = n - state->rows;
    keep_inputs(state, &reader->rows, state->rows, n);
    *vector = last->data;
    *seen = n;
    return HEED_OK;
}
