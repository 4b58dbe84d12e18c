/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws of filters over random expressions and random items: a filter says what its words say (a
 * naive evaluator of the expression, by texts, says the same), printing it and parsing that changes
 * nothing, and nothing outside the items is touched. */
#include "allocate/filter.h"
#include "base/random.h"
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ITEMS_MAX 70
#define TAGS 6    /* t0 .. t5 */
#define AUTHORS 4 /* a0 .. a3 */
#define NOW INT64_C(1768003200000)
#define NAMES_MAX 6

static int below(heed_rng *rng, int n)
{
    return (int)hd_random_below(rng, (uint64_t)n);
}

/* ---- items */

struct world {
    int items, tags[ITEMS_MAX], author_of[ITEMS_MAX]; /* tags: bits; author_of: -1: none */
    char id_text[ITEMS_MAX][8], author_text[AUTHORS][8];
    const char *id[ITEMS_MAX], *title[ITEMS_MAX], *author[ITEMS_MAX], *url[ITEMS_MAX];
    heed_time created[ITEMS_MAX];
    int32_t row[ITEMS_MAX][TAGS + 1], topic_count[ITEMS_MAX];
    const int32_t *topic[ITEMS_MAX];
};

static const char *const texts[] = {"cup", "World cup", "a \"b\" \\", "it's", "", "Cup"};

static void world_init(struct world *w, heed_rng *rng)
{
    w->items = below(rng, ITEMS_MAX + 1);
    for (int a = 0; a < AUTHORS; a++)
        sprintf(w->author_text[a], "a%d", a);
    for (int i = 0; i < w->items; i++) {
        int n = 0;
        sprintf(w->id_text[i], "%d", 3 * i);
        w->id[i] = w->id_text[i];
        w->tags[i] = below(rng, 1 << TAGS) & below(rng, 1 << TAGS);
        w->author_of[i] = below(rng, AUTHORS + 1) - 1;
        w->author[i] = w->author_of[i] < 0 ? NULL : w->author_text[w->author_of[i]];
        w->title[i] = below(rng, 4) ? texts[below(rng, COUNT(texts))] : NULL;
        w->url[i] = below(rng, 2) ? texts[below(rng, COUNT(texts))] : NULL;
        w->created[i] = below(rng, 5) ? NOW - 1000 * below(rng, 10) : 0;
        /* Authors have even numbers and tags odd ones, so that rows mix them. */
        for (int number = 0; number < 2 * TAGS; number++)
            if (number % 2 ? w->tags[i] >> number / 2 & 1 : number / 2 == w->author_of[i])
                w->row[i][n++] = number;
        w->topic[i] = n ? w->row[i] : NULL;
        w->topic_count[i] = n;
    }
}

static heed_status find(void *context, enum hd_filter_field field, const char *name, size_t bytes,
                        int32_t *number)
{
    const struct world *w = context;
    int k = atoi(field == HD_FILTER_ID ? name : name + 1);

    (void)bytes;
    if (field == HD_FILTER_ID)
        *number = k % 3 == 0 && k / 3 < w->items ? k / 3 : -1;
    else if (field == HD_FILTER_TAG)
        *number = name[0] == 't' && k < TAGS ? 2 * k + 1 : -1;
    else
        *number = name[0] == 'a' && k < AUTHORS ? 2 * k : -1;
    return HEED_OK;
}

/* ---- expressions */

enum form {
    FORM_TRUE,
    FORM_HAS,
    FORM_IN,
    FORM_CONTAINS,
    FORM_TIME,
    FORM_NOT,
    FORM_AND,
    FORM_OR,
    FORMS
};

struct expression {
    enum form form;
    enum hd_filter_field field;
    char name[NAMES_MAX][16];
    int names;
    int sign;   /* of FORM_TIME: an index of signs */
    int64_t ms; /* of FORM_TIME */
    const struct expression *a, *b;
};

static const char *const fields[] = {"id", "tag", "author", "title", "url", "created", "age"};
static const char *const signs[] = {"=", "<", "<=", ">", ">="};

static void random_names(heed_rng *rng, struct expression *e, int most)
{
    e->names = e->form == FORM_CONTAINS ? 1 : below(rng, most + 1);
    for (int i = 0; i < e->names; i++) {
        const char *text = texts[below(rng, COUNT(texts))];
        if (e->field >= HD_FILTER_TITLE || e->form == FORM_CONTAINS)
            snprintf(e->name[i], sizeof e->name[i], "%s", *text ? text : "c");
        else
            sprintf(e->name[i], "%s%d",
                    e->field == HD_FILTER_ID    ? ""
                    : e->field == HD_FILTER_TAG ? "t"
                                                : "a",
                    below(rng, e->field == HD_FILTER_ID ? 30 : 8));
    }
}

