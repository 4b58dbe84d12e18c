/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the table that retrieve.c scans: the model's rows in bfloat16, and rows of content for the
 * items that the model knows nothing of. */
#include "models/retrieve_table.h"
#include "kernel/kernel.h"
#include "kernel/scan.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- rows */

/* Turns one row into its place in a panel and measures it; narrow and back (2 pairs) are scratch, zero
 * behind C. */
static void add_row(struct hd_table_rows *rows, uint32_t *panels, int64_t i, int64_t C, int64_t pairs,
                    uint16_t *narrow, float *back)
{
    const struct hd_kernels_bf16 *k = hd_kernels_bf16();
    const float *row = rows->exact + i * C;
    double exact = 0, rounded = 0, lost = 0;

    k->from_f32(narrow, row, (size_t)C);
    k->to_f32(back, narrow, (size_t)C);
    for (int64_t p = 0; p < pairs; p++)
        panels[hd_scan_word(i, p, pairs)] = narrow[2 * p] | (uint32_t)narrow[2 * p + 1] << 16;
    for (int64_t c = 0; c < C; c++) {
        double x = (double)row[c], y = (double)back[c];
        exact += x * x, rounded += y * y, lost += (x - y) * (x - y);
    }
    rows->norm_most = fmax(rows->norm_most, sqrt(fmax(exact, rounded)));
    rows->lost_most = fmax(rows->lost_most, sqrt(lost));
    if (!(exact < (double)INFINITY) || !(rounded < (double)INFINITY))
        rows->norm_most = (double)INFINITY; /* fmax() would lose a NaN */
}

/* `count` rows of `exact`; the panels live in the arena. */
static heed_status rows_init(struct hd_table_rows *rows, hd_arena *arena, int64_t C, int64_t pairs,
                             const float *exact, int64_t count)
{
    size_t words = (size_t)hd_scan_words(count, pairs);
    uint32_t *panels = hd_arena_zalloc(arena, words, sizeof *panels);
    uint16_t *narrow = hd_arena_zalloc(arena, (size_t)pairs, 2 * sizeof *narrow);
    float *back = hd_arena_zalloc(arena, (size_t)pairs, 2 * sizeof *back);

    if (!panels || !narrow || !back)
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory for %" PRId64 " rows", count);
    *rows = (struct hd_table_rows){.count = count, .panels = panels, .exact = exact};
    for (int64_t i = 0; i < count; i++) {
        add_row(rows, panels, i, C, pairs, narrow, back);
        if (!isfinite(rows->norm_most))
            return hd_fail(HEED_E_FORMAT, "retrieval: row %" PRId64 " of the model is not finite", i);
    }
    return HEED_OK;
}

/* ---- what is of the model */

static int64_t topics_of(const struct hd_content *content, int64_t v, const int32_t **topic)
{
    *topic = content->topic[v];
    return content->topic_count[v];
}

/* Items that the memory has never seen before or after another had, as far as it remembers, no event
 * to learn from: their rows were only ever pushed away, as wrong answers. (An item whose only event
 * stands alone in a history counts too, and so does a rare one that fell out of the rows of all
 * that it followed: content knows as much of them.) Without a memory nothing is known of that.
 * Items of which content says nothing keep the model's low row. */
static heed_status find_quiet(struct hd_table_shelf *s, const struct hd_content *content)
{
    const struct hd_transitions *t = &s->model->memory;
    int64_t V = s->model->config.items;
    uint8_t *unseen = hd_arena_zalloc(s->arena, (size_t)V, 1);
    uint8_t *quiet = hd_arena_zalloc(s->arena, (size_t)V, 1);
    const int32_t *unused;

    if (!unseen || !quiet)
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory for %" PRId64 " items", V);
    s->unseen = unseen;
    s->quiet = quiet;
    if (!t->offset || t->offset[V] == 0)
        return HEED_OK;
    for (int64_t v = 0; v < V; v++)
        unseen[v] = t->offset[v] == t->offset[v + 1];
    for (int64_t i = 0; i < t->offset[V]; i++)
        unseen[t->item[i]] = 0;
    for (int64_t v = 0; v < V; v++) {
        quiet[v] = unseen[v] && topics_of(content, v, &unused) > 0;
        s->quiet_count += quiet[v];
    }
    return HEED_OK;
}

