/* SPDX-License-Identifier: Apache-2.0
 *
 * Refusals of the linear and the hashed method, each by the name of what it cannot take. */
#include "attention/method.h"
#include "base/limits.h"

#include <inttypes.h>
#include <string.h>

/* What needs every pair of a query and a key to be looked at. */
static heed_status check_plain(const heed_attention_opts *o, const heed_attention_arrays *a,
                               const char *method)
{
    const struct {
        bool set;
        const char *what;
    } refused[] = {
        {o->score != HEED_SCORE_DOT, "score but the dot product"},
        {o->weight != HEED_WEIGHT_SOFTMAX, "weight but softmax"},
        {o->shift != 0, "shift"},
        {o->keep, "keep"},
        {o->mask, "mask"},
        {o->window != 0, "window"},
        {o->globals != 0, "globals"},
        {o->dilation, "dilation"},
        {o->alibi, "alibi"},
        {o->rotary != HEED_ROTARY_NONE, "rotary"},
        {a->position, "position bias"},
        {a->time, "time bias"},
        {a->theta, "theta"},
        {o->dropout != 0, "dropout"},
        {a->dtype != HEED_F32 && a->dtype != HEED_F64, "element type but float32 and float64"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (refused[i].set)
            return hd_fail(HEED_E_ARG, "attention: the %s method takes no %s", method,
                           refused[i].what);
    return HEED_OK;
}

static heed_status check_linear(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    HD_TRY(check_plain(o, a, "linear"));
    if (o->scale != 0 && o->scale != 1)
        return hd_fail(HEED_E_ARG, "attention: the linear method takes no scale (it is %g)",
                       o->scale);
    return HEED_OK;
}

static heed_status check_lsh(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    HD_TRY(check_plain(o, a, "LSH"));
    if (a->k != a->q || memcmp(a->k_stride, a->q_stride, sizeof a->q_stride) != 0)
        return hd_fail(HEED_E_ARG, "attention: the LSH method takes its keys from q: k must be the "
                       "same array with the same strides");
    if (!o->offsets && a->T != a->S)
        return hd_fail(HEED_E_SHAPE, "attention: the LSH method has %" PRId64 " queries, %" PRId64
                       " keys, not as many", a->T, a->S);
    if (a->kv_heads && a->kv_heads != a->H)
        return hd_fail(HEED_E_SHAPE, "attention: the LSH method takes no shared heads: %" PRId64
                       " of keys, %" PRId64 " of queries", a->kv_heads, a->H);
    if (o->lsh_rounds < 0 || o->lsh_rounds > HD_LSH_ROUNDS_MAX)
        return hd_fail(HEED_E_ARG, "attention: lsh_rounds is %" PRId64 ", not in 0 .. %d",
                       o->lsh_rounds, HD_LSH_ROUNDS_MAX);
    if (o->lsh_chunk < 0 || o->lsh_chunk > INT32_MAX / 2)
        return hd_fail(HEED_E_ARG, "attention: lsh_chunk is %" PRId64, o->lsh_chunk);
    if (o->lsh_buckets < 0 || o->lsh_buckets > HD_LSH_BUCKETS_MAX ||
        (o->lsh_buckets != 1 && o->lsh_buckets % 2))
        return hd_fail(HEED_E_ARG, "attention: lsh_buckets is %" PRId64
                       ", not 1 nor an even number up to %d", o->lsh_buckets, HD_LSH_BUCKETS_MAX);
    return HEED_OK;
}

/* What only hashing has a use for. */
static heed_status check_no_lsh(const heed_attention_opts *o)
{
    const char *set = o->lsh_rounds    ? "lsh_rounds"
                      : o->lsh_chunk   ? "lsh_chunk"
                      : o->lsh_buckets ? "lsh_buckets"
                      : o->lsh_seed    ? "lsh_seed"
                                       : NULL;
    return set ? hd_fail(HEED_E_ARG, "attention: %s without the LSH method", set) : HEED_OK;
}

heed_status hd_method_check(const heed_attention_opts *opts, const heed_attention_arrays *arrays)
{
    if (opts->method == HEED_METHOD_LSH)
        return check_lsh(opts, arrays);
    HD_TRY(check_no_lsh(opts));
    return opts->method == HEED_METHOD_LINEAR ? check_linear(opts, arrays) : HEED_OK;
}
