/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with options or arrays, in a sentence that names it, before anything is computed. */
#include "attention/dense.h"
#include "attention/method.h"
#include "attention/scores.h"
#include "base/limits.h"

#include <inttypes.h>
#include <math.h>

static heed_status check_opts(const heed_attention_opts *o)
{
    if ((int)o->score < 0 || o->score > HEED_SCORE_FEATURES)
        return hd_fail(HEED_E_ARG, "attention: there is no score %d", (int)o->score);
    if ((int)o->weight < 0 || o->weight > HEED_WEIGHT_SIGMOID)
        return hd_fail(HEED_E_ARG, "attention: there is no weight %d", (int)o->weight);
    if ((int)o->method < 0 || o->method > HEED_METHOD_LSH)
        return hd_fail(HEED_E_ARG, "attention: there is no method %d", (int)o->method);
    if (!isfinite(o->scale))
        return hd_fail(HEED_E_ARG, "attention: scale is not finite");
    if (!isfinite(o->shift))
        return hd_fail(HEED_E_ARG, "attention: shift is not finite");
    if (!(o->dropout >= 0 && o->dropout < 1))
        return hd_fail(HEED_E_ARG, "attention: dropout is %g, not in [0, 1)", o->dropout);
    for (int i = 0; i < 8; i++)
        if (o->reserved[i])
            return hd_fail(HEED_E_ARG, "attention: a reserved option is set");
    return HEED_OK;
}

/* Windows and slopes: what there is one of for each head. */
static heed_status check_heads(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    int64_t group = a->kv_heads ? a->kv_heads : a->H;
    if (group < 0 || group > a->H || (group && a->H % group))
        return hd_fail(HEED_E_SHAPE, "attention: %" PRId64 " heads of keys do not divide %" PRId64
                       " of queries", group, a->H);
    if (o->window < 0 || o->window > INT32_MAX)
        return hd_fail(HEED_E_ARG, "attention: a window of %" PRId64, o->window);
    if (o->globals < 0 || o->globals > INT32_MAX)
        return hd_fail(HEED_E_ARG, "attention: %" PRId64 " globals", o->globals);
    if (o->window == 0 && (o->globals || o->dilation))
        return hd_fail(HEED_E_ARG, "attention: %s without a window",
                       o->globals ? "globals" : "dilation");
    for (int64_t h = 0; h < a->H; h++) {
        if (o->dilation && (o->dilation[h] < 1 || o->dilation[h] > INT32_MAX))
            return hd_fail(HEED_E_ARG, "attention: dilation %" PRId64 " of head %" PRId64,
                           o->dilation[h], h);
        if (o->alibi && !isfinite(o->alibi[h]))
            return hd_fail(HEED_E_ARG, "attention: alibi of head %" PRId64 " is not finite", h);
    }
    return HEED_OK;
}

/* What transform.c and the scores' own parameters need. */
static heed_status check_transform(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    int64_t turned = o->rotary_dims ? o->rotary_dims : a->D;
    if ((int)o->rotary < 0 || o->rotary > HEED_ROTARY_HALVES)
        return hd_fail(HEED_E_ARG, "attention: there is no rotary %d", (int)o->rotary);
    if (!(isfinite(o->rotary_base) && o->rotary_base >= 0))
        return hd_fail(HEED_E_ARG, "attention: rotary_base is %g, not a positive number",
                       o->rotary_base);
    if (o->rotary_dims < 0 || o->rotary_dims > a->D)
        return hd_fail(HEED_E_ARG, "attention: rotary_dims is %" PRId64 " of %" PRId64
                       " dimensions", o->rotary_dims, a->D);
    if (o->rotary && turned % 2)
        return hd_fail(HEED_E_ARG, "attention: an odd number of dimensions, %" PRId64
                       ", cannot turn in twos", turned);
    if (!o->rotary && (o->rotary_base != 0 || o->rotary_dims))
        return hd_fail(HEED_E_ARG, "attention: %s without rotary",
                       o->rotary_dims ? "rotary_dims" : "rotary_base");
    const char *name = hd_score_rule(o->score)->name;
    int64_t theta = hd_score_theta(o->score, 1);
    if (!theta && (a->theta || a->dtheta))
        return hd_fail(HEED_E_ARG, "attention: the %s score takes no theta", name);
    if (theta && a->H * a->D > 0 && !a->theta)
        return hd_fail(HEED_E_ARG, "attention: the %s score needs theta", name);
    return HEED_OK;
}