/* The highest topic that a known item carries, plus 1: others are of no known item. */
static int64_t topics_count(const struct hd_content *content, int64_t V)
{
    int32_t most = -1;

    for (int64_t v = 0; v < V; v++)
        for (int32_t i = 0; i < content->topic_count[v]; i++)
            most = content->topic[v][i] > most ? content->topic[v][i] : most;
    return (int64_t)most + 1;
}

/* Sums over the items that are not quiet, then r(t) of the sums. */
static heed_status make_topics(struct hd_table_shelf *s, const struct hd_content *content)
{
    int64_t V = s->known.count, C = s->model->config.dim, warm = V - s->quiet_count;
    const struct hd_kernels *k = hd_kernels();
    const int32_t *topic;

    s->topics = topics_count(content, V);
    float *sum = hd_arena_zalloc(s->arena, (size_t)s->topics, (size_t)C * sizeof *sum);
    int64_t *carriers = hd_arena_zalloc(s->arena, (size_t)s->topics, sizeof *carriers);
    float *mean = hd_arena_zalloc(s->arena, (size_t)C, sizeof *mean);
    if (!sum || !carriers || !mean)
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory for %" PRId64 " topics", s->topics);
    for (int64_t v = 0; v < V; v++) {
        const float *row = s->known.exact + v * C;
        if (s->quiet[v])
            continue;
        k->axpy(mean, 1 / (double)warm, row, (size_t)C);
        for (int64_t i = 0, n = topics_of(content, v, &topic); i < n; i++) {
            k->add(sum + topic[i] * C, sum + topic[i] * C, row, (size_t)C);
            carriers[topic[i]]++;
        }
    }
    for (int64_t t = 0; t < s->topics; t++) {
        double n = (double)carriers[t], all = n + HD_CONTENT_PRIOR;
        k->scale(sum + t * C, 1 / all, sum + t * C, (size_t)C);
        k->axpy(sum + t * C, HD_CONTENT_PRIOR / all, mean, (size_t)C);
    }
    s->mean = mean;
    s->topic = sum;
    return HEED_OK;
}

/* r(v) */
static void content_row(const struct hd_table_shelf *s, const struct hd_content *content, int64_t v,
                     float *row)
{
    const struct hd_kernels *k = hd_kernels();
    size_t C = (size_t)s->model->config.dim;
    const int32_t *topic;
    int64_t n = topics_of(content, v, &topic);

    memset(row, 0, C * sizeof *row);
    for (int64_t i = 0; i < n; i++)
        k->axpy(row, 1 / (double)n,
                topic[i] < s->topics ? s->topic + topic[i] * (int64_t)C : s->mean, C);
    if (n == 0)
        memcpy(row, s->mean, C * sizeof *row);
}

/* Items that are not quiet, evenly taken. */
static heed_status make_spread(struct hd_table_shelf *s, const struct hd_content *content)
{
    int64_t V = s->known.count, C = s->model->config.dim, warm = V - s->quiet_count, count = 0;
    int64_t step = (warm + HD_CONTENT_SAMPLE - 1) / HD_CONTENT_SAMPLE, next = 0;
    const struct hd_kernels *k = hd_kernels();
    float *rows = hd_arena_alloc(s->arena, HD_CONTENT_SAMPLE, (size_t)C * sizeof *rows);

    if (!rows)
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory");
    for (int64_t v = 0; v < V; v++) {
        float *row = rows + count * C;
        if (s->quiet[v] || next++ % step != 0)
            continue;
        content_row(s, content, v, row);
        k->scale(row, -1, row, (size_t)C);
        k->add(row, row, s->known.exact + v * C, (size_t)C);
        count++;
    }
    return rows_init(&s->spread, s->arena, C, s->pairs, rows, count);
}

static void shelf_drop(struct hd_table_shelf *s)
{
    if (!s || atomic_fetch_sub(&s->uses, 1) > 1)
        return;
    hd_arena_free(s->arena);
    hd_free(s);
}

static heed_status shelf_new(const hd_sequence *model, const struct hd_content *content,
                             struct hd_table_shelf **out)
{
    int64_t C = model->config.dim;
    struct hd_table_shelf *s = hd_alloc(1, sizeof *s);

