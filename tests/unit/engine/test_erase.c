/* SPDX-License-Identifier: Apache-2.0
 *
 * Erasing a user leaves nothing, anywhere, and nobody else loses anything; what is old goes; what is
 * known of somebody is told. */
#include "world.h"
#include "engine/keep.h"
#include "heed/operate.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Words that stand nowhere else. */
#define ID "zebra-7431"
#define SECRET "quagga-9920"

static void fill(struct world *w)
{
    hd_store *store;
    struct hd_mark_row marks[] = {{"block", "author", SECRET}, {"follow", "tag", SECRET}};
    int32_t user;
    bool changed;

    world_fill(w);
    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"id\":\"" SECRET "-1\",\"ts\":1700000000000,\"user\":\"" ID "\",\"item\":\"i1\","
                 "\"kind\":\"click\",\"decision\":\"" SECRET "\",\"context\":{\"a\":\"" SECRET "\"}}\n"
                 "{\"ts\":1700000060000,\"user\":\"" ID "\",\"item\":\"i2\",\"kind\":\"view\"}\n");
    assert_status(hd_store_open(w->data, NULL, &store), HEED_OK);
    assert_status(hd_store_begin(store), HEED_OK);
    assert_status(hd_store_intern_user(store, ID, strlen(ID), &user, NULL), HEED_OK);
    assert_status(hd_store_put_user(store, user,
                                    &(struct hd_user_row){"{\"a\":\"" SECRET "\"}", 7}, &changed),
                  HEED_OK);
    assert_status(hd_store_put_marks(store, user, marks, 2, &changed), HEED_OK);
    assert_status(hd_store_commit(store), HEED_OK);
    hd_store_close(store);
    heed_feed_free(world_feed(w, ID, 5));
    heed_feed_free(world_feed(w, "r3", 5));
    heed_feed_free(world_feed(w, ID, 5));
}

/* In how many files of the data folder the word stands. */
static int files_with(struct world *w, const char *word)
{
    char path[512];
    DIR *folder = opendir(w->data);
    struct dirent *entry;
    int found = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        snprintf(path, sizeof path, "%s/%s", w->data, entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!f)
            continue;
        static char text[8 << 20];
        size_t bytes = fread(text, 1, sizeof text, f);
        fclose(f);
        for (size_t i = 0; i + strlen(word) <= bytes; i++)
            if (memcmp(text + i, word, strlen(word)) == 0) {
                print_message("# %s is in %s\n", word, entry->d_name);
                found++;
                break;
            }
    }
    closedir(folder);
    return found;
}

static void erased(struct world *w, const char *user, bool known, int64_t events, int64_t marks,
                   int64_t decisions)
{
    heed_erasure r;

    assert_status(heed_engine_erase(w->engine, user, &r), HEED_OK);
    assert_int_equal(r.known, known);
    assert_int_equal(r.events, events);
    assert_int_equal(r.marks, marks);
    assert_int_equal(r.decisions, decisions);
}

static heed_erasure verified(struct world *w, const char *user)
{
    heed_erasure r;

    assert_status(heed_engine_erase_verify(w->engine, user, &r), HEED_OK);
    return r;
}

static void test_nothing_left(void **state)
{
    struct world *w = *state;
    heed_engine_counts before, after;
    heed_text *text;

    fill(w);
    assert_true(files_with(w, ID) >= 2 && files_with(w, SECRET) >= 1);
    heed_erasure r = verified(w, ID);
    assert_true(r.known && r.events == 2 && r.marks == 2 && r.decisions == 2);
    assert_status(heed_engine_count(w->engine, &before), HEED_OK);
    erased(w, ID, true, 2, 2, 2);
    assert_int_equal(files_with(w, ID), 0);
    assert_int_equal(files_with(w, SECRET), 0);
    r = verified(w, ID);
    assert_true(!r.known && r.events == 0 && r.marks == 0 && r.decisions == 0);
    assert_status(heed_engine_read(w->engine, HEED_RECORD_USER, ID, &text), HEED_E_NOTFOUND);
    assert_status(heed_engine_export_user(w->engine, ID, &text), HEED_E_NOTFOUND);
    assert_status(heed_engine_count(w->engine, &after), HEED_OK);
    assert_int_equal(after.events, before.events - 2);
    assert_int_equal(after.users, before.users - 1); /* the number stays taken, by nobody */
    /* Nobody else has lost anything, and the store goes on. */
    r = verified(w, "r3");
    assert_true(r.known && r.events == 12 && r.decisions == 1);
    erased(w, ID, false, 0, 0, 0);
    heed_feed_free(world_feed(w, ID, 5));
    erased(w, ID, false, 0, 0, 1); /* asked for again, as a stranger */
}

