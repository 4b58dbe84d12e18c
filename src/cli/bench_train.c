/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed bench train`: whole training steps (forward, loss over the whole catalogue, backward, Adam)
 * on one batch held in memory, the same that bench/train_vs_torch.py gives to PyTorch. Beside each
 * time stands its floor: the multiplications and additions that the filled positions need, at the
 * machine's peak. */
#include "cli/bench.h"
#include "cli/commands.h"
#include "base/limits.h"
#include "base/memory.h"
#include "models/sequence.h"

#include <string.h>

#define STEPS_MAX 10000
#define ROWS_MAX 4

struct train_options {
    const char *recipe;
    int64_t threads, steps, layers, batch, length, dim, heads, items;
    bool exact;
};
#define AT(field) offsetof(struct train_options, field)

static const struct hd_flag bench_train_flags[] = {
    {"recipe", 0, HD_FLAG_CHOICE, AT(recipe), "sasrec|hstu|ligr",
     "which model; all where not given"},
    {"threads", 0, HD_FLAG_COUNT, AT(threads), "N", "processors to use; all where not given",
     .least = 1, .most = HD_THREADS_MAX},
    {"steps", 0, HD_FLAG_COUNT, AT(steps), "N", "to time, after two that are not", .fallback = "10",
     .least = 1, .most = STEPS_MAX},
    {"layers", 0, HD_FLAG_COUNT, AT(layers), "N", "blocks; 2, hstu also 4, where not given",
     .least = 1},
    {"heads", 0, HD_FLAG_COUNT, AT(heads), "N", "of attention; sasrec 1, else 2, where not given",
     .least = 1},
    {"batch", 0, HD_FLAG_COUNT, AT(batch), "N", "histories in a step", .fallback = "128",
     .least = 1, .most = 65536},
    {"length", 0, HD_FLAG_COUNT, AT(length), "N", "events of the longest", .fallback = "200",
     .least = 1, .most = 8192},
    {"dim", 0, HD_FLAG_COUNT, AT(dim), "N", "width of an item's vector", .fallback = "64",
     .least = 1},
    {"items", 0, HD_FLAG_COUNT, AT(items), "N", "in the catalogue", .fallback = "3416", .least = 2,
     .most = 10000000},
    {"exact", 0, HD_FLAG_SWITCH, AT(exact), NULL,
     "float32 products in the output layer also where bfloat16 ones are faster"},
    {0},
};

struct row {
    const char *recipe;
    int64_t layers, heads, positions;
    struct hd_timing timing;
    double operations;
};

/* Filled positions only, and the causal half of attention, whose backward has five products where
 * its forward has two; every other backward is two products for one. */
static double operations(const struct train_options *o, const struct row *row)
{
    double C = (double)o->dim, rows = 0, pairs = 0;

    for (int64_t i = 0; i < o->batch; i++) {
        double n = (double)hd_sequence_bench_length(i, o->length);
        rows += n;
        pairs += n * (n + 1) / 2;
    }
    /* hstu: u v q k o; sasrec: q k v o and two of the feed-forward part; ligr: three, and two gates
     */
    int products = strcmp(row->recipe, "hstu") == 0 ? 5 : strcmp(row->recipe, "ligr") == 0 ? 9 : 6;
    double dense = products * C * C;
    double block = 3 * 2 * rows * dense + 3.5 * 2 * 2 * pairs * C;
    return (double)row->layers * block + 3 * 2 * rows * C * (double)o->items;
}

static heed_status time_row(const struct train_options *o, heed_pool *pool, struct row *row)
{
    struct hd_sequence_train_opts opts = {
        .config = {.dim = o->dim, .layers = row->layers, .heads = row->heads, .length = o->length},
        .hyper = {.batch = o->batch, .exact = o->exact},
        .seed = 1,
        .pool = pool,
    };
    double ms[STEPS_MAX];

    HD_TRY(heed_recipe_find(row->recipe, &opts.config.recipe));
    HD_TRY(hd_sequence_bench(&opts, o->items, o->steps, ms, &row->positions));
    row->timing = hd_bench_summary(ms, (int)o->steps);
    row->operations = operations(o, row);
    return hd_interrupted() ? hd_fail(HEED_E_CANCELLED, "the benchmark is not complete") : HEED_OK;
}

static void report(const struct hd_cli *cli, struct hd_json_writer *json,
                   const struct train_options *o, const struct row *row, int threads, double peak)
{
    const struct hd_timing *t = &row->timing;

    if (!cli->json) {
        printf("%-6s %2lld layers, %lld heads: %8.1f ms a step (%.1f to %.1f), floor %.1f ms, "
               "%s positions/s, %3.0f %% of peak\n",
               row->recipe, (long long)row->layers, (long long)row->heads, t->ms, t->ms_min,
               t->ms_max, row->operations / peak * 1e-6,
               hd_thousands((int64_t)((double)row->positions / t->ms * 1e3)),
               100 * row->operations / t->ms * 1e-6 / peak);
        return;
    }
    hd_json_begin_object(json, NULL);
    hd_json_put_text(json, "recipe", row->recipe);
    hd_json_put_int(json, "threads", threads);
    hd_json_put_int(json, "batch", o->batch);
    hd_json_put_int(json, "length", o->length);
    hd_json_put_int(json, "dim", o->dim);
    hd_json_put_int(json, "layers", row->layers);
    hd_json_put_int(json, "heads", row->heads);
    hd_json_put_int(json, "items", o->items);
    hd_json_put_bool(json, "exact", o->exact);
    hd_json_put_int(json, "positions", row->positions);
    hd_put_timing(json, t);
    hd_put_rounded(json, "floor_ms", row->operations / peak * 1e-6, 3);
    hd_put_speed(json, row->operations, t, peak);
    hd_json_end(json);
}

/* The models asked for. */
static int list_rows(const struct train_options *o, struct row rows[ROWS_MAX])
{
    static const struct row all[ROWS_MAX] = {
        {"sasrec", 2, 1}, {"hstu", 2, 2}, {"hstu", 4, 2}, {"ligr", 2, 2}};
    int count = 0;

    for (int i = 0; i < ROWS_MAX; i++) {
        if (o->recipe && strcmp(o->recipe, all[i].recipe) != 0)
            continue;
        if (o->layers && i == 2)
            continue; /* a number of layers given makes one row for each recipe */
        rows[count] = all[i];
        if (o->layers)
            rows[count].layers = o->layers;
        if (o->heads)
            rows[count].heads = o->heads;
        count++;
    }
    return count;
}

static heed_status time_models(const struct hd_cli *cli, struct hd_json_writer *json,
                               heed_pool *pool, double peak, const void *given)
{
    const struct train_options *options = given;
    struct row rows[ROWS_MAX];
    int count = list_rows(options, rows);

    for (int i = 0; i < count; i++) {
        HD_TRY(time_row(options, pool, &rows[i]));
        report(cli, json, options, &rows[i], heed_pool_threads(pool), peak);
    }
    return HEED_OK;
}

static heed_status bench_train_run(struct hd_cli *cli, const void *given)
{
    const struct train_options *options = given;
    return hd_bench_answer(cli, options->threads, time_models, options);
}

const struct hd_command hd_command_bench_train = {
    .name = "bench train",
    .summary = "whole training steps of a sequence model",
    .about =
        "The batch is made up: about 53 % of its rectangle filled, as MovieLens-1M is. The floor "
        "is\n"
        "the arithmetic that the filled positions need, at the machine's peak in the same run.",
    .example = "heed bench train --recipe sasrec --steps 5",
    .flags = bench_train_flags,
    .options_bytes = sizeof(struct train_options),
    .uses = HD_USES_JSON,
    .run = bench_train_run,
};
