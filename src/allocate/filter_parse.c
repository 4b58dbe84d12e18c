/* SPDX-License-Identifier: Apache-2.0
 *
 * A filter's text becomes a tree, and the tree a walk over its terms (filter_impl.h). Recursive
 * descent; only a parenthesis goes deeper, and their depth is bounded. */
#include "allocate/filter_impl.h"
#include "base/limits.h"
#include "base/slips.h"
#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct hd_filter_field_rule hd_filter_rule[HD_FILTER_FIELDS] = {
    [HD_FILTER_ID] = {"id", true, true, HD_ID_BYTES_MAX},
    [HD_FILTER_TAG] = {"tag", true, false, HD_ID_BYTES_MAX},
    [HD_FILTER_AUTHOR] = {"author", true, true, HD_ID_BYTES_MAX},
    [HD_FILTER_TITLE] = {"title", false, true, HD_TITLE_BYTES_MAX},
    [HD_FILTER_URL] = {"url", false, true, HD_URL_BYTES_MAX},
    [HD_FILTER_CREATED] = {"created", false, false, 0},
    [HD_FILTER_AGE] = {"age", false, false, 0},
};
const char *const hd_filter_sign[] = {
    [HD_EQUAL] = "=", [HD_BELOW] = "<", [HD_UP_TO] = "<=", [HD_ABOVE] = ">", [HD_FROM] = ">="};

#define NOT_EQUAL (HD_FROM + 1) /* a sign, but not a comparison: it is `not =` */

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_TEXT,   /* in quotation marks; `value` is what they hold */
    TOKEN_NUMBER, /* begins with a digit: a whole number, an instant, a span */
    TOKEN_SIGN,   /* = != < <= > >= */
    TOKEN_MARK,   /* ( ) [ ] , */
};

struct token {
    enum token_kind kind;
    const char *at; /* in the filter's text */
    size_t bytes;
    const char *value;
    int sign;
};

struct parser {
    const char *text, *end;
    struct token now;
    int depth;
    hd_arena *arena;
    hd_filter *filter;
    char *store;        /* room for what is left of the texts in quotation marks */
    const char **value; /* for their addresses */
    int32_t *number;
};

/* ---- errors */

