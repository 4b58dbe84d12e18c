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
    int64_t memory_bytes; /* for what is kept at hand of users; 0: 64 MiB. Less costs time, never an answer */
    bool discreet; /* errors name nobody but whom was asked for, and guess at no other user */
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
    int64_t users; /* without those who were erased */
    int64_t items; /* with those that were removed: their events stay */
    int64_t events;
    bool has_times;       /* some event carries a time of its own, not only an order */
    bool has_model;       /* a sequence model is there */
    int64_t kept_bytes, kept; /* what is kept at hand of users, and of how many */
} heed_engine_counts;
HEED_API HEED_CHECKED heed_status heed_engine_count(heed_engine *engine, heed_engine_counts *out);

/**
 * From now on `bytes` may be kept at hand of users (heed_engine_opts.memory_bytes, changed): what does
 * not fit any more is let go of, the longest unasked first. Whoever holds a whole process to a size
 * gives what the rest of it leaves. Below 0 is 0.
 */
HEED_API void heed_engine_remember(heed_engine *engine, int64_t bytes);

/* ---- import */
typedef enum heed_import_kind {
    HEED_IMPORT_INTERACTIONS, /* `user item` a line, in the order of time within a user */
    HEED_IMPORT_MOVIELENS,    /* ratings.dat, u.data, ratings.csv: told apart by their look */
    HEED_IMPORT_EVENTS,       /* NDJSON, DESIGN.md 5; `"ts":null`: the time is not known, only the order */
    HEED_IMPORT_ITEMS,        /* NDJSON, or a MovieLens movies.dat, movies.csv, u.item */
    HEED_IMPORT_USERS,        /* NDJSON, as heed_engine_export() writes them */
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

/* ---- records: what comes in and goes out one by one */
typedef enum heed_record {
    HEED_RECORD_EVENT, /* one fact; DESIGN.md 5 and docs/API.md have the fields of each */
    HEED_RECORD_ITEM,
    HEED_RECORD_USER,
    HEED_RECORDS
} heed_record;

/* A piece of input and what became of it. All zero but what, text and bytes is the ordinary case. */
typedef struct heed_ingest {
    heed_record what;
    const char *text; /* NDJSON: one object a line */
    size_t bytes;
    bool document; /* it is JSON instead: one object, or an array of them (line: which element) */
    bool merge;    /* items and users: what is not given stays; else it is forgotten */
    /* Called for each record that was turned away (file is NULL), before the call returns. It must not
     * call the engine: a transaction is open. */
    void (*reject)(void *context, const heed_reject *reject);
    void *reject_context;
    int64_t accepted, duplicate, rejected; /* out. Their sum is every record there was */
} heed_ingest;

/**
 * Takes in pieces of records, several at once with one wait for the disk: whoever serves many callers
 * hands over what has come in meanwhile. A record that makes no sense is turned away with its line
 * and reason, and the others are kept. An event without `ts` is of now.
 *
 * Values   on HEED_OK all that was accepted is on disk, and the next feed knows it
 * Errors   HEED_E_BUSY  another process is writing (after a wait of some seconds)
 *          HEED_E_IO    the disk is full, or fails. Counts of accepted are 0 then; what had been committed
 *                       comes again as a duplicate
 * Threads  locked: one call at a time writes; the others read their events meanwhile, then wait
 * Cost     one transaction for each 250,000 records; while the call lasts, some 200 bytes an event
 */
HEED_API HEED_CHECKED heed_status heed_engine_ingest(heed_engine *engine, heed_ingest *pieces,
                                                     int count);

/* Text that a call made; it ends in NUL, which `bytes` does not count. */
typedef struct heed_text {
    const char *text;
    size_t bytes;
} heed_text;
HEED_API void heed_text_free(heed_text *text);

/** One record as a JSON object, as it would be taken in again. HEED_E_NOTFOUND: no such id. */
HEED_API HEED_CHECKED heed_status heed_engine_read(heed_engine *engine, heed_record what,
                                                   const char *id, heed_text **out);

typedef struct heed_list_opts {
    const char *cursor; /* of the page before; NULL: from the beginning */
    int n;              /* records of a page, up to 1,000; 0: 100 */
    const char *user, *item; /* events: of this user, of this item; NULL: of all */
    const char *kind;        /* events: of this kind */
    uint64_t reserved[4];
} heed_list_opts;
/**
 * A page of records as JSON: {"events"|"items"|"users": [...], "cursor": "..."}; the cursor is null on
 * the last page. Items and users come in the order in which they were first named, events by user.
 * Events of an item or a kind alone are looked for among 200,000 a page: it may hold fewer than n, or
 * none, and others follow.
 * Errors   HEED_E_ARG       the cursor is none, n is out of its range
 *          HEED_E_NOTFOUND  the user or the item is not known
 */
HEED_API HEED_CHECKED heed_status heed_engine_list(heed_engine *engine, heed_record what,
                                                   const heed_list_opts *opts, heed_text **out);

/* Where long output goes, piece by piece; false ends the call with HEED_E_CANCELLED. */
typedef struct heed_sink {
    bool (*write)(void *context, const char *text, size_t bytes);
    void *context;
} heed_sink;
/** All records of a kind as NDJSON, from one state of the store: what heed_engine_ingest() takes. */
HEED_API HEED_CHECKED heed_status heed_engine_export(heed_engine *engine, heed_record what,
                                                     const heed_sink *sink);

/**
 * An item is shown to nobody any more and what was said of it is forgotten (its number stays taken, so
 * events on it stay valid); an event, by its id, is forgotten. A user is heed_engine_erase()d.
 * Errors   HEED_E_NOTFOUND  no such id       HEED_E_ARG  what is a user
 */
HEED_API HEED_CHECKED heed_status heed_engine_remove(heed_engine *engine, heed_record what,
                                                     const char *id);

/**
 * Takes notice of what other processes have changed, and puts aside what would be long to compute
 * again. Whoever serves for days calls it about once a second, so that no request has to.
 */
HEED_API HEED_CHECKED heed_status heed_engine_refresh(heed_engine *engine);

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
    bool only_better; /* keep the current model where the new one is worse on the same validation */
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
    bool kept_out;        /* only_better: it was worse, so the current model stays */
    double rival_ndcg10;  /* only_better: the current model's on the same validation; else 0 */
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
    const char *source; /* how it came to be a candidate: "model", "popular", "trending", "fresh",
                           "followed", "similar", "explore" */
    double propensity;  /* the probability with which this policy showed this item in this place */
    /* explain: a sentence on how this item came to stand here, true of it and of whatever policy answered.
     * Reasons are told beside it where the model has learned something of the item and placed it. */
    const char *why;
} heed_feed_item;

