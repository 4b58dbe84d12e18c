/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products. C is walked in tiles that stay in registers while K runs: TALL rows of C by two
 * vectors of columns. B is packed so that a tile reads it in one stream; A is read in place, one
 * element of each row at a time, so any strides will do and a transposed A costs nothing extra.
 *
 *      packed B, N = 2 W full columns and a rest:    panel 0: K rows of 2 W, panel 1: ..., the last
 *      panel is W wide where the rest fits in that; past N there are zeros.
 *
 * One source for every element type and instruction set, as rows.c. */
#include "kernel/kernel.h"
#include "kernel/vec.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define FILL_GEMM CAT(hd_fill_gemm_, HD_VARIANT)

void FILL_GEMM(struct hd_kernels *k);

#define W ((int64_t)VL)
#define WIDE (2 * W)
#if VEC_AVX512
#define TALL 12 /* 24 of 32 registers hold sums */
#else
#define TALL 6 /* 12 of 16 */
#endif
/* Rows of B taken at a time: a panel of them is half of the first cache or less... */
#define K_BLOCK 256
/* The same where B is read as it lies, and A mostly is too: whole rows of both, 64 columns wide in the
 * models at hand, share the caches. 96 was best of 32 to 256 for (64, N) (N, 64) on Zen 4. */
#define K_BLOCK_DIRECT 96
/* ...and columns: with K_BLOCK rows, a quarter of the second. */
#define N_BLOCK (8 * WIDE)

static size_t gemm_pack_bytes(int64_t K, int64_t N)
{
    return (size_t)K * (size_t)((N + W - 1) / W * W) * sizeof(REAL);
}

/* W columns of B, each contiguous (b_row is 1), as rows of the panel `width` wide. Returns how many
 * rows it made: those that come in fours. */
static int64_t turn_columns(REAL *out, int64_t width, const REAL *b, int64_t b_col, int64_t K)
{
    int64_t k = 0;
#if HD_REAL_BITS == 32
    const REAL *column[VL];
    vec t[4];
    for (int64_t j = 0; j < W; j++)
        column[j] = b + j * b_col;
    for (; k + 4 <= K; k += 4, out += 4 * width) {
        turn_4(column, t);
        VEC_UNROLL
        for (int i = 0; i < 4; i++)
            store(out + i * width, t[i]);
        VEC_UNROLL
        for (int64_t j = 0; j < W; j++)
            column[j] += 4;
    }
#else
    (void)out, (void)width, (void)b, (void)b_col, (void)K;
#endif
    return k;
}

static void gemm_pack(void *packed, const void *b_, int64_t b_row, int64_t b_col, int64_t K,
                      int64_t N)
{
    REAL *out = packed;
    const REAL *b = b_;
    for (int64_t j = 0; j < N; j += WIDE) {
        int64_t left = N - j < WIDE ? N - j : WIDE, width = left > W ? WIDE : W;
        for (int64_t v = 0; v < width; v += W, left -= W) {
            const REAL *from = b + j * b_col + v * b_col;
            int64_t k = b_row == 1 && left >= W ? turn_columns(out + v, width, from, b_col, K) : 0;
            for (; k < K; k++) {
                const REAL *row = from + k * b_row;
                REAL *to = out + k * width + v;
                if (b_col == 1) {
                    store(to, get(row, (size_t)left));
                    continue;
                }
                for (int64_t l = 0; l < W; l++)
                    to[l] = l < left ? row[l * b_col] : 0;
            }
        }
        out += K * width;
    }
}

/* C (tall, wide W) from K steps. `left` columns of C exist. tall and wide are constants wherever
 * this is inlined, so that the loops over them unroll and s lies in registers. */
