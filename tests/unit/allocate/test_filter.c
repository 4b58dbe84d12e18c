/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters: the examples of docs/FILTERS.md, which are read out of that page; what they are printed
 * as; what is refused and where; each limit at it and one past it. */
#include "allocate/filter.h"
#include "base/limits.h"
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define NOW 1768003200000 /* 2026-01-10T00:00:00Z */
#define ITEMS 5

/* The items of the page. Numbers of topics: sport 0, news 1, food 2, ann 10, bob 11, cy 12. */
static const char *const id[] = {"1", "2", "3", "4", "5"};
static const char *const title[] = {"World cup: the final", "A Cup of tea", NULL, "Untold",
                                    "He said \"no\""};
static const char *const author[] = {"ann", "bob", "bob", NULL, "cy"};
static const char *const url[] = {"https://example.org/1", NULL, "", "https://example.org/4", NULL};
static const heed_time created[] = {NOW - 43200000, NOW - 9 * 86400000L, NOW - 40 * 86400000L, 0,
                                    NOW - 60000};
static const int32_t *const topic[] = {(const int32_t[]){0, 1, 10}, (const int32_t[]){0, 11},
                                       (const int32_t[]){2, 11}, NULL, (const int32_t[]){1, 12}};
static const int32_t topic_count[] = {3, 2, 2, 0, 2};
static const struct hd_filter_view view = {.items = ITEMS,
                                           .id = id,
                                           .title = title,
                                           .author = author,
                                           .url = url,
                                           .created = created,
                                           .topic = topic,
                                           .topic_count = topic_count};

static heed_status find(void *context, enum hd_filter_field field, const char *name, size_t bytes,
                        int32_t *number)
{
    static const struct {
        enum hd_filter_field field;
        const char *name;
        int32_t number;
    } names[] = {
        {HD_FILTER_TAG, "sport", 0},   {HD_FILTER_TAG, "news", 1},    {HD_FILTER_TAG, "food", 2},
        {HD_FILTER_AUTHOR, "ann", 10}, {HD_FILTER_AUTHOR, "bob", 11}, {HD_FILTER_AUTHOR, "cy", 12},
        {HD_FILTER_ID, "1", 0},        {HD_FILTER_ID, "2", 1},        {HD_FILTER_ID, "3", 2},
        {HD_FILTER_ID, "4", 3},        {HD_FILTER_ID, "5", 4}};

    (void)context;
    assert_int_equal(strlen(name), bytes);
    *number = -1;
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].field == field && strcmp(names[i].name, name) == 0)
            *number = names[i].number;
    return HEED_OK;
}

static hd_arena *arena;

/* The numbers, from 1, of what passes: "1 3 5". */
static void passing(const char *text, size_t bytes, char *numbers)
{
    uint8_t out[ITEMS + 1] = {[ITEMS] = 7}; /* 7 guards the end */
    hd_filter *filter;

    if (hd_filter_parse(arena, text, bytes, &filter) != HEED_OK)
        fail_msg("%.*s: %s", (int)bytes, text, heed_error_message());
    assert_int_equal(hd_filter_bind(filter, find, NULL), HEED_OK);
    hd_filter_apply(filter, &view, NOW, out);
    assert_int_equal(out[ITEMS], 7);
    for (int i = 0; i < ITEMS; i++)
        if (!out[i])
            numbers += sprintf(numbers, "%s%d", numbers[-1] ? " " : "", i + 1);
    *numbers = 0;
}

/* ---- the page */

/* Without the marks of code around it, which are two where it holds some itself. */
static char *plain(char *cell)
{
    size_t marks = strspn(cell, "`"), bytes = strlen(cell);

    if (marks == 0 || bytes <= 2 * marks)
        return cell;
    marks += marks == 2; /* and a blank */
    cell[bytes - marks] = 0;
    return cell + marks;
}

/* A row `| a | b | c |` in pieces. */
static int cells(char *line, char **cell, int most)
{
    int count = 0;

    for (char *at = line + 1, *bar; count < most && (bar = strstr(at, " |")); at = bar + 2) {
        *bar = 0;
        cell[count++] = plain(at + strspn(at, " "));
    }
    return count;
}

