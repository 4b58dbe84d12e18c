/* SPDX-License-Identifier: Apache-2.0
 *
 * Training of hd_sequence: same seed, same bits, on one thread or many.
 *
 * A step takes a batch of windows and cuts it, by size alone, into passes of about HD_BATCH_ROWS rows
 * or less. Pass i belongs to lane i mod LANES; a lane adds up the gradients of its passes in order, the
 * lanes' sums are added in order. Threads take lanes, each with a tape of its own, so a pass runs on
 * one core out of its own caches, and nothing depends on how many there are.
 *
 *     batch ─▶ pass 0, 1, 2 … ─▶ lane 0: 0, 8, …   ┐
 *                               lane 1: 1, 9, …   ├─▶ sum ─▶ Adam
 *                               …                 ┘
 */
#include "base/memory.h"
#include "base/pool.h"
#include "base/random.h"
#include "base/time.h"
#include "models/evaluate.h"
#include "models/sequence_batch.h"
#include "models/sequence_impl.h"
#include "nn/params.h"
#include "nn/safetensors.h"
#include "tensor/tape.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LANES 8

#define BATCH_MAX 65535
#define BATCH_ORDINARY 128
#define BATCH_LEAST 16
#define STEPS_WANTED 48 /* of an epoch, where the batch is left to us: fewer learn too little */

/* Streams of random numbers, so that no two uses share one. */
enum { STREAM_WINDOWS = 1, STREAM_DROPOUT = 2 };

struct window {
    int64_t user, start; /* the first event of the window within the user's history */
    int32_t count, context;
};

struct pass {
    int64_t first, count; /* windows */
};

struct worker {
    heed_tape *tape;
    struct hd_sequence_rows rows;
    float *network, *memory; /* of one user, (V) */
};

struct lane {
    heed_params *params;
    struct hd_sequence_net net;
    double loss;
};

struct trainer {
    const struct hd_histories *hist;
    const struct hd_sequence_train_opts *opts;
    struct hd_sequence_config config;
    hd_sequence *model;
    heed_adam *adam;
    struct lane lane[LANES];
    struct worker *worker;
    int workers;
    struct window *window;
    int64_t windows, windows_max;
    struct pass *pass;
    int64_t passes;
    int64_t step, step_positions, steps_per_epoch;
    int64_t batch_first; /* of the step under way, in `window` */
    struct hd_sequence_hyper hyper;
    hd_sequence *best; /* as it was when validation was best */
    int64_t epoch, best_epoch, positions;
    double best_ndcg10, loss;
    int32_t *rank;  /* (users, SHARES): of each user's validation item, 0 where there is none */
    int64_t *ranks; /* of one share, those that are there */
};

/* ---- windows: every event but a user's first is a target once an epoch. A history longer than a
 * window is cut at a place drawn anew each epoch, so that each target is seen behind other pasts. */
static void add_window(struct trainer *t, int64_t user, int64_t start, int64_t count,
                       int64_t context)
{
    t->window[t->windows++] =
        (struct window){user, start, (int32_t)count, (int32_t)(context < count ? context : count)};
}

static void cut_user(struct trainer *t, int64_t user, heed_rng *rng)
{
    int64_t L = t->config.length, targets = hd_split_train_count(t->hist, user) - 1;

    if (targets < 1)
        return;
    if (targets <= L) {
        add_window(t, user, 0, targets, 0);
        return;
    }
    /* Rows are inputs 0 .. targets - 1. Each window ends at a cut; the rows of it that an earlier
     * window has already covered give context only. */
    int64_t stride = L - L / 4;
    int64_t end = 1 + (int64_t)hd_random_below(rng, (uint64_t)stride), done = 0;
    for (;;) {
        if (end > targets)
            end = targets;
        int64_t start = end > L ? end - L : 0;
        add_window(t, user, start, end - start, done > start ? done - start : 0);
        done = end;
        if (done >= targets)
            return;
        end = done + stride;
    }
}

