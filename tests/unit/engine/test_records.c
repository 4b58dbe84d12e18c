/* SPDX-License-Identifier: Apache-2.0
 *
 * Records out of the engine: one, a page, all; and one by one away. What is exported is what went in. */
#include "world.h"
#include "base/limits.h"
#include "engine/keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char event_line[] =
    "{\"id\":\"e1\",\"ts\":\"2026-11-20T10:40:54.123Z\",\"user\":\"ann\",\"item\":\"i1\","
    "\"kind\":\"click\",\"dwell_ms\":1500,\"value\":0.1,\"decision\":\"d1\",\"position\":0,"
    "\"context\":{\"page\":\"home\"},\"ext\":{\"a\":[1,2]}}";
static const char item_line[] =
    "{\"id\":\"i1\",\"title\":\"A \\\"title\\\"\",\"text\":\"Some\\ntext\",\"tags\":[\"x\",\"y z\"],"
    "\"author\":\"bo\",\"url\":\"https://example.org/1\",\"created\":\"1927-01-10T00:00:00Z\","
    "\"expires\":\"2026-11-20T00:00:00Z\",\"hidden\":true,"
    "\"features\":{\"audio\":[0.1],\"image\":[0.5,-1,2]}}";

static void assert_reads(struct world *w, heed_record what, const char *id, const char *want)
{
    heed_text *text = NULL;

    assert_status(heed_engine_read(w->engine, what, id, &text), HEED_OK);
    assert_string_equal(text->text, want);
    assert_int_equal(text->bytes, strlen(want));
    heed_text_free(text);
}

/* Users come in through the store: taking them in is another file's. */
static void put_user(struct world *w, const char *id, const char *attributes, unsigned consent,
                     struct hd_mark_row *marks, int64_t count)
{
    hd_store *store;
    int32_t user;
    bool changed;

    assert_status(hd_store_open(w->data, NULL, &store), HEED_OK);
    assert_status(hd_store_begin(store), HEED_OK);
    assert_status(hd_store_intern_user(store, id, strlen(id), &user, NULL), HEED_OK);
    assert_status(
        hd_store_put_user(store, user, &(struct hd_user_row){attributes, consent}, &changed),
        HEED_OK);
    assert_status(hd_store_put_marks(store, user, marks, count, &changed), HEED_OK);
    assert_status(hd_store_commit(store), HEED_OK);
    hd_store_close(store);
}

static void test_read(void **state)
{
    struct world *w = *state;
    struct hd_mark_row marks[] = {{"block", "item", "i1"}, {"block", "tag", "war"},
                                  {"block", "item", "i0"}, {"follow", "author", "bo"}};
    heed_text *text = NULL;
    char line[512];

    world_import(w, HEED_IMPORT_EVENTS, (snprintf(line, sizeof line, "%s\n", event_line), line));
    world_import(w, HEED_IMPORT_ITEMS, (snprintf(line, sizeof line, "%s\n", item_line), line));
    put_user(w, "bob", "{\"age\":7}", 6, marks, 4);
    assert_reads(w, HEED_RECORD_EVENT, "e1", event_line);
    assert_reads(w, HEED_RECORD_ITEM, "i1", item_line);
    assert_reads(w, HEED_RECORD_USER, "ann",
                 "{\"id\":\"ann\",\"consent\":{\"learn\":true,\"personalise\":true,"
                 "\"sell\":false}}");
    assert_reads(w, HEED_RECORD_USER, "bob",
                 "{\"id\":\"bob\",\"attributes\":{\"age\":7},\"consent\":{\"learn\":false,"
                 "\"personalise\":true,\"sell\":true},\"block\":{\"items\":[\"i0\",\"i1\"],"
                 "\"tags\":[\"war\"]},\"follow\":{\"authors\":[\"bo\"]}}");
    for (int what = 0; what < HEED_RECORDS; what++) {
        assert_status(heed_engine_read(w->engine, (heed_record)what, "nobody", &text),
                      HEED_E_NOTFOUND);
        assert_says("there is no \"nobody\"");
        assert_status(heed_engine_read(w->engine, (heed_record)what, NULL, &text), HEED_E_ARG);
    }
    assert_status(heed_engine_read(w->engine, HEED_RECORDS, "x", &text), HEED_E_ARG);
    heed_text_free(NULL);
}

/* ---- lists */

struct page {
    heed_text *text;
    hd_json_reader *reader;
    hd_json *root;
};

static void page_open(struct page *p, struct world *w, heed_record what, const heed_list_opts *opts)
{
    assert_status(heed_engine_list(w->engine, what, opts, &p->text), HEED_OK);
    assert_status(hd_json_reader_new(&p->reader), HEED_OK);
    assert_status(hd_json_read(p->reader, p->text->text, p->text->bytes, &p->root), HEED_OK);
}