static const struct expression *random_expression(heed_rng *rng, hd_arena *arena, int depth)
{
    struct expression *e = hd_arena_zalloc(arena, 1, sizeof *e);
    const enum hd_filter_field searchable[] = {HD_FILTER_ID, HD_FILTER_AUTHOR, HD_FILTER_TITLE,
                                               HD_FILTER_URL};

    assert_non_null(e);
    e->form = (enum form)below(rng, depth > 0 ? FORMS : FORM_NOT);
    if (depth > 2 && e->form < FORM_NOT && below(rng, 3))
        e->form = FORM_AND;
    e->field = (enum hd_filter_field)below(rng, HD_FILTER_FIELDS);
    if (e->form == FORM_IN)
        e->field = (enum hd_filter_field)below(rng, HD_FILTER_CREATED);
    if (e->form == FORM_CONTAINS)
        e->field = searchable[below(rng, COUNT(searchable))];
    if (e->form == FORM_IN || e->form == FORM_CONTAINS)
        random_names(rng, e, NAMES_MAX);
    if (e->form == FORM_TIME) {
        e->field = below(rng, 2) ? HD_FILTER_CREATED : HD_FILTER_AGE;
        e->sign = e->field == HD_FILTER_AGE ? 1 + below(rng, 4) : below(rng, 5);
        e->ms = (e->field == HD_FILTER_AGE ? 0 : NOW - 10000) + 1000 * below(rng, 11);
    }
    if (e->form >= FORM_NOT)
        e->a = random_expression(rng, arena, depth - 1);
    if (e->form >= FORM_AND)
        e->b = random_expression(rng, arena, depth - 1);
    return e;
}

/* ---- what it says of an item */

static bool says_name(const struct world *w, int i, enum hd_filter_field field, const char *name)
{
    const char *const text[] = {w->id[i], NULL, w->author[i], w->title[i], w->url[i]};

    if (field == HD_FILTER_TAG)
        return name[1] < '0' + TAGS && w->tags[i] >> (name[1] - '0') & 1;
    return text[field] && strcmp(text[field], name) == 0;
}

static bool says_time(const struct expression *e, heed_time created)
{
    int64_t x = e->field == HD_FILTER_AGE ? NOW - created : created;
    const bool answer[] = {x == e->ms, x<e->ms, x <= e->ms, x> e->ms, x >= e->ms};

    return created != 0 && answer[e->sign];
}

static bool says(const struct expression *e, const struct world *w, int i)
{
    const char *const text[] = {w->id[i],
                                w->tags[i] ? "t" : NULL,
                                w->author[i],
                                w->title[i],
                                w->url[i],
                                w->created[i] ? "c" : NULL,
                                w->created[i] ? "c" : NULL};

    switch (e->form) {
    case FORM_HAS:
        return text[e->field] && *text[e->field];
    case FORM_IN:
        for (int k = 0; k < e->names; k++)
            if (says_name(w, i, e->field, e->name[k]))
                return true;
        return false;
    case FORM_CONTAINS:
        return text[e->field] && strstr(text[e->field], e->name[0]);
    case FORM_TIME:
        return says_time(e, w->created[i]);
    case FORM_NOT:
        return !says(e->a, w, i);
    case FORM_AND:
        return says(e->a, w, i) && says(e->b, w, i);
    case FORM_OR:
        return says(e->a, w, i) || says(e->b, w, i);
    default:
        return true;
    }
}

/* ---- written down, in one of many ways */

struct page {
    char text[1 << 16];
    size_t bytes;
};

static void put(struct page *p, const char *text)
{
    size_t bytes = strlen(text);
    assert_true(p->bytes + bytes < sizeof p->text);
    memcpy(p->text + p->bytes, text, bytes + 1);
    p->bytes += bytes;
}

static void blank(struct page *p, heed_rng *rng, bool needed)
{
    static const char *const blanks[] = {"", " ", "  ", "\n", "\t "};
    put(p, blanks[needed + below(rng, (int)COUNT(blanks) - needed)]);
}

static void put_name(struct page *p, heed_rng *rng, const char *name)
{
    const char mark = "\"'"[below(rng, 2)];
    char text[64], *at = text;

    *at++ = mark;
    for (; *name; name++) {
        if (*name == mark || *name == '\\' || (*name == '"' && below(rng, 2)))
            *at++ = '\\';
        *at++ = *name;
    }
    *at++ = mark, *at = 0;
    put(p, text);
}