static void cut_epoch(struct trainer *t, int64_t epoch)
{
    heed_rng rng = hd_rng(t->opts->seed, (uint64_t)(epoch << 8 | STREAM_WINDOWS));

    t->windows = 0;
    for (int64_t u = 0; u < t->hist->users; u++)
        cut_user(t, u, &rng);
    for (int64_t i = t->windows - 1; i > 0; i--) {
        int64_t j = (int64_t)hd_random_below(&rng, (uint64_t)(i + 1));
        struct window w = t->window[i];
        t->window[i] = t->window[j];
        t->window[j] = w;
    }
}

/* ---- one step */
static heed_status run_pass(struct trainer *t, struct worker *w, struct lane *lane, int64_t index)
{
    const struct pass *p = &t->pass[index];
    const struct hd_histories *h = t->hist;
    heed_tensor *state, *table, *loss;
    double scale;

    hd_sequence_rows_reset(&w->rows);
    for (int64_t i = 0; i < p->count; i++) {
        const struct window *win = &t->window[t->batch_first + p->first + i];
        int64_t at = h->offset[win->user] + win->start, end = at + win->count;
        hd_sequence_rows_add(&w->rows, h->item + at, h->time ? h->time + at : NULL, win->count,
                             win->context, h->item[end], h->time ? h->time[end] : 0);
    }
    struct hd_sequence_batch batch = hd_sequence_rows_batch(&w->rows);

    heed_tape_reset(w->tape);
    heed_tape_record(w->tape, true);
    heed_tape_bf16(w->tape, !t->hyper.exact);
    heed_tape_seed(w->tape, t->opts->seed, (uint64_t)(((t->step << 16 | index) << 8) | STREAM_DROPOUT));
    HD_TRY(hd_sequence_forward(w->tape, &lane->net, &batch, t->hyper.dropout, &state, NULL));
    HD_TRY(hd_sequence_output(w->tape, &lane->net, &table, &scale));
    heed_loss_opts opts = {
        .weight = 1.0 / (double)t->step_positions,
        .logit_scale = scale,
        .label_smoothing = t->hyper.label_smoothing,
        .exact = t->hyper.exact,
    };
    HD_TRY(heed_cross_entropy(w->tape, state, table, w->rows.label, &opts, &loss));
    HD_TRY(heed_tape_backward(w->tape, loss));
    lane->loss += (double)*(float *)loss->data;
    return HEED_OK;
}

static heed_status run_lane(void *arg, int64_t index, int worker)
{
    struct trainer *t = arg;

    for (int64_t i = index; i < t->passes; i += LANES)
        if (t->pass[i].count)
            HD_TRY(run_pass(t, &t->worker[worker], &t->lane[index], i));
    return HEED_OK;
}

/* How many passes: 1, 2, 4 or a multiple of LANES, so that threads have as much to do as each other. */
static int64_t count_passes(int64_t rows)
{
    int64_t need = (rows + HD_BATCH_ROWS - 1) / HD_BATCH_ROWS, passes = 1;

    while (passes < need && passes < LANES)
        passes *= 2;
    return passes < need ? (need + LANES - 1) / LANES * LANES : passes;
}

/* Cuts windows first .. first + count - 1, in order, into passes of as equal rows as can be: a window
 * goes to the pass in whose share of the rows its middle lies. */
static void cut_passes(struct trainer *t, int64_t first, int64_t count)
{
    const struct window *w = t->window + first;
    int64_t rows = 0, done = 0;

    t->step_positions = 0;
    t->batch_first = first;
    for (int64_t i = 0; i < count; i++) {
        rows += w[i].count;
        t->step_positions += w[i].count - w[i].context;
    }
    t->passes = count_passes(rows);
    memset(t->pass, 0, (size_t)t->passes * sizeof *t->pass);
    for (int64_t i = 0; i < count; i++) {
        struct pass *pass = &t->pass[(2 * done + w[i].count) * t->passes / (2 * rows)];
        pass->first = pass->count ? pass->first : i;
        pass->count++;
        done += w[i].count;
    }
}

