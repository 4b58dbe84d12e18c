/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines that describe users. */
#include "acquire/user.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

static heed_status parse(const char *line, struct hd_user *user)
{
    return hd_parse_user(reader, line, strlen(line), arena, user);
}

static const struct row {
    const char *name, *line, *refusal;
    unsigned given, consent;
} rows[] = {
    {"an id alone", "{\"id\":\"a\"}", NULL, 0, 3},
    {"a number for an id", "{\"id\":7}", NULL, 0, 3},
    {"one consent", "{\"id\":\"a\",\"consent\":{\"sell\":true}}", NULL, 4, 7},
    {"a consent withdrawn", "{\"id\":\"a\",\"consent\":{\"learn\":false}}", NULL, 1, 2},
    {"a consent that is null is the ordinary one",
     "{\"id\":\"a\",\"consent\":{\"learn\":null,\"sell\":null}}", NULL, 5, 3},
    {"null takes back all consents", "{\"id\":\"a\",\"consent\":null}", NULL, 7, 3},
    {"attributes", "{\"id\":\"a\",\"attributes\":{\"x\":1}}", NULL, 8, 3},
    {"an empty list", "{\"id\":\"a\",\"block\":{\"tags\":[]}}", NULL, 64, 3},
    {"null empties both lists", "{\"id\":\"a\",\"follow\":null}", NULL, 128 | 256, 3},
    {"no id", "{\"attributes\":{}}", "id: missing", 0, 0},
    {"an id that is null", "{\"id\":null}", "id: missing", 0, 0},
    {"an id with a control character", "{\"id\":\"\\u0001erased:1\"}", "id: a control", 0, 0},
    {"an unknown field", "{\"id\":\"a\",\"age\":7}", "age: a user has no such field", 0, 0},
    {"an unknown field that is null", "{\"id\":\"a\",\"age\":null}", "age: a user has no", 0, 0},
    {"attributes that are none", "{\"id\":\"a\",\"attributes\":[]}",
     "attributes: an array, not an object", 0, 0},
    {"consent in a word", "{\"id\":\"a\",\"consent\":\"all\"}", "consent: a text, not an object",
     0, 0},
    {"an unknown consent", "{\"id\":\"a\",\"consent\":{\"share\":true}}",
     "consent.share: there is no such consent", 0, 0},
    {"a consent that is a number", "{\"id\":\"a\",\"consent\":{\"sell\":1}}",
     "consent.sell: a whole number, not true or false", 0, 0},
    {"a list without its name", "{\"id\":\"a\",\"block\":[\"x\"]}",
     "block: an array, not an object", 0, 0},
    {"items cannot be followed", "{\"id\":\"a\",\"follow\":{\"items\":[]}}",
     "follow.items: there is no such list", 0, 0},
    {"a list that is a text", "{\"id\":\"a\",\"block\":{\"tags\":\"x\"}}",
     "block.tags: a text, not an array", 0, 0},
    {"a name that is none", "{\"id\":\"a\",\"follow\":{\"tags\":[\"x\",{}]}}",
     "follow.tags: an object, not a text", 0, 0},
    {"an empty name", "{\"id\":\"a\",\"follow\":{\"authors\":[\"\"]}}", "follow.authors: empty", 0,
     0},
    {"not an object", "[]", "an array, not an object", 0, 0},
    {"not JSON", "{", "not JSON", 0, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_user user;
        print_message("# %s\n", r->name);
        heed_status status = parse(r->line, &user);
        if (!r->refusal) {
            if (status != HEED_OK)
                fail_msg("said: %s", heed_error_message());
            assert_int_equal(user.given, r->given);
            assert_int_equal(user.consent, r->consent);
            continue;
        }
        assert_int_equal(status, HEED_E_FORMAT);
        if (!strstr(heed_error_message(), r->refusal))
            fail_msg("said: %s", heed_error_message());
    }
}

static void test_every_field(void **state)
{
    struct hd_user u;
    static const struct {
        const char *mark, *what, *name;
    } want[] = {{"block", "item", "i1"},  {"block", "item", "7"},    {"block", "author", "ann"},
                {"block", "tag", "war"},  {"follow", "author", "bo"}, {"follow", "tag", "chess"}};

    (void)state;
    assert_int_equal(
        parse("{\"id\":\"u1\",\"attributes\":{ \"a\" : [1, 2] },"
              "\"consent\":{\"learn\":false,\"personalise\":true,\"sell\":true},"
              "\"block\":{\"items\":[\"i1\",7],\"authors\":[\"ann\"],\"tags\":[\"war\"]},"
              "\"follow\":{\"authors\":[\"bo\"],\"tags\":[\"chess\"]}}",
              &u),
        HEED_OK);
    assert_int_equal(u.id.bytes, 2);
    assert_string_equal(u.attributes, "{\"a\":[1,2]}");
    assert_int_equal(u.consent, HD_CONSENT_PERSONALISE | HD_CONSENT_SELL);
    assert_int_equal(u.given, 511);
    assert_int_equal(u.marks, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(hd_user_mark_word(u.mark[i].list), want[i].mark);
        assert_string_equal(hd_user_what_word(u.mark[i].list), want[i].what);
        assert_string_equal(u.mark[i].name, want[i].name);
    }
    assert_null(hd_user_mark_word(1));
}

static void test_limits(void **state)
{
    static char text[HD_CONTEXT_BYTES_MAX + HD_MARKS_MAX * 4 + 100];
    struct hd_user u;

    (void)state;
    for (int over = 0; over < 2; over++) {
        size_t at = (size_t)sprintf(text, "{\"id\":\"a\",\"block\":{\"tags\":[");
        for (int i = 0; i < HD_MARKS_MAX - 1 + over; i++)
            at += (size_t)sprintf(text + at, "%s1", i ? "," : "");
        sprintf(text + at, "]},\"follow\":{\"tags\":[1]}}");
        assert_int_equal(parse(text, &u), over ? HEED_E_RANGE : HEED_OK);
        /* {"x":"..."} has 8 bytes of its own. */
        sprintf(text, "{\"id\":\"a\",\"attributes\":{\"x\":\"%0*d\"}}", HD_CONTEXT_BYTES_MAX - 8 + over,
                1);
        assert_int_equal(parse(text, &u), over ? HEED_E_RANGE : HEED_OK);
        sprintf(text, "{\"id\":\"%0*d\"}", HD_ID_BYTES_MAX + over, 1);
        assert_int_equal(parse(text, &u), over ? HEED_E_RANGE : HEED_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("user", tests, set_up, tear_down);
}
