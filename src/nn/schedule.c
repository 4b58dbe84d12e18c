/* SPDX-License-Identifier: Apache-2.0
 *
 * How the learning rate goes over a run: up over the warm-up, then down (or not) to the floor. */
#include "heed/nn.h"

#include <math.h>

double heed_schedule_factor(heed_schedule schedule, int64_t step, int64_t warmup_steps,
                            int64_t total_steps, double floor)
{
    if (step < 0)
        step = 0;
    if (step < warmup_steps) /* the first step is not lost on a rate of 0 */
        return (double)(step + 1) / (double)warmup_steps;
    if (schedule == HEED_CONSTANT)
        return 1;
    int64_t span = total_steps - warmup_steps, done = step - warmup_steps;
    if (span <= 0 || done >= span)
        return floor;
    double part = (double)done / (double)span;
    double down = schedule == HEED_COSINE ? 0.5 * (1 + cos(3.141592653589793 * part)) : 1 - part;
    return floor + (1 - floor) * down;
}