static void page_close(struct page *p)
{
    hd_json_reader_free(p->reader);
    heed_text_free(p->text);
}

/* All pages of n one after another: how many records there were, and that none came twice. */
static int walk(struct world *w, heed_record what, heed_list_opts opts)
{
    static const char *const plural[] = {"events", "items", "users"};
    char cursor[64] = "", last[256] = "";
    int count = 0;

    for (;;) {
        struct page p;
        page_open(&p, w, what, &opts);
        const hd_json *list = hd_json_get(p.root, plural[what]);
        size_t n = hd_json_length(list);
        for (size_t i = 0; i < n; i++) {
            const char *one = hd_json_compact(hd_json_at(list, i));
            assert_string_not_equal(one, last);
            snprintf(last, sizeof last, "%s", one);
        }
        count += (int)n;
        bool end = hd_json_kind(hd_json_get(p.root, "cursor")) == HD_JSON_NULL;
        snprintf(cursor, sizeof cursor, "%s", hd_json_text(hd_json_get(p.root, "cursor"), NULL));
        page_close(&p);
        if (end)
            return count;
        if (opts.user || (!opts.item && !opts.kind))
            assert_int_equal(n, opts.n ? opts.n : HD_LIST_DEFAULT);
        opts.cursor = cursor;
    }
}

static void test_pages(void **state)
{
    struct world *w = *state;
    heed_text *text = NULL;

    assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){0}), 0);
    world_fill(w);
    for (int n = 1; n <= WORLD_EVENTS; n = n * 3 + (n == 9)) {
        assert_int_equal(walk(w, HEED_RECORD_USER, (heed_list_opts){.n = n}), WORLD_USERS);
        assert_int_equal(walk(w, HEED_RECORD_ITEM, (heed_list_opts){.n = n}), WORLD_ITEMS);
        assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){.n = n}), WORLD_EVENTS);
    }
    assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){.n = WORLD_EVENTS}), WORLD_EVENTS);
    assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){.user = "r3", .n = 5}), 12);
    assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){.kind = "click"}), 0);
    assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){.kind = "view", .user = "r39"}), 1);
    int of_item = 0;
    for (int u = 0; u < WORLD_USERS; u++)
        for (int e = 0; e < (u == WORLD_USERS - 1 ? 1 : 12); e++)
            of_item += (u * 3 + e * (1 + u % 2)) % WORLD_ITEMS == 4;
    assert_int_equal(walk(w, HEED_RECORD_EVENT, (heed_list_opts){.item = "i4", .n = 2}), of_item);

    heed_list_opts most = {.n = HD_LIST_MAX}, over = {.n = HD_LIST_MAX + 1};
    assert_status(heed_engine_list(w->engine, HEED_RECORD_EVENT, &most, &text), HEED_OK);
    heed_text_free(text);
    assert_status(heed_engine_list(w->engine, HEED_RECORD_EVENT, &over, &text), HEED_E_ARG);
    assert_says("n: 1001 is not 1 to 1000");
}

/* What is rare is looked for a part of the store at a time: pages without any, and none is missed. */
static void test_rare(void **state)
{
    struct world *w = *state;
    heed_ingest piece = {.what = HEED_RECORD_EVENT};
    size_t room = (size_t)(HD_LIST_LOOK_MAX + 2) * 64;
    char *text = test_malloc(room);
    heed_list_opts rare = {.item = "rare"}, of_kind = {.kind = "click"};
    struct page p;

    for (int e = 0; e < HD_LIST_LOOK_MAX + 2; e++) { /* one item at each end, at the limit and past it */
        bool special = e == 0 || e >= HD_LIST_LOOK_MAX;
        piece.bytes += (size_t)snprintf(
            text + piece.bytes, room - piece.bytes,
            "{\"user\":\"%d\",\"item\":\"%s\",\"kind\":\"%s\",\"ts\":%d}\n", e / 1000,
            special ? "rare" : "usual", special ? "click" : "view", 1000000 + e);
    }
    piece.text = text;
    assert_status(heed_engine_ingest(w->engine, &piece, 1), HEED_OK);
    assert_int_equal(piece.accepted, HD_LIST_LOOK_MAX + 2);
    test_free(text);
    assert_int_equal(walk(w, HEED_RECORD_EVENT, rare), 3);
    assert_int_equal(walk(w, HEED_RECORD_EVENT, of_kind), 3);
    page_open(&p, w, HEED_RECORD_EVENT, &rare);
    assert_int_equal(hd_json_length(hd_json_get(p.root, "events")), 2);
    assert_int_equal(hd_json_kind(hd_json_get(p.root, "cursor")), HD_JSON_TEXT);
    page_close(&p);
}

