/* SPDX-License-Identifier: Apache-2.0
 *
 * Options and shapes of attention from anywhere, over arrays of just the size they call for. Laws: a
 * call is refused with a sentence, or succeeds with the scratch that was asked for, and never with less;
 * what is refused has no scratch. A sanitizer watches the arrays' ends. */
#include "heed/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAW(holds)    \
    do {              \
        if (!(holds)) \
            abort();  \
    } while (0)

enum { SMALL = 20, ROWS = 40, BLOCKS_MAX = 32 };

struct source {
    const uint8_t *data;
    size_t bytes;
    void *block[BLOCKS_MAX];
    int blocks;
};

static uint8_t byte(struct source *s)
{
    if (s->bytes == 0)
        return 0;
    s->bytes--;
    return *s->data++;
}

/* Mostly from lo to hi; one time in sixteen any number at all. */
static int64_t number(struct source *s, int64_t lo, int64_t hi)
{
    uint8_t b = byte(s);
    if (b < 240)
        return lo + b % (hi - lo + 1);
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x = x << 8 | byte(s);
    return (int64_t)x;
}

static int64_t dimension(struct source *s)
{
    uint8_t b = byte(s);
    return b == 255 ? -1 : b % SMALL;
}

static double real(struct source *s)
{
    static const double odd[] = {0, 0, 0, 0.5, 1, -1, 1e-3, 30, 1e300,
                                 (double)INFINITY, -(double)INFINITY, (double)NAN};
    return odd[byte(s) % 12];
}

/* Memory of just so many bytes, so that a sanitizer sees one step too far; NULL where absent is meant. */
static void *memory(struct source *s, int64_t count, size_t item)
{
    size_t bytes = count > 0 ? (size_t)count * item : 0;
    void *x = malloc(bytes ? bytes : 1);
    LAW(x && s->blocks < BLOCKS_MAX);
    s->block[s->blocks++] = x;
    memset(x, 0, bytes);
    return x;
}

static void *values(struct source *s, int64_t count, int64_t dtype)
{
    size_t item = dtype == HEED_F64 ? 8 : dtype == HEED_F32 ? 4 : 2;
    char *x = memory(s, count, item);
    uint8_t seed = byte(s);
    for (int64_t i = 0; i < count; i++) {
        double number = (double)((i * 37 + seed) % 17 - 8) / 8;
        float narrow = (float)number;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        uint16_t half = (uint16_t)(bits >> 16);
        memcpy(x + (size_t)i * item, item == 8 ? (void *)&number : item == 4 ? (void *)&narrow : &half,
               item);
    }
    return x;
}

static int64_t *integers(struct source *s, int64_t count, int64_t lo, int64_t hi, bool rising)
{
    int64_t *x = memory(s, count, sizeof *x), last = 0;
    for (int64_t i = 0; i < count; i++) {
        x[i] = number(s, lo, hi);
        if (rising && byte(s) < 250) /* mostly as it should be */
            x[i] = i == 0 ? 0 : last + (x[i] < 0 || x[i] > 4 ? 1 : x[i]);
        last = x[i];
    }
    return x;
}

static heed_status call(const heed_attention_opts *opts, heed_attention_arrays *a, bool backward,
                        uint64_t bytes)
{
    a->scratch = bytes ? malloc(bytes) : NULL, a->scratch_bytes = bytes;
    heed_status status = backward ? heed_attention_backward(NULL, opts, a)
                                  : heed_attention_forward(NULL, opts, a);
    LAW(status == HEED_OK || heed_error_message()[0] != '\0');
    free(a->scratch);
    a->scratch = NULL, a->scratch_bytes = 0;
    return status;
}