static heed_status run_step(struct trainer *t, int64_t first, int64_t count, double rate,
                            double *loss)
{
    heed_params *replica[LANES];

    cut_passes(t, first, count);
    for (int i = 0; i < LANES; i++) {
        t->lane[i].loss = 0;
        replica[i] = t->lane[i].params;
    }
    HD_TRY(hd_pool_run(t->opts->pool, LANES, run_lane, t));
    *loss = 0;
    for (int i = 0; i < LANES; i++)
        *loss += t->lane[i].loss;
    if (!isfinite(*loss))
        return hd_fail(HEED_E_RANGE, "train: the loss is %g at step %lld: lower the rate", *loss,
                       (long long)t->step);
    HD_TRY(heed_params_reduce(t->model->params, replica, LANES, t->opts->pool));
    HD_TRY(heed_adam_step(t->adam, rate, t->opts->pool, NULL));
    heed_params_zero_grad(t->model->params);
    t->step++;
    return HEED_OK;
}

/* ---- validation: the second last event of each user, ranked against the whole catalogue as
 * hd_rank_targets() does, for each share that the memory might have. One pass finds the best. */
#define SHARES 20          /* 0, 1 / 20 ... 19 / 20 */
#define VALIDATION_GRAIN 64 /* users a task */

static double share_at(int i)
{
    return (double)i / SHARES;
}

/* Ties and no-numbers stand before the target; an item that the user has had is out of the ranking
 * (below 0). */
static void rank_shares(const float *network, const float *memory, int64_t items, int32_t target,
                        int32_t *rank)
{
    for (int i = 0; i < SHARES; i++) {
        float b = (float)share_at(i), a = 1 - b;
        float score = a * network[target] + b * memory[target];
        int32_t above = 0;
        for (int64_t v = 0; v < items; v++)
            above += !(a * network[v] + b * memory[v] < score);
        rank[i] = above; /* the target itself is counted, so ranks start at 1 */
    }
}

static heed_status rank_users(void *arg, int64_t task, int worker)
{
    struct trainer *t = arg;
    const struct hd_histories *h = t->hist;
    struct worker *w = &t->worker[worker];
    int64_t end = (task + 1) * VALIDATION_GRAIN;

    for (int64_t u = task * VALIDATION_GRAIN; u < end && u < h->users; u++) {
        const int32_t *item = h->item + h->offset[u];
        const heed_time *time = h->time ? h->time + h->offset[u] : NULL;
        int64_t n = h->offset[u + 1] - h->offset[u] - 2;
        bool repeat = false;

        memset(t->rank + u * SHARES, 0, SHARES * sizeof *t->rank);
        for (int64_t i = 0; i < n; i++)
            repeat |= item[i] == item[n];
        if (!hd_split_holds_out(h, u) || repeat)
            continue;
        HD_TRY(hd_sequence_parts(t->model, w->tape, &w->rows, item, time, NULL, n, time ? time[n] : 0,
                                 w->network, w->memory));
        for (int64_t i = 0; i < n; i++)
            w->network[item[i]] = w->memory[item[i]] = -1;
        rank_shares(w->network, w->memory, h->items, item[n], t->rank + u * SHARES);
    }
    return HEED_OK;
}

/* The quality with the best share, which becomes the model's. */
static heed_status validate(struct trainer *t, heed_ranking_quality *quality)
{
    const struct hd_histories *h = t->hist;

    HD_TRY(hd_sequence_ready(t->model));
    HD_TRY(hd_pool_run(t->opts->pool, (h->users + VALIDATION_GRAIN - 1) / VALIDATION_GRAIN,
                       rank_users, t));
    *quality = (heed_ranking_quality){.ndcg10 = -1};
    for (int i = 0; i < SHARES; i++) {
        heed_ranking_quality q;
        int64_t count = 0;
        for (int64_t u = 0; u < h->users; u++)
            if (t->rank[u * SHARES + i] > 0)
                t->ranks[count++] = t->rank[u * SHARES + i];
        hd_ranks_to_quality(t->ranks, count, &q);
        if (q.ndcg10 > quality->ndcg10) {
            *quality = q;
            t->model->memory_share = share_at(i);
        }
    }
    return HEED_OK;
}

