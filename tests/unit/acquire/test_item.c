/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines that describe items. */
#include "acquire/item.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static hd_json_reader *reader;
static hd_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = hd_arena_new(0);
    return hd_json_reader_new(&reader) == HEED_OK && arena ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    hd_json_reader_free(reader);
    hd_arena_free(arena);
    return 0;
}

static const struct row {
    const char *name, *line, *refusal;
} rows[] = {
    {"an id alone", "{\"id\": \"a\"}", NULL},
    {"a number for an id", "{\"id\": 12, \"title\": \"Twelve\"}", NULL},
    {"no tags", "{\"id\": \"a\", \"tags\": []}", NULL},
    {"created before 1970", "{\"id\": \"a\", \"created\": \"1927-01-10\"}", NULL},
    {"null is not given", "{\"id\": \"a\", \"title\": null, \"features\": null}", NULL},
    {"no id", "{\"title\": \"a\"}", "id: missing"},
    {"an unknown field", "{\"id\": \"a\", \"colour\": 1}", "colour: an item has no such field"},
    {"a title that is a number", "{\"id\": \"a\", \"title\": 7}",
     "title: a whole number, not a text"},
    {"a NUL in a title", "{\"id\": \"a\", \"title\": \"x\\u0000y\"}", "title: a NUL"},
    {"tags in one text", "{\"id\": \"a\", \"tags\": \"x,y\"}", "tags: a text, not an array"},
    {"a tag that is none", "{\"id\": \"a\", \"tags\": [1]}", "tags: a whole number in it"},
    {"an empty tag", "{\"id\": \"a\", \"tags\": [\"\"]}", "tags: empty"},
    {"hidden as a number", "{\"id\": \"a\", \"hidden\": 1}",
     "hidden: a whole number, not true or false"},
    {"expires never", "{\"id\": \"a\", \"expires\": \"never\"}", "expires: \"never\": not a date"},
    {"features without names", "{\"id\": \"a\", \"features\": [1]}",
     "features: an array, not an object"},
    {"an empty vector", "{\"id\": \"a\", \"features\": {\"x\": []}}",
     "features: x is not an array of 1"},
    {"a hole in a vector", "{\"id\": \"a\", \"features\": {\"x\": [1, null]}}", "features: null"},
    {"past a float", "{\"id\": \"a\", \"features\": {\"x\": [1e39]}}", "does not fit a float"},
    {"not an object", "\"a\"", "a text, not an object"},
    {"not JSON", "a", "not JSON"},
};

static void test_rows(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_item item;
        print_message("# %s\n", r->name);
        heed_status status = hd_parse_item(reader, r->line, strlen(r->line), arena, &item);
        if (!r->refusal) {
            if (status != HEED_OK)
                fail_msg("said: %s", heed_error_message());
            continue;
        }
        assert_true(status == HEED_E_FORMAT || status == HEED_E_RANGE);
        if (!strstr(heed_error_message(), r->refusal))
            fail_msg("said: %s", heed_error_message());
    }
}

static void assert_span(struct hd_span span, const char *want)
{
    assert_int_equal(span.bytes, strlen(want));
    assert_memory_equal(span.at, want, span.bytes);
}

static void test_every_field(void **state)
{
    static const char line[] =
        "{\"id\": \"i1\", \"title\": \"A title\", \"text\": \"Some\\ntext\", \"tags\": [\"x\", "
        "\"y z\"], \"author\": \"ann\", \"url\": \"https://example.org/1\", \"created\": "
        "\"2026-11-20T00:00:00Z\", \"expires\": 1795219200000, \"hidden\": true, "
        "\"features\": {\"image\": [0.5, -1, 2], \"audio\": [3]}}";
    struct hd_item item;

    (void)state;
    assert_int_equal(hd_parse_item(reader, line, sizeof line - 1, arena, &item), HEED_OK);
    assert_span(item.id, "i1");
    assert_span(item.title, "A title");
    assert_span(item.text, "Some\ntext");
    assert_int_equal(item.tags, 2);
    assert_span(item.tag[1], "y z");
    assert_span(item.author, "ann");
    assert_span(item.url, "https://example.org/1");
    assert_true(item.created == INT64_C(1795132800000));
    assert_true(item.expires == INT64_C(1795219200000));
    assert_true(item.hidden);
    assert_int_equal(item.features, 2);
    assert_string_equal(item.feature[0].name, "image");
    assert_int_equal(item.feature[0].count, 3);
    assert_true(item.feature[0].value[0] == 0.5f && item.feature[0].value[2] == 2.0f);
    assert_true(item.feature[1].count == 1 && item.feature[1].value[0] == 3.0f);
    assert_int_equal(item.given, 511);
}

