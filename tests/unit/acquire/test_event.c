/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of events: what is taken, and in which words what is not is refused. */
#include "acquire/event.h"
#include "base/limits.h"

#include <math.h>
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

#define BASE "\"user\": \"u\", \"item\": \"i\", \"kind\": \"view\""

/* refusal NULL: the line is taken. */
static const struct row {
    const char *name, *line, *refusal;
} rows[] = {
    {"the least there is", "{" BASE "}", NULL},
    {"a whole number for an id", "{\"user\": 42, \"item\": 7, \"kind\": \"click\"}", NULL},
    {"null is not given", "{" BASE ", \"ts\": null, \"id\": null}", NULL},
    {"an id at the limit is tested below", "{" BASE ", \"id\": \"e1\"}", NULL},
    {"a time of day", "{" BASE ", \"ts\": \"2026-11-20T10:40:54Z\"}", NULL},
    {"milliseconds", "{" BASE ", \"ts\": 1795171254000}", NULL},
    {"the last millisecond", "{" BASE ", \"ts\": 253402300799999}", NULL},
    {"a dwell with a fraction", "{" BASE ", \"dwell_ms\": 12.5}", NULL},
    {"a day of dwell", "{" BASE ", \"dwell_ms\": 86400000}", NULL},
    {"anything under context", "{" BASE ", \"context\": {\"colour\": [1, {\"x\": null}]}}", NULL},
    {"anything under ext", "{" BASE ", \"ext\": {\"ours\": true}}", NULL},
    {"an unknown field", "{" BASE ", \"colour\": 1}", "colour: an event has no such field"},
    {"an unknown kind", "{\"user\":\"u\",\"item\":\"i\",\"kind\":\"clik\"}",
     "kind: there is no \"clik\""},
    {"a kind in capitals", "{\"user\":\"u\",\"item\":\"i\",\"kind\":\"View\"}",
     "kind: there is no"},
    {"a kind that is a number", "{\"user\":\"u\",\"item\":\"i\",\"kind\":1}",
     "kind: a whole number"},
    {"no user", "{\"item\":\"i\",\"kind\":\"view\"}", "user: missing"},
    {"no item", "{\"user\":\"u\",\"kind\":\"view\"}", "item: missing"},
    {"no kind", "{\"user\":\"u\",\"item\":\"i\"}", "kind: missing"},
    {"a null user", "{\"user\":null,\"item\":\"i\",\"kind\":\"view\"}", "user: missing"},
    {"an empty user", "{\"user\":\"\",\"item\":\"i\",\"kind\":\"view\"}", "user: empty"},
    {"a user in pieces", "{\"user\":[1],\"item\":\"i\",\"kind\":\"view\"}", "user: an array"},
    {"a fraction for an id", "{\"user\":1.5,\"item\":\"i\",\"kind\":\"view\"}", "user: a number"},
    {"a line feed in an id", "{\"user\":\"a\\nb\",\"item\":\"i\",\"kind\":\"view\"}",
     "user: a control character (0x0A)"},
    {"a NUL in an id", "{\"user\":\"a\\u0000\",\"item\":\"i\",\"kind\":\"view\"}",
     "user: a control character (0x00)"},
    {"a time that is none", "{" BASE ", \"ts\": \"yesterday\"}", "ts: \"yesterday\": not a date"},
    {"a day that is none", "{" BASE ", \"ts\": \"2026-02-30T00:00:00Z\"}", "no day 2026-02-30"},
    {"a time before 1970", "{" BASE ", \"ts\": -5}", "ts: -5 ms is not after 1970"},
    {"time zero", "{" BASE ", \"ts\": 0}", "ts: 0 ms is not after 1970"},
    {"a time past the year 9999", "{" BASE ", \"ts\": 253402300800000}",
     "ts: 253402300800000 is not"},
    {"a time past 64 bits", "{" BASE ", \"ts\": 99999999999999999999}",
     "ts: a number, not RFC 3339"},
    {"a fraction of a millisecond", "{" BASE ", \"ts\": 1795171254000.5}",
     "ts: a number, not RFC 3339"},
    {"a negative dwell", "{" BASE ", \"dwell_ms\": -1}", "dwell_ms: -1 is not 0 to 86400000"},
    {"more than a day of dwell", "{" BASE ", \"dwell_ms\": 86400001}", "dwell_ms: 86400001 is not"},
    {"a dwell in words", "{" BASE ", \"dwell_ms\": \"long\"}", "dwell_ms: a text, not a number"},
    {"a negative place", "{" BASE ", \"position\": -1}", "position: -1 is not 0 to 1000000"},
    {"a place past the last", "{" BASE ", \"position\": 1000001}", "position: 1000001 is not"},
    {"a context that is no object", "{" BASE ", \"context\": 1}",
     "context: a whole number, not an object"},
    {"not an object", "[1]", "an array, not an object"},
    {"not JSON", "user=1", "not JSON"},
    {"nothing", "", "not JSON"},
};