/* ---- the state of a run on disk: `FILE` holds weights, moments, average and where the run stands,
 * `FILE.best` the model that was best so far. The latter is written first: should a crash fall
 * between the two, the epoch that is run again makes the same best again. */
static uint64_t run_id(const struct trainer *t)
{
    const struct hd_histories *h = t->hist;
    const struct hd_sequence_hyper *y = &t->hyper;
    const struct hd_sequence_config *c = &t->config;
    const int64_t whole[] = {c->recipe,  c->items,    c->dim,      c->layers,      c->heads,
                             c->length,  c->timed,    y->epochs,   y->batch,       y->patience,
                             y->warmup_steps, y->exact, h->users, h->items};
    const double real[] = {y->rate,         y->rate_floor, y->dropout,   y->beta2,
                           y->weight_decay, y->clip_norm,  y->ema_decay, y->label_smoothing};
    uint64_t id = hd_mix64(t->opts->seed), bits;

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        id = hd_mix64(id ^ (uint64_t)whole[i]);
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        memcpy(&bits, &real[i], sizeof bits);
        id = hd_mix64(id ^ bits);
    }
    for (int64_t u = 0; u <= h->users; u++)
        id = hd_mix64(id ^ (uint64_t)h->offset[u]);
    for (int64_t e = 0; e < h->offset[h->users]; e++)
        id = hd_mix64(id ^ (uint64_t)h->item[e] ^ (h->time ? (uint64_t)h->time[e] << 20 : 0));
    return id;
}

static heed_status best_path(const char *checkpoint, char *out, size_t bytes)
{
    int n = snprintf(out, bytes, "%s.best", checkpoint);

    if (n < 0 || (size_t)n >= bytes)
        return hd_fail(HEED_E_ARG, "train: the checkpoint's path is too long");
    return HEED_OK;
}

static heed_status checkpoint_save(struct trainer *t, bool new_best)
{
    char best[4096], text[7][40];
    const char *key[] = {"run", "epoch", "step", "best_epoch", "best_ndcg10", "positions",
                         "best_share"};
    const char *value[7];

    if (!t->opts->checkpoint)
        return HEED_OK;
    HD_TRY(best_path(t->opts->checkpoint, best, sizeof best));
    if (new_best)
        HD_TRY(hd_sequence_save(t->best, best));
    snprintf(text[0], sizeof text[0], "%016" PRIx64, run_id(t));
    snprintf(text[1], sizeof text[1], "%" PRId64, t->epoch);
    snprintf(text[2], sizeof text[2], "%" PRId64, t->step);
    snprintf(text[3], sizeof text[3], "%" PRId64, t->best_epoch);
    snprintf(text[4], sizeof text[4], "%.17g", t->best_ndcg10);
    snprintf(text[5], sizeof text[5], "%" PRId64, t->positions);
    snprintf(text[6], sizeof text[6], "%.17g", t->best->memory_share);
    for (int i = 0; i < 7; i++)
        value[i] = text[i];
    return heed_params_save(t->model->params, t->adam, t->opts->checkpoint, key, value, 7);
}