static heed_status fail_at(const struct parser *p, const char *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static heed_status fail_at(const struct parser *p, const char *at, const char *fmt, ...)
{
    char what[HD_ERROR_BYTES_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return hd_fail(HEED_E_ARG, "filter: byte %td: %s", at - p->text + 1, what);
}

static bool is(const struct token *t, const char *word)
{
    return (t->kind == TOKEN_WORD || t->kind == TOKEN_MARK) && strlen(word) == t->bytes &&
           memcmp(t->at, word, t->bytes) == 0;
}

/* What was wanted, and which of the words may have been meant. */
static heed_status fail_word(const struct parser *p, const char *wanted, const char *const *words)
{
    char word[HD_ID_BYTES_MAX];

    if (p->now.kind == TOKEN_END)
        return fail_at(p, p->now.at, "it ends where %s should be", wanted);
    if (p->now.kind != TOKEN_WORD)
        return fail_at(p, p->now.at, "%s should be here", wanted);
    snprintf(word, sizeof word, "%.*s", (int)(p->now.bytes < 40 ? p->now.bytes : 40), p->now.at);
    for (int slips = 0; slips <= HD_SLIPS_MAX; slips++)
        for (const char *const *w = words; *w; w++)
            if (hd_slips(word, *w) == slips)
                return fail_at(p, p->now.at, "`%s` is not %s; did you mean `%s`?", word, wanted,
                               *w);
    return fail_at(p, p->now.at, "`%s` is not %s", word, wanted);
}

/* ---- tokens */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* All that may follow a digit in a number, an instant or a span. */
static bool goes_on(char c)
{
    return is_letter(c) || is_digit(c) || c == ':' || c == '.' || c == '+' || c == '-';
}

static heed_status read_text(struct parser *p, const char *at)
{
    const char mark = *at, *c = at + 1;

    p->now = (struct token){TOKEN_TEXT, at, 0, p->store, 0};
    for (; c < p->end && *c != mark; c++) {
        if (*c == '\\') {
            if (++c == p->end || !strchr("\\\"'", *c) || *c == 0)
                return fail_at(p, c, "after a \\ in a text comes \\, \" or '");
        } else if (*c == 0) {
            return fail_at(p, c, "a text cannot hold a zero byte");
        }
        *p->store++ = *c;
    }
    if (c == p->end)
        return fail_at(p, at, "this text has no end: %c is missing", mark);
    *p->store++ = 0;
    p->now.bytes = (size_t)(c + 1 - at);
    return HEED_OK;
}

static heed_status read_sign(struct parser *p, const char *at)
{
    bool or_equal = at + 1 < p->end && at[1] == '=';
    int sign = *at == '='   ? HD_EQUAL
               : *at == '!' ? NOT_EQUAL
               : *at == '<' ? (or_equal ? HD_UP_TO : HD_BELOW)
                            : (or_equal ? HD_FROM : HD_ABOVE);

    if (*at == '=' && or_equal)
        return fail_at(p, at, "`==` is written `=`");
    if (*at == '!' && !or_equal)
        return fail_at(p, at, "`!` alone is written `not`");
    p->now = (struct token){TOKEN_SIGN, at, 1 + or_equal, NULL, sign};
    return HEED_OK;
}

static heed_status next(struct parser *p)
{
    const char *at = p->now.at + p->now.bytes, *c;

    while (at < p->end && *at && strchr(" \t\r\n", *at))
        at++;
    p->now = (struct token){TOKEN_END, at, 0, NULL, 0};
    if (at == p->end)
        return HEED_OK;
    if (*at == '"' || *at == '\'')
        return read_text(p, at);
    if (*at && strchr("=!<>", *at))
        return read_sign(p, at);
    for (c = at; c < p->end && (is_letter(*at) ? is_letter(*c) || is_digit(*c) : goes_on(*c)); c++)
        ;
    if (is_letter(*at) || is_digit(*at))
        p->now = (struct token){is_letter(*at) ? TOKEN_WORD : TOKEN_NUMBER, at, (size_t)(c - at),
                                NULL, 0};
    else if (*at && strchr("()[],", *at))
        p->now = (struct token){TOKEN_MARK, at, 1, NULL, 0};
    else if (*at == '&' || *at == '|')
        return fail_at(p, at, "`%c` is written `%s`", *at, *at == '&' ? "and" : "or");
    else
        return fail_at(p, at, "nothing begins with this character");
    return HEED_OK;
}

/* ---- values */

/* The token as a text of that field; whole numbers are ids too. */
static heed_status take_text(struct parser *p, enum hd_filter_field field, struct hd_filter_term *t)
{
    const struct hd_filter_field_rule *rule = &hd_filter_rule[field];
    struct token *now = &p->now;

    if (now->kind == TOKEN_NUMBER && rule->numbered) {
        for (size_t i = 0; i < now->bytes; i++)
            if (!is_digit(now->at[i]))
                return fail_at(p, now->at, "a text in quotation marks should be here");
        now->value = memcpy(p->store, now->at, now->bytes);
        p->store += now->bytes;
        *p->store++ = 0;
    } else if (now->kind != TOKEN_TEXT) {
        return fail_at(p, now->at, "%s is compared with a text in quotation marks", rule->name);
    }
    if (!now->value[0])
        return fail_at(p, now->at, "an empty text; `has %s` asks whether there is any", rule->name);
    if (strlen(now->value) > rule->bytes_max)
        return fail_at(p, now->at, "%zu bytes of text, no %s is longer than %zu",
                       strlen(now->value), rule->name, rule->bytes_max);
    t->value[t->values++] = now->value;
    return next(p);
}

static heed_status take_span(struct parser *p, int64_t *ms)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}};
    const struct token *now = &p->now;
    int64_t count = 0, unit = 0;
    size_t i = 0;

    for (; i < now->bytes && is_digit(now->at[i]) && count <= HD_TIME_MS_MAX; i++)
        count = 10 * count + (now->at[i] - '0');
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        if (i + 1 == now->bytes && now->at[i] == units[u].unit)
            unit = units[u].ms;
    if (now->kind != TOKEN_NUMBER || (unit == 0 && count <= HD_TIME_MS_MAX))
        return fail_at(p, now->at, "age is compared with a span like 90s, 30m, 12h, 2d or 1w");
    if (unit == 0 || count > HD_TIME_MS_MAX / unit)
        return fail_at(p, now->at, "a span longer than all of time, 10,000 years");
    *ms = count * unit;
    return next(p);
}

