/* SPDX-License-Identifier: Apache-2.0
 *
 * Trainings, evaluations and exports, as jobs. */
#include "server/job_errand.h"
#include "base/time.h"
#include "server/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static heed_status train(const struct hd_job_errand *errand, struct hd_json_writer *w)
{
    heed_train_opts opts = errand->order->train;
    heed_train_report r = {0};

    opts.progress = errand->progress;
    HD_TRY(heed_engine_train(errand->engine, &opts, &r));
    if (errand->metrics)
        hd_metrics_trained(errand->metrics, &r);
    hd_json_put_text(w, "recipe", r.recipe);
    hd_json_put_int(w, "epochs", r.epochs);
    hd_json_put_int(w, "best_epoch", r.best_epoch);
    hd_json_put_number(w, "valid_ndcg10", r.valid_ndcg10);
    hd_json_put_bool(w, "kept_out", r.kept_out);
    if (opts.only_better)
        hd_json_put_number(w, "rival_ndcg10", r.rival_ndcg10);
    hd_json_put_number(w, "seconds", r.train_seconds);
    return HEED_OK;
}

static heed_status evaluate(const struct hd_job_errand *errand, struct hd_json_writer *w)
{
    heed_evaluation e = {0};

    HD_TRY(heed_engine_evaluate(errand->engine, &errand->progress, &e));
    hd_json_put_int(w, "users", e.users);
    hd_json_put_int(w, "items", e.items);
    hd_json_put_number(w, "ndcg10", e.test.ndcg10);
    hd_json_put_number(w, "hr10", e.test.hr10);
    hd_json_put_number(w, "mrr", e.test.mrr);
    hd_json_put_number(w, "coverage", e.test.coverage);
    hd_json_put_number(w, "popularity_ndcg10", e.popularity.ndcg10);
    hd_json_put_number(w, "markov_ndcg10", e.markov.ndcg10);
    hd_json_put_number(w, "seconds", e.seconds);
    return HEED_OK;
}

/* ---- exports */

/* Where an export's bytes go. */
struct export_file {
    const heed_progress *progress;
    FILE *file;
    int64_t bytes;
};

static bool on_bytes(void *context, const char *text, size_t bytes)
{
    struct export_file *out = context;

    out->bytes += (int64_t)bytes;
    return fwrite(text, 1, bytes, out->file) == bytes &&
           out->progress->report(out->progress->context, "bytes written", out->bytes, 0);
}

static heed_status write_records(const struct hd_job_errand *errand, heed_record what,
                                 const char *path)
{
    struct export_file out = {&errand->progress, fopen(path, "wxe"), 0};

    if (!out.file)
        return hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
    heed_status status = heed_engine_export(errand->engine, what, &(heed_sink){on_bytes, &out});
    bool failed = ferror(out.file) != 0;
    if ((fclose(out.file) != 0 || failed) && status != HEED_E_IO)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
    if (status != HEED_OK)
        unlink(path);
    return status;
}

/* Into DATA/exports, under a name of ours: nobody who asks can choose where the server writes. */
static heed_status export_to_file(const struct hd_job_errand *errand, struct hd_json_writer *w)
{
    static const struct {
        const char *name, *ending;
        heed_record what;
    } kinds[] = {{"events", "ndjson", HEED_RECORD_EVENT},
                 {"items", "ndjson", HEED_RECORD_ITEM},
                 {"users", "ndjson", HEED_RECORD_USER},
                 {"model", "safetensors", HEED_RECORDS}};
    char path[4096], stamp[HD_TIME_TEXT_BYTES];
    size_t k = 0;

    while (k + 1 < sizeof kinds / sizeof *kinds && strcmp(kinds[k].name, errand->order->what) != 0)
        k++;
    snprintf(path, sizeof path, "%s/exports", errand->folder);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be made", path);
    hd_time_format(hd_clock_now(NULL), stamp);
    for (char *c = stamp; *c; c++)
        *c = *c == ':' || *c == '.' ? '-' : *c; /* a file may be called so anywhere */
    if ((size_t)snprintf(path, sizeof path, "%s/exports/%s-%s-%" PRId64 ".%s", errand->folder,
                         kinds[k].name, stamp, errand->id, kinds[k].ending) >= sizeof path)
        return hd_fail(HEED_E_RANGE, "export: the data folder's path is too long");
    if (kinds[k].what == HEED_RECORDS)
        HD_TRY(heed_engine_export_model(errand->engine, "sequence", path));
    else
        HD_TRY(write_records(errand, kinds[k].what, path));
    hd_json_put_text(w, "file", path + strlen(errand->folder) + 1);
    return HEED_OK;
}

heed_status hd_job_perform(const struct hd_job_errand *errand, struct hd_json_writer *w)
{
    switch (errand->order->kind) {
    case HD_JOB_TRAIN:
        return train(errand, w);
    case HD_JOB_EVALUATE:
        return evaluate(errand, w);
    case HD_JOB_EXPORT:
        return export_to_file(errand, w);
    case HD_JOB_KINDS:
        break;
    }
    return hd_fail(HEED_E_ARG, "job: there is no such kind");
}
