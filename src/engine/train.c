/* SPDX-License-Identifier: Apache-2.0
 *
 * Training on what the store holds. It works on a copy of the histories in memory and holds neither
 * the engine's lock nor the store's, so that events come in and feeds go out for as long as it
 * takes; a lock file keeps a second training away. The new model is there with one rename. */
#include "base/pool.h"
#include "base/time.h"
#include "engine/state.h"
#include "text/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

/* The lock dies with the process, so nothing has to be cleaned up after a kill. */
static heed_status training_lock(heed_engine *engine, int *lock)
{
    heed_status status = HEED_OK;
    char *models = hd_engine_path(engine, "models"), *path = NULL;
    int fd = -1;

    path = hd_engine_path(engine, HD_TRAINING_LOCK_FILE);
    if (!models || !path) {
        status = hd_fail(HEED_E_NOMEM, "train: no memory");
        goto done;
    }
    if (mkdir(models, 0777) != 0 && errno != EEXIST) {
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be made", models);
        goto done;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
        goto done;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        status = hd_fail(HEED_E_BUSY, "train: another training is under way in %s", engine->folder);
        close(fd);
        goto done;
    }
    *lock = fd;
done:
    hd_free(path);
    hd_free(models);
    return status;
}

static heed_status check_options(const heed_train_opts *o)
{
    const struct {
        const char *name;
        int64_t value, max;
    } counts[] = {{"dim", o->dim, 4096},         {"layers", o->layers, 256},
                  {"heads", o->heads, 256},      {"length", o->length, 65536},
                  {"epochs", o->epochs, 100000}, {"batch", o->batch, 65536}};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < 0 || counts[i].value > counts[i].max)
            return hd_fail(HEED_E_ARG, "train: %s is %" PRId64 ", not 0 to %" PRId64,
                           counts[i].name, counts[i].value, counts[i].max);
    if (!(o->rate >= 0 && o->rate < 1e3))
        return hd_fail(HEED_E_ARG, "train: rate is %g, not 0 to 1000", o->rate);
    if (!(o->dropout < 1))
        return hd_fail(HEED_E_ARG, "train: dropout is %g, not below 1", o->dropout);
    if (!heed_recipe_name(o->recipe))
        return hd_fail(HEED_E_ARG, "train: there is no recipe %d", (int)o->recipe);
    return HEED_OK;
}

/* A row beside the file: what was trained, for people and reports. The file alone decides what is
 * served, so a busy store costs a line in the log and no model. */
static void describe_model(heed_engine *engine, const heed_train_report *report, heed_time until)
{
    struct hd_json_writer w = {0};
    const char *description = NULL;

    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "recipe", report->recipe);
    hd_json_put_int(&w, "seed", (int64_t)report->seed);
    hd_json_put_int(&w, "parameters", report->parameters);
    hd_json_put_int(&w, "epochs", report->epochs);
    hd_json_put_int(&w, "best_epoch", report->best_epoch);
    hd_json_put_number(&w, "valid_ndcg@10", report->valid_ndcg10);
    hd_json_put_number(&w, "train_seconds", report->train_seconds);
    hd_json_put_int(&w, HD_MODEL_UNTIL, until);
    hd_json_end(&w);
    heed_status status = hd_json_finish(&w, &description, NULL);
    if (status == HEED_OK) {
        struct hd_model_row row = {.name = "sequence",
                                   .file = HD_MODEL_FILE,
                                   .description = description,
                                   .made = hd_clock_now(&engine->clock)};
        pthread_mutex_lock(&engine->lock);
        status = hd_store_put_model(engine->store, &row);
        pthread_mutex_unlock(&engine->lock);
    }
    if (status != HEED_OK)
        hd_engine_log(engine, HEED_LOG_WARN, "train: the model is in use but not described: %s",
                      heed_error_message());
    hd_json_clear(&w);
}

static void fill_report(heed_train_report *report, const heed_train_opts *opts, int threads,
                        int64_t began_ns)
{
    struct rusage usage;

    report->seed = opts->seed;
    report->threads = threads;
    if (!(report->train_seconds > 0))
        report->train_seconds = (double)(hd_monotonic_ns() - began_ns) * 1e-9;
    if (!(report->positions_per_second > 0))
        report->positions_per_second = (double)report->positions / report->train_seconds;
    if (!(report->peak_rss_mib > 0) && getrusage(RUSAGE_SELF, &usage) == 0)
        report->peak_rss_mib = (double)usage.ru_maxrss / 1024; /* KiB on Linux */
}

static heed_status train_and_save(heed_engine *engine, const struct hd_past *past, heed_pool *pool,
                                  const heed_train_opts *opts, heed_train_report *report)
{
    heed_status status = HEED_OK;
    hd_sequence *model = NULL;
    char *file = hd_engine_path(engine, HD_MODEL_FILE);
    char *checkpoint = hd_engine_path(engine, HD_CHECKPOINT_FILE);
    struct hd_sequence_train_opts o = {.config = {.recipe = opts->recipe,
                                                  .items = past->histories.items,
                                                  .dim = opts->dim,
                                                  .layers = opts->layers,
                                                  .heads = opts->heads,
                                                  .length = opts->length,
                                                  .timed = past->histories.time != NULL},
                                       .hyper = {.epochs = opts->epochs,
                                                 .batch = opts->batch,
                                                 .rate = opts->rate,
                                                 .dropout = opts->dropout},
                                       .seed = opts->seed,
                                       .pool = pool,
                                       .checkpoint = checkpoint,
                                       .resume = opts->resume,
                                       .progress = opts->progress,
                                       .log = engine->log};

    if (!file || !checkpoint)
        status = hd_fail(HEED_E_NOMEM, "train: no memory");
    if (status == HEED_OK)
        status = hd_sequence_train(&past->histories, &o, &model, report);
    if (status == HEED_OK)
        status = hd_sequence_save(model, file);
    if (status == HEED_OK)
        unlink(checkpoint); /* the run is over; there is nothing to resume */
    hd_sequence_free(model);
    hd_free(checkpoint);
    hd_free(file);
    return status;
}

heed_status heed_engine_train(heed_engine *engine, const heed_train_opts *opts,
                              heed_train_report *out)
{
    static const heed_train_opts ordinary;
    heed_train_report report = {0};
    struct hd_past *past = NULL;
    heed_pool *pool = NULL;
    int lock = -1;
    int64_t began_ns = hd_monotonic_ns();

    if (!opts)
        opts = &ordinary;
    HD_TRY(check_options(opts));
    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_past_take(engine, &past);
    pthread_mutex_unlock(&engine->lock);
    if (status != HEED_OK)
        return status;
    if (past->histories.offset[past->histories.users] == 0) {
        status = hd_fail(HEED_E_STATE, "train: nothing to train on: the store holds no events");
        goto done;
    }
    status = training_lock(engine, &lock);
    if (status == HEED_OK)
        status = heed_pool_new(opts->threads ? opts->threads : engine->threads, &pool);
    if (status == HEED_OK)
        status = train_and_save(engine, past, pool, opts, &report);
    if (status != HEED_OK)
        goto done;
    fill_report(&report, opts, heed_pool_threads(pool), began_ns);
    describe_model(engine, &report, past->latest);
    *out = report;
done:
    if (lock >= 0)
        close(lock);
    heed_pool_free(pool);
    hd_past_drop(past);
    return status;
}