/* The same where all of it has moved from the log into the database: freed pages are overwritten. */
static void test_nothing_left_in_pages(void **state)
{
    struct world *w = *state;
    hd_store *store;

    fill(w);
    assert_status(hd_store_open(w->data, NULL, &store), HEED_OK);
    assert_status(hd_store_flush_log(store), HEED_OK);
    hd_store_close(store);
    assert_true(files_with(w, SECRET) >= 1);
    erased(w, ID, true, 2, 2, 2);
    assert_int_equal(files_with(w, ID), 0);
    assert_int_equal(files_with(w, SECRET), 0);
}

/* The tombstone is nobody: no list, no export, no id that means it. */
static void test_tombstone(void **state)
{
    struct world *w = *state;
    heed_list_opts opts = {.n = 1000};
    heed_text *text;

    fill(w);
    erased(w, ID, true, 2, 2, 2);
    assert_status(heed_engine_list(w->engine, HEED_RECORD_USER, &opts, &text), HEED_OK);
    assert_null(strstr(text->text, "erased"));
    heed_text_free(text);
    assert_status(heed_engine_read(w->engine, HEED_RECORD_USER, "\x01" "erased:40", &text),
                  HEED_E_NOTFOUND);
    assert_status(heed_engine_export_user(w->engine, "\x01" "erased:40", &text), HEED_E_NOTFOUND);
    erased(w, "\x01" "erased:40", false, 0, 0, 0);
    heed_feed_free(world_feed(w, "\x01" "erased:40", 5));
}

static void assert_not_suggested(heed_engine *engine, const char *asked, const char *words)
{
    heed_explanation *none = NULL;

    assert_status(heed_engine_explain(engine, asked, "i1", NULL, &none), HEED_E_NOTFOUND);
    assert_says("there is no user");
    if (strstr(heed_error_message(), words))
        fail_msg("suggested: %s", heed_error_message());
}

/* A slip away from an erased user's id, or from what stands in its place, nobody is named who was erased; also
 * where another process has erased, and whoever came since is. */
static void test_not_suggested(void **state)
{
    struct world *w = *state;
    heed_engine *other = NULL;
    heed_explanation *none = NULL;

    fill(w);
    assert_status(heed_engine_open(w->data, NULL, &other), HEED_OK);
    assert_status(heed_engine_explain(other, "zebra-7430", "i1", NULL, &none), HEED_E_NOTFOUND);
    assert_says("among 41; near it: \"" ID "\"");
    erased(w, ID, true, 2, 2, 2);
    heed_engine *engine[] = {w->engine, other};
    for (int i = 0; i < 2; i++) {
        assert_not_suggested(engine[i], "zebra-7430", "near it");
        assert_not_suggested(engine[i], "erased:40", "near it");
        assert_says("among 40");
    }
    world_import(w, HEED_IMPORT_INTERACTIONS, "zebra-7432 i1\n");
    assert_not_suggested(other, "zebra-7430", ID);
    assert_says("among 41; near it: \"zebra-7432\"");
    heed_engine_close(other);
}

static void erased_by_another(struct world *w, const char *user)
{
    heed_engine *other = NULL;

    assert_status(heed_engine_open(w->data, NULL, &other), HEED_OK);
    assert_status(heed_engine_erase(other, user, NULL), HEED_OK);
    heed_engine_close(other);
}

/* What the model has worked out of a reader does not outlive an erasure by another process, nor does what a
 * question has in hand meanwhile; nobody else's goes with it. */
static void test_kept_elsewhere(void **state)
{
    struct world *w = *state;
    heed_engine *e = w->engine;

    world_fill(w);
    world_train(w);
    for (int u = 3; u < 8; u++)
        heed_feed_free(world_feed(w, (const char *[]){"r3", "r4", "r5", "r6", "r7"}[u - 3], 5));
    assert_int_equal(e->kept.count, 5);
    erased_by_another(w, "r4");
    heed_feed_free(world_feed(w, "r3", 5)); /* nobody refreshes: the next question notices */
    assert_int_equal(e->kept.count, 4);
    assert_status(heed_engine_refresh(e), HEED_OK);
    assert_int_equal(e->kept.count, 4);
    struct hd_kept *held = hd_kept_take(&e->kept, e->model, 6, e->kept.forgotten);
    assert_non_null(held);
    erased_by_another(w, "r5");
    erased_by_another(w, "r6");
    assert_status(heed_engine_refresh(e), HEED_OK);
    assert_int_equal(e->kept.count, 2);
    assert_ptr_equal(hd_kept_put(&e->kept, held), held); /* comes out again */
    hd_kept_free(held);
    int64_t forgotten = e->kept.forgotten;
    heed_ingest piece = {.what = HEED_RECORD_USER, .text = "{\"id\":\"r9\",\"consent\":{\"learn\":false}}"};
    piece.bytes = strlen(piece.text);
    assert_status(heed_engine_ingest(e, &piece, 1), HEED_OK); /* a consent is no erasure */
    assert_status(heed_engine_refresh(e), HEED_OK);
    assert_true(e->kept.count == 2 && e->kept.forgotten == forgotten);
}

