/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes next for a reader: attention over a history of items, scored against the whole
 * catalogue. Three recipes on one set of layers, LiGR, HSTU and SASRec+ (formulas and papers in
 * sequence_net.c), each mixed with a memory of what followed what (transitions.h):
 *
 *     P(v | history) = (1 - share) network(v | history) + share memory(v | history)
 *
 * The share is the one with which validation is best; it is kept in the model's file. */
#ifndef HD_SEQUENCE_H
#define HD_SEQUENCE_H

#include "base/status.h"
#include "heed/engine.h"
#include "models/histories.h"

/* immutable once trained or loaded: share it freely. */
typedef struct hd_sequence hd_sequence;

/* All zero takes the recipe's own. */
struct hd_sequence_config {
    heed_recipe recipe;
    int64_t items, dim, layers, heads, length; /* length: positions seen at once */
    bool timed;                                /* with a time bias */
};

/* How a model is trained. All zero takes the recipe's own (hd_sequence_hyper_complete). */
struct hd_sequence_hyper {
    int64_t epochs, batch;   /* batch: windows a step; 0: by how many there are, up to 128 */
    int64_t patience;        /* epochs without a better validation before it ends early */
    double rate;             /* Adam's, at its highest */
    double rate_floor;       /* share of it that is left at the last epoch (cosine) */
    int64_t warmup_steps;
    double dropout;          /* below 0: none */
    double beta2, weight_decay, clip_norm;
    double ema_decay;        /* average of the weights that is validated and kept; below 0: none */
    double label_smoothing;
    bool exact; /* float32 products in the output layer also where bfloat16 ones are faster */
};

struct hd_sequence_train_opts {
    struct hd_sequence_config config;
    struct hd_sequence_hyper hyper;
    uint64_t seed;
    heed_pool *pool;
    const char *checkpoint; /* file to keep the state of the run in, or NULL */
    bool resume;            /* from it, if it is there and belongs to the same options and data */
    heed_progress progress; /* what: "epoch", with done and total; and "step" within one */
    heed_log log;           /* a line per epoch */
};

/* Fill in the recipe's own where a field is zero, and check the rest: HEED_E_ARG names the field, what
 * it is and what it may be. hd_sequence_train() does the same; whoever wants to know before there is
 * data calls these. */
HEED_CHECKED heed_status hd_sequence_config_complete(struct hd_sequence_config *config);
HEED_CHECKED heed_status hd_sequence_hyper_complete(struct hd_sequence_hyper *hyper,
                                                    heed_recipe recipe);

/* Trains on every user's events but the last two: the second last validates (and chooses the epoch),
 * the last is the test and is not looked at. Users with fewer than three events only train. */
HEED_CHECKED heed_status hd_sequence_train(const struct hd_histories *histories,
                                           const struct hd_sequence_train_opts *opts,
                                           hd_sequence **model, heed_train_report *report);
void hd_sequence_free(hd_sequence *model);
/* Removes what a training keeps under opts.checkpoint, once its model is safe elsewhere. */
void hd_sequence_checkpoint_remove(const char *checkpoint);

/* Times whole training steps (forward, backward, Adam) on a made-up batch whose lengths are
 * hd_sequence_bench_length(): step_ms holds `steps` of them, after two that warm up. */
HEED_CHECKED heed_status hd_sequence_bench(const struct hd_sequence_train_opts *opts, int64_t items,
                                           int64_t steps, double *step_ms, int64_t *positions);
int64_t hd_sequence_bench_length(int64_t i, int64_t length);

/* A model's file carries its config, weights and memory. Row v is the item with number v: numbers are
 * handed out once and never change, so a model stays right when items are added after it. */
HEED_CHECKED heed_status hd_sequence_save(hd_sequence *model, const char *path);
HEED_CHECKED heed_status hd_sequence_load(const char *path, hd_sequence **model);
const struct hd_sequence_config *hd_sequence_config(const hd_sequence *model);

/* Scratch of one thread for the calls below; confined. */
typedef struct hd_sequence_reader hd_sequence_reader;
HEED_CHECKED heed_status hd_sequence_reader_new(const hd_sequence *model,
                                                hd_sequence_reader **reader);
void hd_sequence_reader_free(hd_sequence_reader *reader);

/* Scores of all items for one history: the logarithm of the probability that the item comes next.
 * Only the last `length` events count. times: as many, or NULL; now: the moment of asking. places:
 * NULL, or where each event stood in the history that these were taken from, rising: what is left
 * when some are taken out stays where it was. scores: config.items numbers. count >= 1.
 * Errors   HEED_E_ARG    an empty history
 *          HEED_E_RANGE  an item that the model does not know
 *          HEED_E_NOMEM  the reader's scratch cannot grow */
HEED_CHECKED heed_status hd_sequence_score(hd_sequence_reader *reader, const int32_t *items,
                                           const heed_time *times, const int32_t *places,
                                           int64_t count, heed_time now, float *scores);

/* What each event gave to the target's score: attention times its gradient, summed over layers,
 * heads and queries, plus the event's part in the memory; signed. Of the last `length` events;
 * contributions: count numbers, of which those before the window are 0. maps: NULL, or layers x
 * heads x count x count attention weights. */
HEED_CHECKED heed_status hd_sequence_attribute(hd_sequence_reader *reader, const int32_t *items,
                                               const heed_time *times, int64_t count, heed_time now,
                                               int32_t target, double *contributions, float *maps);

#endif