/* Where the run stood, from the metadata of its checkpoint; share: the best model's of its memory. */
static heed_status read_standing(struct trainer *t, const hd_safetensors *file, double *share)
{
    const char *run = hd_safetensors_text(file, "run"),
               *ndcg = hd_safetensors_text(file, "best_ndcg10"),
               *best_share = hd_safetensors_text(file, "best_share");
    char id[40];

    if (!run || !ndcg || !best_share)
        return hd_fail(HEED_E_FORMAT, "%s: not a checkpoint", t->opts->checkpoint);
    snprintf(id, sizeof id, "%016" PRIx64, run_id(t));
    if (strcmp(run, id) != 0)
        return hd_fail(HEED_E_STATE,
                       "%s: is of a run with other options or data; train without resume",
                       t->opts->checkpoint);
    HD_TRY(hd_safetensors_number(file, "epoch", 1, t->hyper.epochs, &t->epoch));
    HD_TRY(hd_safetensors_number(file, "step", 1, INT64_MAX, &t->step));
    HD_TRY(hd_safetensors_number(file, "best_epoch", 1, t->epoch, &t->best_epoch));
    HD_TRY(hd_safetensors_number(file, "positions", 0, INT64_MAX, &t->positions));
    t->best_ndcg10 = strtod(ndcg, NULL);
    *share = strtod(best_share, NULL);
    return HEED_OK;
}

/* *found: a run with the same options on the same data stood there and has been taken up. */
static heed_status checkpoint_load(struct trainer *t, bool *found)
{
    hd_safetensors *file = NULL;
    hd_sequence *best_model = NULL;
    char best[4096];
    double share = 0;

    *found = false;
    if (!t->opts->checkpoint || !t->opts->resume)
        return HEED_OK;
    if (access(t->opts->checkpoint, F_OK) != 0)
        return HEED_OK;
    HD_TRY(best_path(t->opts->checkpoint, best, sizeof best));
    HD_TRY(hd_safetensors_open(t->opts->checkpoint, &file));
    heed_status status = read_standing(t, file, &share);
    if (status == HEED_OK)
        status = hd_params_read(t->model->params, t->adam, file);
    hd_safetensors_close(file);
    HD_TRY(status);
    HD_TRY(hd_sequence_load(best, &best_model));
    hd_sequence_free(t->best);
    t->best = best_model;
    t->best->memory_share = share; /* the file has no memory, the trainer has it */
    *found = true;
    return HEED_OK;
}

void hd_sequence_checkpoint_remove(const char *checkpoint)
{
    char best[4096];

    unlink(checkpoint);
    if (best_path(checkpoint, best, sizeof best) == HEED_OK)
        unlink(best);
}

/* ---- the run */
static double now_s(void)
{
    return 1e-9 * (double)hd_monotonic_ns();
}