static int64_t users_of(heed_engine *engine)
{
    heed_engine_counts counts;

    assert_status(heed_engine_count(engine, &counts), HEED_OK);
    return counts.users;
}

/* Whoever was erased is no user any more, whichever process counts and whatever it knew before. */
static void test_count(void **state)
{
    struct world *w = *state;
    heed_engine *other = NULL;
    heed_import_report report;

    fill(w);
    assert_status(heed_engine_open(w->data, NULL, &other), HEED_OK);
    int64_t before = users_of(w->engine);
    assert_int_equal(users_of(other), before);
    erased(w, ID, true, 2, 2, 2);
    assert_int_equal(users_of(w->engine), before - 1);
    assert_int_equal(users_of(other), before - 1);
    heed_feed_free(world_feed(w, ID, 5));
    assert_int_equal(users_of(w->engine), before - 1);
    assert_status(heed_engine_import(w->engine, HEED_IMPORT_INTERACTIONS,
                                     world_file(w, "one", ID " i1\n"), NULL, &report), HEED_OK);
    assert_int_equal(report.users, before); /* somebody new of that name */
    assert_int_equal(users_of(w->engine), before);
    world_reopen(w);
    assert_int_equal(users_of(w->engine), before);
    heed_engine_close(other);
}

/* Two engines on one folder: one erases, the other does not take the next of that name for him. */
static void test_other_process(void **state)
{
    struct world *w = *state;
    heed_engine *other = NULL;
    heed_feed *feed = NULL;
    heed_text *text = NULL;
    heed_import_report report;

    fill(w);
    assert_status(heed_engine_open(w->data, NULL, &other), HEED_OK);
    assert_status(
        heed_engine_feed(other, &(heed_feed_request){.user = ID, .unrecorded = true}, &feed),
        HEED_OK);
    heed_feed_free(feed);
    erased(w, ID, true, 2, 2, 2);
    assert_status(heed_engine_import(other, HEED_IMPORT_EVENTS,
                                     world_file(w, "again.ndjson",
                                                "{\"ts\":1700000090000,\"user\":\"" ID
                                                "\",\"item\":\"i3\",\"kind\":\"view\"}\n"),
                                     NULL, &report),
                  HEED_OK);
    assert_int_equal(report.accepted, 1);
    assert_int_equal(report.users, WORLD_USERS + 1); /* somebody new in the other's place */
    assert_status(heed_engine_export_user(other, ID, &text), HEED_OK);
    assert_string_equal(text->text,
                        "{\"user\":{\"id\":\"" ID "\",\"consent\":{\"learn\":true,"
                        "\"personalise\":true,\"sell\":false}},\"events\":[{\"ts\":"
                        "\"2023-11-14T22:14:50Z\",\"user\":\"" ID "\",\"item\":\"i3\","
                        "\"kind\":\"view\"}],\"decisions\":[]}");
    heed_text_free(text);
    heed_engine_close(other);
}

/* One handle that knows the names: what another erases is seen by it, what it erases itself and takes
 * back is there again. */