static void put_term(struct page *p, heed_rng *rng, const struct expression *e, bool negated)
{
    char text[64];

    if (e->form == FORM_HAS) {
        bool after = below(rng, 2);
        put(p, negated ? "not " : "");
        put(p, after ? fields[e->field] : "has");
        blank(p, rng, true);
        put(p, after ? "exists" : fields[e->field]);
        return;
    }
    bool after =
        negated && (e->form == FORM_IN || (e->form == FORM_TIME && e->sign == 0)) && below(rng, 2);
    put(p, negated && !after ? "not " : "");
    put(p, fields[e->field]);
    if (e->form == FORM_TIME) {
        char instant[HD_TIME_TEXT_BYTES];
        hd_time_format(e->ms, instant);
        blank(p, rng, false);
        put(p, after ? "!=" : signs[e->sign]);
        blank(p, rng, false);
        if (e->field == HD_FILTER_AGE)
            sprintf(text, "%lds", (long)(e->ms / 1000));
        else if (below(rng, 2))
            sprintf(text, "%ld", (long)e->ms);
        else
            sprintf(text, below(rng, 2) ? "'%s'" : "%s", instant);
        put(p, text);
        return;
    }
    if (e->form == FORM_IN && e->names == 1 && below(rng, 2)) {
        put(p, after ? "!=" : " =");
        put_name(p, rng, e->name[0]);
        return;
    }
    put(p, e->form == FORM_CONTAINS ? " contains " : after ? " not in[" : " in [");
    for (int i = 0; i < e->names; i++) {
        put(p, i ? "," : "");
        blank(p, rng, false);
        put_name(p, rng, e->name[i]);
    }
    put(p, e->form == FORM_CONTAINS ? "" : "]");
}

/* above: what binds around it; 0 nothing, 1 or, 2 and, 3 not. */
static void put_expression(struct page *p, heed_rng *rng, const struct expression *e, int above)
{
    int mine = e->form == FORM_OR ? 1 : e->form == FORM_AND ? 2 : 3;
    bool inside = mine < above || below(rng, 6) == 0;

    if (inside)
        put(p, "("), blank(p, rng, false);
    if (e->form == FORM_TRUE) {
        put(p, "true");
    } else if (e->form == FORM_NOT && e->a->form > FORM_TRUE && e->a->form < FORM_NOT) {
        put_term(p, rng, e->a, true);
    } else if (e->form == FORM_NOT) {
        put(p, "not ");
        put_expression(p, rng, e->a, 3);
    } else if (e->form >= FORM_AND) {
        put_expression(p, rng, e->a, mine);
        put(p, e->form == FORM_AND ? " and" : " or");
        blank(p, rng, true);
        put_expression(p, rng, e->b, mine);
    } else {
        put_term(p, rng, e, false);
    }
    if (inside)
        blank(p, rng, false), put(p, ")");
}

/* ---- the law */

static void apply(hd_arena *arena, const char *text, const struct world *w, const uint8_t *before,
                  uint8_t *out, const char **printed)
{
    const struct hd_filter_view view = {.items = w->items,
                                        .id = w->id,
                                        .title = w->title,
                                        .author = w->author,
                                        .url = w->url,
                                        .created = w->created,
                                        .topic = w->topic,
                                        .topic_count = w->topic_count};
    hd_filter *filter;

    if (hd_filter_parse(arena, text, strlen(text), &filter) != HEED_OK)
        fail_msg("%s\n%s", text, heed_error_message());
    memcpy(out, before, ITEMS_MAX + 1);
    assert_int_equal(hd_filter_bind(filter, find, (void *)w), HEED_OK);
    hd_filter_apply(filter, &view, NOW, out);
    assert_int_equal(hd_filter_print(filter, arena, printed), HEED_OK);
}

static void test_says_what_it_says(void **state)
{
    const char *seed_text = getenv("HEED_SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)hd_clock_now(NULL);
    hd_arena *arena = hd_arena_new(0);
    struct world *w = calloc(1, sizeof *w);
    struct page *page = calloc(1, sizeof *page);
    int passed = 0, failed = 0;

    (void)state;
    print_message("# HEED_SEED=%llu\n", (unsigned long long)seed);
    assert_true(arena && w && page);
    for (uint64_t round = 0; round < 4000; round++) {
        heed_rng rng = hd_rng(seed, round);
        uint8_t before[ITEMS_MAX + 1] = {0}, out[ITEMS_MAX + 1], again[ITEMS_MAX + 1];
        const char *printed, *reprinted;

        hd_arena_reset(arena);
        world_init(w, &rng);
        const struct expression *e = random_expression(&rng, arena, below(&rng, 5));
        page->bytes = 0;
        put_expression(page, &rng, e, 0);
        for (int i = 0; i < w->items; i++)
            before[i] = below(&rng, 8) == 0;
        before[w->items] = 7; /* nothing behind the items is written */
        apply(arena, page->text, w, before, out, &printed);
        for (int i = 0; i < w->items; i++) {
            uint8_t want = before[i] ? before[i] : !says(e, w, i);
            if (out[i] != want)
                fail_msg("round %d, item %d is %d: %s\n%s", (int)round, i, out[i], page->text,
                         printed);
            passed += !out[i], failed += out[i];
        }
        assert_int_equal(out[w->items], 7);
        apply(arena, printed, w, before, again, &reprinted);
        assert_string_equal(printed, reprinted);
        assert_memory_equal(out, again, sizeof out);
    }
    assert_true(passed > 10000 && failed > 10000); /* the law was not held by saying nothing */
    free(page), free(w), hd_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_says_what_it_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
