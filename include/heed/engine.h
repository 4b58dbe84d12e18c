/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine: open a data folder, ingest, train, evaluate, ask for a feed, explain it, close.
 * Everything the program can do goes through this header. */
#ifndef HEED_ENGINE_H
#define HEED_ENGINE_H

#include "heed/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* locked: any thread may call, calls that write wait for one another. No lock is held while a callback
 * runs, so a callback may call back. */
typedef struct heed_engine heed_engine;

typedef struct heed_engine_opts {
    bool must_exist; /* a missing folder is HEED_E_NOTFOUND instead of being made */
    int threads;     /* of the pool for a training, evaluation or explanation; 0: all processors */
    heed_clock clock;
    heed_log log;
    uint64_t reserved[4];
} heed_engine_opts;

/**
 * Opens a data folder (heed.db and models/), makes it where it is not there, migrates it forward.
 * Errors   HEED_E_VERSION  the folder is from a newer heed
 *          HEED_E_IO       it cannot be read or written; the message says what
 *          HEED_E_BUSY     another process is writing (after a wait of some seconds)
 */
HEED_API HEED_CHECKED heed_status heed_engine_open(const char *folder, const heed_engine_opts *opts,
                                                   heed_engine **engine);
HEED_API void heed_engine_close(heed_engine *engine);

typedef struct heed_engine_counts {
    int64_t users, items, events;
    bool has_times;       /* some event carries a time of its own, not only an order */
    bool has_model;       /* a sequence model is there */
} heed_engine_counts;
HEED_API HEED_CHECKED heed_status heed_engine_count(heed_engine *engine, heed_engine_counts *out);

/* ---- import */
typedef enum heed_import_kind {
    HEED_IMPORT_INTERACTIONS, /* `user item` a line, in the order of time within a user */
    HEED_IMPORT_MOVIELENS,    /* ratings.dat, u.data, ratings.csv: told apart by their look */
    HEED_IMPORT_EVENTS,       /* NDJSON, DESIGN.md 5 */
    HEED_IMPORT_ITEMS,        /* NDJSON, or a MovieLens movies.dat, movies.csv, u.item */
} heed_import_kind;

typedef struct heed_reject {
    const char *file, *reason; /* reason names the field */
    int64_t line;              /* from 1 */
} heed_reject;

typedef struct heed_import_opts {
    const char *items_path; /* titles and tags to go with interactions or ratings, or NULL */
    const char *encoding;   /* of text files: "utf-8" (NULL) or "latin-1" */
    heed_progress progress;
    /* Called for each line that was turned away; the import goes on. NULL: only counted. */
    void (*reject)(void *context, const heed_reject *reject);
    void *reject_context;
    uint64_t reserved[4];
} heed_import_opts;

typedef struct heed_import_report {
    int64_t accepted, duplicate, rejected; /* lines; their sum is every line that held anything */
    int64_t users, items;                  /* in the store after it */
    int64_t items_accepted;                /* item descriptions taken in */
    double seconds, per_second;            /* accepted + duplicate, until all of it was on disk */
    bool has_first;                        /* the first rejected line, with what was wrong */
    char first_reject[512];                /* "FILE:LINE: reason" */
} heed_import_report;

/**
 * Reads a file, plain or compressed (.gz, .zst, told by content), into the store. Idempotent: the
 * same lines again are duplicates. What was committed before a crash stays; importing again adds
 * the rest.
 * Errors   HEED_E_NOTFOUND, HEED_E_IO   path
 *          HEED_E_FORMAT  empty, binary, or no line could be accepted: FILE:LINE and the reason
 *          HEED_E_CANCELLED  what was committed stays
 */
HEED_API HEED_CHECKED heed_status heed_engine_import(heed_engine *engine, heed_import_kind kind,
                                                     const char *path, const heed_import_opts *opts,
                                                     heed_import_report *report);

/* ---- train */
typedef enum heed_recipe {
    HEED_RECIPE_DEFAULT, /* ligr */
    HEED_RECIPE_SASREC,  /* SASRec with a full softmax: Klenitskiy, Vasilev 2023 */
    HEED_RECIPE_HSTU,    /* Zhai et al. 2024 */
    HEED_RECIPE_LIGR,    /* gated residuals, SwiGLU, position and time bias: Borisyuk et al. 2025 */
    HEED_RECIPES
} heed_recipe;

/** "sasrec", "hstu", "ligr"; NULL for a value that is none. The default is named as what it is. */
HEED_API const char *heed_recipe_name(heed_recipe recipe);
/** HEED_E_ARG for a name that is none; the message lists them. */
HEED_API HEED_CHECKED heed_status heed_recipe_find(const char *name, heed_recipe *recipe);

