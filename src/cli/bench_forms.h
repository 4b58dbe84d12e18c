/* SPDX-License-Identifier: Apache-2.0
 *
 * The forms of attention, each made ready to be timed: its options, its arrays, and how many
 * operations its formula needs. */
#ifndef HD_BENCH_FORMS_H
#define HD_BENCH_FORMS_H

#include "cli/bench.h"
#include "base/memory.h"
#include "heed/attention.h"

struct hd_form_shape {
    int64_t B, H, L, D;
    int64_t S; /* keys; 0: L */
};

struct hd_form_job {
    const struct hd_form *form;
    heed_pool *pool;
    struct hd_form_shape shape;
    heed_dtype dtype;
    bool causal, backward;
    hd_arena *arena; /* all that the job holds, but for what a tape has */
    uint64_t bytes;  /* of it: inputs, results and scratch */
    heed_attention_opts opts;
    heed_attention_arrays arrays;
    void *own; /* of a form that is no call on such arrays */
};

enum {
    HD_FORM_BACKWARD = 1 << 0, /* has one */
    HD_FORM_CAUSAL = 1 << 1,   /* is timed with a causal mask too */
    HD_FORM_BFLOAT16 = 1 << 2, /* and with inputs of bfloat16 */
};

struct hd_form {
    const char *name;
    unsigned traits;            /* HD_FORM_... */
    struct hd_form_shape shape; /* that it is timed with; B 0: those of dense attention */
    /* Sets options and what they need; arrays hold the shape's already. */
    heed_status (*set)(struct hd_form_job *job);
    /* Multiplications, additions and functions of the forward. */
    double (*operations)(const struct hd_form_job *job);
    /* Of a form that is no call on such arrays, else NULL: set() makes job->own. */
    heed_status (*run)(struct hd_form_job *job);
    void (*clear)(struct hd_form_job *job);
};

/* Forms on a tape (bench_tape_forms.c). Shape: H counts candidates, or interests. */
HEED_CHECKED heed_status hd_bench_target_set(struct hd_form_job *job);
HEED_CHECKED heed_status hd_bench_target_run(struct hd_form_job *job);
double hd_bench_target_count(const struct hd_form_job *job);
HEED_CHECKED heed_status hd_bench_routing_set(struct hd_form_job *job);
HEED_CHECKED heed_status hd_bench_routing_run(struct hd_form_job *job);
double hd_bench_routing_count(const struct hd_form_job *job);
void hd_bench_tape_clear(struct hd_form_job *job);

/* Numbers between -1 and 1 in the job's arena, the same each time; NULL: no memory. */
float *hd_form_numbers(struct hd_form_job *job, int64_t count, uint64_t stream);

extern const struct hd_form hd_forms[]; /* ends with a row without a name */
const struct hd_form *hd_form_find(const char *name);

/* job->form, pool, shape, dtype, causal and backward are given. Undone by hd_form_clear(), also
 * after a failure. */
HEED_CHECKED heed_status hd_form_prepare(struct hd_form_job *job);
/* A hd_bench_fn of a struct hd_form_job. */
HEED_CHECKED heed_status hd_form_run(void *job);
double hd_form_operations(const struct hd_form_job *job);
void hd_form_clear(struct hd_form_job *job);

#endif
