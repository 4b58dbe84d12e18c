/* SPDX-License-Identifier: Apache-2.0
 *
 * Problem documents, lines of the log, and requests read by the table of their fields. */
#include "server/log.h"
#include "server/problem.h"
#include "server/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void check_problem(const struct hd_problem *problem, const char *wanted)
{
    struct hd_json_writer w = {0};
    const char *text;

    hd_problem_write(&w, problem);
    assert_int_equal(hd_json_finish(&w, &text, NULL), HEED_OK);
    assert_string_equal(text, wanted);
    hd_json_clear(&w);
}

static void test_problems(void **state)
{
    static const struct hd_bad_record bad = {2, "kind: \"\x01\""};
    struct hd_problem problem;

    (void)state;
    hd_problem_of(HEED_E_FORMAT, "user: \"</script>\" is none", &problem);
    problem.field = "user";
    check_problem(&problem,
                  "{\"type\":\"urn:heed:malformed\",\"title\":\"the input is malformed\","
                  "\"status\":400,\"detail\":\"user: \\\"</script>\\\" is none\",\"field\":\"user\"}");
    hd_problem_of(HEED_E_NOTFOUND, "item: there is no x", &problem);
    assert_int_equal(problem.status, 404);
    /* What failed inside stays inside: a path of this machine is nobody's business. */
    hd_problem_of(HEED_E_IO, "/var/lib/heed: cannot be read", &problem);
    check_problem(&problem, "{\"type\":\"urn:heed:storage\",\"title\":\"reading or writing failed\","
                            "\"status\":500}");
    hd_problem_of(HEED_E_BUSY, "/var/lib/heed: process 7 is writing", &problem);
    assert_null(problem.detail);
    assert_int_equal(problem.status, 503);
    check_problem(&(struct hd_problem){.status = 429},
                  "{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429}");
    check_problem(&(struct hd_problem){.status = 400, .counted = true, .rejected = 1,
                                       .errors = &bad, .error_count = 1, .line = 2},
                  "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"line\":2,"
                  "\"accepted\":0,\"duplicate\":0,\"rejected\":1,"
                  "\"errors\":[{\"line\":2,\"reason\":\"kind: \\\"\\u0001\\\"\"}]}");
}

/* ---- the log */

static void test_log(void **state)
{
    static const struct {
        const char *value, *written;
    } rows[] = {
        {"plain-word_1.2/3", " k=plain-word_1.2/3"},
        {"two words", " k=\"two words\""},
        {"", " k=\"\""},
        {"a=b", " k=\"a=b\""},
        {"say \"hi\" \\", " k=\"say \\\"hi\\\" \\\\\""},
        {"line\nerror forged", " k=\"line\\x0Aerror forged\""},
        {"\x1b[31m", " k=\"\\x1B[31m\""},
        {"\xc3\xa9t\xc3\xa9", " k=\"\xc3\xa9t\xc3\xa9\""},
        {"\xc2\x9b" "31m", " k=\"\\xC2\\x9B31m\""}, /* a control character of ISO 6429 */
        {"\xff", " k=\"\\xFF\""},
    };
    struct hd_log_line line;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hd_log_begin(&line, HEED_LOG_WARN, "event");
        size_t before = line.bytes;
        hd_log_text(&line, "k", rows[i].value);
        line.text[line.bytes] = '\0';
        assert_string_equal(line.text + before, rows[i].written);
    }
    hd_log_begin(&line, HEED_LOG_WARN, "event");
    assert_non_null(strstr(line.text, "Z warn event"));
    for (int i = 0; i < 1000; i++)
        hd_log_text(&line, "key", "a value that is quoted");
    assert_int_equal(line.bytes, HD_LOG_LINE_BYTES_MAX - 1); /* cut, with room for its end */
}

/* ---- shapes */

struct part {
    const char *id;
    heed_time ts;
};
static const struct hd_field part_fields[] = {
    {"id", HD_IS_ID, HD_NEEDED, offsetof(struct part, id)},
    {"ts", HD_IS_TIME, 0, offsetof(struct part, ts)},
    {0},
};
static const struct hd_shape part_shape = {"Part", part_fields, sizeof(struct part), NULL};

