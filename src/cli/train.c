/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed train sequence`: learns what comes next from the histories in a data folder. */
#include "cli/commands.h"
#include "cli/session.h"
#include "base/limits.h"

#include <inttypes.h>
#include <string.h>

struct train_options {
    const char *recipe;
    int64_t dim, layers, heads, length, epochs, batch, threads;
    double rate, dropout;
    uint64_t seed;
    bool resume;
};
#define AT(field) offsetof(struct train_options, field)

static const struct hd_flag train_flags[] = {
    {"recipe", 0, HD_FLAG_CHOICE, AT(recipe), "ligr|hstu|sasrec", "which model to train"},
    {"epochs", 0, HD_FLAG_COUNT, AT(epochs), "N",
     "passes over the data at most; fewer where validation stops rising", .least = 1},
    {"dim", 0, HD_FLAG_COUNT, AT(dim), "N", "width of an item's vector", .least = 1},
    {"layers", 0, HD_FLAG_COUNT, AT(layers), "N", "blocks of attention", .least = 1},
    {"heads", 0, HD_FLAG_COUNT, AT(heads), "N", "heads of attention in a block", .least = 1},
    {"length", 0, HD_FLAG_COUNT, AT(length), "N", "events the model sees at once", .least = 1},
    {"batch", 0, HD_FLAG_COUNT, AT(batch), "N", "histories in a step", .least = 1},
    {"rate", 0, HD_FLAG_NUMBER, AT(rate), "X", "learning rate at its highest"},
    {"dropout", 0, HD_FLAG_NUMBER, AT(dropout), "X",
     "share of activations left out; below 0: none"},
    {"seed", 0, HD_FLAG_SEED, AT(seed), "N", "same seed, same model, whatever the threads",
     .fallback = "1"},
    {"threads", 0, HD_FLAG_COUNT, AT(threads), "N", "processors to use; all where not given",
     .least = 1, .most = HD_THREADS_MAX},
    {"resume", 0, HD_FLAG_SWITCH, AT(resume), NULL, "go on where an interrupted run stopped"},
    {0},
};

static heed_status print_report(const struct hd_cli *cli, const heed_train_report *r)
{
    if (cli->json) {
        struct hd_json_writer json = {0};
        char seed[24]; /* all 64 bits, which the writer's signed integers do not hold */
        snprintf(seed, sizeof seed, "%" PRIu64, r->seed);
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "recipe", r->recipe);
        hd_json_put_raw(&json, "seed", seed);
        hd_json_put_int(&json, "threads", r->threads);
        hd_json_put_int(&json, "epochs", r->epochs);
        hd_json_put_int(&json, "best_epoch", r->best_epoch);
        hd_json_put_number(&json, "valid_ndcg@10", r->valid_ndcg10);
        hd_json_put_number(&json, "loss", r->loss);
        hd_put_rounded(&json, "train_seconds", r->train_seconds, 3);
        hd_json_put_int(&json, "positions", r->positions);
        hd_put_rounded(&json, "positions_per_second", r->positions_per_second, 0);
        hd_json_put_int(&json, "parameters", r->parameters);
        hd_put_rounded(&json, "peak_rss_mib", r->peak_rss_mib, 1);
        hd_json_put_bool(&json, "resumed", r->resumed);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s: %s parameters, %" PRId64 " epochs%s, best after epoch %" PRId64
           " with validation NDCG@10 %.4f\n",
           r->recipe, hd_thousands(r->parameters), r->epochs, r->resumed ? " (resumed)" : "",
           r->best_epoch, r->valid_ndcg10);
    printf("%.1f s on %d %s, %s positions/s, peak memory %.0f MiB\n", r->train_seconds, r->threads,
           r->threads == 1 ? "thread" : "threads", hd_thousands((int64_t)r->positions_per_second),
           r->peak_rss_mib);
    printf("It is now the model of %s. `heed evaluate sequence` tells how good it is.\n",
           cli->data);
    return HEED_OK;
}

static heed_status train_run(struct hd_cli *cli, const void *given)
{
    const struct train_options *options = given;
    struct hd_session session;
    heed_train_report report = {0};
    heed_train_opts opts = {
        .dim = options->dim,
        .layers = options->layers,
        .heads = options->heads,
        .length = options->length,
        .epochs = options->epochs,
        .batch = options->batch,
        .rate = options->rate,
        .dropout = options->dropout,
        .seed = options->seed,
        .threads = (int)options->threads,
        .resume = options->resume,
    };

    if (options->recipe)
        HD_TRY(heed_recipe_find(options->recipe, &opts.recipe));
    HD_TRY(hd_session_open(&session, cli, "train", false, (int)options->threads));
    opts.progress = session.progress;
    heed_status status = heed_engine_train(session.engine, &opts, &report);
    hd_meter_clear(&session.meter);
    if (status == HEED_OK)
        status = print_report(cli, &report);
    hd_session_close(&session);
    return status;
}

const struct hd_command hd_command_train_sequence = {
    .name = "train sequence",
    .summary = "learn what comes next from everybody's history",
    .about =
        "Each user's last event is held out for `heed evaluate`, the one before it chooses the\n"
        "epoch; the model learns from the rest. What is not given is the recipe's own choice.\n"
        "The result replaces the data folder's model. An interrupted run leaves the old model\n"
        "and a checkpoint, from which --resume goes on to the same bits.",
    .example = "heed train sequence --epochs 10 --seed 1",
    .flags = train_flags,
    .options_bytes = sizeof(struct train_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = train_run,
};
