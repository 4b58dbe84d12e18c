/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention on arrays of one's own, with no engine, no store and no files:
 *
 *     cc attention.c $(pkg-config --cflags --libs heed)
 */
#include <heed/attention.h>

#include <math.h>
#include <stdio.h>

/* One sequence of three positions, one head of width two, causal: the first sees itself alone, so its
 * output is its own value, and each row of weights sums to one. */
int main(void)
{
    float q[3][2] = {{1, 0}, {0, 1}, {1, 1}}, k[3][2] = {{1, 0}, {0, 1}, {1, 1}};
    float v[3][2] = {{1, 10}, {2, 20}, {3, 30}}, out[3][2], weights[3][3];
    heed_attention_opts opts = {.causal = true};
    heed_attention_arrays arrays = {.dtype = HEED_F32, .B = 1, .T = 3, .S = 3, .H = 1, .D = 2, .E = 2};

    arrays.q = q, arrays.k = k, arrays.v = v, arrays.out = out, arrays.weights = weights;
    if (heed_attention_forward(NULL, &opts, &arrays) != HEED_OK) {
        fprintf(stderr, "%s\n", heed_error_message());
        return 1;
    }
    for (int t = 0; t < 3; t++) {
        float sum = 0;
        for (int s = 0; s < 3; s++)
            sum += weights[t][s];
        printf("%d  weights %.3f %.3f %.3f  out %6.3f %6.3f\n", t, (double)weights[t][0],
               (double)weights[t][1], (double)weights[t][2], (double)out[t][0], (double)out[t][1]);
        if (fabsf(sum - 1) > 1e-6f || (t == 0 && (out[0][0] != 1 || out[0][1] != 10)))
            return 1;
    }
    return 0;
}