static void test_names_follow(void **state)
{
    struct world *w = *state;
    struct hd_store_trace gone;
    hd_store *store;
    const char *id;
    int32_t user, again, found;

    fill(w);
    assert_status(hd_store_open(w->data, NULL, &store), HEED_OK);
    assert_status(hd_store_begin(store), HEED_OK);
    assert_status(hd_store_intern_user(store, ID, strlen(ID), &user, NULL), HEED_OK);
    assert_status(hd_store_erase_user(store, user, &gone), HEED_OK);
    assert_status(hd_store_find_user(store, ID, strlen(ID), &found), HEED_OK);
    assert_int_equal(found, -1);
    assert_status(hd_store_intern_user(store, ID, strlen(ID), &again, NULL), HEED_OK);
    assert_true(again > user);
    hd_store_rollback(store);
    assert_status(hd_store_find_user(store, ID, strlen(ID), &found), HEED_OK);
    assert_int_equal(found, user);

    erased(w, ID, true, 2, 2, 2); /* through the other handle */
    assert_status(hd_store_find_user(store, ID, strlen(ID), &found), HEED_OK);
    assert_int_equal(found, -1);
    assert_status(hd_store_user_id(store, user, &id), HEED_OK);
    assert_string_not_equal(id, ID);
    assert_status(hd_store_begin(store), HEED_OK);
    assert_status(hd_store_intern_user(store, ID, strlen(ID), &again, NULL), HEED_OK);
    assert_true(again > user);
    assert_status(hd_store_commit(store), HEED_OK);
    hd_store_close(store);
}

/* Verify does not take erase's word for it. */
static void test_verify_finds(void **state)
{
    struct world *w = *state;
    char path[128];
    sqlite3 *db;

    fill(w);
    erased(w, ID, true, 2, 2, 2);
    snprintf(path, sizeof path, "%s/heed.db", w->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "INSERT INTO event (user, ts_ms, nth, item, kind, seq) "
                     "SELECT number, 5, 0, 1, 1, 999 FROM user WHERE id < char(2);"
                     "INSERT INTO user_mark SELECT number, 'block', 'tag', 'x' FROM user "
                     "WHERE id < char(2)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    snprintf(path, sizeof path, "%s/decisions.ndjson", w->data);
    FILE *f = fopen(path, "a");
    assert_true(f && fputs("{\"decision\":\"x\",\"user\":\"" ID "\",\"items\":[", f) >= 0);
    fclose(f); /* torn by a full disk */
    heed_erasure r = verified(w, ID);
    assert_true(!r.known && r.events == 1 && r.marks == 1 && r.decisions == 1);
    erased(w, ID, false, 0, 0, 1);
}

static void test_arguments(void **state)
{
    struct world *w = *state;
    heed_erasure r;
    heed_text *text;

    assert_status(heed_engine_erase(w->engine, NULL, &r), HEED_E_ARG);
    assert_status(heed_engine_erase(w->engine, "", &r), HEED_E_ARG);
    assert_status(heed_engine_erase_verify(w->engine, NULL, &r), HEED_E_ARG);
    assert_status(heed_engine_export_user(w->engine, NULL, &text), HEED_E_ARG);
    assert_status(heed_engine_erase(w->engine, "nobody", NULL), HEED_OK);
    erased(w, "nobody", false, 0, 0, 0);
}

static void test_export_user(void **state)
{
    struct world *w = *state;
    hd_json_reader *reader;
    heed_text *text;
    hd_json *root;

    fill(w);
    assert_status(heed_engine_export_user(w->engine, ID, &text), HEED_OK);
    assert_status(hd_json_reader_new(&reader), HEED_OK);
    assert_status(hd_json_read(reader, text->text, text->bytes, &root), HEED_OK);
    const hd_json *user = hd_json_get(root, "user"), *events = hd_json_get(root, "events");
    assert_string_equal(hd_json_text(hd_json_get(hd_json_get(user, "attributes"), "a"), NULL), SECRET);
    assert_int_equal(hd_json_length(events), 2);
    assert_string_equal(hd_json_text(hd_json_get(hd_json_at(events, 0), "decision"), NULL), SECRET);
    const hd_json *decisions = hd_json_get(root, "decisions");
    assert_int_equal(hd_json_length(decisions), 2);
    assert_string_equal(hd_json_text(hd_json_get(hd_json_at(decisions, 1), "user"), NULL), ID);
    hd_json_reader_free(reader);
    heed_text_free(text);
}

/* ---- retention */

static int64_t retained(struct world *w, const char *kind, heed_time before)
{
    int64_t removed = -1;

    assert_status(heed_engine_retain(w->engine, kind, before, &removed), HEED_OK);
    return removed;
}

static void test_retain(void **state)
{
    struct world *w = *state;
    heed_engine_counts counts;
    int64_t removed;

    world_import(w, HEED_IMPORT_INTERACTIONS, "r1 i1\nr1 i2\n"); /* without times: they stay */
    world_fill(w);
    world_import(w, HEED_IMPORT_EVENTS,
                 "{\"ts\":1700000000000,\"user\":\"r0\",\"item\":\"i1\",\"kind\":\"click\"}\n");
    assert_int_equal(retained(w, NULL, 1700000000000), 0);
    assert_int_equal(retained(w, "like", 1800000000000), 0);
    /* Each reader's first event, and not the click of the same moment. */
    assert_int_equal(retained(w, "view", 1700000000001), WORLD_USERS);
    assert_int_equal(retained(w, "click", 1700000000001), 1);
    assert_int_equal(retained(w, NULL, 1800000000000), WORLD_EVENTS - WORLD_USERS);
    assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
    assert_int_equal(counts.events, 2);
    assert_false(counts.has_times);
    assert_status(heed_engine_retain(w->engine, "stare", 5, &removed), HEED_E_ARG);
    assert_says("kind: there is no \"stare\"");
    assert_status(heed_engine_retain(w->engine, NULL, 5, NULL), HEED_OK);
}

/* More users and events than one batch of each. */
static void test_retain_batches(void **state)
{
    enum { USERS = 3000, EACH = 4 };
    struct world *w = *state;
    static char text[USERS * EACH * 80];
    size_t used = 0;
    heed_engine_counts counts;

    for (int u = 0; u < USERS; u++)
        for (int e = 0; e < EACH; e++)
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "{\"ts\":%d,\"user\":\"u%d\",\"item\":\"i\",\"kind\":\"view\"}\n",
                                     1000 + e, u);
    world_import(w, HEED_IMPORT_EVENTS, text);
    assert_int_equal(retained(w, "view", 1003), USERS * (EACH - 1));
    assert_status(heed_engine_count(w->engine, &counts), HEED_OK);
    assert_int_equal(counts.events, USERS);
}