static void test_page(void **state)
{
    char line[4096], *cell[3], got[32] = "", *section = "";
    int examples = 0, refusals = 0;
    FILE *page = fopen(FILTERS_PAGE, "r");

    (void)state;
    assert_non_null(page);
    while (fgets(line, sizeof line, page)) {
        if (strncmp(line, "| filter |", 10) == 0)
            section = strstr(line, "true of") ? "examples" : "refusals";
        if (strncmp(line, "| `", 3) != 0)
            continue;
        int count = cells(line, cell, 3);
        if (*section == 'e') {
            assert_int_equal(count, 3);
            passing(cell[0], strlen(cell[0]), got + 1);
            if (strcmp(got + 1, cell[1]) != 0)
                fail_msg("%s: true of %s, the page says %s", cell[0], got + 1, cell[1]);
            examples++;
        } else if (*section == 'r') {
            hd_filter *filter;
            assert_int_equal(count, 2);
            assert_int_equal(hd_filter_parse(arena, cell[0], strlen(cell[0]), &filter), HEED_E_ARG);
            assert_string_equal(heed_error_message(), cell[1]);
            refusals++;
        }
    }
    fclose(page);
    assert_true(examples >= 40 && refusals >= 8);
}

/* ---- printing */

static const struct print_row {
    const char *name, *text, *printed;
} print_rows[] = {
    {"one way of writing", "  tag='a'and has url ", "tag = \"a\" and has url"},
    {"the longer form is the shorter", "url exists", "has url"},
    {"nots take each other away", "not not not has url", "not has url"},
    {"not and = is !=", "not id = 7", "id != \"7\""},
    {"not and != is =", "not author != \"a\"", "author = \"a\""},
    {"a list of one is no list", "not tag in [\"a\"]", "tag != \"a\""},
    {"a list is sorted and has each once", "id in [\"b\", 'a', \"b\"]", "id in [\"a\", \"b\"]"},
    {"an empty list", "id not in [ ]", "id not in []"},
    {"parentheses that say nothing go", "((has id and (has tag and has url)))",
     "has id and has tag and has url"},
    {"those that do stay", "has id and (has tag or has url)", "has id and (has tag or has url)"},
    {"or needs none around and", "(has id and has tag) or has url",
     "has id and has tag or has url"},
    {"not keeps them", "not (has id and has tag) and has url",
     "not (has id and has tag) and has url"},
    {"two nots around them", "not (not (has id or has tag) or has url)",
     "not (not (has id or has tag) or has url)"},
    {"a time", "created > 1767225600001", "created > 2026-01-01T00:00:00.001Z"},
    {"a time that is not", "not created = 2026-01-01", "created != 2026-01-01T00:00:00Z"},
    {"before 1970", "created < 1969-12-31T23:59:59.5Z", "created < 1969-12-31T23:59:59.500Z"},
    {"spans in their largest unit", "age < 120m and age > 90s and age > 0w",
     "age < 2h and age > 90s and age > 0s"},
    {"marks inside", "title contains 'a\\'\"\\\\'", "title contains \"a'\\\"\\\\\""},
    {"not false is true", "not false or false", "true or false"},
};

static void test_print(void **state)
{
    (void)state;
    for (const struct print_row *r = print_rows; r < print_rows + COUNT(print_rows); r++) {
        hd_filter *filter;
        const char *text, *again;

        print_message("# %s\n", r->name);
        assert_int_equal(hd_filter_parse(arena, r->text, strlen(r->text), &filter), HEED_OK);
        assert_int_equal(hd_filter_print(filter, arena, &text), HEED_OK);
        assert_string_equal(text, r->printed);
        assert_int_equal(hd_filter_parse(arena, text, strlen(text), &filter), HEED_OK);
        assert_int_equal(hd_filter_print(filter, arena, &again), HEED_OK);
        assert_string_equal(again, text);
    }
}

/* ---- refusals that the page does not show */

