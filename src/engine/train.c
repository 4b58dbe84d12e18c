/* SPDX-License-Identifier: Apache-2.0
 *
 * Training on what the store holds. It works on a copy of the histories in memory and holds neither
 * the engine's lock nor the store's, so that events come in and feeds go out for as long as it
 * takes; a lock file keeps a second training away. The new model is there with one rename. */
#include "base/pool.h"
#include "base/time.h"
#include "engine/keep.h"
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

/* What the caller asked for, in the model's own words. */
static struct hd_sequence_train_opts sequence_opts(const heed_train_opts *o)
{
    return (struct hd_sequence_train_opts){
        .config = {.recipe = o->recipe,
                   .dim = o->dim,
                   .layers = o->layers,
                   .heads = o->heads,
                   .length = o->length},
        .hyper = {.epochs = o->epochs, .batch = o->batch, .rate = o->rate, .dropout = o->dropout},
        .seed = o->seed,
        .resume = o->resume,
        .progress = o->progress};
}

/* Before anything is read. Which values a model takes is the model's to say. */
static heed_status check_options(const heed_train_opts *o)
{
    struct hd_sequence_train_opts s = sequence_opts(o);

    for (size_t i = 0; i < sizeof o->reserved / sizeof *o->reserved; i++)
        if (o->reserved[i])
            return hd_fail(HEED_E_ARG, "train: a reserved option is set");
    s.config.items = 1; /* not known yet; the store's are never fewer */
    HD_TRY(hd_sequence_config_complete(&s.config));
    return hd_sequence_hyper_complete(&s.hyper, s.config.recipe);
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
        hd_store *store;
        status = hd_write_begin(engine, &store);
        if (status == HEED_OK)
            status = hd_write_end(engine, store, hd_store_put_model(store, &row));
    }
    if (status != HEED_OK)
        hd_engine_log(engine, HEED_LOG_WARN, "train: the model is in use but not described: %s",
                      heed_error_message());
    hd_json_clear(&w);
}

static double peak_rss_mib(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024 : 0; /* KiB there */
}

/* Both on the same validation: a figure that the old model earned on older data would not count. */
static heed_status beats_rival(heed_engine *engine, const struct hd_past *past, heed_pool *pool,
                               hd_sequence *model, heed_train_report *report)
{
    struct hd_model *rival = NULL, fresh = {.sequence = model, .config = hd_sequence_config(model)};
    heed_ranking_quality was = {0}, is = {0};

    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_model_take(engine, &rival);
    hd_engine_unlock(engine);
    if (status != HEED_OK || !rival)
        return status;
    if (rival->config->items <= past->histories.items) {
        pthread_mutex_init(&fresh.lock, NULL);
        status = hd_model_validate(rival, &past->histories, pool, &was);
        if (status == HEED_OK)
            status = hd_model_validate(&fresh, &past->histories, pool, &is);
        hd_seats_clear(&fresh);
        pthread_mutex_destroy(&fresh.lock);
        report->rival_ndcg10 = was.ndcg10;
        report->kept_out = status == HEED_OK && is.ndcg10 < was.ndcg10;
    }
    hd_model_drop(rival);
    if (report->kept_out)
        hd_engine_log(engine, HEED_LOG_WARN,
                      "train: the new model is kept out: NDCG@10 of %.4f in validation, the current "
                      "one has %.4f",
                      is.ndcg10, was.ndcg10);
    return status;
}

static heed_status train_and_save(heed_engine *engine, const struct hd_past *past, heed_pool *pool,
                                  const heed_train_opts *opts, heed_train_report *report)
{
    heed_status status = HEED_OK;
    hd_sequence *model = NULL;
    char *file = hd_engine_path(engine, HD_MODEL_FILE);
    char *checkpoint = hd_engine_path(engine, HD_CHECKPOINT_FILE);
    struct hd_sequence_train_opts o = sequence_opts(opts);

    o.pool = pool;
    o.checkpoint = checkpoint;
    o.log = engine->log;
    if (!file || !checkpoint)
        status = hd_fail(HEED_E_NOMEM, "train: no memory");
    if (status == HEED_OK)
        status = hd_sequence_train(&past->histories, &o, &model, report);
    if (status == HEED_OK && opts->only_better)
        status = beats_rival(engine, past, pool, model, report);
    if (status == HEED_OK && !report->kept_out)
        status = hd_sequence_save(model, file);
    if (status == HEED_OK)
        hd_sequence_checkpoint_remove(checkpoint); /* the run is over: nothing is left to resume */
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
    struct hd_past past = {0};
    heed_pool *pool = NULL;
    int lock = -1;

    if (!opts)
        opts = &ordinary;
    HD_TRY(check_options(opts));
    heed_status status = hd_past_read(engine, &past);
    if (status != HEED_OK)
        return status;
    if (past.histories.offset[past.histories.users] == 0) {
        status = hd_fail(HEED_E_STATE, "train: nothing to train on: the store holds no events");
        goto done;
    }
    status = training_lock(engine, &lock);
    if (status == HEED_OK)
        status = heed_pool_new(opts->threads ? opts->threads : engine->threads, &pool);
    if (status == HEED_OK)
        status = train_and_save(engine, &past, pool, opts, &report);
    if (status != HEED_OK)
        goto done;
    report.peak_rss_mib = peak_rss_mib();
    if (!report.kept_out)
        describe_model(engine, &report, past.latest);
    if (!report.kept_out && engine->kept_fresh) {
        pthread_mutex_lock(&engine->refresh_lock);
        status = hd_model_refresh(engine);
        pthread_mutex_unlock(&engine->refresh_lock);
    }
    if (status != HEED_OK)
        goto done;
    *out = report;
done:
    if (lock >= 0)
        close(lock);
    heed_pool_free(pool);
    hd_past_clear(&past);
    return status;
}