    if (!s)
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory");
    atomic_init(&s->uses, 1);
    s->model = model;
    s->pairs = (C + 1) / 2;
    s->arena = hd_arena_new(0);
    heed_status status = s->arena ? HEED_OK : hd_fail(HEED_E_NOMEM, "retrieval: no memory");
    if (status == HEED_OK)
        status = rows_init(&s->known, s->arena, C, s->pairs, model->output, model->config.items);
    if (status == HEED_OK)
        status = find_quiet(s, content);
    if (status == HEED_OK)
        status = make_topics(s, content);
    if (status == HEED_OK)
        status = make_spread(s, content);
    if (status != HEED_OK) {
        shelf_drop(s);
        return status;
    }
    *out = s;
    return HEED_OK;
}

/* ---- cold items */

static heed_status make_cold(hd_retrieval *r, const struct hd_content *content)
{
    const struct hd_table_shelf *s = r->shelf;
    int64_t V = s->known.count, C = s->model->config.dim, at = 0;
    int64_t count = s->quiet_count + content->items - V;
    float *rows = hd_arena_alloc(r->arena, (size_t)count, (size_t)C * sizeof *rows);
    int32_t *item = hd_arena_alloc(r->arena, (size_t)count, sizeof *item);

    if (!rows || !item)
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory for %" PRId64 " items", count);
    for (int64_t v = 0; v < content->items; v++) {
        if (v < V && !s->quiet[v])
            continue;
        item[at] = (int32_t)v;
        content_row(s, content, v, rows + at++ * C);
    }
    HD_TRY(rows_init(&r->cold, r->arena, C, s->pairs, rows, count));
    r->cold.item = item;
    r->items = content->items;
    return HEED_OK;
}

/* Takes the shelf. */
static heed_status retrieval_new(struct hd_table_shelf *shelf, const struct hd_content *content,
                                 hd_retrieval **out)
{
    hd_retrieval *r = hd_alloc(1, sizeof *r);

    if (!r) {
        shelf_drop(shelf);
        return hd_fail(HEED_E_NOMEM, "retrieval: no memory");
    }
    r->shelf = shelf;
    r->arena = hd_arena_new(0);
    heed_status status =
        r->arena ? make_cold(r, content) : hd_fail(HEED_E_NOMEM, "retrieval: no memory");
    if (status != HEED_OK) {
        hd_retrieval_free(r);
        return status;
    }
    *out = r;
    return HEED_OK;
}

static heed_status check_content(const hd_sequence *model, const struct hd_content *content)
{
    if (content->items >= model->config.items && content->items <= INT32_MAX)
        return HEED_OK;
    return hd_fail(HEED_E_ARG, "retrieval: content of %" PRId64 " items, the model knows %" PRId64,
                   content->items, model->config.items);
}

heed_status hd_retrieval_new(const hd_sequence *model, const struct hd_content *content,
                             hd_retrieval **out)
{
    struct hd_table_shelf *shelf = NULL;

    HD_TRY(check_content(model, content));
    HD_TRY(shelf_new(model, content, &shelf));
    return retrieval_new(shelf, content, out);
}

heed_status hd_retrieval_extend(const hd_retrieval *from, const struct hd_content *content,
                                hd_retrieval **out)
{
    HD_TRY(check_content(from->shelf->model, content));
    atomic_fetch_add(&from->shelf->uses, 1);
    return retrieval_new(from->shelf, content, out);
}

void hd_retrieval_free(hd_retrieval *r)
{
    if (!r)
        return;
    shelf_drop(r->shelf);
    hd_arena_free(r->arena);
    hd_free(r);
}

int64_t hd_retrieval_items(const hd_retrieval *r)
{
    return r->items;
}

int64_t hd_retrieval_cold(const hd_retrieval *r)
{
    return r->cold.count;
}

bool hd_retrieval_is_cold(const hd_retrieval *r, int32_t item)
{
    return item >= r->shelf->known.count || r->shelf->quiet[item];
}

bool hd_retrieval_has_learned(const hd_retrieval *r, int32_t item)
{
    return item < r->shelf->known.count && !r->shelf->unseen[item];
}

uint64_t hd_retrieval_bytes(const hd_retrieval *r)
{
    return hd_arena_bytes(r->arena) + hd_arena_bytes(r->shelf->arena);
}

int64_t hd_retrieval_cold_row(const hd_retrieval *r, int32_t item)
{
    int64_t V = r->shelf->known.count, low = 0, high = r->shelf->quiet_count;

    if (item >= V)
        return high + item - V;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (r->cold.item[middle] < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
