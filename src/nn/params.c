/* SPDX-License-Identifier: Apache-2.0
 *
 * Named tensors that outlive a step, and their gradients: drawn, found, copied for other tapes, and
 * summed.
 *
 * The numbers a tensor starts from depend on the seed and its own name alone, so a model keeps its
 * draw when layers are added beside it. */
#include "nn/params.h"
#include "base/pool.h"
#include "base/random.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PIECE_ITEMS INT64_C(16384) /* 64 KiB of float32: four such rows stay in a second cache */

heed_status heed_params_new(heed_dtype dtype, uint64_t seed, heed_params **out)
{
    heed_params *params;

    if (dtype == HEED_BF16)
        return hd_fail(HEED_E_ARG, "params: bfloat16 is for the plain calls of attention alone");
    if (dtype != HEED_F32 && dtype != HEED_F64)
        return hd_fail(HEED_E_ARG, "params: %d is no element type", (int)dtype);
    params = hd_alloc(1, sizeof *params);
    if (!params || !(params->arena = hd_arena_new(0))) {
        hd_free(params);
        return hd_fail(HEED_E_NOMEM, "params: no memory");
    }
    params->dtype = dtype;
    params->seed = seed;
    *out = params;
    return HEED_OK;
}

void heed_params_free(heed_params *params)
{
    if (!params)
        return;
    hd_free(params->param);
    hd_arena_free(params->arena);
    hd_free(params);
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits; hd_rng() mixes it further. */
static uint64_t name_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001B3);
    return hash;
}

static double draw(heed_rng *rng, heed_init init, double scale)
{
    double z;

    switch (init) {
    case HEED_INIT_ZEROS:
        return 0;
    case HEED_INIT_ONES:
        return 1;
    case HEED_INIT_NORMAL:
        return scale * hd_random_normal(rng);
    case HEED_INIT_TRUNCATED_NORMAL:
        do {
            z = hd_random_normal(rng);
        } while (fabs(z) > 2);
        return scale * z;
    case HEED_INIT_UNIFORM:
    case HEED_INIT_XAVIER_UNIFORM:
        return scale * (2 * hd_random_unit(rng) - 1);
    }
    return 0;
}

static void fill(heed_tensor *x, heed_rng rng, heed_init init, double scale)
{
    int64_t count = hd_count(x);

    if (init == HEED_INIT_XAVIER_UNIFORM)
        scale *= sqrt(6.0 / (double)(x->dim[0] + x->dim[1]));
    for (int64_t i = 0; i < count; i++) {
        double a = draw(&rng, init, scale);
        if (x->dtype == HEED_F32)
            ((float *)x->data)[i] = (float)a;
        else
            ((double *)x->data)[i] = a;
    }
}

/* Room for one more, and the tensor without its numbers. */
static heed_status param_new(heed_params *params, const char *name, const int64_t *dim, int rank,
                             struct hd_param **out)
{
    heed_tensor shape;
    struct hd_param *p;

    HD_TRY(hd_tensor_init(&shape, params->dtype, dim, rank));
    if (params->count == params->room) {
        int64_t room = params->room ? 2 * params->room : 32;
        void *grown = hd_resize(params->param, (size_t)room, sizeof *params->param);
        if (!grown)
            return hd_fail(HEED_E_NOMEM, "params: no memory for %s", name);
        params->param = grown;
        params->room = room;
    }
    p = hd_arena_zalloc(params->arena, 1, sizeof *p);
    if (!p || !(p->name = hd_arena_strdup(params->arena, name)))
        return hd_fail(HEED_E_NOMEM, "params: no memory for %s", name);
    p->tensor = shape;
    p->tensor.wants_grad = true;
    p->tensor.home = params->arena;
    p->rows = rank == 2 ? dim[0] : 1;
    p->cols = rank == 2 ? dim[1] : hd_count(&shape);
    p->row_grain = p->cols > 0 && p->cols < PIECE_ITEMS ? PIECE_ITEMS / p->cols : 1;
    *out = p;
    return HEED_OK;
}

static void param_keep(heed_params *params, struct hd_param *p)
{
    p->first_piece = params->pieces;
    params->pieces += (p->rows + p->row_grain - 1) / p->row_grain;
    params->param[params->count++] = p;
}

