/* SPDX-License-Identifier: Apache-2.0
 *
 * Routing by agreement on a tape: checks, where the logits start, and the record. */
#include "attention/routing.h"

#include <inttypes.h>
#include <math.h>

int64_t heed_routing_interests(int64_t events, int64_t interests)
{
    int64_t k = 0;
    while (k < 62 && (INT64_C(2) << k) <= events)
        k++;
    k = k < interests ? k : interests;
    return k > 1 ? k : 1;
}

/* ---- checks */

static heed_status check_opts(const heed_routing_opts *o)
{
    if (o->interests < 0 || o->interests > INT32_MAX || o->iterations < 0 ||
        o->iterations > INT32_MAX)
        return hd_fail(HEED_E_ARG, "routing: %" PRId64 " interests and %" PRId64 " iterations",
                       o->interests, o->iterations);
    if (!(o->deviation >= 0) || !isfinite(o->deviation))
        return hd_fail(HEED_E_ARG, "routing: the deviation is %g", o->deviation);
    if (o->positions < 0 || (!o->logits && o->positions))
        return hd_fail(HEED_E_ARG, "routing: logits of %" PRId64 " positions, %s", o->positions,
                       o->logits ? "below 0" : "but none are given");
    for (size_t i = 0; i < sizeof o->reserved / sizeof *o->reserved; i++)
        if (o->reserved[i])
            return hd_fail(HEED_E_ARG, "routing: a reserved option is set");
    return HEED_OK;
}

static heed_status check_events(const heed_tensor *e, const struct hd_histories *h)
{
    if (e->rank != (h->offsets ? 2 : 3))
        return hd_fail(HEED_E_SHAPE, "routing: e is %s, not %s", hd_shape_text(e),
                       h->offsets ? "(N, C)" : "(B, S, C)");
    if (!hd_is_rows(e))
        return hd_fail(HEED_E_SHAPE, "routing: rows of e %s are not one stride apart",
                       hd_shape_text(e));
    HD_TRY(hd_histories_check("routing", h));
    if (h->offsets && h->offsets[h->B] != e->dim[0])
        return hd_fail(HEED_E_SHAPE, "routing: offsets end at %" PRId64 ", but e is %s",
                       h->offsets[h->B], hd_shape_text(e));
    return HEED_OK;
}

/* The map against events and options: K, O, and how many maps there are. */
static heed_status check_map(struct hd_routing *r, const heed_tensor *map, const heed_tensor *e,
                             const heed_routing_opts *o)
{
    int rank = map->rank;
    if (rank < 2 || rank > 4 || map->dim[rank - 1] != r->C || map->dtype != e->dtype ||
        !hd_is_contiguous(map))
        return hd_fail(HEED_E_SHAPE, "routing: the map is %s for events %s; both contiguous rows of "
                       "one element type", hd_shape_text(map), hd_shape_text(e));
    r->O = map->dim[rank - 2];
    r->K = rank == 2 ? o->interests : map->dim[rank - 3];
    r->maps = rank == 2 ? 1 : rank == 3 ? r->K : 0;
    if (r->K < 1 || (o->interests && o->interests != r->K))
        return hd_fail(HEED_E_ARG, "routing: %" PRId64 " interests with a map %s", o->interests,
                       hd_shape_text(map));
    if (r->O < 1 || r->C < 1 || r->O > INT32_MAX || r->C > INT32_MAX || r->K > INT32_MAX)
        return hd_fail(HEED_E_SHAPE, "routing: the map is %s", hd_shape_text(map));
    if (rank == 4 && map->dim[0] < r->longest)
        return hd_fail(HEED_E_SHAPE, "routing: maps of %" PRId64 " positions for a history of %" PRId64
                       " events", map->dim[0], r->longest);
    if (o->logits && o->positions < r->longest)
        return hd_fail(HEED_E_SHAPE, "routing: logits of %" PRId64 " positions for a history of %"
                       PRId64 " events", o->positions, r->longest);
    double numbers = ((double)hd_histories_rows(&r->h) + (double)r->h.B + 64) * (double)r->K *
                     ((double)r->O + (double)r->C + 1);
    if (numbers * 64 > (double)PTRDIFF_MAX)
        return hd_fail(HEED_E_RANGE, "routing: more numbers than memory can hold");
    return HEED_OK;
}

/* ---- where the logits start */

/* Number s of a row depends on the seed, the interest and s alone, so that a history starts alike
 * whatever stands beside it. */
static void draw_logits(const struct hd_routing *r, uint64_t seed, double deviation)
{
    for (int64_t i = 0; i < r->K; i++) {
        heed_rng rng = hd_rng(seed, (uint64_t)i);
        for (int64_t s = 0; s < r->longest; s++)
            hd_put(r->k, r->drawn, i * r->longest + s, deviation * hd_random_normal(&rng));
    }
}