static void test_list_refusals(void **state)
{
    struct world *w = *state;
    char item[HD_CURSOR_BYTES], event[HD_CURSOR_BYTES];
    struct hd_event_key key = {.user = 1, .ts = 5, .seq = 2};
    heed_text *text = NULL;

    world_fill(w);
    hd_cursor_write(HEED_RECORD_ITEM, 3, NULL, item);
    hd_cursor_write(HEED_RECORD_EVENT, 0, &key, event);
    const struct {
        const char *words;
        heed_record what;
        heed_list_opts opts;
        heed_status want;
    } rows[] = {
        {"is none of this list", HEED_RECORD_ITEM, {.cursor = ""}, HEED_E_ARG},
        {"is none of this list", HEED_RECORD_ITEM, {.cursor = "AAAAAAAAAAAA"}, HEED_E_ARG},
        {"is none of this list", HEED_RECORD_ITEM, {.cursor = "aQAAAAAAAAAB!"}, HEED_E_ARG},
        {"is none of this list", HEED_RECORD_USER, {.cursor = item}, HEED_E_ARG},
        {"is none of this list", HEED_RECORD_ITEM, {.cursor = event}, HEED_E_ARG},
        {"is none of this list", HEED_RECORD_EVENT, {.cursor = item}, HEED_E_ARG},
        {"another user's", HEED_RECORD_EVENT, {.cursor = event, .user = "r3"}, HEED_E_ARG},
        {"there is no \"nobody\"", HEED_RECORD_EVENT, {.user = "nobody"}, HEED_E_NOTFOUND},
        {"there is no \"nothing\"", HEED_RECORD_EVENT, {.item = "nothing"}, HEED_E_NOTFOUND},
        {"kind: there is no", HEED_RECORD_EVENT, {.kind = "stare"}, HEED_E_ARG},
        {"are for events", HEED_RECORD_ITEM, {.user = "r3"}, HEED_E_ARG},
        {"n: -1", HEED_RECORD_ITEM, {.n = -1}, HEED_E_ARG},
        {"reserved", HEED_RECORD_ITEM, {.reserved = {1}}, HEED_E_ARG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_status(heed_engine_list(w->engine, rows[i].what, &rows[i].opts, &text),
                      rows[i].want);
        assert_says(rows[i].words);
    }
}

/* Every cursor reads back; a changed digit is refused or another place, never a crash. */
static void test_cursors(void **state)
{
    static const int64_t edge[] = {0, 1, 255, 256, 1700000000000, INT64_MAX};
    char text[HD_CURSOR_BYTES];
    struct hd_event_key back;
    int32_t number;

    (void)state;
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++) {
        struct hd_event_key key = {.user = (int32_t)(edge[i] & INT32_MAX),
                                   .ts = edge[i],
                                   .seq = edge[(i + 2) % 6]};
        hd_cursor_write(HEED_RECORD_EVENT, 0, &key, text);
        assert_int_equal(strlen(text), 34);
        assert_status(hd_cursor_read(HEED_RECORD_EVENT, text, &number, &back), HEED_OK);
        assert_true(back.user == key.user && back.ts == key.ts && back.seq == key.seq);
        hd_cursor_write(HEED_RECORD_USER, key.user, NULL, text);
        assert_int_equal(strlen(text), 12);
        assert_status(hd_cursor_read(HEED_RECORD_USER, text, &number, &back), HEED_OK);
        assert_int_equal(number, key.user);
        for (size_t at = 0; at < 12; at++)
            for (int c = 1; c < 256; c++) {
                char other[HD_CURSOR_BYTES];
                strcpy(other, text);
                other[at] = (char)c;
                heed_status status = hd_cursor_read(HEED_RECORD_USER, other, &number, &back);
                assert_true(status == HEED_E_ARG || (status == HEED_OK && number >= 0));
            }
    }
}

/* ---- exports */

struct kept {
    char *text;
    size_t bytes, lines, stop;
};

static bool keep(void *context, const char *text, size_t bytes)
{
    struct kept *k = context;

    k->text = realloc(k->text, k->bytes + bytes + 1);
    assert_non_null(k->text);
    memcpy(k->text + k->bytes, text, bytes);
    k->bytes += bytes;
    k->text[k->bytes] = 0;
    assert_int_equal(text[bytes - 1], '\n');
    return ++k->lines != k->stop;
}

static struct kept export_all(struct world *w, heed_record what)
{
    struct kept k = {0};

    assert_status(heed_engine_export(w->engine, what, &(heed_sink){keep, &k}), HEED_OK);
    return k;
}