heed_status heed_params_add(heed_params *params, const char *name, const int64_t *dim, int rank,
                            heed_init init, double scale, heed_tensor **tensor)
{
    struct hd_param *p;

    if (params->origin)
        return hd_fail(HEED_E_STATE, "params: %s cannot be added to a replica", name);
    if (!*name)
        return hd_fail(HEED_E_ARG, "params: a tensor needs a name");
    if (heed_params_find(params, name))
        return hd_fail(HEED_E_EXISTS, "params: there is a %s already", name);
    if (init < HEED_INIT_ZEROS || init > HEED_INIT_XAVIER_UNIFORM || !isfinite(scale))
        return hd_fail(HEED_E_ARG, "params: %s: init %d with scale %g", name, (int)init, scale);
    if (init == HEED_INIT_XAVIER_UNIFORM && rank != 2)
        return hd_fail(HEED_E_SHAPE, "params: %s: Xavier's draw is for rank 2, not %d", name, rank);
    HD_TRY(param_new(params, name, dim, rank, &p));
    p->tensor.data = hd_arena_alloc(params->arena, (size_t)hd_count(&p->tensor),
                                    hd_kernels_of(&p->tensor)->item_bytes);
    if (!p->tensor.data)
        return hd_fail(HEED_E_NOMEM, "params: no memory for %s %s", name,
                       hd_shape_text(&p->tensor));
    fill(&p->tensor, hd_rng(params->seed, name_hash(name)), init, scale);
    param_keep(params, p);
    *tensor = &p->tensor;
    return HEED_OK;
}

heed_status hd_params_prefix(char full[HD_NAME_BYTES_MAX + 1], const char *prefix,
                             const char *name)
{
    int bytes = snprintf(full, HD_NAME_BYTES_MAX + 1, "%s.%s", prefix, name);

    if (bytes < 0 || bytes > HD_NAME_BYTES_MAX)
        return hd_fail(HEED_E_RANGE, "params: a name of more than %d bytes: %.32s...",
                       HD_NAME_BYTES_MAX, full);
    return HEED_OK;
}

heed_status hd_params_add_under(heed_params *params, const char *prefix, const char *name,
                                const int64_t *dim, int rank, heed_init init, double scale,
                                heed_tensor **tensor)
{
    char full[HD_NAME_BYTES_MAX + 1];

    HD_TRY(hd_params_prefix(full, prefix, name));
    return heed_params_add(params, full, dim, rank, init, scale, tensor);
}

heed_status heed_embedding_init(heed_params *params, const char *prefix, int64_t V, int64_t C,
                                heed_tensor **table)
{
    return hd_params_add_under(params, prefix, "table", (int64_t[]){V, C}, 2, HEED_INIT_NORMAL, 1,
                               table);
}

heed_status heed_linear_init(heed_params *params, const char *prefix, int64_t outputs,
                             int64_t inputs, heed_tensor **w, heed_tensor **b)
{
    heed_tensor *weight;

    HD_TRY(hd_params_add_under(params, prefix, "weight", (int64_t[]){outputs, inputs}, 2,
                               HEED_INIT_XAVIER_UNIFORM, 1, &weight));
    if (b)
        HD_TRY(hd_params_add_under(params, prefix, "bias", &outputs, 1, HEED_INIT_ZEROS, 0, b));
    *w = weight;
    return HEED_OK;
}

heed_status heed_norm_init(heed_params *params, const char *prefix, int64_t width,
                           heed_tensor **gain, heed_tensor **bias)
{
    heed_tensor *ones;

    HD_TRY(hd_params_add_under(params, prefix, "gain", &width, 1, HEED_INIT_ONES, 0, &ones));
    if (bias)
        HD_TRY(hd_params_add_under(params, prefix, "bias", &width, 1, HEED_INIT_ZEROS, 0, bias));
    *gain = ones;
    return HEED_OK;
}

heed_tensor *heed_params_find(heed_params *params, const char *name)
{
    for (int64_t i = 0; i < params->count; i++)
        if (strcmp(params->param[i]->name, name) == 0)
            return &params->param[i]->tensor;
    return NULL;
}

int64_t heed_params_count(const heed_params *params)
{
    return params->count;
}

int64_t heed_params_elements(const heed_params *params)
{
    int64_t elements = 0;

    for (int64_t i = 0; i < params->count; i++)
        elements += hd_count(&params->param[i]->tensor);
    return elements;
}

heed_tensor *heed_params_at(heed_params *params, int64_t i, const char **name)
{
    if (i < 0 || i >= params->count)
        return NULL;
    if (name)
        *name = params->param[i]->name;
    return &params->param[i]->tensor;
}

static void zero_rows(struct hd_param *p, size_t item_bytes, int64_t from, int64_t to)
{
    size_t row_bytes = (size_t)p->cols * item_bytes;
    uint8_t *touched = p->tensor.touched;
    char *grad = p->tensor.grad;

    if (!touched) {
        memset(grad + (size_t)from * row_bytes, 0, (size_t)(to - from) * row_bytes);
        return;
    }
    for (int64_t i = from; i < to; i++)
        if (touched[i])
            memset(grad + (size_t)i * row_bytes, 0, row_bytes);
    memset(touched + from, 0, (size_t)(to - from));
}