static heed_status take_instant(struct parser *p, heed_time *ms)
{
    const struct token *now = &p->now;
    const char *text = now->kind == TOKEN_TEXT ? now->value : now->at;
    size_t bytes = now->kind == TOKEN_TEXT ? strlen(text) : now->bytes, digits = 0;
    int64_t count = 0;

    if (now->kind != TOKEN_TEXT && now->kind != TOKEN_NUMBER)
        return fail_at(p, now->at, "created is compared with a time like 2026-01-01T00:00:00Z");
    for (; digits < bytes && is_digit(text[digits]) && count <= HD_TIME_MS_MAX; digits++)
        count = 10 * count + (text[digits] - '0');
    if (digits == bytes && count <= HD_TIME_MS_MAX && bytes > 0)
        *ms = count;
    else if (hd_time_parse(text, bytes, ms) != HEED_OK)
        return fail_at(p, now->at, "%s", heed_error_message());
    return next(p);
}

/* ---- terms */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_values(struct hd_filter_term *t)
{
    int kept = 0;

    if (t->values > 1)
        qsort(t->value, (size_t)t->values, sizeof *t->value, compare_texts);
    for (int i = 0; i < t->values; i++)
        if (i == 0 || strcmp(t->value[i], t->value[kept - 1]) != 0)
            t->value[kept++] = t->value[i];
    t->values = kept;
}

static heed_status parse_list(struct parser *p, struct hd_filter_term *t)
{
    if (!is(&p->now, "["))
        return fail_at(p, p->now.at, "after `in` comes a list like [\"a\", \"b\"]");
    HD_TRY(next(p));
    while (!is(&p->now, "]")) {
        if (t->values == HD_FILTER_LIST_MAX)
            return fail_at(p, p->now.at, "a list of more than %d texts", HD_FILTER_LIST_MAX);
        HD_TRY(take_text(p, t->field, t));
        if (is(&p->now, ",")) {
            HD_TRY(next(p));
            if (is(&p->now, "]"))
                return fail_at(p, p->now.at, "no text after the last comma");
        } else if (!is(&p->now, "]")) {
            return fail_at(p, p->now.at, "`,` or `]` should be here");
        }
    }
    sort_values(t);
    return next(p);
}

static heed_status parse_sign(struct parser *p, struct hd_filter_term *t, bool *negated)
{
    const struct hd_filter_field_rule *rule = &hd_filter_rule[t->field];
    int sign = p->now.sign;
    const char *at = p->now.at;

    HD_TRY(next(p));
    *negated = sign == NOT_EQUAL;
    t->compare = *negated ? HD_EQUAL : (enum hd_term_compare)sign;
    if (rule->bytes_max > 0 && t->compare != HD_EQUAL)
        return fail_at(p, at, "%s is a text: it has `=`, `!=`, `in`%s, `exists`", rule->name,
                       rule->searchable ? ", `contains`" : "");
    if (t->field == HD_FILTER_AGE && t->compare == HD_EQUAL)
        return fail_at(p, at, "an age is never exact: it has `<`, `<=`, `>`, `>=`");
    t->kind = rule->bytes_max > 0 ? HD_TERM_IN : HD_TERM_TIME;
    if (t->kind == HD_TERM_IN)
        return take_text(p, t->field, t);
    return t->field == HD_FILTER_AGE ? take_span(p, &t->amount) : take_instant(p, &t->amount);
}

