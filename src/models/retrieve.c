/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks a model for its best items: a scan of narrow rows that keeps what may be among the best, then
 * exact scores of what was kept.
 *
 * Why nothing is missed. q is the state, x a row, x' the row as it is scanned, C its width, u = 2^-24,
 * g = (C + 1) u / (1 - (C + 1) u). l is the logit in float32, l' what the scan makes of x':
 *     |l - l'| <= |<q, x - x'>| + g |q||x| + g |q||x'| <= |q| (lost + 2 g norm) = E
 * with lost and norm the largest over the table of |x - x'| and of |x|, |x'|: known from when the table
 * was made, not estimated. (Sums of products are within g sum |q_c x_c|, and that is within
 * g |q||x| by Cauchy and Schwarz.) A score grows with its logit, never faster than it, so scores of
 * l' are within E of those of l, but for their rounding: a few units in the last place of what makes
 * up a score: logits, a cold item's lift of at most 2 |q| norm, and logarithms of the number of items
 * and of the least share, 256 at most. So they are within
 *     B = E + 2^-21 (256 + 4 |q| norm),
 * which leaves room too for what rounds to the same score and is then ordered by number. Let T be
 * the k-th largest of such approximate scores. At least k items have scores of T - B or more, so one
 * below T - 2 B, whose score is below T - B, is not among the k best. That is used twice: among the
 * items that the memory has no part in, whose order is that of their logits, while they are scanned
 * (T of the rows so far only rises, so what it drops is dropped rightly); and among what is left of
 * those and the followers, the items that the memory has a part in. What remains is scored exactly.
 *
 * B also bounds the error of the softmax's log sum exp, a mean of the errors of the logits. */
#include "kernel/kernel.h"
#include "kernel/scan.h"
#include "models/best.h"
#include "models/retrieve_table.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define BLOCK 2048 /* rows, a power of two, whose scores stay in the nearest cache between the two passes over them */
#define AHEAD 16   /* rows that are fetched before they are needed */
#define LINE 16    /* numbers in a line of the cache */
#define PART_LEAST 1e-30F /* of the memory in a probability that is a normal float */
#define STATE_MOST 1e30 /* of |q| norm: a logit near what a float can hold comes from a broken model */

/* The last question, and the scratch of answering it. confined, with its reader. */
struct hd_asked {
    bool answered;
    float *state;   /* (2 pairs): q, and a zero behind an odd one */
    double norm;    /* |q| */
    double log_sum; /* log sum exp of the known items' scanned logits */
    double bound;   /* B */
    float share;    /* the memory's */
    float log_rest; /* log((1 - share) / sum exp) */
    float lift;     /* of a cold item's logit: see retrieve.h */
    float *memory;  /* (V): the memory's part of each item, 0 but for followers */
    float *logit;   /* (V): as they were scanned */
    int32_t *follower;
    int64_t followers, follower_room;
    uint64_t *key, *spare; /* candidates, and as much room for sorting them */
    int64_t keys, key_room;
    float block[BLOCK];
    int32_t hit[BLOCK];
    uint8_t hidden[BLOCK];
};

void hd_asked_free(struct hd_asked *a)
{
    if (!a)
        return;
    hd_free(a->state);
    hd_free(a->memory);
    hd_free(a->logit);
    hd_free(a->follower);
    hd_free(a->key);
    hd_free(a->spare);
    hd_free(a);
}

static heed_status no_memory(void)
{
    return hd_fail(HEED_E_NOMEM, "retrieve: no memory for candidates");
}

static heed_status asked_new(const struct hd_table_shelf *shelf, struct hd_asked **out)
{
    struct hd_asked *a = hd_alloc(1, sizeof *a);

    if (!a)
        return no_memory();
    a->state = hd_alloc((size_t)shelf->pairs, 2 * sizeof *a->state);
    a->memory = hd_alloc((size_t)shelf->known.count, sizeof *a->memory);
    a->logit = hd_alloc((size_t)shelf->known.count, sizeof *a->logit);
    if (!a->state || !a->memory || !a->logit) {
        hd_asked_free(a);
        return no_memory();
    }
    *out = a;
    return HEED_OK;
}

