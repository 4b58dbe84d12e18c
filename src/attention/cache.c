/* SPDX-License-Identifier: Apache-2.0
 *
 * A cache of keys and values: what came before, kept so that a new position costs its own row alone
 * (segment recurrence: Dai et al. 2019, "Transformer-XL", section 3.2).
 *
 *     rows of one sequence and head:   [ .. gone .. | start .. start + length | room .. )
 *
 * Rows lie one after the other, so that the exact core walks them as it walks any array, and a row has
 * the same bits as in the whole. What leaves moves `start`; when the end is reached, what is kept moves
 * to the front: with half of the capacity as room, two rows moved for one that comes, and no wrap in
 * the middle of what the core reads. A ring that is written twice would move none, and hold twice the
 * capacity instead of one and a half. */
#include "attention/layout.h"
#include "tensor/tape.h"

struct part { /* keys, or values */
    char *rows; /* (B, H, room, width) */
    int64_t width;
};

struct heed_attention_cache {
    heed_attention_cache_opts opts;
    size_t item;
    struct part k, v;
    int64_t room, start, length, first;
    void *scratch;
    uint64_t scratch_bytes;
};

/* ---- life */

static heed_status check_opts(const heed_attention_cache_opts *o)
{
    const struct {
        const char *name;
        int64_t value, least;
    } sizes[] = {{"B", o->B, 0}, {"H", o->H, 0}, {"D", o->D, 0}, {"E", o->E, 0},
                 {"capacity", o->capacity, 1}};
    if (o->dtype != HEED_F32 && o->dtype != HEED_F64 && o->dtype != HEED_BF16)
        return hd_fail(HEED_E_ARG, "attention cache: there is no element type %" PRId64, o->dtype);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < sizes[i].least || sizes[i].value > INT32_MAX / 2)
            return hd_fail(HEED_E_SHAPE, "attention cache: %s is %" PRId64, sizes[i].name,
                           sizes[i].value);
    if (o->drop < 0 || o->drop > o->capacity)
        return hd_fail(HEED_E_ARG, "attention cache: drop is %" PRId64 ", not in 0 .. %" PRId64
                       ", the capacity", o->drop, o->capacity);
    for (int i = 0; i < 4; i++)
        if (o->reserved[i])
            return hd_fail(HEED_E_ARG, "attention cache: a reserved option is set");
    return HEED_OK;
}

/* Sequences times heads times room times width, or NULL where that is no size. */
static char *part_new(const heed_attention_cache *c, int64_t width)
{
    uint64_t rows = (uint64_t)(c->opts.B * c->opts.H), each;
    if (__builtin_mul_overflow((uint64_t)c->room, (uint64_t)width * c->item, &each))
        return NULL;
    return hd_alloc(rows ? rows : 1, each ? each : 1);
}

heed_status heed_attention_cache_new(const heed_attention_cache_opts *opts,
                                     heed_attention_cache **cache)
{
    HD_TRY(check_opts(opts));
    heed_attention_cache *c = hd_alloc(1, sizeof *c);
    if (!c)
        return hd_fail(HEED_E_NOMEM, "attention cache: no memory");
    c->opts = *opts;
    c->opts.drop = opts->drop ? opts->drop : 1;
    c->item = opts->dtype == HEED_F32 ? 4 : opts->dtype == HEED_F64 ? 8 : 2;
    c->room = opts->capacity + (opts->capacity + 1) / 2;
    c->k = (struct part){part_new(c, opts->D), opts->D};
    c->v = (struct part){part_new(c, opts->E), opts->E};
    if (!c->k.rows || !c->v.rows) {
        heed_attention_cache_free(c);
        return hd_fail(HEED_E_NOMEM, "attention cache: no memory for %" PRId64 " positions",
                       opts->capacity);
    }
    *cache = c;
    return HEED_OK;
}

void heed_attention_cache_free(heed_attention_cache *cache)
{
    if (!cache)
        return;
    hd_free(cache->k.rows);
    hd_free(cache->v.rows);
    hd_free(cache->scratch);
    hd_free(cache);
}

void heed_attention_cache_reset(heed_attention_cache *cache)
{
    cache->start = cache->length = cache->first = 0;
}

int64_t heed_attention_cache_length(const heed_attention_cache *cache)
{
    return cache->length;
}

int64_t heed_attention_cache_first(const heed_attention_cache *cache)
{
    return cache->first;
}

heed_status heed_attention_cache_truncate(heed_attention_cache *cache, int64_t length)
{
    if (length < 0 || length > cache->length)
        return hd_fail(HEED_E_ARG, "attention cache: cannot keep the first %" PRId64 " of %" PRId64
                       " positions", length, cache->length);
    cache->length = length;
    return HEED_OK;
}

/* ---- append */

