/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON reader takes what RFC 8259 has and nothing else; the writer's documents read back. */
#include "text/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"

static const struct row {
    const char *name, *text;
    size_t bytes;        /* 0: strlen */
    const char *refusal; /* NULL: it is read */
    enum hd_json_kind kind;
} rows[] = {
    {"an object", "{\"a\": 1}", 0, NULL, HD_JSON_OBJECT},
    {"blanks around", " \t[1, 2]\r\n", 0, NULL, HD_JSON_ARRAY},
    {"a bare number", "17", 0, NULL, HD_JSON_INT},
    {"a bare word", "true", 0, NULL, HD_JSON_BOOL},
    {"null", "null", 0, NULL, HD_JSON_NULL},
    {"a fraction", "0.5", 0, NULL, HD_JSON_NUMBER},
    {"an exponent", "1e3", 0, NULL, HD_JSON_NUMBER},
    {"an escape", "\"\\u00e9\\n\"", 0, NULL, HD_JSON_TEXT},
    {"an integer past 64 bits is a number", "92233720368547758080", 0, NULL, HD_JSON_NUMBER},
    {"and below", "-92233720368547758080", 0, NULL, HD_JSON_NUMBER},
    {"nothing", "", 0, "ends before", 0},
    {"cut short", "{\"a\": ", 0, "ends before", 0},
    {"two values", "{} {}", 0, "not JSON", 0},
    {"text after it", "1 x", 0, "not JSON", 0},
    {"a trailing comma", "[1,]", 0, "not JSON", 0},
    {"single quotes", "{'a': 1}", 0, "not JSON", 0},
    {"a comment", "/* no */ 1", 0, "not JSON", 0},
    {"NaN", "[NaN]", 0, "not JSON", 0},
    {"Infinity", "{\"a\": -Infinity}", 0, "not JSON", 0},
    {"digits past a double", "1e999", 0, "not finite", 0},
    {"a control character in a text", "\"a\nb\"", 0, "not JSON", 0},
    {"not UTF-8", "\"\xE9\"", 0, "not UTF-8 at byte 2", 0},
    {"a NUL byte", "[1]\0[2]", 7, "not JSON", 0},
    {"a zero before a number", "[01]", 0, "not JSON", 0},
    {"a point without digits", "1.", 0, "not JSON", 0},
    {"an exponent without digits", "1e+", 0, "not JSON", 0},
    {"a plus sign", "+1", 0, "not JSON", 0},
    {"a lone minus", "-", 0, "not JSON", 0},
    {"a word in capitals", "True", 0, "not JSON", 0},
    {"a word of the right letters", "[nul]", 0, "not JSON", 0},
    {"two words", "[true false]", 0, "not JSON", 0},
    {"a bad escape", "\"\\x\"", 0, "not JSON", 0},
    {"a backslash at the end", "\"\\", 0, "not JSON", 0},
    {"too deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", 0,
     "nesting", 0},
};

static void test_read(void **state)
{
    hd_json_reader *reader;

    (void)state;
    assert_int_equal(hd_json_reader_new(&reader), HEED_OK);
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        hd_json *root = NULL;
        print_message("# %s\n", r->name);
        heed_status status =
            hd_json_read(reader, r->text, r->bytes ? r->bytes : strlen(r->text), &root);
        if (r->refusal) {
            assert_int_not_equal(status, HEED_OK);
            if (!strstr(heed_error_message(), r->refusal))
                fail_msg("said: %s", heed_error_message());
        } else {
            assert_int_equal(status, HEED_OK);
            assert_int_equal(hd_json_kind(root), r->kind);
        }
    }
    hd_json_reader_free(reader);
}

static void test_members(void **state)
{
    static const char text[] =
        "{\"id\": \"a\\u0000b\", \"n\": -7, \"v\": [1, 2.5, null], \"t\": true}";
    static const char *const keys[] = {"id", "n", "v", "t"};
    hd_json_reader *reader;
    hd_json *root;
    size_t bytes, i = 0;

    (void)state;
    assert_int_equal(hd_json_reader_new(&reader), HEED_OK);
    assert_int_equal(hd_json_read(reader, text, sizeof text - 1, &root), HEED_OK);
    for (struct hd_json_member m = hd_json_first(root); m.key; m = hd_json_next(m))
        assert_string_equal(m.key, keys[i++]);
    assert_int_equal(i, 4);
    assert_memory_equal(hd_json_text(hd_json_get(root, "id"), &bytes), "a\0b", 4);
    assert_int_equal(bytes, 3);
    assert_int_equal(hd_json_int(hd_json_get(root, "n")), -7);
    assert_true(hd_json_number(hd_json_get(root, "n")) == -7.0);
    assert_int_equal(hd_json_length(hd_json_get(root, "v")), 3);
    assert_true(hd_json_number(hd_json_at(hd_json_get(root, "v"), 1)) == 2.5);
    assert_null(hd_json_at(hd_json_get(root, "v"), 3));
    assert_true(hd_json_bool(hd_json_get(root, "t")));
    assert_null(hd_json_get(root, "none"));
    assert_string_equal(hd_json_compact(hd_json_get(root, "v")), "[1,2.5,null]");
    /* Asked for what it is not, a value is empty and nothing breaks. */
    assert_string_equal(hd_json_text(root, &bytes), "");
    assert_int_equal(bytes, 0);
    assert_int_equal(hd_json_int(NULL), 0);
    assert_int_equal(hd_json_length(NULL), 0);
    hd_json_reader_free(reader);
}