/* What comes after a field's name. */
static heed_status parse_comparison(struct parser *p, struct hd_filter_term *t, bool *negated)
{
    static const char *const words[] = {"in", "not", "contains", "exists", NULL};
    const struct hd_filter_field_rule *rule = &hd_filter_rule[t->field];
    const char *at = p->now.at;

    if (p->now.kind == TOKEN_SIGN)
        return parse_sign(p, t, negated);
    if (is(&p->now, "exists")) {
        t->kind = HD_TERM_HAS;
        return next(p);
    }
    if (is(&p->now, "contains")) {
        t->kind = HD_TERM_CONTAINS;
        if (!rule->searchable)
            return fail_at(p, at, "%s has no `contains`", rule->name);
        HD_TRY(next(p));
        return take_text(p, t->field, t);
    }
    if (is(&p->now, "not")) {
        *negated = true;
        HD_TRY(next(p));
        if (!is(&p->now, "in"))
            return fail_word(p, "`in`", (const char *const[]){"in", NULL});
    }
    if (!is(&p->now, "in"))
        return fail_word(p, "a comparison", words);
    t->kind = HD_TERM_IN;
    if (rule->bytes_max == 0)
        return fail_at(p, at, "%s has no `in`", rule->name);
    HD_TRY(next(p));
    return parse_list(p, t);
}

static heed_status parse_field(struct parser *p, bool begins, enum hd_filter_field *field)
{
    static const char *const words[] = {"has",    "not",   "true", "false",   "id",  "tag",
                                        "author", "title", "url",  "created", "age", NULL};

    for (int f = 0; f < HD_FILTER_FIELDS; f++) {
        if (is(&p->now, hd_filter_rule[f].name)) {
            *field = (enum hd_filter_field)f;
            return next(p);
        }
    }
    if (begins)
        return fail_word(p, "a field, `has`, `not` or `(`", words);
    return fail_word(p, "a field", words + 4);
}

static heed_status parse_term(struct parser *p, struct hd_filter_node *node)
{
    struct hd_filter_term *t = &p->filter->term[p->filter->terms];

    if (p->filter->terms == HD_FILTER_TERMS_MAX)
        return fail_at(p, p->now.at, "more than %d conditions", HD_FILTER_TERMS_MAX);
    *node = (struct hd_filter_node){.kind = HD_NODE_TERM, .term = p->filter->terms++};
    *t = (struct hd_filter_term){.value = p->value, .number = p->number};
    if (is(&p->now, "true") || is(&p->now, "false")) {
        node->negated = is(&p->now, "false");
        return next(p);
    }
    if (is(&p->now, "has")) {
        t->kind = HD_TERM_HAS;
        HD_TRY(next(p));
        return parse_field(p, false, &t->field);
    }
    HD_TRY(parse_field(p, true, &t->field));
    HD_TRY(parse_comparison(p, t, &node->negated));
    p->value += t->values;
    p->number += t->values;
    return HEED_OK;
}

/* ---- and, or, not, parentheses */

static heed_status node_new_in(struct parser *p, struct hd_filter_node **node)
{
    *node = hd_arena_zalloc(p->arena, 1, sizeof **node);
    return *node ? HEED_OK : hd_fail(HEED_E_NOMEM, "filter: no memory");
}

/* A child of the same kind gives its own children: (a and b) and c is one `and` of three. */
static void adopt(struct hd_filter_node *parent, struct hd_filter_node *child)
{
    bool same = child->kind == parent->kind && !child->negated;
    struct hd_filter_node *first = same ? child->first : child;

    if (parent->last)
        parent->last->next = first;
    else
        parent->first = first, parent->term = child->term;
    parent->last = same ? child->last : child;
}

static heed_status parse_any(struct parser *p, struct hd_filter_node **out);