static const struct refuse_row {
    const char *name, *text, *message;
} refuse_rows[] = {
    {"nothing", "", "byte 1: it ends where a field"},
    {"blanks", "  ", "byte 3: it ends"},
    {"two fields", "tag author", "byte 5: `author` is not a comparison"},
    {"a slip in `contains`", "title contain \"a\"",
     "byte 7: `contain` is not a comparison; did you mean `contains`?"},
    {"a slip in a field after `has`", "has ulr",
     "byte 5: `ulr` is not a field; did you mean `url`?"},
    {"`has` after `has`", "has has", "byte 5: `has` is not a field"},
    {"not what", "tag not \"a\"", "byte 9: `in` should be here"},
    {"not equal, the other way", "tag <> \"a\"", "byte 5: tag is a text"},
    {"texts have no order", "title < \"a\"",
     "byte 7: title is a text: it has `=`, `!=`, `in`, `contains`, `exists`"},
    {"an age is never exact", "age = 2d", "byte 5: an age is never exact"},
    {"a time has no list", "created in [1]", "byte 9: created has no `in`"},
    {"a text without marks", "tag = sport",
     "byte 7: tag is compared with a text in quotation marks"},
    {"a number is no title", "title = 1984", "byte 9: title is compared with a text"},
    {"an id that is half a number", "id = 12ab", "byte 6: a text in quotation marks"},
    {"an empty text", "tag = ''", "byte 7: an empty text; `has tag` asks"},
    {"no list", "tag in \"a\"", "byte 8: after `in` comes a list"},
    {"a list without an end", "tag in [\"a\"", "byte 12: `,` or `]` should be here"},
    {"a comma too many", "tag in [\"a\",]", "byte 13: no text after the last comma"},
    {"a comma too few", "tag in [\"a\" \"b\"]", "byte 13: `,` or `]` should be here"},
    {"a parenthesis that stays open", "(has url", "byte 9: `)`, `and` or `or` should be here"},
    {"one that was never opened", "has url)", "byte 8: `and`, `or` or the end should be here"},
    {"two equals", "tag == \"a\"", "byte 5: `==` is written `=`"},
    {"an exclamation mark", "!has url", "byte 1: `!` alone is written `not`"},
    {"a pipe", "has url | has id", "byte 9: `|` is written `or`"},
    {"another character", "tag = $1", "byte 7: nothing begins with this character"},
    {"an escape that is none", "tag = \"a\\n\"", "byte 10: after a \\ in a text comes"},
    {"an escape of the end", "tag = \"a\\", "byte 10: after a \\ in a text comes"},
    {"a unit that is none", "age < 2y", "byte 7: age is compared with a span"},
    {"a span of nothing", "age < d", "byte 7: age is compared with a span"},
    {"a day that is none", "created < 2026-02-30", "byte 11: there is no day 2026-02-30"},
    {"a time without a zone", "created < 2026-02-03T10:00:00", "byte 11: no zone"},
};

static void test_refuse(void **state)
{
    (void)state;
    for (const struct refuse_row *r = refuse_rows; r < refuse_rows + COUNT(refuse_rows); r++) {
        hd_filter *filter = NULL;

        print_message("# %s\n", r->name);
        assert_int_equal(hd_filter_parse(arena, r->text, strlen(r->text), &filter), HEED_E_ARG);
        if (!strstr(heed_error_message(), r->message))
            fail_msg("%s: %s", r->text, heed_error_message());
        assert_int_equal(strncmp(heed_error_message(), "filter: byte ", 13), 0);
        assert_null(filter);
    }
    hd_filter *filter;
    assert_int_equal(hd_filter_parse(arena, "tag = \"a\0b\"", 11, &filter), HEED_E_ARG);
    assert_string_equal(heed_error_message(), "filter: byte 9: a text cannot hold a zero byte");
    assert_int_equal(hd_filter_parse(arena, "tag\0", 4, &filter), HEED_E_ARG);
}

/* ---- limits */

/* before, then `count` times a piece, then after. */
static char *repeat(const char *before, const char *piece, int count, const char *after)
{
    size_t bytes = strlen(piece);
    char *text =
        hd_arena_alloc(arena, strlen(before) + bytes * (size_t)count + strlen(after) + 1, 1);
    char *at = text + sprintf(text, "%s", before);

    for (int i = 0; i < count; i++, at += bytes)
        memcpy(at, piece, bytes);
    strcpy(at, after);
    return text;
}

static void check_limit(const char *name, const char *at_it, const char *past_it, const char *what)
{
    hd_filter *filter;

    print_message("# %s\n", name);
    if (hd_filter_parse(arena, at_it, strlen(at_it), &filter) != HEED_OK)
        fail_msg("%s", heed_error_message());
    assert_int_equal(hd_filter_parse(arena, past_it, strlen(past_it), &filter), HEED_E_ARG);
    if (!strstr(heed_error_message(), what))
        fail_msg("%s", heed_error_message());
}