static void log_line(const struct trainer *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void log_line(const struct trainer *t, const char *fmt, ...)
{
    char text[256];
    va_list args;

    if (!t->opts->log.line)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    t->opts->log.line(t->opts->log.context, HEED_LOG_INFO, text);
}

static heed_status report_progress(const struct trainer *t, const char *what, int64_t done,
                                   int64_t total)
{
    const heed_progress *p = &t->opts->progress;

    if (p->report && !p->report(p->context, what, done, total))
        return hd_fail(HEED_E_CANCELLED, "train: stopped in epoch %" PRId64 " of %" PRId64,
                       t->epoch + 1, t->hyper.epochs);
    return HEED_OK;
}

static heed_status run_epoch(struct trainer *t)
{
    int64_t B = t->hyper.batch, trained = 0;
    double sum = 0;

    cut_epoch(t, t->epoch);
    int64_t steps = (t->windows + B - 1) / B, planned = t->steps_per_epoch * t->hyper.epochs;
    for (int64_t i = 0; i < steps; i++) {
        int64_t count = t->windows - i * B < B ? t->windows - i * B : B;
        double loss, rate = t->hyper.rate * heed_schedule_factor(HEED_COSINE, t->step,
                                                                 t->hyper.warmup_steps, planned,
                                                                 t->hyper.rate_floor);
        HD_TRY(run_step(t, i * B, count, rate, &loss));
        sum += loss * (double)t->step_positions;
        trained += t->step_positions;
        HD_TRY(report_progress(t, "step", i + 1, steps));
    }
    t->loss = trained ? sum / (double)trained : 0;
    t->positions += trained;
    return HEED_OK;
}

static void copy_weights(hd_sequence *to, hd_sequence *from)
{
    for (int64_t i = 0; i < heed_params_count(from->params); i++) {
        heed_tensor *x = heed_params_at(from->params, i, NULL);
        heed_tensor *y = heed_params_at(to->params, i, NULL);
        memcpy(y->data, x->data, (size_t)hd_count(x) * sizeof(float));
    }
}

static heed_status run_epochs(struct trainer *t)
{
    bool average = t->hyper.ema_decay > 0;

    while (t->epoch < t->hyper.epochs && t->epoch - t->best_epoch < t->hyper.patience) {
        heed_ranking_quality valid;
        double began = now_s();

        HD_TRY(run_epoch(t));
        if (average)
            heed_adam_swap_average(t->adam);
        heed_status status = validate(t, &valid);
        bool better = status == HEED_OK && (t->best_epoch == 0 || valid.ndcg10 > t->best_ndcg10);
        t->epoch++;
        if (better) {
            copy_weights(t->best, t->model);
            t->best->memory_share = t->model->memory_share;
            t->best_epoch = t->epoch;
            t->best_ndcg10 = valid.ndcg10;
        }
        if (average)
            heed_adam_swap_average(t->adam);
        HD_TRY(status);
        log_line(t, "epoch %3" PRId64 "  loss %.4f  valid ndcg@10 %.4f  hr@10 %.4f  memory %.2f  %.1f s%s",
                 t->epoch, t->loss, valid.ndcg10, valid.hr10,
                 t->model->memory_share, now_s() - began, better ? "  *" : "");
        HD_TRY(checkpoint_save(t, better));
        HD_TRY(report_progress(t, "epoch", t->epoch, t->hyper.epochs));
    }
    return HEED_OK;
}

static heed_status trainer_init(struct trainer *t)
{
    const struct hd_histories *h = t->hist;
    int64_t L = t->config.length;

    heed_adam_opts adam = {
        .beta2 = t->hyper.beta2,
        .weight_decay = t->hyper.weight_decay,
        .clip_norm = t->hyper.clip_norm,
        .ema_decay = t->hyper.ema_decay > 0 ? t->hyper.ema_decay : 0,
    };
    HD_TRY(hd_sequence_new(&t->config, t->opts->seed, &t->model));
    HD_TRY(hd_sequence_new(&t->config, t->opts->seed, &t->best));
    HD_TRY(hd_transitions_build(h, &t->model->memory));
    HD_TRY(heed_adam_new(t->model->params, &adam, &t->adam));
    for (int i = 0; i < LANES; i++) {
        HD_TRY(heed_params_replica(t->model->params, &t->lane[i].params));
        HD_TRY(hd_sequence_net_bind(&t->lane[i].net, &t->config, t->lane[i].params, false));
    }
    t->workers = heed_pool_threads(t->opts->pool);
    t->worker = hd_alloc((size_t)t->workers, sizeof *t->worker);
    for (int64_t u = 0; u < h->users; u++)
        t->windows_max += hd_split_train_count(h, u) / (L - L / 4) + 2;
    t->window = hd_alloc((size_t)t->windows_max, sizeof *t->window);
    t->rank = hd_alloc((size_t)h->users * SHARES, sizeof *t->rank);
    t->ranks = hd_alloc((size_t)h->users, sizeof *t->ranks);
    if (!t->worker || !t->window || !t->rank || !t->ranks)
        return hd_fail(HEED_E_NOMEM, "train: no memory for %" PRId64 " windows", t->windows_max);
    for (int i = 0; i < t->workers; i++) {
        struct worker *w = &t->worker[i];
        HD_TRY(heed_tape_new(NULL, t->opts->seed, &w->tape));
        HD_TRY(hd_sequence_rows_init(&w->rows, L));
        w->network = hd_alloc((size_t)h->items, sizeof *w->network);
        w->memory = hd_alloc((size_t)h->items, sizeof *w->memory);
        if (!w->network || !w->memory)
            return hd_fail(HEED_E_NOMEM, "train: no memory for the scores of %" PRId64 " items",
                           h->items);
    }
    cut_epoch(t, 0);
    if (t->windows == 0)
        return hd_fail(HEED_E_STATE, "train: nothing to learn from: no user has two events");
    if (t->hyper.batch == 0) {
        int64_t batch = t->windows / STEPS_WANTED;
        t->hyper.batch = batch < BATCH_LEAST      ? BATCH_LEAST
                         : batch > BATCH_ORDINARY ? BATCH_ORDINARY
                                                  : batch;
    }
    t->steps_per_epoch = (t->windows + t->hyper.batch - 1) / t->hyper.batch;
    t->pass = hd_alloc((size_t)count_passes(t->hyper.batch * t->config.length), sizeof *t->pass);
    if (!t->pass)
        return hd_fail(HEED_E_NOMEM, "train: no memory for a batch of %" PRId64, t->hyper.batch);
    return HEED_OK;
}

static void trainer_clear(struct trainer *t)
{
    for (int i = 0; i < t->workers && t->worker; i++) {
        heed_tape_free(t->worker[i].tape);
        hd_sequence_rows_clear(&t->worker[i].rows);
        hd_free(t->worker[i].network);
        hd_free(t->worker[i].memory);
    }
    for (int i = 0; i < LANES; i++)
        heed_params_free(t->lane[i].params);
    heed_adam_free(t->adam);
    hd_sequence_free(t->model);
    hd_sequence_free(t->best);
    hd_free(t->worker);
    hd_free(t->window);
    hd_free(t->pass);
    hd_free(t->rank);
    hd_free(t->ranks);
}

/* What each recipe was published with; ligr's is chosen on ml-1m's validation. */
static const struct hd_sequence_hyper recipe_hyper[HEED_RECIPES] = {
    [HEED_RECIPE_SASREC] = {.epochs = 100, .rate = 1e-3, .dropout = 0.1, .beta2 = 0.999},
    [HEED_RECIPE_HSTU] = {.epochs = 100, .rate = 1e-3, .dropout = 0.2, .beta2 = 0.98},
    [HEED_RECIPE_LIGR] = {.epochs = 20, .rate = 3e-3, .dropout = 0.2, .beta2 = 0.999},
};

heed_status hd_sequence_hyper_complete(struct hd_sequence_hyper *y, heed_recipe recipe)
{
    const struct hd_sequence_hyper *own = &recipe_hyper[recipe];

    y->epochs = y->epochs ? y->epochs : own->epochs;
    y->patience = y->patience ? y->patience : 10;
    y->rate = y->rate != 0 ? y->rate : own->rate;
    y->dropout = y->dropout < 0 ? 0 : y->dropout == 0 ? own->dropout : y->dropout; /* NaN stays */
    y->beta2 = y->beta2 != 0 ? y->beta2 : own->beta2;
    if (y->epochs < 1 || y->epochs > 100000)
        return hd_fail(HEED_E_ARG, "train: epochs %" PRId64 " is not 1 to 100000", y->epochs);
    if (y->batch < 0 || y->batch > BATCH_MAX)
        return hd_fail(HEED_E_ARG, "train: batch %" PRId64 " is not 1 to %d", y->batch, BATCH_MAX);
    if (!(y->rate > 0 && y->rate <= 1))
        return hd_fail(HEED_E_ARG, "train: rate %g is not above 0 and up to 1", y->rate);
    if (!(y->dropout < 1))
        return hd_fail(HEED_E_ARG, "train: dropout %g is not below 1", y->dropout);
    return HEED_OK;
}

heed_status hd_sequence_train(const struct hd_histories *histories,
                              const struct hd_sequence_train_opts *opts, hd_sequence **model,
                              heed_train_report *report)
{
    struct trainer t = {.hist = histories, .opts = opts, .config = opts->config,
                        .hyper = opts->hyper};
    double began = now_s();
    bool resumed = false;
    heed_status status;

    t.config.items = histories->items;
    t.config.timed = histories->time != NULL;
    HD_TRY(hd_sequence_config_complete(&t.config));
    HD_TRY(hd_sequence_hyper_complete(&t.hyper, t.config.recipe));
    status = trainer_init(&t);
    if (status == HEED_OK)
        status = checkpoint_load(&t, &resumed);
    if (status == HEED_OK)
        status = run_epochs(&t);
    if (status == HEED_OK)
        status = hd_sequence_ready(t.best);
    if (status == HEED_OK) {
        double seconds = now_s() - began;
        *report = (heed_train_report){
            .recipe = heed_recipe_name(t.config.recipe),
            .seed = opts->seed,
            .threads = t.workers,
            .epochs = t.epoch,
            .best_epoch = t.best_epoch,
            .parameters = heed_params_elements(t.best->params),
            .positions = t.positions,
            .valid_ndcg10 = t.best_ndcg10,
            .train_seconds = seconds,
            .positions_per_second = seconds > 0 ? (double)t.positions / seconds : 0,
            .loss = t.loss,
            .resumed = resumed,
        };
        t.best->memory = t.model->memory; /* the counts do not change between epochs */
        t.model->memory = (struct hd_transitions){0};
        heed_params_freeze(t.best->params, true); /* immutable from here on */
        *model = t.best, t.best = NULL;
    }
    trainer_clear(&t);
    return status;
}

/* ---- a step by itself, for benchmarks: the batch that bench/train_vs_torch.py fills, too */
int64_t hd_sequence_bench_length(int64_t i, int64_t length)
{
    return i % 4 == 0 ? length : 1 + (i * 7919 + 13) % (length - length / 4);
}

heed_status hd_sequence_bench(const struct hd_sequence_train_opts *opts, int64_t items,
                              int64_t steps, double *step_ms, int64_t *positions)
{
    struct trainer t = {.opts = opts, .config = opts->config, .hyper = opts->hyper};
    struct hd_histories h = {0};
    int64_t events = 0, *offset = NULL;
    int32_t *item = NULL;
    heed_status status;

    t.config.items = items;
    HD_TRY(hd_sequence_config_complete(&t.config));
    HD_TRY(hd_sequence_hyper_complete(&t.hyper, t.config.recipe));
    t.hyper.batch = t.hyper.batch ? t.hyper.batch : BATCH_ORDINARY;
    /* Each user's window is its training events; two more stand for validation and test. */
    for (int64_t i = 0; i < t.hyper.batch; i++)
        events += hd_sequence_bench_length(i, t.config.length) + 3;
    offset = hd_alloc((size_t)t.hyper.batch + 1, sizeof *offset);
    item = hd_alloc((size_t)events, sizeof *item);
    if (!offset || !item) {
        status = hd_fail(HEED_E_NOMEM, "bench: no memory for %" PRId64 " events", events);
        goto done;
    }
    for (int64_t i = 0, e = 0; i < t.hyper.batch; i++) {
        int64_t n = hd_sequence_bench_length(i, t.config.length) + 3;
        for (int64_t s = 0; s < n; s++)
            item[e++] = (int32_t)((i * 104729 + s * 7919 + 17) % items);
        offset[i + 1] = e;
    }
    h = (struct hd_histories){t.hyper.batch, items, offset, item, NULL};
    t.hist = &h;
    status = trainer_init(&t);
    for (int64_t i = -2; status == HEED_OK && i < steps; i++) { /* two to warm up */
        double loss, began = now_s();
        status = run_step(&t, 0, t.windows, t.hyper.rate, &loss);
        if (i >= 0)
            step_ms[i] = 1e3 * (now_s() - began);
    }
    *positions = t.step_positions;
done:
    trainer_clear(&t);
    hd_free(offset);
    hd_free(item);
    return status;
}