static void start_logits(struct hd_routing *r, const heed_routing_opts *o)
{
    double deviation = o->deviation != 0 ? o->deviation : r->maps == 1 ? 1 : 0;
    if (o->logits || deviation == 0)
        return;
    draw_logits(r, o->seed, deviation);
    r->initial = r->drawn, r->initial_row = r->longest;
}

/* ---- the tape */

struct routing_record {
    struct hd_routing r;
    heed_tensor *e, *map, *out;
};

static heed_status in_scratch(heed_tape *tape, struct hd_routing *r, bool backward)
{
    size_t bytes = hd_routing_layout(r, NULL, backward);
    char *base = hd_arena_alloc(hd_tape_scratch(tape), bytes, 1);
    if (!base)
        return hd_fail(HEED_E_NOMEM, "routing: no memory for %zu bytes of scratch", bytes);
    hd_routing_layout(r, base, backward);
    return HEED_OK;
}

static heed_status run_backward(heed_tape *tape, struct routing_record *rec, const void *dout)
{
    void *de, *dmap;
    HD_TRY(hd_grad(tape, rec->e, &de));
    HD_TRY(hd_grad(tape, rec->map, &dmap));
    HD_TRY(in_scratch(tape, &rec->r, true));
    return hd_routing_backward(&rec->r, dout, de, dmap);
}

static heed_status routing_backward(heed_tape *tape, void *record)
{
    struct routing_record *rec = record;
    const void *dout = hd_grad_got(rec->out);
    if (!dout)
        return HEED_OK;
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = run_backward(tape, rec, dout);
    hd_arena_release(hd_tape_scratch(tape), mark);
    if (status == HEED_OK)
        hd_grad_spent(tape, rec->out);
    return status;
}

static heed_status run_forward(heed_tape *tape, struct hd_routing *r, const heed_routing_opts *o)
{
    struct hd_arena_mark mark = hd_arena_mark(hd_tape_scratch(tape));
    heed_status status = in_scratch(tape, r, false);
    if (status == HEED_OK) {
        start_logits(r, o);
        status = hd_routing_forward(r);
    }
    hd_arena_release(hd_tape_scratch(tape), mark);
    return status;
}

/* out, and what the backward will want: z and the weights. */
static heed_status make_results(heed_tape *tape, struct routing_record *rec, heed_tensor **weights)
{
    struct hd_routing *r = &rec->r;
    heed_dtype dtype = rec->e->dtype;
    const int64_t flat[] = {r->K * hd_histories_rows(&r->h)}, square[] = {r->h.B, r->K, r->h.S};
    const int64_t capsules[] = {r->h.B, r->K, r->O};
    bool ragged = r->h.offsets;
    heed_tensor *z;
    HD_TRY(hd_tensor_new(tape, dtype, capsules, 3, &rec->out));
    HD_TRY(hd_tensor_new(tape, dtype, capsules, 3, &z));
    HD_TRY(hd_tensor_new(tape, dtype, ragged ? flat : square, ragged ? 1 : 3, weights));
    r->out = rec->out->data, r->capsules = z->data, r->weights = (*weights)->data;
    return HEED_OK;
}

heed_status heed_routing(heed_tape *tape, heed_tensor *e, heed_tensor *map,
                         const heed_routing_opts *opts, heed_tensor **out, heed_tensor **weights)
{
    const heed_routing_opts ordinary = {0};
    struct routing_record rec = {.e = e, .map = map};
    struct hd_routing *r = &rec.r;
    heed_tensor *w;
    opts = opts ? opts : &ordinary;
    HD_TRY(check_opts(opts));
    r->h = (struct hd_histories){opts->offsets ? opts->sequences : e->dim[0],
                                 e->rank == 3 ? e->dim[1] : 0, opts->offsets, opts->lengths};
    HD_TRY(check_events(e, &r->h));
    r->k = hd_kernels_of(e), r->pool = hd_tape_pool(tape);
    r->C = hd_cols(e), r->e = e->data, r->e_row = hd_row_stride(e), r->map = map->data;
    r->iterations = opts->iterations ? opts->iterations : 3;
    r->adaptive = opts->adaptive;
    r->initial = opts->logits, r->initial_row = opts->positions;
    for (int64_t b = 0; b < r->h.B; b++)
        if (hd_history_length(&r->h, b) > r->longest)
            r->longest = hd_history_length(&r->h, b);
    HD_TRY(check_map(r, map, e, opts));
    HD_TRY(make_results(tape, &rec, &w));
    HD_TRY(run_forward(tape, r, opts));
    r->initial = NULL; /* the caller's, or scratch */
    if (hd_wants_grad(tape, e) || hd_wants_grad(tape, map)) {
        rec.out->wants_grad = true;
        HD_TRY(hd_tape_push(tape, routing_backward, &rec, sizeof rec));
    }
    *out = rec.out;
    if (weights)
        *weights = w;
    return HEED_OK;
}