/* What a merge leaves alone is what the line does not speak of; null speaks. */
static void test_given(void **state)
{
    static const struct {
        const char *field;
        unsigned bit;
    } fields[] = {
        {"title", HD_ITEM_TITLE},     {"text", HD_ITEM_TEXT},       {"tags", HD_ITEM_TAGS},
        {"author", HD_ITEM_AUTHOR},   {"url", HD_ITEM_URL},         {"created", HD_ITEM_CREATED},
        {"expires", HD_ITEM_EXPIRES}, {"hidden", HD_ITEM_HIDDEN},   {"features", HD_ITEM_FEATURES},
    };
    struct hd_item item;
    char line[64];

    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        snprintf(line, sizeof line, "{\"id\":\"a\",\"%s\":null}", fields[i].field);
        assert_int_equal(hd_parse_item(reader, line, strlen(line), arena, &item), HEED_OK);
        assert_int_equal(item.given, fields[i].bit);
    }
    assert_int_equal(hd_parse_item(reader, "{\"id\":\"a\"}", 10, arena, &item), HEED_OK);
    assert_int_equal(item.given, 0);
}

/* `count` times `each`, with commas, between `before` and `after`. */
static char *repeated(const char *before, const char *each, int count, const char *after)
{
    size_t room = strlen(before) + strlen(after) + (size_t)count * (strlen(each) + 16) + 1, at = 0;
    char *text = malloc(room);

    at += (size_t)snprintf(text, room, "%s", before);
    for (int i = 0; i < count; i++) {
        at += (size_t)snprintf(text + at, room - at, "%s", i ? "," : "");
        if (strcmp(each, "%") == 0) /* a member of its own name each */
            at += (size_t)snprintf(text + at, room - at, "\"k%d\":[1]", i);
        else
            at += (size_t)snprintf(text + at, room - at, "%s", each);
    }
    snprintf(text + at, room - at, "%s", after);
    return text;
}

static char *padded(const char *field, int bytes)
{
    char *text = malloc((size_t)bytes + 64);

    sprintf(text, "{\"id\":\"a\",\"%s\":\"%0*d\"}", field, bytes, 1);
    return text;
}

static void test_limits(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        char *lines[] = {
            repeated("{\"id\":\"a\",\"tags\":[", "\"t\"", HD_TAGS_MAX + over, "]}"),
            repeated("{\"id\":\"a\",\"features\":{\"x\":[", "1", HD_FEATURE_COUNT_MAX + over,
                     "]}}"),
            repeated("{\"id\":\"a\",\"features\":{", "%", HD_FEATURES_MAX + over, "}}"),
            padded("title", HD_TITLE_BYTES_MAX + over),
            padded("text", HD_TEXT_BYTES_MAX + over),
            padded("url", HD_URL_BYTES_MAX + over),
            padded("author", HD_ID_BYTES_MAX + over),
        };
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
            struct hd_item item;
            heed_status status = hd_parse_item(reader, lines[i], strlen(lines[i]), arena, &item);
            if ((status == HEED_OK) == (over == 1))
                fail_msg("limit %zu, over %d: %s", i, over, heed_status_name(status));
            free(lines[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_given),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("item", tests, set_up, tear_down);
}