static char *row_at(const heed_attention_cache *c, const struct part *part, int64_t b, int64_t h,
                    int64_t row)
{
    return part->rows +
           (int64_t)c->item * ((b * c->opts.H + h) * c->room + c->start + row) * part->width;
}

/* Takes the oldest away, and moves the rest to the front where the end would be reached. */
static void make_room(heed_attention_cache *c, int64_t gone, int64_t n)
{
    int64_t start = c->start;
    c->length -= gone, c->first += gone;
    if (start + gone + c->length + n <= c->room) {
        c->start = start + gone;
        return;
    }
    const struct part *parts[] = {&c->k, &c->v};
    c->start = 0;
    for (int i = 0; i < 2; i++)
        for (int64_t b = 0; b < c->opts.B; b++)
            for (int64_t h = 0; h < c->opts.H; h++) {
                char *to = row_at(c, parts[i], b, h, 0);
                size_t row = (size_t)parts[i]->width * c->item;
                memmove(to, to + (size_t)(start + gone) * row, (size_t)c->length * row);
            }
}

static void copy_in(const heed_attention_cache *c, const struct part *part, const char *x,
                    struct hd_strides stride, int64_t skip, int64_t n)
{
    size_t row = (size_t)part->width * c->item;
    for (int64_t b = 0; b < c->opts.B; b++)
        for (int64_t h = 0; h < c->opts.H; h++) {
            char *to = row_at(c, part, b, h, c->length);
            for (int64_t i = 0; i < n; i++)
                memcpy(to + (size_t)i * row,
                       x + (int64_t)c->item * (b * stride.batch + (skip + i) * stride.row +
                                               h * stride.head), row);
        }
}

static const int64_t contiguous[3];

heed_status heed_attention_cache_append(heed_attention_cache *cache, int64_t n, const void *k,
                                        const int64_t k_stride[3], const void *v,
                                        const int64_t v_stride[3])
{
    const heed_attention_cache_opts *o = &cache->opts;
    if (n < 0 || n > INT32_MAX)
        return hd_fail(HEED_E_SHAPE, "attention cache: %" PRId64 " positions to append", n);
    if (n * o->B * o->H > 0 && ((!k && o->D) || (!v && o->E)))
        return hd_fail(HEED_E_ARG, "attention cache: k or v is missing");
    struct hd_strides ks = hd_strides_of(k_stride ? k_stride : contiguous, n, o->H, o->D);
    struct hd_strides vs = hd_strides_of(v_stride ? v_stride : contiguous, n, o->H, o->E);
    int64_t over = cache->length + n - o->capacity;
    int64_t gone = over > 0 ? (over + o->drop - 1) / o->drop * o->drop : 0;
    int64_t skip = gone > cache->length ? gone - cache->length : 0; /* new ones that are gone already */

    make_room(cache, gone - skip, n - skip);
    cache->first += skip;
    copy_in(cache, &cache->k, k, ks, skip, n - skip);
    copy_in(cache, &cache->v, v, vs, skip, n - skip);
    cache->length += n - skip;
    return HEED_OK;
}

/* ---- attend */

/* Scratch of the cache's own, for histories up to the capacity at once. */
static heed_status lend_scratch(heed_attention_cache *c, const heed_pool *pool,
                                const heed_attention_opts *opts, heed_attention_arrays *a)
{
    heed_attention_arrays most = *a;
    most.S = c->opts.capacity;
    uint64_t need = heed_attention_scratch_bytes(pool, opts, &most, false);
    if (need > c->scratch_bytes) {
        hd_free(c->scratch);
        c->scratch_bytes = 0;
        c->scratch = hd_resize(NULL, need, 1);
        if (!c->scratch)
            return hd_fail(HEED_E_NOMEM, "attention cache: no memory for %" PRIu64
                           " bytes of scratch", need);
        c->scratch_bytes = need;
    }
    a->scratch = c->scratch, a->scratch_bytes = c->scratch_bytes;
    return HEED_OK;
}

heed_status heed_attention_cache_attend(heed_attention_cache *cache, heed_pool *pool,
                                        const heed_attention_opts *opts,
                                        const heed_attention_arrays *arrays)
{
    const heed_attention_cache_opts *o = &cache->opts;
    heed_attention_arrays a;
    if (!opts || !arrays)
        return hd_fail(HEED_E_ARG, "attention cache: options or arrays are missing");
    if (opts->offsets)
        return hd_fail(HEED_E_ARG, "attention cache: sequences of a cache have no offsets");
    a = *arrays;
    if (a.dtype != o->dtype || a.B != o->B || a.D != o->D || a.E != o->E)
        return hd_fail(HEED_E_SHAPE, "attention cache: B, D, E of the queries are %" PRId64
                       ", %" PRId64 ", %" PRId64 ", of the cache %" PRId64 ", %" PRId64 ", %" PRId64
                       ", or their element types differ", a.B, a.D, a.E, o->B, o->D, o->E);
    a.S = cache->length, a.kv_heads = o->H;
    a.k = row_at(cache, &cache->k, 0, 0, 0), a.v = row_at(cache, &cache->v, 0, 0, 0);
    a.k_stride[0] = o->H * cache->room * o->D, a.k_stride[1] = o->D;
    a.k_stride[2] = cache->room * o->D;
    a.v_stride[0] = o->H * cache->room * o->E, a.v_stride[1] = o->E;
    a.v_stride[2] = cache->room * o->E;
    if (!a.scratch)
        HD_TRY(lend_scratch(cache, pool, opts, &a));
    return heed_attention_forward(pool, opts, &a);
}

