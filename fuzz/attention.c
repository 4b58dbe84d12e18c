/* SPDX-License-Identifier: Apache-2.0
 *
 * Options and shapes of attention from anywhere, over arrays of just the size they call for. Laws: a
 * call is refused with a sentence, or succeeds with the scratch that was asked for, and never with less;
 * what is refused has no scratch. A sanitizer watches the arrays' ends.
 *
 * Offsets that call for more than ROWS rows are valid, but their arrays are not made: such a call is asked
 * for its scratch alone. */
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
        if (rising && byte(s) < 250 && last <= INT64_MAX - 4) /* mostly as it should be */
            x[i] = i == 0 ? 0 : last + (x[i] < 0 || x[i] > 4 ? 1 : x[i]);
        last = x[i];
    }
    return x;
}

/* ---- what the options call for */

/* Rows of all ragged sequences, as offsets have it: of those that are refused any number. */
static int64_t ragged(const heed_attention_opts *o, const heed_attention_arrays *a)
{
    return a->B < 0 ? 0 : o->offsets[a->B];
}

/* Rows of an array of sequences so long. */
static int64_t rows_of(const heed_attention_opts *o, const heed_attention_arrays *a, int64_t length)
{
    if (!o->offsets)
        return a->B * length;
    int64_t rows = ragged(o, a);
    return rows < 0 ? 0 : rows > ROWS ? ROWS : rows;
}

/* Heads of keys. */
static int64_t group_of(const heed_attention_arrays *a)
{
    return a->kv_heads > 0 && a->kv_heads <= a->H ? a->kv_heads : a->H;
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
    int64_t width = o->offsets ? rows_of(o, a, 0) : a->S, height = o->offsets ? width : a->T;
    if (has & 8) {
        uint8_t *keep = memory(s, height * width, 1);
        for (int64_t i = 0; i < height * width; i++)
            keep[i] = i * 37 % 5 != 0;
        o->keep = keep;
        o->keep_stride[2] = width, o->keep_stride[3] = 1;
    }
    if (has & 16) {
        bool each = more & 64; /* a mask for each head */
        o->mask = values(s, (each ? a->H : 1) * height * width,
                         a->dtype == HEED_F64 ? HEED_F64 : HEED_F32);
        o->mask_stride[1] = each ? height * width : 0;
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
        o->key_times = integers(s, rows_of(o, a, a->S), 0, 200, false);
        o->query_times = integers(s, rows_of(o, a, a->T), 0, 200, false);
    }
}

/* Numbers of theta for each of a head's dimensions. */
static int64_t theta_rows(heed_attention_score score, int64_t D)
{
    return score == HEED_SCORE_BILINEAR ? D : score == HEED_SCORE_FEATURES ? 4 : 1;
}

static void lay(int64_t stride[3], int64_t rows, int64_t length, int64_t heads, int64_t width)
{
    stride[0] = length * heads * width, stride[1] = width, stride[2] = (rows ? rows : length) * width;
}

/* (B, H, L, D), of ragged sequences (H, N, D). */
static void lay_by_head(heed_attention_arrays *a, const heed_attention_opts *o, int64_t group)
{
    int64_t rows = o->offsets ? rows_of(o, a, 0) : 0;
    lay(a->q_stride, rows, a->T, a->H, a->D), lay(a->out_stride, rows, a->T, a->H, a->E);
    lay(a->k_stride, rows, a->S, group, a->D), lay(a->v_stride, rows, a->S, group, a->E);
}

/* Empty arrays may be NULL. */
static void leave_out_empty(heed_attention_arrays *a, int64_t q, int64_t k, int64_t group)
{
    if (q * a->H <= 0)
        a->q = NULL, a->out = NULL, a->lse = NULL, a->dout = NULL, a->dq = NULL, a->weights = NULL;
    if (k * group <= 0)
        a->k = NULL, a->v = NULL, a->dk = NULL, a->dv = NULL, a->weights = NULL;
    if (a->H * a->D <= 0)
        a->theta = NULL, a->dtheta = NULL;
    if (a->H * a->P <= 0)
        a->position = NULL, a->dposition = NULL;
    if (a->H * a->W <= 0)
        a->time = NULL, a->dtime = NULL;
}

static void fill_arrays(struct source *s, heed_attention_arrays *a, const heed_attention_opts *o)
{
    int64_t group = group_of(a), narrow = a->dtype == HEED_F64 ? HEED_F64 : HEED_F32;
    int64_t q = rows_of(o, a, a->T), k = rows_of(o, a, a->S);
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
    if (has & 2) {
        int64_t pairs = o->offsets ? q * q : a->B * a->T * a->S;
        a->weights = values(s, pairs * a->H, narrow);
    }
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
        int64_t numbers = a->H * a->D * theta_rows(o->score, a->D);
        a->theta = values(s, numbers, narrow);
        a->dtheta = values(s, numbers, narrow);
    }
    if (has & 16)
        lay_by_head(a, o, group);
    if (has & 32)
        leave_out_empty(a, q, k, group);
    if (has & 64)
        a->dposition = NULL, a->dtime = NULL, a->dtheta = NULL; /* not wanted */
    if (has & 128)
        a->lse = NULL; /* nor this; the backward of softmax is refused */
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
        if (need && opts.offsets && ragged(&opts, &a) > ROWS) /* arrays that were not made */
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