struct whole {
    const char *name, *kind;
    int64_t n;
    double share;
    bool yes;
    struct hd_list ids, parts;
};
#define AT(field) .at = offsetof(struct whole, field)
static const struct hd_field whole_fields[] = {
    {"name", HD_IS_TEXT, HD_NEEDED, AT(name), .most = 5},
    {"kind", HD_IS_CHOICE, AT(kind), .words = "one|two"},
    {"n", HD_IS_INT, AT(n), .least = 1, .most = 10},
    {"share", HD_IS_NUMBER, AT(share), .least = 0, .most = 1},
    {"yes", HD_IS_BOOL, AT(yes)},
    {"ids", HD_IS_ID, HD_MANY, AT(ids), .most_count = 2},
    {"parts", HD_IS_SHAPE, HD_MANY, AT(parts), .most_count = 2, .shape = &part_shape},
    {"own", HD_IS_MAP},
    {0},
};
static const struct hd_shape whole_shape = {"Whole", whole_fields, sizeof(struct whole), NULL};

static const struct shape_row {
    const char *text, *refusal, *field; /* NULL: it is read */
} shape_rows[] = {
    {"{\"name\":\"abcde\",\"kind\":\"two\",\"n\":10,\"share\":1,\"yes\":true,\"ids\":[1,\"b\"],"
     "\"parts\":[{\"id\":7,\"ts\":\"2026-01-01T00:00:00Z\"}],\"own\":{\"any\":[1]}}", NULL, NULL},
    {"{\"name\":\"a\",\"n\":null,\"ids\":null}", NULL, NULL},
    {"{}", "name: missing", "name"},
    {"{\"name\":null}", "name: missing", "name"},
    {"{\"name\":\"abcdef\"}", "name: 6 bytes, at most 5 are allowed", "name"},
    {"{\"name\":5}", "name: a whole number, not a text", "name"},
    {"{\"name\":\"a\",\"nam\":1}", "nam: there is no such field", "nam"},
    {"{\"name\":\"a\",\"kind\":\"on\"}", "kind: \"on\" is not one of one|two", "kind"},
    {"{\"name\":\"a\",\"kind\":\"\"}", "kind: \"\" is not one of one|two", "kind"},
    {"{\"name\":\"a\",\"n\":0}", "n: 0 is not 1 to 10", "n"},
    {"{\"name\":\"a\",\"n\":11}", "n: 11 is not 1 to 10", "n"},
    {"{\"name\":\"a\",\"n\":1.5}", "n: a number, not a whole number", "n"},
    {"{\"name\":\"a\",\"share\":1.5}", "share: 1.5 is not 0 to 1", "share"},
    {"{\"name\":\"a\",\"yes\":1}", "yes: a whole number, not true or false", "yes"},
    {"{\"name\":\"a\",\"ids\":[1,2,3]}", "ids: 3 of them, at most 2 are allowed", "ids"},
    {"{\"name\":\"a\",\"ids\":[true]}", "ids: true or false, not a text or a whole number", "ids"},
    {"{\"name\":\"a\",\"ids\":\"b\"}", "ids: a text, not an array", "ids"},
    {"{\"name\":\"a\",\"parts\":[{\"id\":1},{\"ts\":1}]}", "parts[1].id: missing", "parts"},
    {"{\"name\":\"a\",\"parts\":[{\"id\":1,\"x\":1}]}", "parts[0].x: there is no such field", "parts"},
    {"{\"name\":\"a\",\"parts\":[1]}", "parts[0]: a whole number, not an object", "parts"},
    {"{\"name\":\"a\",\"own\":1}", "own: a whole number, not an object", "own"},
    {"[]", "an array, not an object", ""},
};

static void test_shapes(void **state)
{
    hd_arena *arena = hd_arena_new(0);
    hd_json_reader *reader;

    (void)state;
    assert_int_equal(hd_json_reader_new(&reader), HEED_OK);
    for (size_t i = 0; i < sizeof shape_rows / sizeof *shape_rows; i++) {
        const struct shape_row *row = &shape_rows[i];
        struct whole whole = {0};
        const char *field = "";
        hd_json *root;
        assert_int_equal(hd_json_read(reader, row->text, strlen(row->text), &root), HEED_OK);
        heed_status status = hd_shape_read(&whole_shape, root, arena, &whole, &field);
        if ((status == HEED_OK) != (row->refusal == NULL))
            fail_msg("%s: %s", row->text, heed_error_message());
        if (status != HEED_OK) {
            assert_string_equal(heed_error_message(), row->refusal);
            assert_string_equal(field, row->field);
        }
        if (i > 0)
            continue;
        assert_string_equal(((const char **)whole.ids.at)[0], "1");
        assert_string_equal(((const char **)whole.ids.at)[1], "b");
        const struct part *part = whole.parts.at;
        assert_string_equal(part->id, "7");
        assert_int_equal(part->ts, INT64_C(1767225600000));
        assert_true(whole.yes && whole.n == 10 && whole.share == 1);
    }
    hd_json_reader_free(reader);
    hd_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