static void fill_options(struct source *s, heed_attention_opts *o, heed_attention_arrays *a)
{
    uint8_t has = byte(s), more = byte(s);
    o->score = (heed_attention_score)(byte(s) % 7);
    o->weight = (heed_attention_weight)(byte(s) % 4);
    o->method = (heed_attention_method)(byte(s) < 200 ? 0 : byte(s) % 4);
    o->scale = real(s), o->shift = real(s);
    o->causal = has & 1;
    if (has & 2) {
        o->sequences = a->B;
        o->offsets = integers(s, a->B + 1, 0, 4, true);
    } else if (has & 4) {
        o->lengths = integers(s, a->B, 0, a->S > 0 ? a->S : 0, false);
    }
    int64_t pairs = o->offsets ? ROWS * ROWS * (a->H > 0 ? a->H : 0) : a->B * a->H * a->T * a->S;
    int64_t width = o->offsets ? ROWS : a->S;
    if (has & 8) {
        o->keep = values(s, pairs, HEED_F32); /* any bytes */
        o->keep_stride[2] = width, o->keep_stride[3] = 1;
    }
    if (has & 16) {
        o->mask = values(s, pairs, a->dtype == HEED_F64 ? HEED_F64 : HEED_F32);
        o->mask_stride[1] = o->offsets ? 0 : a->T * a->S;
        o->mask_stride[2] = width, o->mask_stride[3] = 1;
    }
    if (has & 32) {
        o->window = number(s, 0, 9), o->globals = number(s, 0, 4);
        o->dilation = has & 64 ? integers(s, a->H, 1, 3, false) : NULL;
    }
    if (has & 128) {
        double *slopes = memory(s, a->H, sizeof *slopes);
        for (int64_t h = 0; h < a->H; h++)
            slopes[h] = real(s);
        o->alibi = slopes;
    }
    if (more & 1) {
        o->rotary = (heed_rotary)(byte(s) % 4);
        if (o->rotary || more & 32)
            o->rotary_base = real(s), o->rotary_dims = number(s, 0, SMALL);
    }
    if (o->method == HEED_METHOD_LSH || more & 16) { /* the latter as a rule to be refused */
        o->lsh_rounds = number(s, 0, 3), o->lsh_chunk = number(s, 0, 8);
        o->lsh_buckets = number(s, 0, 8), o->lsh_seed = byte(s);
    }
    o->dropout = more & 2 ? real(s) : 0;
    if (more & 4)
        o->reserved[byte(s) % 8] = byte(s);
    if (more & 8) {
        a->W = dimension(s);
        o->key_times = integers(s, a->B * a->S + ROWS, 0, 200, false);
        o->query_times = integers(s, a->B * a->T + ROWS, 0, 200, false);
    }
}

static void fill_arrays(struct source *s, heed_attention_arrays *a, const heed_attention_opts *o)
{
    int64_t group = a->kv_heads > 0 && a->kv_heads <= a->H ? a->kv_heads : a->H;
    int64_t narrow = a->dtype == HEED_F64 ? HEED_F64 : HEED_F32;
    int64_t q = o->offsets ? ROWS : a->B * a->T, k = o->offsets ? ROWS : a->B * a->S;
    uint8_t has = byte(s);
    a->q = values(s, q * a->H * a->D, a->dtype);
    a->k = o->method == HEED_METHOD_LSH && has & 1 ? a->q : values(s, k * group * a->D, a->dtype);
    a->v = values(s, k * group * a->E, a->dtype);
    a->out = values(s, q * a->H * a->E, a->dtype);
    a->lse = values(s, q * a->H, narrow);
    a->dout = values(s, q * a->H * a->E, a->dtype);
    a->dq = values(s, q * a->H * a->D, a->dtype);
    a->dk = values(s, k * group * a->D, a->dtype);
    a->dv = values(s, k * group * a->E, a->dtype);
    if (has & 2)
        a->weights = values(s, o->offsets ? ROWS * ROWS * a->H : a->B * a->H * a->T * a->S, narrow);
    if (has & 4) {
        a->P = dimension(s);
        a->position = values(s, a->H * a->P, narrow);
        a->dposition = values(s, a->H * a->P, narrow);
    }
    if (o->key_times) {
        a->time = values(s, a->H * a->W, narrow);
        a->dtime = values(s, a->H * a->W, narrow);
    }
    if (has & 8 || o->score == HEED_SCORE_BILINEAR) {
        a->theta = values(s, a->H * a->D * (a->D > 4 ? a->D : 4), narrow);
        a->dtheta = values(s, a->H * a->D * (a->D > 4 ? a->D : 4), narrow);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct source s = {.data = data, .bytes = bytes};
    heed_attention_opts opts = {0};
    heed_attention_arrays a = {.dtype = byte(&s) % 4};

    a.B = dimension(&s) % 4, a.H = dimension(&s) % 5, a.kv_heads = dimension(&s) % 4;
    a.T = dimension(&s), a.S = byte(&s) % 2 ? a.T : dimension(&s);
    a.D = dimension(&s), a.E = dimension(&s);
    fill_options(&s, &opts, &a);
    fill_arrays(&s, &a, &opts);
    a.accumulate = byte(&s) & 1;
    for (int backward = 0; backward < 2; backward++) {
        uint64_t need = heed_attention_scratch_bytes(NULL, &opts, &a, backward);
        if (need > (uint64_t)1 << 30) /* windows and tables of any size */
            break;
        /* The backward's is what the pass that needs more of it needs. */
        LAW(backward || need < 2 || call(&opts, &a, false, need - 1) != HEED_OK);
        heed_status status = call(&opts, &a, backward, need);
        LAW(need ? status == HEED_OK : status != HEED_OK); /* scratch is never nothing */
        if (status != HEED_OK)
            break;
    }
    for (int i = 0; i < s.blocks; i++)
        free(s.block[i]);
    return 0;
}