static heed_status keys_reserve(struct hd_asked *a, int64_t room)
{
    if (room <= a->key_room)
        return HEED_OK;
    uint64_t *key = hd_resize(a->key, (size_t)room, sizeof *key);
    a->key = key ? key : a->key;
    uint64_t *spare = key ? hd_resize(a->spare, (size_t)room, sizeof *spare) : NULL;
    a->spare = spare ? spare : a->spare;
    if (!spare)
        return no_memory();
    a->key_room = room;
    return HEED_OK;
}

/* ---- the question */

/* A share of 1 for the memory leaves the network FLT_MIN, so that it still orders what the memory does
 * not know. */
static double log_network_share(const struct hd_asked *a)
{
    return log(fmax(1 - (double)a->share, (double)FLT_MIN));
}

static heed_status find_followers(struct hd_asked *a, const hd_sequence *model, const int32_t *items,
                                  int64_t count)
{
    for (int64_t i = 0; i < a->followers; i++)
        a->memory[a->follower[i]] = 0;
    a->followers = 0;
    if (!model->memory.offset || !(a->share > 0))
        return HEED_OK;
    int64_t most = hd_transitions_list(&model->memory, items, count, NULL, NULL);
    if (most > a->follower_room) {
        int32_t *follower = hd_resize(a->follower, (size_t)most, sizeof *follower);
        if (!follower)
            return no_memory();
        a->follower = follower;
        a->follower_room = most;
    }
    a->followers = hd_transitions_list(&model->memory, items, count, a->memory, a->follower);
    return HEED_OK;
}

/* The log of the mean of exp d(v), and the memory's share, which a cold item does not lose. */
static float cold_lift(struct hd_asked *a, const struct hd_table_shelf *s)
{
    double ref = -(double)INFINITY, sum = 0;
    int64_t n = s->spread.count;

    hd_scan_kernels()->dot_rows(a->block, a->state, s->spread.panels, n, s->pairs);
    hd_kernels()->softmax_step(a->block, (size_t)n, &ref, &sum);
    return (float)(ref + log(sum / (double)n) - log_network_share(a));
}

static heed_status ask(hd_sequence_reader *reader, const hd_retrieval *r, const struct hd_ask *q)
{
    const struct hd_table_rows *known = &r->shelf->known, *cold = &r->cold;
    const hd_sequence *model = reader->model;
    int64_t C = model->config.dim, seen;
    struct hd_asked *a = reader->asked;
    const float *state;

    if (q->state)
        HD_TRY(hd_sequence_state_ask(reader, q->state, q->items, q->times, q->count, q->now, &state,
                                     &seen, NULL));
    else
        HD_TRY(hd_sequence_answer(model, reader->tape, &reader->rows, q->items, q->times, NULL,
                                  q->count, q->now, &state, &seen));
    memcpy(a->state, state, (size_t)C * sizeof *state);
    double most = fmax(known->norm_most, cold->norm_most), squares = 0;
    double lost = fmax(known->lost_most, cold->lost_most), g = (double)(C + 1) * (double)FLT_EPSILON / 2;
    for (int64_t c = 0; c < C; c++)
        squares += (double)state[c] * (double)state[c];
    a->norm = sqrt(squares);
    if (!(a->norm * most < STATE_MOST))
        return hd_fail(HEED_E_FORMAT, "retrieve: the model's state has the norm %g", a->norm);
    a->bound = a->norm * (lost + 2 * g / (1 - g) * most) + 0x1p-21 * (256 + 4 * a->norm * most);
    a->share = model->memory.offset ? (float)model->memory_share : 0;
    a->lift = cold->count > 0 ? cold_lift(a, r->shelf) : 0;
    return find_followers(a, model, q->items + q->count - seen, seen);
}

/* ---- the scan */

struct scan {
    struct hd_asked *asked;
    const struct hd_table_shelf *shelf;
    const uint8_t *out;
    int64_t items, k, block, limit; /* limit: keys above which they are thinned out */
    float least;
};

/* Drops the keys that cannot be among the k best, once there are as many; returns the least score
 * that is left in. */
static float thin(struct hd_asked *a, int64_t k)
{
    if (a->keys < k || k == 0)
        return -INFINITY;
    float kth = hd_best_score(hd_best_nth(a->key, a->spare, a->keys, k));
    float least = (float)((double)kth - 2 * a->bound);
    a->keys = hd_best_keep(a->key, a->keys, hd_best_key(least, INT32_MAX));
    return least;
}