static void test_events(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_event e;
        print_message("# %s\n", r->name);
        heed_status status = hd_parse_event(reader, r->line, strlen(r->line), arena, &e);
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

/* The words that the server's tables show are the names, in their order. */
static void test_kind_words(void **state)
{
    const char *word = HD_EVENT_KIND_WORDS;

    (void)state;
    for (int kind = 0; kind < HD_EVENT_KINDS; kind++) {
        size_t bytes = strcspn(word, "|");
        assert_int_equal(hd_event_kind_find(word, bytes), kind);
        assert_int_equal(word[bytes] == 0, kind + 1 == HD_EVENT_KINDS);
        word += bytes + 1;
    }
}

/* A time that is said not to be known is told from one that was not spoken of. */
static void test_no_time(void **state)
{
    static const char said[] = "{\"ts\":null,\"user\":1,\"item\":2,\"kind\":\"view\"}",
                      unsaid[] = "{\"id\":null,\"user\":1,\"item\":2,\"kind\":\"view\"}";
    struct hd_event e;

    (void)state;
    assert_int_equal(hd_parse_event(reader, said, sizeof said - 1, arena, &e), HEED_OK);
    assert_true(e.ts == 0 && e.ts_null);
    assert_int_equal(hd_parse_event(reader, unsaid, sizeof unsaid - 1, arena, &e), HEED_OK);
    assert_true(e.ts == 0 && !e.ts_null);
}

static void test_every_field(void **state)
{
    static const char line[] =
        "{\"id\": \"e-1\", \"ts\": \"2026-11-20T10:40:54.5Z\", \"user\": \"ann\", \"item\": 17, "
        "\"kind\": \"convert\", \"dwell_ms\": 1500, \"value\": 9.99, \"decision\": \"d-3\", "
        "\"position\": 2, \"context\": {\"a\": 1}, \"ext\": {\"b\": [2]}}";
    struct hd_event e;

    (void)state;
    assert_int_equal(hd_parse_event(reader, line, sizeof line - 1, arena, &e), HEED_OK);
    assert_string_equal(e.id, "e-1");
    assert_true(e.ts == INT64_C(1795171254500));
    assert_int_equal(e.user.bytes, 3);
    assert_memory_equal(e.user.at, "ann", 3);
    assert_int_equal(e.item.bytes, 2);
    assert_memory_equal(e.item.at, "17", 2);
    assert_int_equal(e.kind, HD_EVENT_CONVERT);
    assert_int_equal(e.dwell_ms, 1500);
    assert_true(e.value == 9.99);
    assert_string_equal(e.decision, "d-3");
    assert_int_equal(e.position, 2);
    assert_string_equal(e.context, "{\"a\":1}");
    assert_string_equal(e.ext, "{\"b\":[2]}");

    assert_int_equal(hd_parse_event(reader, "{" BASE "}", strlen("{" BASE "}"), arena, &e),
                     HEED_OK);
    assert_true(e.ts == 0 && e.dwell_ms == -1 && isnan(e.value) && e.position == -1);
    assert_true(!e.id && !e.decision && !e.context && !e.ext);
}

static void test_kinds(void **state)
{
    (void)state;
    for (int kind = 0; kind < HD_EVENT_KINDS; kind++) {
        const char *name = hd_event_kind_name((enum hd_event_kind)kind);
        assert_int_equal(hd_event_kind_find(name, strlen(name)), kind);
    }
    assert_int_equal(hd_event_kind_find("viewed", 6), -1);
    assert_int_equal(hd_event_kind_find("vie", 3), -1);
    assert_string_equal(hd_event_kind_name(HD_EVENT_KINDS), "?");
}

/* An id and a context at their limits and one past. */
static void test_limits(void **state)
{
    static char line[HD_CONTEXT_BYTES_MAX + 4096];
    struct hd_event e;

    (void)state;
    for (int over = 0; over < 2; over++) {
        snprintf(line, sizeof line, "{\"user\": \"%0*d\", \"item\": \"i\", \"kind\": \"view\"}",
                 HD_ID_BYTES_MAX + over, 1);
        assert_int_equal(hd_parse_event(reader, line, strlen(line), arena, &e),
                         over ? HEED_E_RANGE : HEED_OK);
        /* {"k":"000...1"} is 8 bytes longer than its digits. */
        snprintf(line, sizeof line, "{" BASE ", \"context\": {\"k\":\"%0*d\"}}",
                 HD_CONTEXT_BYTES_MAX - 8 + over, 1);
        assert_int_equal(hd_parse_event(reader, line, strlen(line), arena, &e),
                         over ? HEED_E_RANGE : HEED_OK);
    }
}

static const struct interaction_row {
    const char *name, *line, *user, *item, *refusal;
} interaction_rows[] = {
    {"a blank", "1 2", "1", "2", NULL},
    {"a tab", "ann\tbook-7", "ann", "book-7", NULL},
    {"many blanks, some before and after", "  1 \t 2  ", "1", "2", NULL},
    {"UTF-8", "\xE5\xBC\xA0 \xE4\xB9\xA6", "\xE5\xBC\xA0", "\xE4\xB9\xA6", NULL},
    {"one field", "1", NULL, NULL, "1 field, not 2"},
    {"a comma", "1,2", NULL, NULL, "1 field, not 2: `user item` with blanks between them (are"},
    {"ratings", "1::2::3::4", NULL, NULL, "are these ratings"},
    {"three fields", "1 2 3", NULL, NULL, "3 fields, not 2"},
    {"a control character", "1 2\x01", NULL, NULL, "item: a control character (0x01)"},
};

static void test_interactions(void **state)
{
    (void)state;
    for (const struct interaction_row *r = interaction_rows;
         r < interaction_rows + sizeof interaction_rows / sizeof *interaction_rows; r++) {
        struct hd_event e;
        print_message("# %s\n", r->name);
        heed_status status = hd_parse_interaction(r->line, strlen(r->line), &e);
        assert_int_equal(status, r->refusal ? HEED_E_FORMAT : HEED_OK);
        if (r->refusal) {
            if (!strstr(heed_error_message(), r->refusal))
                fail_msg("said: %s", heed_error_message());
            continue;
        }
        assert_int_equal(e.user.bytes, strlen(r->user));
        assert_memory_equal(e.user.at, r->user, e.user.bytes);
        assert_int_equal(e.item.bytes, strlen(r->item));
        assert_memory_equal(e.item.at, r->item, e.item.bytes);
        assert_true(e.kind == HD_EVENT_VIEW && e.ts == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),       cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_kind_words),   cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_interactions),
    };
    return cmocka_run_group_tests_name("event", tests, set_up, tear_down);
}