/* What kind of list is asked for. */
typedef enum heed_feed_kind {
    HEED_FEED_BEST,     /* for this reader, by whatever is known */
    HEED_FEED_POPULAR,  /* what all readers look at, recent events counting more; as of now alone */
    HEED_FEED_TRENDING, /* what they look at now more than they used to; as of now alone */
    HEED_FEED_FRESH,    /* the newest */
    HEED_FEED_SIMILAR,  /* like `item`: what the model expects after it alone; where nothing was learned of
                           it, what shares its tags and author, which may be fewer than n, or none */
    HEED_FEED_KINDS
} heed_feed_kind;

/* An event of a reader who has no name, or none yet. */
typedef struct heed_feed_visit {
    const char *item;
    /* 0: not known. Of visits without a time, the reader's own ones too, only the order counts: the model
     * is told that they were at the time of the next visit that has one, or of the question where none
     * follows; where none has, that no time has passed. */
    heed_time ts;
} heed_feed_visit;

typedef struct heed_feed_request {
    const char *user;
    int n;        /* 1 to 1,000; 0: 10 */
    /* 0: now; else what happened after it has not happened yet. What was popular then is not kept: whom the
     * model does not serve gets the newest items of then, and popular and trending lists are refused. */
    heed_time at;
    bool explain; /* with `why` for each item, and reasons where there are any */
    const char *const *exclude; /* ids of items; unknown ones are passed over */
    int exclude_count;
    bool unrecorded; /* nobody is shown this answer: it is not kept in decisions.ndjson */
    heed_feed_kind kind;
    const char *item;      /* of HEED_FEED_SIMILAR */
    const char *filter;    /* which items may be shown: docs/FILTERS.md; NULL: all */
    const char *placement; /* where it will be shown; kept with the decision; NULL: nowhere named */
    /* What an anonymous reader looked at, oldest first; goes after the user's own events where there
     * is a user too, who may then be NULL. Nothing of it is kept. */
    const heed_feed_visit *session;
    int session_count; /* up to 10,000 */
    /* The probability that one place of the lower half goes to chance, 0 to 1, so that what was never
     * tried is; each item's propensity is in the answer and in the decision. */
    double explore;
    uint64_t reserved[4];
} heed_feed_request;

/* One step of the pipeline and what it took. */
typedef struct heed_feed_step {
    const char *name; /* "history", "filter", "candidates", "diversify", "explore", "page", "record" */
    double us;
} heed_feed_step;

typedef struct heed_feed {
    const char *decision, *user; /* decision: 32 digits, no two alike; they rise with time */
    const char *policy; /* "sequence", "popular", "trending", "fresh", "similar", "empty": which one answered */
    const char *why_policy; /* a sentence: why this policy and not the model */
    int64_t took_us;
    const heed_feed_item *items;
    int count;
    const heed_feed_step *steps;
    int step_count;
} heed_feed;

/**
 * What this user is best shown now. Whatever is missing (the user, a model, events, items), there is
 * an answer, and it says which policy gave it. Seen, hidden, turned away, blocked, own and excluded
 * items are never in it. Of a user who does not consent to a personal feed nothing that was looked at is
 * used, so what was seen may come again; what was turned away or blocked does not. Free it with heed_feed_free().
 * Errors   HEED_E_ARG       no user and no session; n, a count or explore is out of its range; the filter
 *                           cannot be read (the message says at which byte); HEED_FEED_POPULAR or
 *                           HEED_FEED_TRENDING with `at`
 *          HEED_E_NOTFOUND  HEED_FEED_SIMILAR: the item is not known
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