/* Which of n rows from `first` on must not be hit. */
static const uint8_t *hidden_rows(const struct scan *s, const struct hd_table_rows *rows, int64_t first,
                                  int64_t n)
{
    uint8_t *hidden = s->asked->hidden;

    if (!rows->item && first + n <= s->items)
        return s->out + first;
    for (int64_t i = 0; i < n; i++) {
        int64_t item = rows->item ? rows->item[first + i] : first + i;
        hidden[i] = item >= s->items || s->out[item];
    }
    return hidden;
}

/* Makes keys of the rows whose scanned logits may matter. */
static heed_status scan_block(struct scan *s, const struct hd_table_rows *rows, int64_t first,
                              int64_t n, float *logit)
{
    const struct hd_scan_kernels *k = hd_scan_kernels();
    const struct hd_table_shelf *shelf = s->shelf;
    struct hd_asked *a = s->asked;

    k->dot_rows(logit, a->state, rows->panels + first * shelf->pairs, n, shelf->pairs);
    for (int64_t i = 0; rows->item && i < n; i++)
        logit[i] += a->lift;
    int64_t hits = k->at_least(a->hit, logit, hidden_rows(s, rows, first, n), n, s->least);
    HD_TRY(keys_reserve(a, a->keys + hits));
    for (int64_t i = 0; i < hits; i++) {
        int64_t at = first + a->hit[i];
        int32_t item = rows->item ? rows->item[at] : (int32_t)at;
        bool own = rows->item || (a->memory[item] == 0 && !shelf->quiet[item]);
        a->key[a->keys] = hd_best_key(logit[a->hit[i]], item);
        a->keys += own;
    }
    if (a->keys > s->limit) {
        s->least = thin(a, s->k);
        int64_t least = a->keys + a->keys / 2; /* where many are near each other */
        s->limit = s->limit < least ? least : s->limit;
    }
    return HEED_OK;
}

/* Until there are k keys everything is a hit, so the first blocks are small; all are whole panels but
 * the last. */
static int64_t next_block(struct scan *s, int64_t left)
{
    int64_t n = s->block < left ? s->block : left;

    s->block = 2 * s->block < BLOCK ? 2 * s->block : BLOCK;
    return n;
}

static heed_status scan(struct scan *s, const hd_retrieval *r)
{
    const struct hd_table_rows *known = &r->shelf->known, *cold = &r->cold;
    const struct hd_kernels *k = hd_kernels();
    struct hd_asked *a = s->asked;
    double ref = -(double)INFINITY, sum = 0;

    a->keys = 0;
    for (int64_t i = 0, n; i < known->count; i += n) {
        n = next_block(s, known->count - i);
        HD_TRY(scan_block(s, known, i, n, a->logit + i));
        memcpy(a->block, a->logit + i, (size_t)n * sizeof *a->block);
        k->softmax_step(a->block, (size_t)n, &ref, &sum);
    }
    a->log_sum = ref + log(sum);
    for (int64_t i = 0, n; i < cold->count; i += n) {
        n = next_block(s, cold->count - i);
        HD_TRY(scan_block(s, cold, i, n, a->block));
    }
    thin(a, s->k);
    return HEED_OK;
}

/* ---- scores */

/* log((1 - share) exp(l) / sum exp + share memory), of which the first alone is taken in logarithms:
 * it may be below what a float can hold. */
static float score(const struct hd_asked *a, float logit, float memory)
{
    float alone = a->log_rest + logit, part = a->share * memory;

    if (memory == 0)
        return alone;
    if (part > PART_LEAST)
        return logf(expf(alone) + part);
    return (float)log(exp((double)alone) + (double)a->share * (double)memory);
}

static float score_item(const struct hd_asked *a, const hd_retrieval *r, int32_t item)
{
    const struct hd_table_shelf *s = r->shelf;
    int64_t C = s->model->config.dim;
    bool known = item < s->known.count && !s->quiet[item];
    const float *row = known ? s->known.exact + item * C
                             : r->cold.exact + hd_retrieval_cold_row(r, item) * C;

    float logit = (float)hd_kernels()->dot(a->state, row, (size_t)C);
    return known ? score(a, logit, a->memory[item]) : score(a, logit + a->lift, 0);
}