/* ---- on a tape */

struct extend_record {
    heed_tensor *x, *all;
    int64_t before;
};

/* The new rows' gradient; what was cached gets none. */
static heed_status extend_backward(heed_tape *tape, void *record)
{
    const struct extend_record *rec = record;
    const heed_tensor *x = rec->x, *all = rec->all;
    const struct hd_kernels *k = hd_kernels_of(x);
    const void *dy = hd_grad_got(all);
    void *dx;
    if (!dy)
        return HEED_OK;
    HD_TRY(hd_grad(tape, rec->x, &dx));
    for (int64_t b = 0; dx && b < x->dim[0]; b++)
        for (int64_t i = 0; i < x->dim[1]; i++)
            for (int64_t h = 0; h < x->dim[2]; h++) {
                void *to = hd_at(dx, k->item_bytes,
                                 b * x->stride[0] + i * x->stride[1] + h * x->stride[2]);
                const void *from = hd_at(dy, k->item_bytes,
                                         b * all->stride[0] + (rec->before + i) * all->stride[1] +
                                             h * all->stride[2]);
                k->add(to, to, from, (size_t)x->dim[3]);
            }
    return HEED_OK;
}

/* [cached, x] as a tensor. */
static heed_status extended(heed_tape *tape, const heed_attention_cache *c, const struct part *part,
                            heed_tensor *x, heed_tensor **out)
{
    heed_tensor *all;
    int64_t dim[HEED_RANK_MAX] = {x->dim[0], c->length + x->dim[1], x->dim[2], x->dim[3]};
    size_t row = (size_t)part->width * c->item;
    HD_TRY(hd_tensor_new(tape, x->dtype, dim, 4, &all));
    for (int64_t b = 0; b < dim[0]; b++)
        for (int64_t i = 0; i < dim[1]; i++)
            for (int64_t h = 0; h < dim[2]; h++) {
                int64_t fresh = i - c->length;
                const char *from =
                    fresh < 0 ? row_at(c, part, b, h, i)
                              : hd_at(x->data, c->item, b * x->stride[0] + fresh * x->stride[1] +
                                                            h * x->stride[2]);
                memcpy(hd_at(all->data, c->item, b * all->stride[0] + i * all->stride[1] +
                                                     h * all->stride[2]), from, row);
            }
    if (hd_wants_grad(tape, x)) {
        struct extend_record rec = {x, all, c->length};
        all->wants_grad = true;
        HD_TRY(hd_tape_push(tape, extend_backward, &rec, sizeof rec));
    }
    *out = all;
    return HEED_OK;
}

static heed_status check_rows(const heed_attention_cache *c, const heed_tensor *x, const char *name,
                              int64_t n, int64_t width)
{
    const heed_attention_cache_opts *o = &c->opts;
    if (x->rank != 4 || x->dim[0] != o->B || x->dim[1] != n || x->dim[2] != o->H ||
        x->dim[3] != width || (int64_t)x->dtype != o->dtype)
        return hd_fail(HEED_E_SHAPE, "attention cache: %s is %s, not (%" PRId64 ", %" PRId64
                       ", %" PRId64 ", %" PRId64 ") of the cache's element type", name,
                       hd_shape_text(x), o->B, n, o->H, width);
    return HEED_OK;
}

heed_status heed_attention_cache_extend(heed_tape *tape, heed_attention_cache *cache, heed_tensor *k,
                                        heed_tensor *v, heed_tensor **k_all, heed_tensor **v_all)
{
    heed_tensor *keys, *values;
    int64_t n = k->rank == 4 ? k->dim[1] : 0;
    HD_TRY(check_rows(cache, k, "k", n, cache->opts.D));
    HD_TRY(check_rows(cache, v, "v", n, cache->opts.E));
    HD_TRY(extended(tape, cache, &cache->k, k, &keys));
    HD_TRY(extended(tape, cache, &cache->v, v, &values));
    HD_TRY(heed_attention_cache_append(cache, n, k->data, k->stride, v->data, v->stride));
    *k_all = keys, *v_all = values;
    return HEED_OK;
}
