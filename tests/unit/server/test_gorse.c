/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's records and heed's: what becomes of each, in both directions, and what is refused. */
#include "server/gorse.h"
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

static hd_json_reader *reader, *second;
static hd_arena *arena;

static hd_json *json_of(hd_json_reader *of, const char *text)
{
    hd_json *root;

    if (hd_json_read(of, text, strlen(text), &root) != HEED_OK)
        fail_msg("%s: %s", text, heed_error_message());
    return root;
}

static void assert_written(struct hd_json_writer *w, const char *want)
{
    const char *text;

    assert_int_equal(hd_json_finish(w, &text, NULL), HEED_OK);
    assert_string_equal(text, want);
    hd_json_clear(w);
}

/* ---- time */

static const struct time_row {
    const char *json, *time; /* NULL: refused; "": none */
} time_rows[] = {
    {"\"2022-02-24T10:40:54Z\"", "2022-02-24T10:40:54Z"},
    {"\"2022-02-24T10:40:54.123456+08:00\"", "2022-02-24T02:40:54.123Z"},
    {"\"2022-02-24T10:40:54.5Z\"", "2022-02-24T10:40:54.500Z"},
    {"\"2022-02-24\"", "2022-02-24T00:00:00Z"},
    {"\"2022-2-4\"", "2022-02-04T00:00:00Z"},
    {"\"2022/2/24\"", "2022-02-24T00:00:00Z"},
    {"\"20220224\"", "2022-02-24T00:00:00Z"},
    {"\"2/24/2022\"", "2022-02-24T00:00:00Z"},
    {"\"2022-02-24 10:40:54\"", "2022-02-24T10:40:54Z"},
    {"\"2022-02-24 10:40\"", "2022-02-24T10:40:00Z"},
    {"\"2022-02-24 10:40:54 UTC\"", "2022-02-24T10:40:54Z"},
    {"\"2022-02-24 10:40:54 +0000 UTC\"", "2022-02-24T10:40:54Z"},
    {"\"2022-02-24 10:40:54-0530\"", "2022-02-24T16:10:54Z"},
    {"\"1645699254\"", "2022-02-24T10:40:54Z"},
    {"\"1645699254000\"", "2022-02-24T10:40:54Z"},
    {"1645699254", "2022-02-24T10:40:54Z"},
    {"1645699254001", "2022-02-24T10:40:54.001Z"},
    {"0", ""},
    {"null", ""},
    {"\"\"", ""},
    {"\"0001-01-01T00:00:00Z\"", ""},
    {"\"yesterday\"", NULL},
    {"\"2022-13-01\"", NULL},
    {"\"2022-02-30\"", NULL},
    {"\"2022--2-01\"", NULL},
    {"\"2022-02-24 25:00\"", NULL},
    {"\"2022-02-24 10:40 noon\"", NULL},
    {"\"2022-02-24 10:40 +9900\"", NULL},
    {"\"2022-02-24 10:40:54.\"", NULL},
    {"-1", NULL},
    {"253402300800000", NULL},
    {"true", NULL},
    {"1.5", NULL},
};

static void test_time(void **state)
{
    (void)state;
    for (const struct time_row *r = time_rows; r < time_rows + COUNT(time_rows); r++) {
        char text[HD_TIME_TEXT_BYTES] = "";
        heed_time time = -1;
        heed_status status = hd_gorse_time("Timestamp", json_of(reader, r->json), &time);

        print_message("# %s\n", r->json);
        if (!r->time) {
            assert_true(status == HEED_E_FORMAT || status == HEED_E_RANGE);
            assert_int_equal(strncmp(heed_error_message(), "Timestamp: ", 11), 0);
            continue;
        }
        assert_int_equal(status, HEED_OK);
        if (time)
            hd_time_format(time, text);
        assert_string_equal(text, r->time);
    }
}

/* ---- feedback */