VEC_FN void tile(int tall, int wide, int64_t K, const REAL *a, int64_t a_row, int64_t a_col,
                 const REAL *b, int64_t b_row, REAL *c, int64_t c_row, int64_t left,
                 bool accumulate, const REAL *bias)
{
    vec s[TALL][2], first[2] = {{0}, {0}};
    for (int j = 0; bias && j < wide; j++)
        if (left > j * W)
            first[j] = get(bias + j * W, (size_t)(left - j * W));
    VEC_UNROLL
    for (int i = 0; i < tall; i++)
        s[i][0] = first[0], s[i][1] = first[1];
    for (int64_t k = 0; k < K; k++, a += a_col, b += b_row) {
        vec b0 = load(b), b1 = wide > 1 ? load(b + W) : b0;
        VEC_UNROLL
        for (int i = 0; i < tall; i++) {
            vec x = all(a[i * a_row]);
            s[i][0] = fma_v(x, b0, s[i][0]);
            if (wide > 1)
                s[i][1] = fma_v(x, b1, s[i][1]);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < tall; i++, c += c_row) {
        VEC_UNROLL
        for (int j = 0; j < wide; j++) {
            int64_t here = left - j * W;
            if (here >= W)
                store(c + j * W, accumulate ? load(c + j * W) + s[i][j] : s[i][j]);
            else if (here > 0)
                store_part(c + j * W,
                           accumulate ? load_part(c + j * W, (size_t)here) + s[i][j] : s[i][j],
                           (size_t)here);
        }
    }
}

typedef void tile_fn(int64_t K, const REAL *a, int64_t a_row, int64_t a_col, const REAL *b,
                     int64_t b_row, REAL *c, int64_t c_row, int64_t left, bool accumulate,
                     const REAL *bias);
#define TILE(tall, wide)                                                                           \
    static void tile_##tall##_##wide(int64_t K, const REAL *a, int64_t a_row, int64_t a_col,       \
                                     const REAL *b, int64_t b_row, REAL *c, int64_t c_row,         \
                                     int64_t left, bool accumulate, const REAL *bias)              \
    {                                                                                              \
        tile(tall, wide, K, a, a_row, a_col, b, b_row, c, c_row, left, accumulate, bias);          \
    }
#define TILES(tall) TILE(tall, 1) TILE(tall, 2)
#define PAIR(tall) {tile_##tall##_1, tile_##tall##_2}
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6)
#if TALL == 12
TILES(7) TILES(8) TILES(9) TILES(10) TILES(11) TILES(12)
#endif

static tile_fn *const tiles[TALL + 1][2] = {
    {0}, PAIR(1), PAIR(2), PAIR(3), PAIR(4), PAIR(5), PAIR(6),
#if TALL == 12
    PAIR(7), PAIR(8), PAIR(9), PAIR(10), PAIR(11), PAIR(12),
#endif
};

static void gemm(const struct hd_gemm *g)
{
    const REAL *a = g->a, *b = g->b;
    const REAL *bias = g->bias;
    REAL *c = g->c;
    if (g->K <= 0)
        for (int64_t i = 0; i < g->M; i++)
            for (int64_t j = 0; j < g->N; j++)
                c[i * g->c_row + j] =
                    (g->accumulate ? c[i * g->c_row + j] : 0) + (bias ? bias[j] : 0);
    int64_t k_block = g->b_row ? K_BLOCK_DIRECT : K_BLOCK;
    for (int64_t k = 0; k < g->K; k += k_block) {
        int64_t depth = g->K - k < k_block ? g->K - k : k_block;
        bool accumulate = g->accumulate || k > 0;
        for (int64_t n = 0; n < g->N; n += N_BLOCK) {
            int64_t n_end = g->N - n < N_BLOCK ? g->N : n + N_BLOCK;
            /* strips as equal as can be: 50 rows are five of 10, not four of 12 and one of 2 */
            int64_t strips = (g->M + TALL - 1) / TALL, i = 0;
            for (int64_t s = 1; s <= strips; s++) {
                int64_t tall = g->M * s / strips - i;
                for (int64_t j = n; j < n_end; j += WIDE) {
                    int64_t left = g->N - j, wide = left > W ? 2 : 1;
                    int64_t b_row = g->b_row ? g->b_row : wide * W;
                    tiles[tall][wide - 1](depth, a + i * g->a_row + k * g->a_col, g->a_row,
                                          g->a_col, b + (g->b_row ? j : j * g->K) + k * b_row,
                                          b_row, c + i * g->c_row + j, g->c_row, left, accumulate,
                                          bias && k == 0 ? bias + j : NULL);
                }
                i += tall;
            }
        }
    }
}

void FILL_GEMM(struct hd_kernels *k)
{
    k->gemm_columns = W;
    k->gemm_pack_bytes = gemm_pack_bytes, k->gemm_pack = gemm_pack, k->gemm = gemm;
}
