/* SPDX-License-Identifier: Apache-2.0
 *
 * See widen.h. Each array has a contiguous float32 copy in scratch; what the call reads is widened,
 * which is exact, and what it wrote is rounded to nearest even. The method's own scratch lies behind
 * the copies. */
#include "attention/widen.h"
#include "attention/layout.h"
#include "base/pool.h"
#include "kernel/kernel.h"

#include <string.h>

#define ARRAYS 8

/* An array and its copy. */
struct copy {
    int64_t stride[3]; /* of the array; all 0: contiguous */
    int64_t L, heads, width;
    uint16_t *narrow;
    float *wide;
    bool read, written; /* by the call */
};

struct job {
    const heed_attention_opts *opts;
    int64_t B;
    heed_attention_arrays wide; /* the call on the copies */
    struct copy copies[ARRAYS];
    int count;
    bool back; /* round what was written; else widen what is read */
};

#define FIELD(name) offsetof(heed_attention_arrays, name)
/* The arrays that share the element type; the last four are the backward's. */
static const struct {
    size_t array, stride;
    bool of_keys, of_values; /* rows are keys, are E wide */
} fields[ARRAYS] = {
    {FIELD(q), FIELD(q_stride), false, false},   {FIELD(k), FIELD(k_stride), true, false},
    {FIELD(v), FIELD(v_stride), true, true},     {FIELD(out), FIELD(out_stride), false, true},
    {FIELD(dout), FIELD(out_stride), false, true}, {FIELD(dq), FIELD(q_stride), false, false},
    {FIELD(dk), FIELD(k_stride), true, false},   {FIELD(dv), FIELD(v_stride), true, true},
};
enum { OUT = 3, DOUT = 4 };

bool hd_is_widened(const heed_attention_opts *opts, const heed_attention_arrays *arrays,
                   bool backward)
{
    bool tiles = !backward && opts->score == HEED_SCORE_DOT && !opts->rotary;
    return arrays->dtype == HEED_BF16 && !tiles;
}

/* Rows of one head in all sequences. */
static int64_t rows_of(const struct job *j, const struct copy *c)
{
    return j->opts->offsets ? j->opts->offsets[j->B] : j->B * c->L;
}

static size_t copy_bytes(const struct job *j, const struct copy *c)
{
    return hd_arena_lines((size_t)(rows_of(j, c) * c->heads * c->width) * sizeof(float));
}

/* The copies, and the call on them; their memory is at `memory` (NULL: only counts). */
static size_t job_init(struct job *j, const heed_attention_opts *o, const heed_attention_arrays *a,
                       bool backward, char *memory)
{
    size_t used = 0;
    *j = (struct job){.opts = o, .B = a->B, .wide = *a, .count = backward ? ARRAYS : DOUT};
    j->wide.dtype = HEED_F32;
    for (int i = 0; i < j->count; i++) {
        struct copy *c = &j->copies[i];
        c->L = fields[i].of_keys ? a->S : a->T;
        c->heads = fields[i].of_keys && a->kv_heads ? a->kv_heads : a->H;
        c->width = fields[i].of_values ? a->E : a->D;
        c->read = i < OUT || (backward && (i <= DOUT || a->accumulate));
        c->written = backward ? i > DOUT : i == OUT;
        memcpy(c->stride, (const char *)a + fields[i].stride, sizeof c->stride);
        memcpy(&c->narrow, (const char *)a + fields[i].array, sizeof c->narrow);
        memset((char *)&j->wide + fields[i].stride, 0, sizeof c->stride);
        if (memory) {
            c->wide = (void *)(memory + used);
            memcpy((char *)&j->wide + fields[i].array, &c->wide, sizeof c->wide);
        }
        used += copy_bytes(j, c);
    }
    return used;
}

/* One head of one sequence of one array: a task. */
static void copy_head(const struct job *j, const struct copy *c, int64_t b, int64_t h)
{
    const struct hd_kernels_bf16 *k = hd_kernels_bf16();
    const int64_t *given = c->stride, *offsets = j->opts->offsets;
    bool contiguous = !given[0] && !given[1] && !given[2];
    int64_t row = contiguous ? c->heads * c->width : given[1];
    int64_t head = contiguous ? c->width : given[2];
    int64_t batch = contiguous ? c->L * row : given[0];
    int64_t first = offsets ? offsets[b] : b * c->L;
    int64_t rows = offsets ? offsets[b + 1] - first : c->L;
    if (rows == 0)
        return; /* maybe there is no array */
    uint16_t *narrow = c->narrow + (offsets ? first * row : b * batch) + h * head;
    float *wide = c->wide + (first * c->heads + h) * c->width;
    for (int64_t i = 0; i < rows; i++, narrow += row, wide += c->heads * c->width) {
        if (j->back)
            k->from_f32(narrow, wide, (size_t)c->width);
        else
            k->to_f32(wide, narrow, (size_t)c->width);
    }
}

static heed_status copy_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    const struct copy *c = &j->copies[task / j->B];
    (void)worker;
    if (j->back ? c->written : c->read)
        for (int64_t h = 0; h < c->heads; h++)
            copy_head(j, c, task % j->B, h);
    return HEED_OK;
}

/* The copies and the call on them, or 0 where that is refused. */
static uint64_t pass_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                           const heed_attention_arrays *arrays, bool backward)
{
    struct job j;
    size_t copies = job_init(&j, opts, arrays, backward, NULL);
    uint64_t inner = heed_attention_scratch_bytes(pool, opts, &j.wide, backward);
    return inner ? copies + inner : 0;
}

uint64_t hd_widened_scratch_bytes(const heed_pool *pool, const heed_attention_opts *opts,
                                  const heed_attention_arrays *arrays, bool backward)
{
    uint64_t own = pass_bytes(pool, opts, arrays, backward), bytes = own ? HD_ARENA_ALIGN + own : 0;
    uint64_t forward = backward ? heed_attention_scratch_bytes(pool, opts, arrays, false) : 0;
    return bytes > forward ? bytes : forward;
}

heed_status hd_widened_run(heed_pool *pool, const heed_attention_opts *opts,
                           const heed_attention_arrays *arrays, bool backward)
{
    uint64_t need = pass_bytes(pool, opts, arrays, backward);
    char *memory;
    void *heap;
    struct job j;
    HD_TRY(hd_scratch_take(arrays, (size_t)need, &memory, &heap));
    size_t copies = job_init(&j, opts, arrays, backward, memory);
    j.wide.scratch = memory + copies;
    j.wide.scratch_bytes = need - copies;
    heed_status status = hd_pool_run(pool, j.B * j.count, copy_task, &j);
    if (status == HEED_OK)
        status = backward ? heed_attention_backward(pool, opts, &j.wide)
                          : heed_attention_forward(pool, opts, &j.wide);
    j.back = true;
    if (status == HEED_OK)
        status = hd_pool_run(pool, j.B * j.count, copy_task, &j);
    hd_free(heap);
    return status;
}
