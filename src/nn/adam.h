/* SPDX-License-Identifier: Apache-2.0
 *
 * The optimiser's state, open to the checkpoint. */
#ifndef HD_ADAM_H
#define HD_ADAM_H

#include "nn/params.h"

struct heed_adam {
    heed_params *params;
    heed_adam_opts opts; /* defaults filled in */
    hd_arena *arena;
    int64_t count;            /* parameters when it was made */
    void **m, **v, **average; /* of each parameter, its elements; average NULL: none is kept */
    double *partial;          /* sum of squares of each piece */
    int64_t steps;
    bool swapped; /* the weights hold the average, and the other way round */
};

#endif