static heed_status check_sequences(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    if (!o->offsets) {
        for (int64_t b = 0; o->lengths && b < a->B; b++)
            if (o->lengths[b] < 0 || o->lengths[b] > a->S)
                return hd_fail(HEED_E_ARG, "attention: length %" PRId64 " of sequence %" PRId64
                               " is not in 0 .. %" PRId64, o->lengths[b], b, a->S);
        return HEED_OK;
    }
    if (o->lengths)
        return hd_fail(HEED_E_ARG, "attention: lengths and offsets are both given");
    if (a->B != o->sequences)
        return hd_fail(HEED_E_SHAPE, "attention: B is %" PRId64 ", but there are %" PRId64
                       " sequences", a->B, o->sequences);
    if (o->offsets[0] != 0)
        return hd_fail(HEED_E_ARG, "attention: the first offset is %" PRId64 ", not 0",
                       o->offsets[0]);
    for (int64_t b = 0; b < a->B; b++)
        if (o->offsets[b + 1] < o->offsets[b] || o->offsets[b + 1] > HD_DIM_MAX)
            return hd_fail(HEED_E_ARG, "attention: offset %" PRId64 " after %" PRId64
                           " (sequence %" PRId64 ")", o->offsets[b + 1], o->offsets[b], b);
    return HEED_OK;
}

/* Sizes are products, so their product is looked at before any is made. */
static heed_status check_sizes(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    double T = (double)a->T, S = (double)a->S, B = (double)a->B, wider = fmax((double)a->D, (double)a->E);
    double rows = B * fmax(T, S), tables = B * ((double)a->P + (double)a->W + (double)a->D);
    double weights = a->weights ? B * T * S : 0;
    if (o->offsets)
        rows = fmax((double)o->offsets[a->B], fmax(T, S));
    if (((rows + 1) * (wider + 1) + tables + weights) * ((double)a->H + 1) * 8 > (double)PTRDIFF_MAX)
        return hd_fail(HEED_E_RANGE, "attention: more numbers than memory can hold");
    return HEED_OK;
}

heed_status hd_attention_check(const heed_attention_opts *o, const heed_attention_arrays *a,
                               bool backward)
{
    const int64_t dims[] = {a->B, a->T, a->S, a->H, a->D, a->E, a->P, a->W};
    HD_TRY(hd_method_check(o, a));
    HD_TRY(check_opts(o));
    if (a->dtype != HEED_F32 && a->dtype != HEED_F64 && a->dtype != HEED_BF16)
        return hd_fail(HEED_E_ARG, "attention: there is no element type %" PRId64, a->dtype);
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        if (dims[i] < 0 || dims[i] > INT32_MAX)
            return hd_fail(HEED_E_SHAPE, "attention: a dimension is %" PRId64, dims[i]);
    for (int i = 0; i < 4; i++)
        if (a->reserved[i])
            return hd_fail(HEED_E_ARG, "attention: a reserved field is set");
    HD_TRY(check_heads(o, a));
    HD_TRY(check_transform(o, a));
    HD_TRY(check_sequences(o, a));
    HD_TRY(check_sizes(o, a));
    if (a->position && a->P == 0)
        return hd_fail(HEED_E_SHAPE, "attention: the position bias has no entries");
    if (a->time && a->W == 0)
        return hd_fail(HEED_E_SHAPE, "attention: the time bias has no buckets");
    if (a->weights && o->offsets && a->B > 1)
        return hd_fail(HEED_E_SHAPE, "attention: weights of %" PRId64 " ragged sequences; 1 is the "
                       "most", a->B);
    if ((o->keep || o->mask) && o->offsets && a->B > 1)
        return hd_fail(HEED_E_SHAPE, "attention: a mask of %" PRId64 " ragged sequences; 1 is the "
                       "most", a->B);
    /* Empty arrays may be NULL. */
    int64_t queries = o->offsets ? o->offsets[a->B] : a->B * a->T;
    int64_t keys = o->offsets ? queries : a->B * a->S;
    bool q = queries * a->H > 0, k = keys * a->H > 0;
    if ((q && (!a->q || !a->out)) || (k && (!a->k || !a->v)))
        return hd_fail(HEED_E_ARG, "attention: q, k, v or out is missing");
    if (a->time && q && k && (!o->key_times || !o->query_times))
        return hd_fail(HEED_E_ARG, "attention: a time bias needs key_times and query_times");
    bool shared = o->method == HEED_METHOD_LSH; /* dk is part of dq */
    if (backward && ((q && (!a->dout || !a->dq)) || (k && ((!a->dk && !shared) || !a->dv))))
        return hd_fail(HEED_E_ARG, "attention: dout, dq, dk or dv is missing");
    if (backward && q && o->weight == HEED_WEIGHT_SOFTMAX && !a->lse)
        return hd_fail(HEED_E_ARG, "attention: the backward needs lse");
    return HEED_OK;
}