struct retaining {
    struct world *w;
    int64_t removed;
    atomic_bool done;
};

static void *retain_all(void *context)
{
    struct retaining *r = context;

    if (heed_engine_retain(r->w->engine, NULL, 1000000, &r->removed) != HEED_OK)
        r->removed = -1;
    r->done = true;
    return NULL;
}

/* Whoever writes meanwhile waits for a batch, not for all of them. */
static void test_retain_lets_others_write(void **state)
{
    enum { USERS = 1000, EACH = 100 };
    struct retaining r = {.w = *state};
    hd_store *store;
    pthread_t thread;
    char id[16];
    int32_t user, item;
    bool fresh;
    int written = 0;

    assert_status(hd_store_open(r.w->data, &(struct hd_store_opts){.busy_ms = 1500}, &store), HEED_OK);
    assert_status(hd_store_begin(store), HEED_OK);
    assert_status(hd_store_intern_item(store, "i", 1, &item, NULL), HEED_OK);
    for (int u = 0; u < USERS; u++) {
        snprintf(id, sizeof id, "u%d", u);
        assert_status(hd_store_intern_user(store, id, strlen(id), &user, NULL), HEED_OK);
        for (int e = 0; e < EACH; e++) {
            struct hd_event_row row = {.user = user, .item = item, .ts = 1 + e, .kind = 1,
                                       .position = -1, .dwell_ms = -1, .value = (double)NAN};
            assert_status(hd_store_put_event(store, &row, &fresh), HEED_OK);
        }
    }
    assert_status(hd_store_commit(store), HEED_OK);
    assert_int_equal(pthread_create(&thread, NULL, retain_all, &r), 0);
    while (!r.done) {
        struct hd_event_row row = {.user = 0, .item = item, .ts = 2000000 + written, .kind = 1,
                                   .position = -1, .dwell_ms = -1, .value = (double)NAN};
        assert_status(hd_store_begin(store), HEED_OK);
        assert_status(hd_store_put_event(store, &row, &fresh), HEED_OK);
        assert_status(hd_store_commit(store), HEED_OK);
        written++;
        usleep(1000);
    }
    pthread_join(thread, NULL);
    print_message("# %d transactions beside it\n", written);
    assert_int_equal(r.removed, USERS * EACH);
    struct hd_store_counts counts;
    assert_status(hd_store_count(store, &counts), HEED_OK);
    assert_int_equal(counts.events, written);
    assert_true(written >= 5);
    hd_store_close(store);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_left), TEST(test_nothing_left_in_pages), TEST(test_tombstone),
        TEST(test_kept_elsewhere), TEST(test_not_suggested), TEST(test_count), TEST(test_other_process),
        TEST(test_names_follow), TEST(test_verify_finds), TEST(test_arguments),
        TEST(test_export_user),  TEST(test_retain),      TEST(test_retain_batches),
        TEST(test_retain_lets_others_write),
    };
    return cmocka_run_group_tests_name("erase", tests, NULL, NULL);
}
