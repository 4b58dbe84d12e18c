/* SPDX-License-Identifier: Apache-2.0
 *
 * A filter as text, in one way of writing: blanks and parentheses where they are needed, lists in
 * rising order, spans in their largest whole unit. */
#include "allocate/filter_impl.h"
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Writes where there is room, and counts in any case. */
struct writer {
    char *text; /* NULL: only counted */
    size_t bytes;
};

static void put_bytes(struct writer *w, const char *text, size_t bytes)
{
    if (w->text)
        memcpy(w->text + w->bytes, text, bytes);
    w->bytes += bytes;
}

static void put(struct writer *w, const char *text)
{
    put_bytes(w, text, strlen(text));
}

static void put_text(struct writer *w, const char *text)
{
    put(w, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            put(w, "\\");
        put_bytes(w, text, 1);
    }
    put(w, "\"");
}

static void put_span(struct writer *w, int64_t ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    char digits[32];
    int u = 0;

    while (ms == 0 ? u < 4 : ms % units[u].ms != 0)
        u++;
    snprintf(digits, sizeof digits, "%" PRId64, ms / units[u].ms);
    put(w, digits);
    put(w, units[u].unit);
}

static void put_instant(struct writer *w, heed_time at)
{
    char text[HD_TIME_TEXT_BYTES];

    hd_time_format(at, text);
    put(w, text);
}

static void put_values(struct writer *w, const struct hd_filter_term *t, bool negated)
{
    if (t->values == 1) {
        put(w, negated ? " != " : " = ");
        put_text(w, t->value[0]);
        return;
    }
    put(w, negated ? " not in [" : " in [");
    for (int i = 0; i < t->values; i++) {
        put(w, i ? ", " : "");
        put_text(w, t->value[i]);
    }
    put(w, "]");
}

static void put_term(struct writer *w, const struct hd_filter_term *t, bool negated)
{
    bool unequal = negated && t->kind == HD_TERM_TIME && t->compare == HD_EQUAL;

    if (t->kind == HD_TERM_TRUE) {
        put(w, negated ? "false" : "true");
        return;
    }
    if (negated && t->kind != HD_TERM_IN && !unequal)
        put(w, "not ");
    if (t->kind == HD_TERM_HAS)
        put(w, "has ");
    put(w, hd_filter_rule[t->field].name);
    if (t->kind == HD_TERM_IN)
        put_values(w, t, negated);
    if (t->kind == HD_TERM_CONTAINS) {
        put(w, " contains ");
        put_text(w, t->value[0]);
    }
    if (t->kind == HD_TERM_TIME) {
        put(w, " ");
        put(w, unequal ? "!=" : hd_filter_sign[t->compare]);
        put(w, " ");
        if (t->field == HD_FILTER_AGE)
            put_span(w, t->amount);
        else
            put_instant(w, t->amount);
    }
}

static void put_node(struct writer *w, const struct hd_filter *f, const struct hd_filter_node *node,
                     enum hd_filter_node_kind parent)
{
    if (node->kind == HD_NODE_TERM) {
        put_term(w, &f->term[node->term], node->negated);
        return;
    }
    bool inside = node->negated || (node->kind == HD_NODE_OR && parent == HD_NODE_AND);
    put(w, node->negated ? "not (" : inside ? "(" : "");
    for (const struct hd_filter_node *c = node->first; c; c = c->next) {
        put(w, c == node->first ? "" : node->kind == HD_NODE_AND ? " and " : " or ");
        put_node(w, f, c, node->kind);
    }
    put(w, inside ? ")" : "");
}

heed_status hd_filter_print(const hd_filter *filter, hd_arena *arena, const char **text)
{
    struct writer w = {0};

    put_node(&w, filter, filter->root, HD_NODE_OR);
    if (!(w.text = hd_arena_alloc(arena, w.bytes + 1, 1)))
        return hd_fail(HEED_E_NOMEM, "filter: no memory for %zu bytes", w.bytes);
    w.text[w.bytes] = 0;
    *text = w.text;
    w.bytes = 0;
    put_node(&w, filter, filter->root, HD_NODE_OR);
    return HEED_OK;
}