static heed_status parse_one(struct parser *p, struct hd_filter_node **out)
{
    bool negated = false;

    for (; is(&p->now, "not"); negated = !negated)
        HD_TRY(next(p));
    if (is(&p->now, "(")) {
        if (p->depth++ == HD_FILTER_DEPTH_MAX)
            return fail_at(p, p->now.at, "parentheses deeper than %d", HD_FILTER_DEPTH_MAX);
        HD_TRY(next(p));
        HD_TRY(parse_any(p, out));
        if (!is(&p->now, ")"))
            return fail_at(p, p->now.at, "`)`, `and` or `or` should be here");
        p->depth--;
        HD_TRY(next(p));
    } else {
        HD_TRY(node_new_in(p, out));
        HD_TRY(parse_term(p, *out));
    }
    (*out)->negated ^= negated;
    return HEED_OK;
}

/* What stands between `and`s (one step), or between `or`s (steps of `and`s). */
static heed_status parse_row(struct parser *p, const char *word, enum hd_filter_node_kind kind,
                             heed_status (*step)(struct parser *, struct hd_filter_node **),
                             struct hd_filter_node **out)
{
    struct hd_filter_node *child, *parent;

    HD_TRY(step(p, out));
    if (!is(&p->now, word))
        return HEED_OK;
    HD_TRY(node_new_in(p, &parent));
    parent->kind = kind;
    adopt(parent, *out);
    while (is(&p->now, word)) {
        HD_TRY(next(p));
        HD_TRY(step(p, &child));
        adopt(parent, child);
    }
    *out = parent;
    return HEED_OK;
}

static heed_status parse_all(struct parser *p, struct hd_filter_node **out)
{
    return parse_row(p, "and", HD_NODE_AND, parse_one, out);
}

static heed_status parse_any(struct parser *p, struct hd_filter_node **out)
{
    return parse_row(p, "or", HD_NODE_OR, parse_all, out);
}

/* Says of each term where the walk goes on. A child that is not the last leads to the first term of
 * the next one, or past all of them. */
static void set_ways(struct hd_filter *f, const struct hd_filter_node *node, int yes, int no)
{
    int on_true = node->negated ? no : yes, on_false = node->negated ? yes : no;

    if (node->kind == HD_NODE_TERM) {
        f->term[node->term].on_true = on_true;
        f->term[node->term].on_false = on_false;
        return;
    }
    for (const struct hd_filter_node *c = node->first; c; c = c->next) {
        int further = c->next ? c->next->term : 0;
        set_ways(f, c, c->next && node->kind == HD_NODE_AND ? further : on_true,
                 c->next && node->kind == HD_NODE_OR ? further : on_false);
    }
}

heed_status hd_filter_parse(hd_arena *arena, const char *text, size_t bytes, hd_filter **filter)
{
    struct parser p = {.text = text, .end = text + bytes, .now = {.at = text}, .arena = arena};
    size_t terms = bytes / 4 + 1 < HD_FILTER_TERMS_MAX ? bytes / 4 + 1 : HD_FILTER_TERMS_MAX;

    if (bytes > HD_FILTER_BYTES_MAX)
        return hd_fail(HEED_E_ARG, "filter: byte %d: longer than that", HD_FILTER_BYTES_MAX + 1);
    /* The shortest condition is `id=1`, the shortest value of a list takes two bytes, and what a
     * text holds is shorter than it with its marks: all of it fits, whatever the text says. */
    p.filter = hd_arena_zalloc(arena, 1, sizeof *p.filter);
    p.store = hd_arena_alloc(arena, bytes + 1, 1);
    p.value = hd_arena_alloc(arena, bytes / 2 + 1, sizeof *p.value);
    p.number = hd_arena_alloc(arena, bytes / 2 + 1, sizeof *p.number);
    if (p.filter)
        p.filter->term = hd_arena_alloc(arena, terms, sizeof *p.filter->term);
    if (!p.filter || !p.store || !p.value || !p.number || !p.filter->term)
        return hd_fail(HEED_E_NOMEM, "filter: no memory for %zu bytes", bytes);
    HD_TRY(next(&p));
    HD_TRY(parse_any(&p, &p.filter->root));
    if (p.now.kind != TOKEN_END)
        return fail_word(&p, "`and`, `or` or the end", (const char *const[]){"and", "or", NULL});
    set_ways(p.filter, p.filter->root, p.filter->terms, p.filter->terms + 1);
    *filter = p.filter;
    return HEED_OK;
}
