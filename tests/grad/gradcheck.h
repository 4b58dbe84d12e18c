/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward against central differences in float64, for any operation or block of them.
 *
 * The check calls `build` twice on one tape and takes
 *
 *     L = r1 . out1 + r2 . out2,      r1, r2 random,
 *
 * so that every element of the result matters, and every gradient is written once by the first call
 * and added to by the second. Each number of each input is moved by h = cbrt(eps) max(1, |x|) both
 * ways; the difference's own error is h^2 |L'''| / 6 + eps mass / h, mass = sum |r out|, hence the
 * bound: 1e-6 of the derivative plus 1e-10 of the mass. */
#ifndef HEED_GRADCHECK_H
#define HEED_GRADCHECK_H

#include "base/random.h"
#include "heed/nn.h"
#include "tensor/tape.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define GC_INPUTS_MAX 12

/* Makes the result from the inputs, as often as it is called; the tape draws the same random
 * numbers each time. */
typedef heed_status (*gc_build_fn)(heed_tape *tape, heed_tensor **in, void *arg, heed_tensor **out);

struct gc_case {
    const char *name;
    gc_build_fn build;
    void *arg;
    int inputs;
    struct {
        int rank;
        int64_t dim[HEED_RANK_MAX];
        double scale; /* of its numbers; 0: 1 */
    } input[GC_INPUTS_MAX];
};

/* HEED_SEED, or one that is fixed: the tests are the same each time unless asked. */
static inline uint64_t gc_seed(void)
{
    const char *text = getenv("HEED_SEED");

    return text ? strtoull(text, NULL, 0) : 20261120;
}

/* r . out, by the product that heed_linear makes; the mass of it is added up beside. */
static inline heed_status gc_project(heed_tape *tape, heed_tensor *out, heed_rng *rng,
                                     heed_tensor **loss, double *mass)
{
    int64_t n = hd_count(out);
    heed_tensor *row, *r, *dot;

    HD_TRY(heed_reshape(tape, out, (int64_t[]){1, n}, 2, &row));
    HD_TRY(heed_tensor_new_in(tape, HEED_F64, (int64_t[]){1, n}, 2, &r));
    for (int64_t i = 0; i < n; i++) {
        ((double *)r->data)[i] = hd_random_normal(rng);
        *mass += fabs(((double *)r->data)[i] * ((double *)out->data)[i]);
    }
    HD_TRY(heed_linear(tape, row, r, NULL, &dot));
    return heed_reshape(tape, dot, NULL, 0, loss);
}

/* L; with grads not NULL also the gradient of input i in grads[i] (its elements, or not touched
 * where none arrived). */
static inline heed_status gc_run(const struct gc_case *c, heed_tape *tape, double **data,
                                 uint64_t seed, double *loss, double *mass, double **grads)
{
    heed_tensor *in[GC_INPUTS_MAX], *out[2], *part[2], *total;
    heed_rng rng = hd_rng(seed, 1);

    heed_tape_reset(tape);
    heed_tape_seed(tape, seed, 2);
    *mass = 0;
    for (int i = 0; i < c->inputs; i++)
        HD_TRY(heed_tensor_wrap(tape, HEED_F64, data[i], c->input[i].dim, c->input[i].rank, true,
                                &in[i]));
    for (int i = 0; i < 2; i++) {
        HD_TRY(c->build(tape, in, c->arg, &out[i]));
        HD_TRY(gc_project(tape, out[i], &rng, &part[i], mass));
    }
    HD_TRY(heed_add(tape, part[0], part[1], &total));
    *loss = *(double *)total->data;
    if (!grads)
        return HEED_OK;
    HD_TRY(heed_tape_backward(tape, total));
    for (int i = 0; i < c->inputs; i++)
        for (int64_t j = 0; in[i]->grad && j < hd_count(in[i]); j++)
            grads[i][j] = ((double *)in[i]->grad)[j];
    return HEED_OK;
}

/* True where every derivative agrees; else says which does not. */
static inline bool gc_check_seed(const struct gc_case *c, uint64_t seed)
{
    double *data[GC_INPUTS_MAX] = {0}, *grads[GC_INPUTS_MAX] = {0}, loss, mass, up, down, unused;
    heed_rng rng = hd_rng(seed, 0);
    heed_tape *tape = NULL;
    bool good = true;

    if (heed_tape_new(NULL, seed, &tape) != HEED_OK)
        goto failed;
    for (int i = 0; i < c->inputs; i++) {
        int64_t n = 1;
        double scale = c->input[i].scale > 0 ? c->input[i].scale : 1;
        for (int d = 0; d < c->input[i].rank; d++)
            n *= c->input[i].dim[d];
        data[i] = calloc((size_t)n + 1, sizeof(double));
        grads[i] = calloc((size_t)n + 1, sizeof(double));
        for (int64_t j = 0; j < n; j++) { /* away from 0, where ReLU has no derivative */
            double x = 0.05 + 1.2 * hd_random_unit(&rng);
            data[i][j] = scale * (hd_random_below(&rng, 2) ? x : -x);
        }
    }
    if (gc_run(c, tape, data, seed, &loss, &mass, grads) != HEED_OK)
        goto failed;
    for (int i = 0; i < c->inputs; i++) {
        int64_t n = 1;
        for (int d = 0; d < c->input[i].rank; d++)
            n *= c->input[i].dim[d];
        for (int64_t j = 0; j < n; j++) {
            double x = data[i][j], h = cbrt(DBL_EPSILON) * fmax(1, fabs(x));
            volatile double above = x + h, below = x - h; /* what the machine makes of them */
            data[i][j] = above;
            if (gc_run(c, tape, data, seed, &up, &unused, NULL) != HEED_OK)
                goto failed;
            data[i][j] = below;
            if (gc_run(c, tape, data, seed, &down, &unused, NULL) != HEED_OK)
                goto failed;
            data[i][j] = x;
            double want = (up - down) / (above - below), got = grads[i][j];
            double bound = 1e-6 * fmax(fabs(want), fabs(got)) + 1e-10 * fmax(1, mass);
            if (!(fabs(want - got) <= bound)) { /* so that NaN fails too */
                fprintf(stderr,
                        "%s: input %d, element %" PRId64 ": backward %.12g, differences %.12g "
                        "(seed %" PRIu64 ")\n",
                        c->name, i, j, got, want, seed);
                good = false;
                goto done;
            }
        }
    }
    goto done;
failed:
    fprintf(stderr, "%s: %s (seed %" PRIu64 ")\n", c->name, heed_error_message(), seed);
    good = false;
done:
    for (int i = 0; i < c->inputs; i++) {
        free(data[i]);
        free(grads[i]);
    }
    heed_tape_free(tape);
    return good;
}

static inline bool gc_check(const struct gc_case *c)
{
    return gc_check_seed(c, gc_seed());
}

#endif
