/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed bench feed`: how long the engine takes to answer, from the request to the decision, with
 * the model loaded and nothing precomputed for the user. A data folder of its own is made for it,
 * filled, and taken away again; what the model has learned does not matter to the time, so it
 * learns for one epoch. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "base/memory.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARM_ANSWERS 20

struct feed_options {
    int64_t items, history, users, answers, n;
    const char *recipe;
};
#define AT(field) offsetof(struct feed_options, field)

static const struct hd_flag bench_feed_flags[] = {
    {"items", 0, HD_FLAG_COUNT, AT(items), "N", "in the catalogue", .fallback = "3416", .least = 10,
     .most = 1000000},
    {"history", 0, HD_FLAG_COUNT, AT(history), "N", "events of each user", .fallback = "200",
     .least = 3, .most = 10000},
    {"users", 0, HD_FLAG_COUNT, AT(users), "N", "who ask in turn", .fallback = "100", .least = 1,
     .most = 100000},
    {"answers", 0, HD_FLAG_COUNT, AT(answers), "N", "to time", .fallback = "2000", .least = 10,
     .most = 1000000},
    {"n", 'n', HD_FLAG_COUNT, AT(n), "N", "items of an answer", .fallback = "10", .least = 1,
     .most = 1000},
    {"recipe", 0, HD_FLAG_CHOICE, AT(recipe), "ligr|hstu|sasrec", "of the model",
     .fallback = "ligr"},
    {0},
};

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

/* Every user has `history` different items, and every item some user where there are enough. */
static heed_status write_log(const char *path, const struct feed_options *o)
{
    FILE *f = fopen(path, "w");
    int64_t step = 7919 % o->items ? 7919 : 7907; /* primes: a walk that meets every item */

    if (!f)
        return hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
    for (int64_t u = 0; u < o->users; u++)
        for (int64_t t = 0; t < o->history; t++)
            fprintf(f, "u%lld i%lld\n", (long long)u,
                    (long long)((u * o->history + t * step) % o->items));
    if (fclose(f) != 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
    return HEED_OK;
}

static heed_status prepare(heed_engine *engine, const char *log, const struct feed_options *o,
                           const heed_progress *progress)
{
    heed_import_opts import = {.progress = *progress};
    heed_import_report imported;
    heed_train_report trained;
    heed_train_opts train = {
        .epochs = 1,
        .seed = 1,
        .progress = *progress,
    };

    HD_TRY(heed_recipe_find(o->recipe, &train.recipe));
    HD_TRY(write_log(log, o));
    HD_TRY(heed_engine_import(engine, HEED_IMPORT_INTERACTIONS, log, &import, &imported));
    return heed_engine_train(engine, &train, &trained);
}

/* One answer to user u; its time in ms, and whether the model gave it. */
static heed_status ask(heed_engine *engine, const struct feed_options *o, int64_t u, double *ms)
{
    char user[32];
    heed_feed_request request = {.user = user, .n = (int)o->n}; /* recorded, as in service */
    heed_feed *feed = NULL;

    snprintf(user, sizeof user, "u%lld", (long long)u);
    double start = hd_seconds();
    HD_TRY(heed_engine_feed(engine, &request, &feed));
    *ms = (hd_seconds() - start) * 1e3;
    bool by_model = strcmp(feed->policy, "sequence") == 0;
    heed_feed_free(feed);
    if (!by_model)
        return hd_fail(HEED_E_STATE, "bench feed: %s was not answered by the model", user);
    return HEED_OK;
}

static heed_status time_answers(heed_engine *engine, const struct feed_options *o, double *first,
                                double *ms)
{
    heed_engine_remember(engine, 0); /* nothing that was worked out for an earlier question */
    HD_TRY(ask(engine, o, 0, first)); /* loads the model */
    for (int64_t i = 0; i < WARM_ANSWERS; i++)
        HD_TRY(ask(engine, o, i % o->users, &ms[0]));
    for (int64_t i = 0; i < o->answers; i++) {
        HD_TRY(ask(engine, o, i % o->users, &ms[i]));
        if (hd_interrupted())
            return hd_fail(HEED_E_CANCELLED, "the benchmark is not complete");
    }
    return HEED_OK;
}

static heed_status report(const struct hd_cli *cli, const struct feed_options *o, double first,
                          double *ms)
{
    int count = (int)o->answers;
    double sum = 0, peak = 0;

    for (int i = 0; i < count; i++)
        sum += ms[i];
    struct hd_timing timing = hd_bench_summary(ms, count);
    double p99 = hd_bench_quantile(ms, count, 0.99);
    HD_TRY(hd_bench_peak(NULL, &peak));
    if (!cli->json) {
        hd_print_machine(cli, 1, peak);
        printf("%s answers of %lld items from %s by %s, histories of %lld: p50 %.3f ms, p99 %.3f "
               "ms, %.0f a second; the first, which loads the model, %.1f ms\n",
               hd_thousands(count), (long long)o->n, hd_thousands(o->items), o->recipe,
               (long long)o->history, timing.ms, p99, count / sum * 1e3, first);
        return HEED_OK;
    }
    struct hd_json_writer json = {0};
    hd_json_begin_object(&json, NULL);
    hd_put_machine(&json, 1, peak);
    hd_json_put_text(&json, "recipe", o->recipe);
    hd_json_put_int(&json, "items", o->items);
    hd_json_put_int(&json, "history", o->history);
    hd_json_put_int(&json, "users", o->users);
    hd_json_put_int(&json, "n", o->n);
    hd_json_put_int(&json, "answers", count);
    hd_put_rounded(&json, "p50_ms", timing.ms, 4);
    hd_put_rounded(&json, "p99_ms", p99, 4);
    hd_put_rounded(&json, "ms_min", timing.ms_min, 4);
    hd_put_rounded(&json, "ms_max", timing.ms_max, 4);
    hd_put_rounded(&json, "per_second", count / sum * 1e3, 1);
    hd_put_rounded(&json, "first_ms", first, 2);
    hd_json_end(&json);
    return hd_print_json(&json);
}

static heed_status bench_feed_run(struct hd_cli *cli, const void *given)
{
    const struct feed_options *options = given;
    const char *tmp = getenv("TMPDIR");
    char folder[4096], log[4200], data[4200];
    double first = 0, *ms = NULL;
    struct hd_session session = {0};

    snprintf(folder, sizeof folder, "%s/heed-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (options->history > options->items - 10)
        return hd_fail(HEED_E_ARG, "bench feed: a history of %lld leaves too few of %lld items",
                       (long long)options->history, (long long)options->items);
    if (!mkdtemp(folder))
        return hd_fail_errno(HEED_E_IO, "%s: cannot make a folder", folder);
    snprintf(log, sizeof log, "%s/log.txt", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    struct hd_cli own = *cli;
    own.data = data;
    heed_status status = HEED_OK;
    if (!(ms = hd_alloc((size_t)options->answers + WARM_ANSWERS, sizeof *ms)))
        status = hd_fail(HEED_E_NOMEM, "bench feed: no memory for the times");
    if (status == HEED_OK)
        status = hd_session_open(&session, &own, "bench feed", true, 1);
    if (status == HEED_OK)
        status = prepare(session.engine, log, options, &session.progress);
    hd_meter_clear(&session.meter);
    if (status == HEED_OK)
        status = time_answers(session.engine, options, &first, ms);
    if (status == HEED_OK)
        status = report(cli, options, first, ms);
    hd_session_close(&session);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    hd_free(ms);
    return status;
}

const struct hd_command hd_command_bench_feed = {
    .name = "bench feed",
    .summary = "how long the engine takes to answer",
    .about =
        "In a data folder of its own, which is taken away again; one core. p50 and p99 are of\n"
        "whole answers: reading the history, the model, all items, filters, the record.",
    .example = "heed bench feed --answers 200",
    .flags = bench_feed_flags,
    .options_bytes = sizeof(struct feed_options),
    .uses = HD_USES_JSON,
    .run = bench_feed_run,
};