void heed_params_zero_grad(heed_params *params)
{
    for (int64_t i = 0; i < params->count; i++) {
        struct hd_param *p = params->param[i];
        if (p->tensor.grad)
            zero_rows(p, hd_kernels_of(&p->tensor)->item_bytes, 0, p->rows);
    }
}

void heed_params_freeze(heed_params *params, bool frozen)
{
    for (int64_t i = 0; i < params->count; i++)
        params->param[i]->tensor.wants_grad = !frozen;
}

heed_status heed_params_replica(heed_params *origin, heed_params **out)
{
    heed_params *replica;

    HD_TRY(heed_params_new(origin->dtype, origin->seed, &replica));
    for (int64_t i = 0; i < origin->count; i++) {
        const struct hd_param *from = origin->param[i];
        struct hd_param *p;
        heed_status status =
            param_new(replica, from->name, from->tensor.dim, from->tensor.rank, &p);
        if (status != HEED_OK) {
            heed_params_free(replica);
            return status;
        }
        p->tensor.data = from->tensor.data;
        p->tensor.wants_grad = from->tensor.wants_grad;
        param_keep(replica, p);
    }
    replica->origin = origin;
    *out = replica;
    return HEED_OK;
}

struct hd_piece hd_params_piece(const heed_params *params, int64_t piece)
{
    int64_t low = 0, high = params->count - 1;

    while (low < high) { /* the last parameter that starts at or before the piece */
        int64_t middle = (low + high + 1) / 2;
        if (params->param[middle]->first_piece <= piece)
            low = middle;
        else
            high = middle - 1;
    }
    const struct hd_param *p = params->param[low];
    int64_t from = (piece - p->first_piece) * p->row_grain, to = from + p->row_grain;
    return (struct hd_piece){low, from, to < p->rows ? to : p->rows};
}

struct reduce {
    heed_params *origin, **replica;
    int count;
};

/* Every number is summed by one thread, replica after replica: the bits do not depend on which. */
static heed_status reduce_piece(void *arg, int64_t task, int worker)
{
    const struct reduce *reduce = arg;
    struct hd_piece piece = hd_params_piece(reduce->origin, task);
    struct hd_param *to = reduce->origin->param[piece.param];
    const struct hd_kernels *k = hd_kernels_of(&to->tensor);

    (void)worker;
    for (int r = 0; r < reduce->count; r++) {
        struct hd_param *from = reduce->replica[r]->param[piece.param];
        uint8_t *touched = from->tensor.touched;
        if (!from->tensor.grad)
            continue;
        for (int64_t i = piece.from; i < piece.to; i++) {
            void *sum = hd_at(to->tensor.grad, k->item_bytes, i * to->cols);
            void *part = hd_at(from->tensor.grad, k->item_bytes, i * to->cols);
            if (touched && !touched[i])
                continue;
            k->add(sum, sum, part, (size_t)to->cols);
            if (touched)
                to->tensor.touched[i] = 1;
        }
        zero_rows(from, k->item_bytes, piece.from, piece.to);
    }
    return HEED_OK;
}

/* The gradient of an origin whose replicas have one, where it has none yet. */
static heed_status grad_new(heed_params *params, struct hd_param *p)
{
    size_t item = hd_kernels_of(&p->tensor)->item_bytes;
    void *grad = hd_arena_zalloc(params->arena, (size_t)hd_count(&p->tensor), item);
    uint8_t *touched = NULL;

    if (!grad ||
        (p->tensor.rank == 2 && !(touched = hd_arena_zalloc(params->arena, (size_t)p->rows, 1))))
        return hd_fail(HEED_E_NOMEM, "params: no memory for the gradient of %s", p->name);
    p->tensor.grad = grad;
    p->tensor.touched = touched;
    return HEED_OK;
}

heed_status heed_params_reduce(heed_params *origin, heed_params **replica, int count,
                               heed_pool *pool)
{
    struct reduce reduce = {origin, replica, count};

    for (int r = 0; r < count; r++) {
        if (replica[r]->origin != origin)
            return hd_fail(HEED_E_ARG, "params: number %d is no replica of this origin", r);
        if (replica[r]->count != origin->count)
            return hd_fail(HEED_E_STATE, "params: the origin was added to after replica %d", r);
        for (int64_t i = 0; i < origin->count; i++)
            if (replica[r]->param[i]->tensor.grad && !origin->param[i]->tensor.grad)
                HD_TRY(grad_new(origin, origin->param[i]));
    }
    return hd_pool_run(pool, origin->pieces, reduce_piece, &reduce);
}