typedef struct heed_train_opts {
    heed_recipe recipe;
    /* 0: the recipe's own. dim up to 4,096, which heads (up to 64) divide; layers up to 32; length,
     * events that are seen at once, up to 8,192; epochs up to 100,000. */
    int64_t dim, layers, heads, length, epochs;
    int64_t batch; /* windows of histories in a step, up to 65,535; 0: by how many there are */
    double rate;    /* above 0, up to 1; 0: the recipe's own */
    double dropout; /* below 1; 0: the recipe's own; below 0: none */
    uint64_t seed;
    int threads; /* 0: the engine's */
    bool resume; /* go on from the last checkpoint of an interrupted run, if there is one */
    heed_progress progress;
    uint64_t reserved[8];
} heed_train_opts;

typedef struct heed_train_report {
    const char *recipe;
    uint64_t seed;
    int threads;
    int64_t epochs, best_epoch, parameters, positions;
    double valid_ndcg10, train_seconds, positions_per_second, peak_rss_mib, loss;
    bool resumed;
} heed_train_report;

/**
 * Trains a sequence model on all histories and makes it the current one; feeds go on being answered
 * by the old one until then. opts NULL: all its ordinary values.
 *
 * Values   each user's last event is not looked at, the second last validates and chooses the epoch
 * Memory   histories (13 bytes an event), the model with Adam's state, a step of each thread
 * Errors   HEED_E_ARG        an option is out of its range; the message names it
 *          HEED_E_STATE      nothing to learn from; or with resume, the checkpoint is of another run
 *          HEED_E_BUSY       another training is under way in this folder
 *          HEED_E_RANGE      the loss is no number any more: the rate is too high
 *          HEED_E_CANCELLED  progress said so: the old model stays, a checkpoint allows to resume
 *          HEED_E_IO         the model or its checkpoint cannot be written
 * Threads  starts opts->threads (or the engine's) for the run. The same seed gives the same model
 *          file, byte for byte, whatever their number.
 * Source   src/models/sequence_net.c has each recipe's formulas and papers.
 */
HEED_API HEED_CHECKED heed_status heed_engine_train(heed_engine *engine,
                                                    const heed_train_opts *opts,
                                                    heed_train_report *report);

/* ---- evaluate */
typedef struct heed_ranking_quality {
    double ndcg10, hr10, mrr, ndcg5, hr5, ndcg20, hr20;
    double coverage; /* share of the catalogue that occurs in any top 10 */
    double gini;     /* of how often items occur in the top 10s: 0 even, 1 all the same */
} heed_ranking_quality;

typedef struct heed_evaluation {
    int64_t users, items; /* users whose target was ranked */
    char split_sha256[65];
    double tie_rate; /* share of the ranked users whose target ties with another item's score; ties
                        are broken against the model */
    double time_tie_rate; /* share of events that share their user's time with another */
    heed_ranking_quality test, popularity, markov;
    double ci95_ndcg10[2], ci95_hr10[2]; /* bootstrap over users, test */
    double seconds;
    int64_t repeats; /* users not ranked, because they had seen their target before */
} heed_evaluation;

/**
 * Leave one out: each user's last event is ranked against the whole catalogue, seen items out, by the
 * current model, by popularity and by a first-order Markov chain.
 *
 * Values   split_sha256 is that of a text which anybody can make again: for each user with three
 *          events or more, users in the byte order of their ids, a line `user item` with the second
 *          last event's item (the validation) and one with the last event's (the test)
 * Errors   HEED_E_STATE  no events, no model, or no user with enough events
 */
HEED_API HEED_CHECKED heed_status heed_engine_evaluate(heed_engine *engine,
                                                       const heed_progress *progress,
                                                       heed_evaluation *out);

/* ---- feed */
typedef struct heed_reason {
    const char *item, *title;
    double contribution; /* signed: what this event of the history did to the score */
    heed_time when;      /* of the event; 0: not known */
} heed_reason;

typedef struct heed_feed_item {
    int rank; /* from 1 */
    const char *item, *title; /* title: NULL where there is none */
    bool sponsored;
    /* What the policy ordered by, before diversity: sequence: the logarithm of the probability that
     * the item comes next; popular: events, recent ones more; fresh: days since 1970. */
    double score;
    const heed_reason *reasons; /* strongest first */
    int reason_count;
} heed_feed_item;

typedef struct heed_feed_request {
    const char *user;
    int n;        /* 1 to 1,000; 0: 10 */
    heed_time at; /* 0: now; else what happened after it has not happened yet */
    bool explain; /* with reasons */
    const char *const *exclude; /* ids of items; unknown ones are passed over */
    int exclude_count;
    bool unrecorded; /* nobody is shown this answer: it is not kept in decisions.ndjson */
    uint64_t reserved[4];
} heed_feed_request;

/* One step of the pipeline and what it took. */
typedef struct heed_feed_step {
    const char *name; /* "history", "scores", "filter", "select", "diversify", "page", "record" */
    double us;
} heed_feed_step;