/* Out of one store, into another, and out again: the same to the byte, the order of ties too. */
static void test_round_trip(void **state)
{
    struct world *w = *state, *other = NULL;
    char line[1024];

    world_fill(w);
    snprintf(line, sizeof line,
             "%s\n{\"id\":\"z\",\"ts\":5,\"user\":\"tie\",\"item\":\"i9\",\"kind\":\"view\"}\n"
             "{\"ts\":5,\"user\":\"tie\",\"item\":\"i2\",\"kind\":\"view\"}\n"
             "{\"ts\":null,\"user\":\"tie\",\"item\":\"i2\",\"kind\":\"view\"}\n"
             "{\"ts\":null,\"user\":\"tie\",\"item\":\"i1\",\"kind\":\"view\"}\n"
             "{\"id\":\"a\",\"ts\":5,\"user\":\"tie\",\"item\":\"i9\",\"kind\":\"view\"}\n",
             event_line);
    world_import(w, HEED_IMPORT_EVENTS, line);
    world_import(w, HEED_IMPORT_ITEMS, (snprintf(line, sizeof line, "%s\n", item_line), line));
    struct kept events = export_all(w, HEED_RECORD_EVENT), items = export_all(w, HEED_RECORD_ITEM);
    struct kept users = export_all(w, HEED_RECORD_USER);
    assert_int_equal(events.lines, WORLD_EVENTS + 6);
    assert_int_equal(items.lines, WORLD_ITEMS);
    assert_int_equal(users.lines, WORLD_USERS + 2);
    assert_non_null(strstr(events.text, event_line));
    assert_non_null(strstr(items.text, item_line));

    assert_int_equal(world_setup((void **)&other), 0);
    world_import(other, HEED_IMPORT_USERS, users.text);
    world_import(other, HEED_IMPORT_ITEMS, items.text);
    world_import(other, HEED_IMPORT_EVENTS, events.text);
    struct kept events2 = export_all(other, HEED_RECORD_EVENT);
    struct kept items2 = export_all(other, HEED_RECORD_ITEM);
    struct kept users2 = export_all(other, HEED_RECORD_USER);
    assert_string_equal(events2.text, events.text);
    assert_string_equal(items2.text, items.text);
    assert_string_equal(users2.text, users.text);
    world_teardown((void **)&other);
    free(events.text);
    free(items.text);
    free(users.text);
    free(events2.text);
    free(items2.text);
    free(users2.text);
}

static void test_sink_stops(void **state)
{
    struct world *w = *state;
    struct kept k = {.stop = 3};

    world_fill(w);
    assert_status(heed_engine_export(w->engine, HEED_RECORD_EVENT, &(heed_sink){keep, &k}),
                  HEED_E_CANCELLED);
    assert_int_equal(k.lines, 3);
    free(k.text);
    assert_status(heed_engine_export(w->engine, HEED_RECORD_EVENT, &(heed_sink){0}), HEED_E_ARG);
    assert_status(heed_engine_export(w->engine, HEED_RECORDS, &(heed_sink){keep, &k}), HEED_E_ARG);
}

/* ---- away */

static void test_remove(void **state)
{
    struct world *w = *state;
    heed_engine_counts before, after;
    heed_text *text;
    char line[512];

    world_fill(w);
    world_import(w, HEED_IMPORT_EVENTS, (snprintf(line, sizeof line, "%s\n", event_line), line));
    world_import(w, HEED_IMPORT_ITEMS, (snprintf(line, sizeof line, "%s\n", item_line), line));
    assert_status(heed_engine_count(w->engine, &before), HEED_OK);
    assert_status(heed_engine_remove(w->engine, HEED_RECORD_EVENT, "e1"), HEED_OK);
    assert_status(heed_engine_remove(w->engine, HEED_RECORD_EVENT, "e1"), HEED_E_NOTFOUND);
    assert_status(heed_engine_read(w->engine, HEED_RECORD_EVENT, "e1", &text), HEED_E_NOTFOUND);
    assert_status(heed_engine_remove(w->engine, HEED_RECORD_ITEM, "i1"), HEED_OK);
    assert_reads(w, HEED_RECORD_ITEM, "i1", "{\"id\":\"i1\",\"hidden\":true}");
    assert_status(heed_engine_count(w->engine, &after), HEED_OK);
    assert_int_equal(after.events, before.events - 1);
    assert_int_equal(after.items, before.items);
    assert_status(heed_engine_remove(w->engine, HEED_RECORD_ITEM, "nothing"), HEED_E_NOTFOUND);
    assert_status(heed_engine_remove(w->engine, HEED_RECORD_USER, "r1"), HEED_E_ARG);
    assert_says("erased, not removed");
    /* What is gone may come again. */
    world_import(w, HEED_IMPORT_EVENTS, (snprintf(line, sizeof line, "%s\n", event_line), line));
    assert_reads(w, HEED_RECORD_EVENT, "e1", event_line);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read),       TEST(test_pages),      TEST(test_list_refusals), TEST(test_rare),
        TEST(test_round_trip), TEST(test_sink_stops), TEST(test_remove),
        cmocka_unit_test(test_cursors),
    };
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