static void test_write(void **state)
{
    struct hd_json_writer w = {0};
    const char *text;
    size_t bytes;

    (void)state;
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "text", "a\"b\\c\n\t\x01 \xC3\xA9 \xFF");
    hd_json_put_text(&w, "none", NULL);
    hd_json_put_int(&w, "low", INT64_MIN);
    hd_json_put_number(&w, "third", 1.0 / 3);
    hd_json_put_number(&w, "tenth", 0.1);
    hd_json_put_number(&w, "nan", (double)NAN);
    hd_json_put_float(&w, "float", 0.1f);
    hd_json_begin_array(&w, "list");
    hd_json_put_bool(&w, NULL, true);
    hd_json_begin_object(&w, NULL);
    hd_json_end(&w);
    hd_json_end(&w);
    hd_json_put_raw(&w, "raw", "{\"x\":1}");
    hd_json_end(&w);
    assert_int_equal(hd_json_finish(&w, &text, &bytes), HEED_OK);
    assert_string_equal(
        text, "{\"text\":\"a\\\"b\\\\c\\n\\t\\u0001 \xC3\xA9 \xEF\xBF\xBD\",\"none\":null,"
              "\"low\":-9223372036854775808,\"third\":0.3333333333333333,\"tenth\":0.1,"
              "\"nan\":null,\"float\":0.1,\"list\":[true,{}],\"raw\":{\"x\":1}}");
    assert_int_equal(bytes, strlen(text));
    hd_json_clear(&w);

    w.indent = 2;
    hd_json_begin_object(&w, NULL);
    hd_json_begin_array(&w, "a");
    hd_json_put_int(&w, NULL, 1);
    hd_json_put_int(&w, NULL, 2);
    hd_json_end(&w);
    hd_json_begin_array(&w, "b");
    hd_json_end(&w);
    hd_json_end(&w);
    assert_int_equal(hd_json_finish(&w, &text, NULL), HEED_OK);
    assert_string_equal(text, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": []\n}");
    hd_json_clear(&w);
}

/* What was written reads back as the same numbers. */
static void test_round_trip(void **state)
{
    static const double numbers[] = {0,    -0.0,   1e-310, 1.7976931348623157e308, 0.1 + 0.2,
                                     1e21, 123456, 5e-324, 2.2250738585072014e-308};
    hd_json_reader *reader;

    (void)state;
    assert_int_equal(hd_json_reader_new(&reader), HEED_OK);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct hd_json_writer w = {0};
        const char *text;
        hd_json *root;
        size_t bytes;
        hd_json_put_number(&w, NULL, numbers[i]);
        assert_int_equal(hd_json_finish(&w, &text, &bytes), HEED_OK);
        assert_int_equal(hd_json_read(reader, text, bytes, &root), HEED_OK);
        assert_true(hd_json_number(root) == numbers[i]);
        hd_json_clear(&w);
    }
    hd_json_reader_free(reader);
}

static void test_unfinished(void **state)
{
    struct hd_json_writer w = {0};
    const char *text;

    (void)state;
    assert_int_equal(hd_json_finish(&w, &text, NULL), HEED_E_STATE);
    for (int i = 0; i <= HD_JSON_DEPTH_MAX; i++)
        hd_json_begin_array(&w, NULL);
    assert_int_equal(hd_json_finish(&w, &text, NULL), HEED_E_RANGE);
    for (int i = 0; i <= HD_JSON_DEPTH_MAX; i++)
        hd_json_end(&w);
    assert_int_equal(hd_json_finish(&w, &text, NULL), HEED_E_RANGE);
    hd_json_clear(&w);
}

static void *no_memory(void *context, void *pointer, size_t bytes)
{
    (void)context, (void)pointer, (void)bytes;
    return NULL;
}

static void test_no_memory(void **state)
{
    struct hd_json_writer w = {0};
    hd_json_reader *reader;
    const char *text;

    (void)state;
    heed_set_allocator(&(heed_allocator){no_memory, NULL});
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "a", "b");
    hd_json_end(&w);
    heed_status written = hd_json_finish(&w, &text, NULL), read = hd_json_reader_new(&reader);
    heed_set_allocator(NULL);
    assert_int_equal(written, HEED_E_NOMEM);
    assert_int_equal(read, HEED_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),       cmocka_unit_test(test_members),
        cmocka_unit_test(test_write),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_unfinished), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