/* The candidates' keys, of scanned logits, become those of approximate scores; followers join them. */
static heed_status join_followers(const struct scan *s)
{
    struct hd_asked *a = s->asked;

    HD_TRY(keys_reserve(a, a->keys + a->followers));
    for (int64_t i = 0; i < a->keys; i++)
        a->key[i] = hd_best_key(score(a, hd_best_score(a->key[i]), 0), hd_best_item(a->key[i]));
    for (int64_t i = 0; i < a->followers; i++) {
        int32_t item = a->follower[i];
        if (item < s->items && !s->out[item])
            a->key[a->keys++] = hd_best_key(score(a, a->logit[item], a->memory[item]), item);
    }
    return HEED_OK;
}

/* Rows of candidates lie anywhere: unasked for, each would be waited for alone. */
static void fetch_row(const struct hd_table_shelf *s, int32_t item)
{
    int64_t C = s->model->config.dim;

    if (item >= s->known.count)
        return;
    for (int64_t c = 0; c < C; c += LINE)
        __builtin_prefetch(s->known.exact + item * C + c);
    __builtin_prefetch(s->known.exact + item * C + C - 1); /* it need not begin where a line does */
}

static void score_exactly(struct hd_asked *a, const hd_retrieval *r)
{
    for (int64_t i = 0; i < a->keys; i++) {
        int32_t item = hd_best_item(a->key[i]);
        if (i + AHEAD < a->keys)
            fetch_row(r->shelf, hd_best_item(a->key[i + AHEAD]));
        a->key[i] = hd_best_key(score_item(a, r, item), item);
    }
}

static int64_t pick(struct hd_asked *a, int64_t k, struct hd_scored *picks)
{
    if (k == 0)
        a->keys = 0;
    if (a->keys > k)
        a->keys = hd_best_keep(a->key, a->keys, hd_best_nth(a->key, a->spare, a->keys, k));
    hd_best_sort(a->key, a->spare, a->keys);
    for (int64_t i = 0; i < a->keys; i++)
        picks[i] = (struct hd_scored){hd_best_item(a->key[i]), hd_best_score(a->key[i])};
    return a->keys;
}

static heed_status check_table(const hd_sequence_reader *reader, const hd_retrieval *r)
{
    return reader->model == r->shelf->model
               ? HEED_OK
               : hd_fail(HEED_E_ARG, "retrieve: the table is of another model");
}

heed_status hd_retrieve(hd_sequence_reader *reader, const hd_retrieval *r,
                        const struct hd_ask *question, const uint8_t *out, int64_t items_count,
                        int64_t k, struct hd_scored *picks, int64_t *found)
{
    HD_TRY(check_table(reader, r));
    if (k < 0)
        return hd_fail(HEED_E_ARG, "retrieve: %" PRId64 " items", k);
    if (!reader->asked)
        HD_TRY(asked_new(r->shelf, &reader->asked));
    struct hd_asked *a = reader->asked;
    a->answered = false;
    HD_TRY(ask(reader, r, question));
    struct scan s = {.asked = a, .shelf = r->shelf, .out = out, .items = items_count, .k = k,
                     .block = BLOCK / 16, .limit = k + k / 2 + BLOCK / 32, .least = k > 0 ? -INFINITY : INFINITY};
    HD_TRY(scan(&s, r));
    a->log_rest = (float)(log_network_share(a) - a->log_sum);
    HD_TRY(join_followers(&s));
    thin(a, k);
    score_exactly(a, r);
    a->answered = true;
    *found = pick(a, k, picks);
    return HEED_OK;
}

heed_status hd_retrieve_score(hd_sequence_reader *reader, const hd_retrieval *r, const int32_t *item,
                              int64_t n, float *out)
{
    HD_TRY(check_table(reader, r));
    if (!reader->asked || !reader->asked->answered)
        return hd_fail(HEED_E_ARG, "retrieve: nothing has been asked yet");
    for (int64_t i = 0; i < n; i++)
        if (item[i] < 0 || item[i] >= r->items)
            return hd_fail(HEED_E_RANGE, "retrieve: item %d is not below %" PRId64, item[i], r->items);
    for (int64_t i = 0; i < n; i++)
        out[i] = score_item(reader->asked, r, item[i]);
    return HEED_OK;
}

double hd_retrieve_mass(const hd_sequence_reader *reader)
{
    const struct hd_asked *a = reader->asked;
    double memory = 0;

    if (!a)
        return 1;
    for (int64_t i = 0; i < a->followers; i++)
        memory += (double)a->memory[a->follower[i]];
    return (1 - (double)a->share) + (double)a->share * memory;
}

double hd_retrieve_bound(const hd_sequence_reader *reader)
{
    return reader->asked ? reader->asked->bound : 0;
}