static void test_kinds(void **state)
{
    static const char *const pairs[][2] = {
        {"star", "like"},        {"Like", "like"},
        {"read", "view"},        {"view", "view"},
        {"click", "click"},      {"share", "share"},
        {"save", "save"},        {"favorite", "save"},
        {"purchase", "convert"}, {"buy", "convert"},
        {"dislike", "dislike"},  {"hide", "hide"},
        {"report", "report"},    {"impression", "impression"},
        {"convert", "convert"},  {"yodel", "view"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++)
        assert_string_equal(hd_gorse_kind(pairs[i][0]), pairs[i][1]);
}

static const struct feedback_row {
    const char *name, *in, *event, *out; /* event without its id */
} feedback_rows[] = {
    {"all of it",
     "{\"FeedbackType\":\"star\",\"UserId\":\"bob\",\"ItemId\":\"x:y\",\"Value\":2.5,"
     "\"Timestamp\":\"2022-02-24\",\"Labels\":{\"a\":[1]},\"Comment\":\"good\"}",
     "\"ts\":1645660800000,\"user\":\"bob\",\"item\":\"x:y\",\"kind\":\"like\",\"value\":2.5,"
     "\"ext\":{\"gorse\":{\"type\":\"star\",\"comment\":\"good\",\"labels\":{\"a\":[1]}}}}",
     "{\"FeedbackType\":\"star\",\"UserId\":\"bob\",\"ItemId\":\"x:y\",\"Value\":2.5,"
     "\"Timestamp\":\"2022-02-24T00:00:00Z\",\"Labels\":{\"a\":[1]},\"Comment\":\"good\"}"},
    {"as little as there can be",
     "{\"FeedbackType\":\"yodel\",\"UserId\":\"1\",\"ItemId\":2,\"Value\":0,\"Timestamp\":\"\"}",
     "\"user\":\"1\",\"item\":\"2\",\"kind\":\"view\",\"ext\":{\"gorse\":{\"type\":\"yodel\"}}}",
     "{\"FeedbackType\":\"yodel\",\"UserId\":\"1\",\"ItemId\":\"2\",\"Value\":0,"
     "\"Timestamp\":\"0001-01-01T00:00:00Z\",\"Labels\":null,\"Comment\":\"\"}"},
};

static void test_feedback(void **state)
{
    (void)state;
    for (const struct feedback_row *r = feedback_rows; r < feedback_rows + COUNT(feedback_rows);
         r++) {
        struct hd_gorse_feedback feedback;
        struct hd_json_writer w = {0}, out = {0};
        const char *text;
        char *event;

        print_message("# %s\n", r->name);
        assert_int_equal(hd_gorse_read_feedback(json_of(reader, r->in), arena, &feedback), HEED_OK);
        hd_gorse_put_event(&w, &feedback);
        assert_int_equal(hd_json_finish(&w, &text, NULL), HEED_OK);
        assert_int_equal(strncmp(text, "{\"id\":\"gorse:", 13), 0);
        assert_string_equal(strchr(text, ',') + 1, r->event);
        event = hd_arena_strdup(arena, text);
        assert_non_null(event);
        if (strstr(event, "\"ts\":1645660800000")) /* as the engine writes it */
            event = "{\"ts\":\"2022-02-24T00:00:00Z\",\"user\":\"bob\",\"item\":\"x:y\",\"kind\":"
                    "\"like\","
                    "\"value\":2.5,\"ext\":{\"gorse\":{\"type\":\"star\",\"comment\":\"good\","
                    "\"labels\":{\"a\":[1]}}}}";
        hd_gorse_put_feedback(&out, json_of(reader, event));
        assert_written(&out, r->out);
        hd_json_clear(&w);
    }
    struct hd_json_writer out = {0};
    hd_gorse_put_feedback(&out,
                          json_of(reader, "{\"user\":\"u\",\"item\":\"i\",\"kind\":\"share\"}"));
    assert_written(&out,
                   "{\"FeedbackType\":\"share\",\"UserId\":\"u\",\"ItemId\":\"i\",\"Value\":0,"
                   "\"Timestamp\":\"0001-01-01T00:00:00Z\",\"Labels\":null,\"Comment\":\"\"}");
}

/* The same three words are the same feedback, whatever else it says; nothing slips between them. */
static void test_id(void **state)
{
    const struct hd_gorse_feedback a = {.type = "a", .user = "b", .item = "c"},
                                   again = {.type = "a",
                                            .user = "b",
                                            .item = "c",
                                            .value = 3,
                                            .ts = 9},
                                   slipped = {.type = "ab", .user = "", .item = "c"},
                                   other = {.type = "a", .user = "c", .item = "b"};
    char id[4][HD_GORSE_ID_BYTES];

    (void)state;
    hd_gorse_id(&a, id[0]), hd_gorse_id(&again, id[1]);
    hd_gorse_id(&slipped, id[2]), hd_gorse_id(&other, id[3]);
    assert_int_equal(strlen(id[0]), 38);
    assert_string_equal(id[0], id[1]);
    assert_string_not_equal(id[0], id[2]);
    assert_string_not_equal(id[0], id[3]);
}

static const struct refuse_row {
    const char *json, *message;
} refuse_rows[] = {
    {"[]", "an array, not an object"},
    {"{}", "FeedbackType: missing"},
    {"{\"FeedbackType\":\"a\"}", "UserId: missing"},
    {"{\"FeedbackType\":\"a\",\"UserId\":\"b\"}", "ItemId: missing"},
    {"{\"FeedbackType\":\"a\",\"UserId\":\"\",\"ItemId\":\"c\"}", "UserId: empty"},
    {"{\"FeedbackType\":\"a\",\"UserId\":\"b\",\"ItemId\":\"c\",\"Value\":\"x\"}", "Value: "},
    {"{\"FeedbackType\":\"a\",\"UserId\":\"b\",\"ItemId\":\"c\",\"Timestamp\":\"x\"}",
     "Timestamp: "},
    {"{\"FeedbackType\":\"a\",\"UserId\":\"b\",\"ItemId\":\"c\",\"Comment\":7}", "Comment: "},
};

static void test_refuse(void **state)
{
    (void)state;
    for (const struct refuse_row *r = refuse_rows; r < refuse_rows + COUNT(refuse_rows); r++) {
        struct hd_gorse_feedback feedback;

        assert_int_equal(hd_gorse_read_feedback(json_of(reader, r->json), arena, &feedback),
                         HEED_E_FORMAT);
        if (strncmp(heed_error_message(), r->message, strlen(r->message)) != 0)
            fail_msg("%s: %s", r->json, heed_error_message());
    }
}

/* ---- items and users */

static const struct record_row {
    const char *name, *in, *old, *native; /* old NULL: a whole record */
} item_rows[] =
    {
        {"all of it",
         "{\"ItemId\":\"i1\",\"IsHidden\":true,\"Categories\":[\"a\",\"b\"],\"Timestamp\":\"2024-"
         "01-01T00:00:00Z\","
         "\"Labels\":{\"tags\":[\"x\",\"a\"],\"embedding\":[0.5,2]},\"Comment\":\"title\"}",
         NULL,
         "{\"id\":\"i1\",\"title\":\"title\",\"created\":1704067200000,\"hidden\":true,"
         "\"features\":{\"embedding\":[0.5,2]},\"tags\":[\"a\",\"b\",\"x\"]}"},
        {"nothing but its id says that there is nothing else", "{\"ItemId\":\"i1\"}", NULL,
         "{\"id\":\"i1\",\"title\":null,\"created\":null,\"hidden\":false,\"features\":{},\"tags\":"
         "[]}"},
        {"labels that are a list", "{\"ItemId\":\"i1\",\"Labels\":[\"x\",\"y\"]}", NULL,
         "{\"id\":\"i1\",\"title\":null,\"created\":null,\"hidden\":false,\"features\":{},\"tags\":"
         "[\"x\",\"y\"]}"},
        {"a vector alone, a text, a number, a map in a map",
         "{\"ItemId\":\"i1\",\"Labels\":{\"a\":{\"v\":[1,2],\"w\":\"word\"},\"n\":7}}", NULL,
         "{\"id\":\"i1\",\"title\":null,\"created\":null,\"hidden\":false,\"features\":{\"v\":[1,2]"
         "},\"tags\":[\"word\"]}"},
        {"a change of nothing, as the client sends it",
         "{\"Categories\":null,\"Comment\":null,\"IsHidden\":null,\"Labels\":null,\"Timestamp\":"
         "null}",
         "{\"id\":\"i1\",\"tags\":[\"a\"]}", "{\"id\":\"i1\"}"},
        {"a change of the title", "{\"Comment\":\"new\"}", "{\"id\":\"i1\",\"tags\":[\"a\"]}",
         "{\"id\":\"i1\",\"title\":\"new\"}"},
        {"new categories take the place of tags", "{\"Categories\":[\"b\"]}",
         "{\"id\":\"i1\",\"tags\":[\"a\"]}", "{\"id\":\"i1\",\"tags\":[\"b\"]}"},
        {"new labels come to those that are there", "{\"Labels\":[\"x\"]}",
         "{\"id\":\"i1\",\"tags\":[\"a\"]}",
         "{\"id\":\"i1\",\"features\":{},\"tags\":[\"a\",\"x\"]}"},
},
  user_rows[] = {
      {"all of it", "{\"UserId\":\"bob\",\"Labels\":{\"a\":\"b\"},\"Comment\":\"c\"}", NULL,
       "{\"id\":\"bob\",\"attributes\":{\"labels\":{\"a\":\"b\"},\"comment\":\"c\"}}"},
      {"labels that are a list", "{\"UserId\":\"bob\",\"Labels\":[\"a\"]}", NULL,
       "{\"id\":\"bob\",\"attributes\":{\"labels\":[\"a\"]}}"},
      {"nothing", "{\"UserId\":\"bob\",\"Labels\":null,\"Comment\":\"\"}", NULL,
       "{\"id\":\"bob\",\"attributes\":{}}"},
      {"a change of the comment keeps the labels", "{\"Comment\":\"d\"}",
       "{\"id\":\"bob\",\"attributes\":{\"labels\":[1],\"comment\":\"c\"}}",
       "{\"id\":\"bob\",\"attributes\":{\"labels\":[1],\"comment\":\"d\"}}"},
      {"a change of the labels keeps the comment", "{\"Labels\":[2]}",
       "{\"id\":\"bob\",\"attributes\":{\"labels\":[1],\"comment\":\"c\"}}",
       "{\"id\":\"bob\",\"attributes\":{\"labels\":[2],\"comment\":\"c\"}}"},
};

static void test_records(void **state)
{
    (void)state;
    for (int users = 0; users < 2; users++) {
        const struct record_row *rows = users ? user_rows : item_rows;
        for (size_t i = 0; i < (users ? COUNT(user_rows) : COUNT(item_rows)); i++) {
            struct hd_json_writer w = {0};
            const hd_json *json = json_of(reader, rows[i].in);
            const hd_json *old = rows[i].old ? json_of(second, rows[i].old) : NULL;

            print_message("# %s\n", rows[i].name);
            assert_int_equal(users ? hd_gorse_put_native_user(&w, json, old, arena)
                                   : hd_gorse_put_native_item(&w, json, old, arena),
                             HEED_OK);
            assert_written(&w, rows[i].native);
        }
    }
}

/* One tag more than fits is left out, and so is one that is none; the others stay. */
static void test_limits(void **state)
{
    char text[4096] = "{\"ItemId\":\"i\",\"Labels\":[\"\"", *at = text + strlen(text);
    struct hd_json_writer w = {0};
    const char *native;

    (void)state;
    for (int i = 0; i <= HD_TAGS_MAX; i++)
        at += sprintf(at, ",\"t%02d\"", i);
    strcpy(at, "]}");
    assert_int_equal(hd_gorse_put_native_item(&w, json_of(reader, text), NULL, arena), HEED_OK);
    assert_int_equal(hd_json_finish(&w, &native, NULL), HEED_OK);
    assert_int_equal(hd_json_length(hd_json_get(json_of(reader, native), "tags")), HD_TAGS_MAX);
    assert_non_null(strstr(native, "\"t63\""));
    assert_null(strstr(native, "\"t64\""));
    hd_json_clear(&w);
}

static void test_answers(void **state)
{
    static const struct {
        bool user;
        const char *native, *out;
    } rows[] = {
        {false,
         "{\"id\":\"i1\",\"title\":\"t\",\"tags\":[\"a\"],\"created\":\"2024-01-01T00:00:00Z\","
         "\"hidden\":true,"
         "\"features\":{\"embedding\":[0.5]}}",
         "{\"ItemId\":\"i1\",\"IsHidden\":true,\"Categories\":[\"a\"],\"Timestamp\":\"2024-01-"
         "01T00:00:00Z\","
         "\"Labels\":{\"tags\":[\"a\"],\"embedding\":[0.5]},\"Comment\":\"t\"}"},
        {false, "{\"id\":\"i1\"}",
         "{\"ItemId\":\"i1\",\"IsHidden\":false,\"Categories\":[],\"Timestamp\":\"0001-01-01T00:00:"
         "00Z\","
         "\"Labels\":null,\"Comment\":\"\"}"},
        {true,
         "{\"id\":\"u\",\"attributes\":{\"labels\":[\"a\"],\"comment\":\"c\"},\"consent\":{"
         "\"learn\":true}}",
         "{\"UserId\":\"u\",\"Labels\":[\"a\"],\"Comment\":\"c\"}"},
        {true, "{\"id\":\"u\",\"attributes\":{\"city\":\"Oslo\"}}",
         "{\"UserId\":\"u\",\"Labels\":{\"city\":\"Oslo\"},\"Comment\":\"\"}"},
        {true, "{\"id\":\"u\"}", "{\"UserId\":\"u\",\"Labels\":null,\"Comment\":\"\"}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct hd_json_writer w = {0};
        (rows[i].user ? hd_gorse_put_user : hd_gorse_put_item)(&w, json_of(reader, rows[i].native));
        assert_written(&w, rows[i].out);
    }
    assert_true(hd_gorse_item_is_removed(json_of(reader, "{\"id\":\"i\",\"hidden\":true}")));
    assert_false(hd_gorse_item_is_removed(json_of(reader, "{\"id\":\"i\"}")));
    assert_false(hd_gorse_item_is_removed(
        json_of(reader, "{\"id\":\"i\",\"hidden\":true,\"title\":\"t\"}")));
}

static void test_filter(void **state)
{
    const char *const text[] = {"a", "b\"\\"};
    const char *filter;

    (void)state;
    assert_int_equal(hd_gorse_filter(arena, "tag =", text, 0, &filter), HEED_OK);
    assert_null(filter);
    assert_int_equal(hd_gorse_filter(arena, "tag =", text, 2, &filter), HEED_OK);
    assert_string_equal(filter, "tag = \"a\" and tag = \"b\\\"\\\\\"");
}

static int set_up(void **state)
{
    (void)state;
    arena = hd_arena_new(0);
    return arena && hd_json_reader_new(&reader) == HEED_OK && hd_json_reader_new(&second) == HEED_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    hd_json_reader_free(reader), hd_json_reader_free(second), hd_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),     cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_feedback), cmocka_unit_test(test_id),
        cmocka_unit_test(test_refuse),   cmocka_unit_test(test_records),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_answers),
        cmocka_unit_test(test_filter),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
