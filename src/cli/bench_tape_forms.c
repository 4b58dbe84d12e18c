/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms with weights of their own, timed on a tape as they are trained. A backward begins at a loss:
 * the softmax over each result's numbers, which costs little beside them. */
#include "cli/bench_forms.h"
#include "heed/nn.h"

struct tape_form {
    heed_tape *tape;
    heed_params *params;
    float *a, *e;    /* candidates (B, H, C), histories (B, L, C) */
    int32_t *labels; /* (B H) */
    uint64_t inputs_bytes;
    heed_target_weights target;
    heed_tensor *map; /* of routing */
};

static const int64_t target_units[2] = {80, 40}; /* as published */
#define ROUTING_PASSES 3

/* job->own, with a tape and inputs. */
static heed_status set_tape(struct hd_form_job *job)
{
    const struct hd_form_shape *s = &job->shape;
    struct tape_form *own = hd_arena_zalloc(job->arena, 1, sizeof *own);

    if (!own)
        return hd_fail(HEED_E_NOMEM, "bench: no memory for %s", job->form->name);
    job->own = own;
    own->a = hd_form_numbers(job, s->B * s->H * s->D, 0);
    own->e = hd_form_numbers(job, s->B * s->L * s->D, 1);
    own->labels = hd_arena_zalloc(job->arena, (size_t)(s->B * s->H), sizeof *own->labels);
    own->inputs_bytes = job->bytes;
    if (!own->a || !own->e || !own->labels)
        return hd_fail(HEED_E_NOMEM, "bench: no memory for %s", job->form->name);
    HD_TRY(heed_tape_new(job->pool, 1, &own->tape));
    heed_tape_record(own->tape, job->backward);
    return heed_params_new(HEED_F32, 1, &own->params);
}

void hd_bench_tape_clear(struct hd_form_job *job)
{
    struct tape_form *own = job->own;

    heed_tape_free(own->tape);
    heed_params_free(own->params);
}

static heed_status wrap(const struct hd_form_job *job, float *data, int64_t middle,
                        heed_tensor **x)
{
    const struct tape_form *own = job->own;
    const int64_t dim[3] = {job->shape.B, middle, job->shape.D};
    return heed_tensor_wrap(own->tape, HEED_F32, data, dim, 3, job->backward, x);
}

/* The backward, where it is timed; then all is forgotten. */
static heed_status finish(struct hd_form_job *job, heed_tensor *out)
{
    struct tape_form *own = job->own;
    const int64_t rows[2] = {job->shape.B * job->shape.H, job->shape.D};
    heed_status status = HEED_OK;
    heed_tensor *loss;

    if (job->backward) {
        status = heed_reshape(own->tape, out, rows, 2, &out);
        if (status == HEED_OK)
            status = heed_softmax_loss(own->tape, out, own->labels, NULL, &loss);
        if (status == HEED_OK)
            status = heed_tape_backward(own->tape, loss);
        heed_params_zero_grad(own->params);
    }
    job->bytes = own->inputs_bytes + heed_tape_bytes(own->tape);
    heed_tape_reset(own->tape);
    return status;
}

heed_status hd_bench_target_set(struct hd_form_job *job)
{
    HD_TRY(set_tape(job));
    struct tape_form *own = job->own;
    return heed_target_init(own->params, "target", job->shape.D, target_units, 2,
                           HEED_TARGET_DICE, &own->target);
}

heed_status hd_bench_target_run(struct hd_form_job *job)
{
    struct tape_form *own = job->own;
    heed_tensor *a, *e, *out = NULL;
    heed_status status = wrap(job, own->a, job->shape.H, &a);

    if (status == HEED_OK)
        status = wrap(job, own->e, job->shape.L, &e);
    if (status == HEED_OK)
        status = heed_target(own->tape, a, e, &own->target, NULL, &out, NULL);
    return status == HEED_OK ? finish(job, out) : status;
}

/* A network over [a, e, a - e, a e] for each pair, and the sum of what it weighs. */
double hd_bench_target_count(const struct hd_form_job *job)
{
    double C = (double)job->shape.D, first = (double)target_units[0],
           second = (double)target_units[1];
    double pairs = (double)(job->shape.B * job->shape.H * job->shape.L);
    return pairs * (2 * (4 * C * first + first * second + second) + 2 * C);
}

heed_status hd_bench_routing_set(struct hd_form_job *job)
{
    const int64_t dim[2] = {job->shape.D, job->shape.D};

    HD_TRY(set_tape(job));
    struct tape_form *own = job->own;
    return heed_params_add(own->params, "map", dim, 2, HEED_INIT_XAVIER_UNIFORM, 1, &own->map);
}

heed_status hd_bench_routing_run(struct hd_form_job *job)
{
    struct tape_form *own = job->own;
    heed_routing_opts opts = {.interests = job->shape.H, .iterations = ROUTING_PASSES, .seed = 1};
    heed_tensor *e, *out = NULL;
    heed_status status = wrap(job, own->e, job->shape.L, &e);

    if (status == HEED_OK)
        status = heed_routing(own->tape, e, own->map, &opts, &out, NULL);
    return status == HEED_OK ? finish(job, out) : status;
}

/* Capsules once; then in each pass their sum by interest, and in all but the last their agreement. */
double hd_bench_routing_count(const struct hd_form_job *job)
{
    double C = (double)job->shape.D, K = (double)job->shape.H;
    double events = (double)(job->shape.B * job->shape.L);
    return events * (2 * C * C + (2 * ROUTING_PASSES - 1) * 2 * K * C);
}
