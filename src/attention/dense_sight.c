/* SPDX-License-Identifier: Apache-2.0
 *
 * Who sees whom in a head, and from how far: causal, padding, the window with its globals, masks, and
 * the biases by distance. Blocks and tiles of which nothing is seen are skipped, so that a window costs
 * what it covers; within a tile, causal and padding cut rows short, and the others put -infinity in
 * the place of a score, which weighs 0.
 *
 * Whatever depends on the distance t' - s alone, position bias, ALiBi, shift and the window's band, is
 * one number per diagonal, spread over a table once per call. The globals break the band: their columns
 * take a table without it, and tiles are cut so that rows are all global or none is. */
#include "attention/dense_tile.h"

#include <math.h>
#include <stdlib.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- biases by distance */

void heed_alibi_slopes(int64_t H, double *slopes)
{
    int64_t whole = 1;
    while (whole <= H / 2)
        whole *= 2;
    for (int64_t h = 0; h < H; h++) {
        double step = h < whole ? (double)(h + 1) / (double)whole
                                : (double)(2 * (h - whole) + 1) / (double)(2 * whole);
        slopes[h] = exp2(-8 * step);
    }
}

void hd_diagonals_init(struct hd_job *j)
{
    const heed_attention_opts *o = j->opts;
    int64_t spread = 1;
    for (int64_t h = 0; o->dilation && h < j->H; h++)
        spread = most(spread, o->dilation[h]);
    /* Keys of the tiles of a band, which are not cut to single keys, lie at most so far outside it. */
    int64_t reach = o->window * spread + HD_FORWARD_KEYS + HD_FORWARD_ROWS;

    j->plain.wanted = (j->arrays->position || o->alibi || o->shift != 0) &&
                      (o->window == 0 || o->globals > 0);
    j->plain.back = j->S_max - 1;
    j->plain.width = j->T_max + j->S_max;
    j->banded.wanted = o->window > 0;
    j->banded.back = least(j->S_max - 1, reach);
    j->banded.width = j->banded.back + least(j->T_max, reach) + 1;
}

/* What a score gets for a key `back` steps behind its query; ahead of it where that is negative. */
static double bias_of(const struct hd_job *j, int64_t h, int64_t back)
{
    const heed_attention_opts *o = j->opts;
    const heed_attention_arrays *a = j->arrays;
    double bias = o->shift;
    if (a->position && back >= 0)
        bias += hd_number(a->position, j->item, h * a->P + a->P - 1 - least(back, a->P - 1));
    if (o->alibi)
        bias -= o->alibi[h] * (double)llabs(back);
    return bias;
}

static void fill(const struct hd_job *j, const struct hd_diagonals *d, bool band)
{
    const heed_attention_opts *o = j->opts;
    for (int64_t h = 0; d->wanted && h < j->H; h++) {
        int64_t dilation = o->dilation ? o->dilation[h] : 1, reach = o->window * dilation;
        for (int64_t i = 0; i < d->width; i++) {
            int64_t back = d->back - i;
            bool seen = !band || (llabs(back) <= reach && back % dilation == 0);
            hd_set_number(d->table, j->item, h * d->width + i,
                          seen ? bias_of(j, h, back) : -(double)INFINITY);
        }
    }
}

void hd_diagonals_fill(const struct hd_job *j)
{
    fill(j, &j->plain, false);
    fill(j, &j->banded, true);
}

/* Is the query at position t' one of the globals? */
static bool is_global(const struct hd_job *j, int64_t position)
{
    return position >= 0 && position < j->opts->globals;
}

void hd_add_diagonals(const struct hd_job *j, const struct hd_pair *p, const struct hd_tile *tile,
                      int64_t t)
{
    int64_t position = t + p->seq.shift, key = (int64_t)tile->column;
    bool band = j->banded.wanted && !is_global(j, position);
    struct hd_tile part = *tile;
    if (band) /* all columns but those of globals */
        part.columns = least(most(j->opts->globals - key, 0), tile->columns);
    if (j->plain.wanted && part.columns > 0)
        j->kernel->add_position(
            &part, hd_item(j, j->plain.table, hd_diagonal(&j->plain, p->h, position, key)));
    if (band && part.columns < tile->columns) {
        int64_t before = part.columns;
        part.s = hd_item(j, tile->s, before);
        part.columns = tile->columns - before, part.seen = tile->seen - before;
        j->kernel->mask(
            &part,
            hd_item(j, j->banded.table, hd_diagonal(&j->banded, p->h, position, key + before)), -1,
            1);
    }
}

/* ---- masks */

