/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup and restore give back what was there; the check finds what is broken, each by its name, and
 * nothing where nothing is; compacting gives pages back. */
#include "world.h"
#include "engine/keep.h"
#include "heed/operate.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *in(struct world *w, const char *name)
{
    static char path[4][160];
    static int next;
    char *out = path[next++ % 4];

    snprintf(out, sizeof path[0], "%s/%s", w->folder, name);
    return out;
}

struct sum {
    uint64_t hash;
    int64_t lines;
};

static bool add_line(void *context, const char *text, size_t bytes)
{
    struct sum *s = context;

    for (size_t i = 0; i < bytes; i++)
        s->hash = (s->hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    s->lines++;
    return true;
}

static struct sum sum_of(heed_engine *engine)
{
    struct sum s = {0};

    for (int what = 0; what < HEED_RECORDS; what++)
        assert_status(
            heed_engine_export(engine, (heed_record)what, &(heed_sink){add_line, &s}), HEED_OK);
    return s;
}

static void note(void *context, const char *what)
{
    char *at = (char *)context + strlen(context);

    snprintf(at, 300, "%s\n", what);
}

static heed_check_report checked(heed_engine *engine, char text[4096])
{
    heed_check_report report;

    *text = 0;
    assert_status(heed_engine_check(engine, note, text, &report), HEED_OK);
    return report;
}

static void test_there_and_back(void **state)
{
    struct world *w = *state;
    heed_engine *back = NULL;
    heed_engine_counts counts;
    char text[4096];

    world_fill(w);
    world_train(w);
    struct sum before = sum_of(w->engine);
    assert_status(heed_engine_backup(w->engine, in(w, "copy//"), NULL), HEED_OK);
    assert_int_equal(access(in(w, "copy.part"), F_OK), -1);
    assert_int_equal(access(in(w, "copy/decisions.ndjson"), F_OK), -1);
    assert_status(heed_engine_backup(w->engine, in(w, "copy"), NULL), HEED_E_EXISTS);
    assert_status(heed_restore(in(w, "copy"), w->data), HEED_E_EXISTS);
    assert_says("holds a store already");
    assert_status(heed_restore(in(w, "copy"), in(w, "back")), HEED_OK);
    assert_status(heed_restore(in(w, "copy"), in(w, "back")), HEED_E_EXISTS);
    assert_status(heed_engine_open(in(w, "back"), NULL, &back), HEED_OK);
    struct sum after = sum_of(back);
    assert_true(before.hash == after.hash && before.lines == after.lines);
    assert_status(heed_engine_count(back, &counts), HEED_OK);
    assert_true(counts.has_model);
    assert_int_equal(checked(back, text).findings, 0);
    /* It is a store like any other: written to, beside a second engine. */
    heed_engine *second = NULL;
    heed_import_report report;
    assert_status(heed_engine_open(in(w, "back"), NULL, &second), HEED_OK);
    assert_status(heed_engine_import(second, HEED_IMPORT_INTERACTIONS,
                                     world_file(w, "more.txt", "new i1\n"), NULL, &report),
                  HEED_OK);
    assert_int_equal(sum_of(back).lines, before.lines + 2);
    heed_engine_close(second);
    heed_engine_close(back);
}

static void test_refused(void **state)
{
    struct world *w = *state;
    char path[160];

    assert_status(heed_engine_backup(w->engine, "", NULL), HEED_E_ARG);
    assert_status(heed_engine_backup(w->engine, NULL, NULL), HEED_E_ARG);
    assert_status(heed_engine_backup(w->engine, "/nowhere/at/all", NULL), HEED_E_IO);
    assert_status(heed_restore("", w->data), HEED_E_ARG);
    assert_status(heed_restore(in(w, "none"), in(w, "back")), HEED_E_NOTFOUND);
    assert_int_equal(access(in(w, "back"), F_OK), -1); /* nothing half made */

    world_fill(w);
    assert_status(heed_restore(w->data, in(w, "back")), HEED_E_STATE);
    assert_says("is a data folder in use, not a backup");
    assert_status(heed_engine_backup(w->engine, in(w, "copy"), NULL), HEED_OK);
    snprintf(path, sizeof path, "%s", in(w, "copy/heed.db"));
    FILE *f = fopen(path, "r+b"); /* a page in the middle is overwritten */
    assert_true(f && fseek(f, 3 * 8192, SEEK_SET) == 0);
    for (int i = 0; i < 4000; i++)
        fputc('x', f);
    fclose(f);
    assert_status(heed_restore(in(w, "copy"), in(w, "back")), HEED_E_FORMAT);
    assert_int_equal(truncate(path, 100), 0);
    assert_status(heed_restore(in(w, "copy"), in(w, "back")), HEED_E_FORMAT);
    world_file(w, "copy/heed.db", "");
    assert_status(heed_restore(in(w, "copy"), in(w, "back")), HEED_E_FORMAT);
    assert_says("is not a store of heed");

    sqlite3 *db; /* from the future */
    assert_status(heed_engine_backup(w->engine, in(w, "copy2"), NULL), HEED_OK);
    assert_int_equal(sqlite3_open(in(w, "copy2/heed.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_status(heed_restore(in(w, "copy2"), in(w, "back")), HEED_E_VERSION);
    assert_int_equal(access(in(w, "back"), F_OK), -1);
}

static bool stop_at_once(void *context, const char *what, int64_t done, int64_t total)
{
    assert_string_equal(what, "pages copied");
    assert_true(done <= total);
    ++*(int *)context;
    return false;
}

static void test_cancelled(void **state)
{
    enum { LINES = 200000 };
    struct world *w = *state;
    char *text = malloc(LINES * 16);
    size_t used = 0;
    int calls = 0;

    for (int i = 0; i < LINES; i++) /* more than one step of pages */
        used += (size_t)sprintf(text + used, "u%d i%d\n", i, i % 50);
    world_import(w, HEED_IMPORT_INTERACTIONS, text);
    free(text);
    heed_progress progress = {stop_at_once, &calls};
    assert_status(heed_engine_backup(w->engine, in(w, "copy"), &progress), HEED_E_CANCELLED);
    assert_int_equal(calls, 1);
    assert_int_equal(access(in(w, "copy"), F_OK), -1);
    assert_int_equal(access(in(w, "copy.part"), F_OK), -1);
}

/* While somebody imports: the copy is of one state, whole by its own check. */
struct writing {
    struct world *w;
    atomic_bool stop;
};

static void *write_on(void *context)
{
    struct writing *g = context;
    heed_engine *engine = NULL;
    heed_import_report report;
    char path[160], text[64];

    snprintf(path, sizeof path, "%s/w.txt", g->w->folder);
    if (heed_engine_open(g->w->data, NULL, &engine) != HEED_OK)
        return NULL;
    for (int i = 0; !g->stop; i++) {
        FILE *f = fopen(path, "w");
        snprintf(text, sizeof text, "w%d i%d\nw%d i1\n", i, i % 90, i / 2);
        fputs(text, f);
        fclose(f);
        if (heed_engine_import(engine, HEED_IMPORT_INTERACTIONS, path, NULL, &report) != HEED_OK)
            break;
    }
    heed_engine_close(engine);
    return NULL;
}

static void test_beside_a_writer(void **state)
{
    struct world *w = *state;
    struct writing g = {.w = w};
    pthread_t thread;
    char text[4096], name[32];

    world_fill(w);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &g), 0);
    for (int i = 0; i < 5; i++) {
        heed_engine *copy = NULL;
        snprintf(name, sizeof name, "copy%d", i);
        assert_status(heed_engine_backup(w->engine, in(w, name), NULL), HEED_OK);
        assert_int_equal(checked(w->engine, text).findings, 0);
        assert_status(heed_engine_open(in(w, name), NULL, &copy), HEED_OK);
        assert_int_equal(checked(copy, text).findings, 0);
        heed_engine_close(copy);
    }
    g.stop = true;
    pthread_join(thread, NULL);
}

/* ---- the check */

static void spoil(struct world *w, const char *sql)
{
    char path[128], *why = NULL;
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/heed.db", w->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 1000);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
}

static const struct damage {
    const char *sql, *finding;
} damages[] = {
    {"UPDATE total SET events = events + 1", "events: their count is not"},
    {"UPDATE total SET timed = 0", "events: the count of those with a time"},
    {"UPDATE total SET seq = 3", "events: with an arrival that is still to come"},
    {"UPDATE event SET seq = 0 WHERE user = 0; UPDATE event SET ts_ms = 7, nth = 1 WHERE user = 0 "
     "AND ts_ms = (SELECT max(ts_ms) FROM event WHERE user = 0); UPDATE event SET ts_ms = 7 "
     "WHERE user = 0 AND ts_ms = (SELECT max(ts_ms) FROM event WHERE user = 0)",
     "events: two of a user and a time that arrived at once (1)"},
    {"UPDATE event SET kind = 30 WHERE user = 1", "events: of no known kind (12)"},
    {"UPDATE event SET ts_ms = -1 WHERE user = 39", "events: with a time that is none (1)"},
    {"UPDATE event SET dwell_ms = -7 WHERE user = 39", "events: with a dwell_ms"},
    {"UPDATE event SET position = 1000001 WHERE user = 39", "events: with a position"},
    {"UPDATE event SET context = '{' WHERE user = 39", "events: with a context or ext"},
    {"DELETE FROM user WHERE number = 5", "users: numbers that are missing (1)"},
    {"DELETE FROM user WHERE number = 5", "rows that name a user or an item which is not there (12)"},
    {"UPDATE item SET number = 77 WHERE number = 29", "items: numbers that are missing (48)"},
    {"UPDATE user SET id = '' WHERE number = 5", "users: with an id that is none (1)"},
    {"UPDATE item SET id = printf('%0257d', 5) WHERE number = 5", "items: with an id"},
    {"UPDATE user SET consent = 8 WHERE number = 5", "users: with a consent"},
    {"UPDATE user SET attributes = 'x' WHERE number = 5", "users: with attributes"},
    {"UPDATE item SET tags = 'x' WHERE number = 5", "items: with tags"},
    {"UPDATE user SET id = char(1) || 'erased:5', consent = 0 WHERE number = 5",
     "events: of users who were erased (12)"},
    {"UPDATE user SET id = char(1) || 'erased:6', consent = 0 WHERE number = 5",
     "users: erased, and something of them is left (1)"},
    {"UPDATE user SET id = char(1) || 'erased:39', consent = 0 WHERE number = 39;"
     "DELETE FROM event WHERE user = 39; INSERT INTO user_mark VALUES (39, 'block', 'tag', 'x')",
     "marks: of users who were erased (1)"},
    {"INSERT INTO item_feature VALUES (1, 'x', x'0011')", "items: vectors of a length"},
    {"INSERT INTO summary VALUES ('x', 0, 0, zeroblob(8 * 33))", "summaries: that do not fit"},
    {"UPDATE total SET item_changes = -1", "counters of changes"},
};

static void test_check_finds(void **state)
{
    struct world *w = *state;
    char text[4096];

    world_fill(w);
    world_train(w);
    heed_check_report whole = checked(w->engine, text);
    if (whole.findings)
        fail_msg("found: %s", text);
    assert_true(whole.checked > 20);
    assert_status(heed_engine_backup(w->engine, in(w, "copy"), NULL), HEED_OK);
    for (const struct damage *d = damages; d < damages + sizeof damages / sizeof *damages; d++) {
        heed_engine_close(w->engine);
        w->engine = NULL;
        unlink(in(w, "data/heed.db"));
        assert_status(heed_restore(in(w, "copy"), w->data), HEED_OK);
        spoil(w, d->sql);
        world_reopen(w);
        heed_check_report report = checked(w->engine, text);
        if (report.findings == 0 || !strstr(text, d->finding))
            fail_msg("%s: found %s", d->sql, text);
        assert_int_equal(report.checked, whole.checked);
    }
}

static void test_check_pages_and_model(void **state)
{
    struct world *w = *state;
    char text[4096];

    world_fill(w);
    world_train(w);
    spoil(w, "PRAGMA writable_schema = on; UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM "
             "sqlite_schema WHERE name = 'item_feature') WHERE name = 'event_by_id'");
    world_reopen(w);
    assert_true(checked(w->engine, text).findings > 0);
    assert_non_null(strstr(text, "database: "));
    world_file(w, "data/models/sequence.safetensors", "no model");
    world_reopen(w);
    assert_true(checked(w->engine, text).findings > 0);
    assert_non_null(strstr(text, "model: "));
    assert_status(heed_engine_check(w->engine, NULL, NULL, NULL), HEED_OK);
}

/* ---- compacting */

static void test_compact(void **state)
{
    enum { LINES = 50000 };
    struct world *w = *state;
    char *text = malloc(LINES * 70), report[4096];
    size_t used = 0;
    int64_t before = 0, after = 0, removed = 0;

    for (int i = 0; i < LINES; i++)
        used += (size_t)sprintf(text + used,
                                "{\"ts\":%d,\"user\":\"u%d\",\"item\":\"i\",\"kind\":\"view\"}\n",
                                1000 + i, i % 100);
    world_import(w, HEED_IMPORT_EVENTS, text);
    free(text);
    assert_status(heed_engine_retain(w->engine, NULL, INT64_C(2000000), &removed), HEED_OK);
    assert_int_equal(removed, LINES);
    world_fill(w);
    struct sum was = sum_of(w->engine);
    assert_status(heed_engine_compact(w->engine, &before, &after), HEED_OK);
    assert_true(after > 0 && after * 3 < before);
    struct sum is = sum_of(w->engine);
    assert_true(was.hash == is.hash);
    assert_int_equal(checked(w->engine, report).findings, 0);
    assert_status(heed_engine_compact(w->engine, NULL, NULL), HEED_OK);
    heed_feed_free(world_feed(w, "r3", 5));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back),  TEST(test_refused),     TEST(test_cancelled),
        TEST(test_beside_a_writer), TEST(test_check_finds), TEST(test_check_pages_and_model),
        TEST(test_compact),
    };
    return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