static void test_limits(void **state)
{
    static const struct {
        const char *name, *before, *piece, *after;
        int most;
        const char *what;
    } rows[] = {
        {"bytes", "true", " ", "", HD_FILTER_BYTES_MAX - 4, "byte 262145: longer than that"},
        {"conditions", "true", " or true", "", HD_FILTER_TERMS_MAX - 1,
         "byte 513: more than 64 conditions"},
        {"depth", "", "(", NULL, HD_FILTER_DEPTH_MAX, "byte 33: parentheses deeper than 32"},
        {"a list", "id in [0", ",1", "]", HD_FILTER_LIST_MAX - 1, "a list of more than 10000"},
        {"a tag", "tag = '", "x", "'", HD_ID_BYTES_MAX,
         "byte 7: 257 bytes of text, no tag is longer than 256"},
        {"an author", "author = '", "x", "'", HD_ID_BYTES_MAX, "no author is longer than 256"},
        {"an id", "id = ", "1", "", HD_ID_BYTES_MAX, "no id is longer than 256"},
        {"a title", "title = '", "x", "'", HD_TITLE_BYTES_MAX, "no title is longer than 4096"},
        {"a url", "url contains '", "x", "'", HD_URL_BYTES_MAX, "no url is longer than 8192"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *after = rows[i].after, *after_more = after;
        if (!after) { /* as many closed as opened */
            after = repeat("true", ")", rows[i].most, "");
            after_more = repeat(after, ")", 1, "");
        }
        check_limit(rows[i].name, repeat(rows[i].before, rows[i].piece, rows[i].most, after),
                    repeat(rows[i].before, rows[i].piece, rows[i].most + 1, after_more),
                    rows[i].what);
    }
    check_limit("a span", "age < 253402300799s", "age < 253402300800s",
                "byte 7: a span longer than");
    check_limit("a span in weeks", "age < 418985w", "age < 99999999999999999999w", "a span longer");
    check_limit("an instant", "created < 253402300799999", "created < 253402300800000",
                "byte 11: not a date");
    check_limit("nots are no depth", repeat("", "not ", 1000, "true"), "not", "byte 4: it ends");
}

/* ---- binding and applying */

static heed_status find_nothing(void *context, enum hd_filter_field field, const char *name,
                                size_t bytes, int32_t *number)
{
    (void)context, (void)field, (void)name, (void)bytes, (void)number;
    return HEED_E_IO;
}

static void test_apply(void **state)
{
    const char *text = "tag = 'sport' or id = 5", *ages = "age < 1s or age >= 1s";
    uint8_t out[ITEMS] = {0};
    hd_filter *filter;

    (void)state;
    assert_int_equal(hd_filter_parse(arena, text, strlen(text), &filter), HEED_OK);
    assert_int_equal(hd_filter_bind(filter, find_nothing, NULL), HEED_E_IO);
    hd_filter_apply(filter, &view, NOW, out); /* no names are known: nothing passes */
    assert_memory_equal(out, ((const uint8_t[]){1, 1, 1, 1, 1}), ITEMS);
    memcpy(out, (const uint8_t[]){0, 9, 0, 0, 0}, ITEMS);
    assert_int_equal(hd_filter_bind(filter, find, NULL), HEED_OK);
    hd_filter_apply(filter, &view, NOW, out); /* what is out stays as it is */
    assert_memory_equal(out, ((const uint8_t[]){0, 9, 1, 1, 0}), ITEMS);
    memset(out, 0, sizeof out);
    hd_filter_apply(filter, &view, NOW, out); /* and again, from the first id on */
    assert_memory_equal(out, ((const uint8_t[]){0, 0, 1, 1, 0}), ITEMS);

    /* No moment makes the ages overflow, and each known one is on one side. */
    assert_int_equal(hd_filter_parse(arena, ages, strlen(ages), &filter), HEED_OK);
    for (int i = 0; i < 2; i++) {
        memset(out, 0, sizeof out);
        hd_filter_apply(filter, &view, i ? INT64_MIN : INT64_MAX, out);
        assert_memory_equal(out, ((const uint8_t[]){0, 0, 0, 1, 0}), ITEMS);
    }
}

static int set_up(void **state)
{
    (void)state;
    return (arena = hd_arena_new(0)) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    hd_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),   cmocka_unit_test(test_print), cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_apply),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