void hd_add_masks(const struct hd_job *j, const struct hd_pair *p, const struct hd_tile *tile,
                  int64_t t)
{
    const heed_attention_opts *o = j->opts;
    int64_t key = (int64_t)tile->column;
    if (p->mask)
        j->kernel->mask(tile,
                        hd_item(j, p->mask, t * o->mask_stride[2] + key * o->mask_stride[3]),
                        o->mask_stride[2], o->mask_stride[3]);
    if (p->keep)
        j->kernel->keep(tile, p->keep + t * o->keep_stride[2] + key * o->keep_stride[3],
                        o->keep_stride[2], o->keep_stride[3]);
}

/* How many of keys from, from + step, ... before `to` the masks leave to query t. */
static int64_t count_kept(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t from,
                          int64_t to, int64_t step)
{
    const heed_attention_opts *o = j->opts;
    int64_t n = 0;
    if (!p->mask && !p->keep)
        return from < to ? (to - from - 1) / step + 1 : 0;
    for (int64_t s = from; s < to; s += step) {
        bool kept = true; /* without a branch on what the masks hold */
        if (p->keep)
            kept &= p->keep[t * o->keep_stride[2] + s * o->keep_stride[3]] != 0;
        if (p->mask)
            kept &= hd_number(p->mask, j->item, t * o->mask_stride[2] + s * o->mask_stride[3]) !=
                    -(double)INFINITY;
        n += kept;
    }
    return n;
}

void hd_inverses(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end,
                 char *out)
{
    const heed_attention_opts *o = j->opts;
    for (int64_t i = t; i < t_end; i++) {
        int64_t position = i + p->seq.shift, n;
        int64_t end = o->causal ? least(p->seq.visible, position + 1) : p->seq.visible;
        if (o->window == 0 || is_global(j, position)) {
            n = count_kept(j, p, i, 0, end, 1);
        } else {
            int64_t from = position - p->reach;
            if (from < o->globals) /* on to the first of the band's that is no global */
                from += (o->globals - from + p->dilation - 1) / p->dilation * p->dilation;
            n = count_kept(j, p, i, 0, least(o->globals, end), 1) +
                count_kept(j, p, i, from, least(end, position + p->reach + 1), p->dilation);
        }
        hd_set_number(out, j->item, i - t, n ? 1 / (double)n : 0);
    }
}

/* ---- what is skipped */

/* Do the windows of all these queries hide what they do not reach? */
static bool are_local(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end)
{
    int64_t globals = j->opts->globals;
    return j->opts->window > 0 &&
           (globals == 0 || t + p->seq.shift >= globals || t_end + p->seq.shift <= 0);
}

struct hd_span hd_keys_seen(const struct hd_job *j, const struct hd_pair *p, int64_t t,
                            int64_t t_end, int64_t key, int64_t end)
{
    int64_t globals = j->opts->globals, first = t + p->seq.shift - p->reach;
    int64_t last = t_end - 1 + p->seq.shift + p->reach;
    struct hd_span seen = {key, least(end, p->seq.visible)};
    if (j->opts->causal)
        seen.to = least(seen.to, t_end + p->seq.shift);
    if (are_local(j, p, t, t_end)) {
        seen.to = least(seen.to, most(first < end ? last + 1 : 0, globals));
        if (key >= globals && first > key)
            seen.from += (first - key) / HD_TILE_PAD * HD_TILE_PAD;
    }
    return seen;
}

int64_t hd_next_keys(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end,
                     int64_t key)
{
    int64_t first = t + p->seq.shift - p->reach;
    if (are_local(j, p, t, t_end) && key >= j->opts->globals && first > key)
        return first / p->key_block * p->key_block;
    return key;
}

int64_t hd_next_query(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t key,
                      int64_t end)
{
    int64_t globals = j->opts->globals, position = t + p->seq.shift;
    if (key >= p->seq.visible)
        return p->seq.T;
    if (j->opts->causal)
        position = most(position, key);
    if (j->opts->window > 0 && key >= globals && !is_global(j, position)) {
        int64_t near = most(position, key - p->reach);
        if (position < 0 && globals > 0)
            position = least(near, 0); /* the globals come first */
        else
            position = near < end + p->reach ? near : p->seq.T + p->seq.shift;
    }
    return least(position - p->seq.shift, p->seq.T);
}

int64_t hd_rows_at(const struct hd_job *j, const struct hd_pair *p, int64_t t, int64_t t_end)
{
    int64_t position = t + p->seq.shift, rows = least(t_end - t, p->query_block);
    if (j->opts->globals > 0 && position < 0)
        return least(rows, -position);
    return is_global(j, position) ? least(rows, j->opts->globals - position) : rows;
}
