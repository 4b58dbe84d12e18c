/* SPDX-License-Identifier: Apache-2.0
 *
 * The network behind hd_sequence: its parameters, and one forward pass that reads like the formulas.
 *
 * A batch is ragged: sequences laid end to end, no padding. Row r of sequence b is event r -
 * offset[b] of a window; its state predicts the event that follows. */
#ifndef HD_SEQUENCE_NET_H
#define HD_SEQUENCE_NET_H

#include "heed/attention.h"
#include "heed/nn.h"
#include "models/sequence.h"

#define HD_SEQUENCE_LAYERS_MAX 32
#define HD_SEQUENCE_DIM_MAX 4096
#define HD_SEQUENCE_HEADS_MAX 64
#define HD_SEQUENCE_LENGTH_MAX 8192
#define HD_TIME_BUCKETS 129 /* what heed_time_bucket_log() returns at most, plus one */

/* Which of these a block has is its recipe's; the rest are NULL. */
struct hd_sequence_block {
    heed_tensor *norm_gain, *norm_bias; /* (C): before attention */
    heed_tensor *q, *k, *v;             /* sasrec: (C, C) */
    heed_tensor *qkv;                   /* ligr: (3 C, C) */
    heed_tensor *uvqk;                  /* hstu: (4 C, C) */
    heed_tensor *o, *o_bias;            /* (C, C), (C) */
    heed_tensor *position_bias;         /* hstu, ligr: (H, length) */
    heed_tensor *time_bias;             /* hstu, ligr: (H, HD_TIME_BUCKETS), or NULL */
    heed_tensor *out_gain, *out_bias;   /* hstu: (C), after attention */
    heed_tensor *ff_gain, *ff_bias;     /* sasrec, ligr: (C), before the feed-forward part */
    heed_tensor *up, *up_bias;          /* sasrec, ligr: (C, C); sasrec: (C) */
    heed_tensor *gate;                  /* ligr: (C, C), SwiGLU's */
    heed_tensor *down, *down_bias;      /* sasrec, ligr: (C, C), (C) */
    heed_tensor *attention_gate, *ff_gate; /* ligr: (C, C), of the residual sums */
};

struct hd_sequence_net {
    struct hd_sequence_config config;
    heed_tensor *item;                    /* (V, C): what is read, and what is scored against */
    heed_tensor *position;                /* (length, C): sasrec, ligr */
    heed_tensor *final_gain, *final_bias; /* (C) */
    struct hd_sequence_block block[HD_SEQUENCE_LAYERS_MAX];
};

/* Keys and values of a sequence's first rows, from an earlier pass over the same rows. Each array has
 * room for the whole sequence; a pass adds its own rows behind. */
struct hd_sequence_kept {
    int64_t rows;
    float *key[HD_SEQUENCE_LAYERS_MAX], *value[HD_SEQUENCE_LAYERS_MAX]; /* (room, C) */
};

struct hd_sequence_batch {
    int64_t sequences;
    const int64_t *offset;        /* sequences + 1 */
    const int32_t *item;          /* offset[sequences] */
    const int32_t *position;      /* the same count: the row's place in its window, from 0 */
    const int64_t *time, *query;  /* when the row's event was, and when its state is asked; or NULL */
    bool last; /* one sequence of which only the last row's state is wanted: the answer to a feed */
    const struct hd_sequence_kept *kept; /* with last: rows that need not be passed again, or NULL */
};

/* What a forward pass leaves for explanations: per layer, attention's values, output, weights. */
struct hd_sequence_trace {
    heed_tensor *input; /* (N, C) */
    struct {
        heed_tensor *v, *out, *weights;
    } layer[HD_SEQUENCE_LAYERS_MAX];
};

/* create: adds the parameters to params, drawn anew; else finds them there (a replica, a file). */
HEED_CHECKED heed_status hd_sequence_net_bind(struct hd_sequence_net *net,
                                              const struct hd_sequence_config *config,
                                              heed_params *params, bool create);

/* States (N, C), or (1, C) with batch->last, ready for the product with the item table. trace: NULL, or one sequence only. */
HEED_CHECKED heed_status hd_sequence_forward(heed_tape *tape, const struct hd_sequence_net *net,
                                             const struct hd_sequence_batch *batch, double dropout,
                                             heed_tensor **state, struct hd_sequence_trace *trace);

/* The table that states are multiplied with, (V, C), and what the products are scaled by. */
HEED_CHECKED heed_status hd_sequence_output(heed_tape *tape, const struct hd_sequence_net *net,
                                            heed_tensor **table, double *scale);

#endif