typedef struct heed_feed {
    const char *decision, *user; /* decision: 32 digits, no two alike; they rise with time */
    const char *policy; /* "sequence", "popular", "fresh", "empty": which one answered */
    const char *why_policy; /* a sentence: why this policy and not the model */
    int64_t took_us;
    const heed_feed_item *items;
    int count;
    const heed_feed_step *steps;
    int step_count;
} heed_feed;

/**
 * What this user is best shown now. Whatever is missing (the user, a model, events, items), there is
 * an answer, and it says which policy gave it. Seen, hidden, turned away and excluded items are never
 * in it. Free it with heed_feed_free().
 * Errors   HEED_E_ARG  no user, or n or exclude_count is out of its range
 */
HEED_API HEED_CHECKED heed_status heed_engine_feed(heed_engine *engine,
                                                   const heed_feed_request *request,
                                                   heed_feed **feed);
HEED_API void heed_feed_free(heed_feed *feed);

/* ---- explain */
typedef struct heed_explain_opts {
    bool exact; /* leave one out instead of gradient x attention */
    bool maps;  /* attention weights of each layer and head, for pictures */
    heed_time at;
    uint64_t reserved[4];
} heed_explain_opts;

typedef struct heed_explanation {
    const char *user, *item, *title;
    const char *method; /* "gradient-attention", "leave-one-out" */
    double score, probability;
    int64_t rank, counterfactual_rank; /* now, and without the strongest reason */
    const char *counterfactual_item;   /* that reason */
    const heed_reason *reasons;        /* every event the model saw, strongest first */
    int reason_count;
    double comprehensiveness, sufficiency;               /* AOPC, DeYoung et al. 2020 */
    double random_comprehensiveness, random_sufficiency; /* the same for a random order */
    const heed_reason *history; /* oldest first, as the model saw it: the axis of the maps */
    int history_count, layers, heads;
    const float *maps; /* (layers, heads, history, history), or NULL */
} heed_explanation;

/**
 * Why `item` stands where it does for `user`.
 * Errors   HEED_E_NOTFOUND  the user or the item is not known; the message says which
 *          HEED_E_STATE     no model has been trained, or the user has no history
 */
HEED_API HEED_CHECKED heed_status heed_engine_explain(heed_engine *engine, const char *user,
                                                      const char *item,
                                                      const heed_explain_opts *opts,
                                                      heed_explanation **out);
HEED_API void heed_explanation_free(heed_explanation *explanation);
/** One self-contained page: reasons, counterfactual, attention maps by layer and head. */
HEED_API HEED_CHECKED heed_status heed_explanation_html(const heed_explanation *explanation,
                                                        const char *path);
/** The same on one picture, an SVG file that needs nothing but itself, for a page of somebody's own. */
HEED_API HEED_CHECKED heed_status heed_explanation_svg(const heed_explanation *explanation,
                                                       const char *path);

/* ---- attention maps */

/* Attention weights to be looked at: by layer and head, how much each row (a query) looked at each
 * column (a key). Open: heed_engine_maps() makes one, and a program fills one with weights of its
 * own, such as those that heed_attention_forward() gives. All zero but sizes, names and weights is
 * the ordinary case. */
typedef struct heed_maps {
    const char *title; /* heads the page, or NULL */
    const char *note;  /* a sentence on what the weights are of, or NULL */
    int layers, heads, rows, columns;
    const char *const *row_names;    /* (rows) */
    const char *const *column_names; /* (columns); NULL: the rows' */
    const float *weights;            /* (layers, heads, rows, columns) */
    bool causal; /* rows are the columns and see none after themselves: drawn as a stair */
    uint64_t reserved[4];
} heed_maps;

/**
 * How the current model attends to a user's history: the window it sees, oldest first.
 * at: as it would have been then; 0: now. Free it with heed_maps_free().
 * Errors   HEED_E_NOTFOUND  the user is not known
 *          HEED_E_STATE     no model has been trained, or the user has no history
 */
HEED_API HEED_CHECKED heed_status heed_engine_maps(heed_engine *engine, const char *user,
                                                   heed_time at, heed_maps **maps);
/** Only of what heed_engine_maps() gave. */
HEED_API void heed_maps_free(heed_maps *maps);
/**
 * One self-contained page: the mean of all maps with its names, then each by layer and head.
 * Of more than 48 rows or columns it shows 48: the latest of a causal map, else the first.
 * Errors   HEED_E_ARG  no path, no weights or names, sizes below 1 or not those of a causal map, or
 *                      a reserved field is set
 *          HEED_E_IO   the file cannot be written
 */
HEED_API HEED_CHECKED heed_status heed_maps_html(const heed_maps *maps, const char *path);
/** The same on one picture, an SVG file that needs nothing but itself. */
HEED_API HEED_CHECKED heed_status heed_maps_svg(const heed_maps *maps, const char *path);

/** A copy of the current model's file. name: "sequence". */
HEED_API HEED_CHECKED heed_status heed_engine_export_model(heed_engine *engine, const char *name,
                                                           const char *path);

#ifdef __cplusplus
}
#endif
#endif
