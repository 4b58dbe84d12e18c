/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: what goes in comes out, once, in order, also after it was closed, and nothing of what
 * was rolled back; two at once; folders that are not ours to write. */
#include "store/store.h"
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "scratch.h"

static char folder[64], data[96];

static int set_up(void **state)
{
    (void)state;
    scratch_make(folder);
    snprintf(data, sizeof data, "%s/data", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_drop(folder);
    return 0;
}

static hd_store *opened(void)
{
    hd_store *store = NULL;

    if (hd_store_open(data, &(struct hd_store_opts){.busy_ms = 50}, &store) != HEED_OK)
        fail_msg("said: %s", heed_error_message());
    return store;
}

static void must(heed_status status)
{
    if (status != HEED_OK)
        fail_msg("said: %s", heed_error_message());
}

static void said(heed_status status, heed_status want, const char *words)
{
    assert_int_equal(status, want);
    if (!strstr(heed_error_message(), words))
        fail_msg("said: %s", heed_error_message());
}

static struct hd_event_row event(int32_t user, int32_t item, heed_time ts)
{
    return (struct hd_event_row){.user = user,
                                 .item = item,
                                 .ts = ts,
                                 .kind = 1,
                                 .position = -1,
                                 .dwell_ms = -1,
                                 .value = (double)NAN};
}

static int32_t user_of(hd_store *store, const char *id)
{
    int32_t number;

    must(hd_store_intern_user(store, id, strlen(id), &number, NULL));
    return number;
}

static int32_t item_of(hd_store *store, const char *id)
{
    int32_t number;

    must(hd_store_intern_item(store, id, strlen(id), &number, NULL));
    return number;
}

static bool put(hd_store *store, struct hd_event_row row)
{
    bool fresh;

    must(hd_store_put_event(store, &row, &fresh));
    return fresh;
}

/* Random events against an array that is kept beside them and sorted the plain way. */
struct twin {
    int64_t order;
    struct hd_event_row row;
};

static int by_user_time(const void *a, const void *b)
{
    const struct twin *x = a, *y = b;

    if (x->row.user != y->row.user)
        return x->row.user < y->row.user ? -1 : 1;
    if (x->row.ts != y->row.ts)
        return x->row.ts < y->row.ts ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static void test_against_array(void **state)
{
    enum { USERS = 12, ITEMS = 9, ROUNDS = 3000 };
    static struct twin twin[ROUNDS];
    heed_rng rng = hd_rng(5, 0);
    hd_store *store = opened();
    int64_t count = 0, timed = 0, kept = 0, kept_timed = 0;
    char id[16];

    (void)state;
    must(hd_store_begin(store));
    for (int i = 0; i < USERS; i++)
        assert_int_equal(user_of(store, (snprintf(id, sizeof id, "u%d", i), id)), i);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(item_of(store, (snprintf(id, sizeof id, "i%d", i), id)), i);
    for (int64_t round = 0; round < ROUNDS; round++) {
        struct hd_event_row row =
            event((int32_t)hd_random_below(&rng, USERS - 1), (int32_t)hd_random_below(&rng, ITEMS),
                  hd_random_below(&rng, 2) ? 1000 + (heed_time)hd_random_below(&rng, 20) : 0);
        row.kind = (uint8_t)hd_random_below(&rng, 3);
        row.nth = (int32_t)hd_random_below(&rng, 4);
        bool known = false;
        for (int64_t i = 0; i < count && !known; i++) {
            const struct hd_event_row *t = &twin[i].row;
            known = t->user == row.user && t->item == row.item && t->ts == row.ts &&
                    t->kind == row.kind && t->nth == row.nth;
        }
        assert_int_equal(put(store, row), !known);
        if (!known) {
            twin[count] = (struct twin){count, row};
            count++;
            timed += row.ts != 0;
        }
        if (round % 500 == 499) {
            if (hd_random_below(&rng, 2)) {
                must(hd_store_commit(store));
                kept = count;
                kept_timed = timed;
            } else {
                hd_store_rollback(store);
                count = kept;
                timed = kept_timed;
                if (kept == 0) { /* the users went too: they are asked for again below */
                    must(hd_store_begin(store));
                    for (int i = 0; i < USERS; i++)
                        user_of(store, (snprintf(id, sizeof id, "u%d", i), id));
                    for (int i = 0; i < ITEMS; i++)
                        item_of(store, (snprintf(id, sizeof id, "i%d", i), id));
                    must(hd_store_commit(store));
                }
            }
            if (hd_random_below(&rng, 2)) {
                hd_store_close(store);
                store = opened();
            }
            must(hd_store_begin(store));
        }
    }
    must(hd_store_commit(store));
    assert_true(count > 500 && timed > 100);

    struct hd_store_counts counts;
    must(hd_store_count(store, &counts));
    assert_int_equal(counts.users, USERS);
    assert_int_equal(counts.items, ITEMS);
    assert_int_equal(counts.events, count);
    assert_int_equal(counts.timed, timed);

    qsort(twin, (size_t)count, sizeof *twin, by_user_time);
    hd_arena *arena = hd_arena_new(0);
    for (uint32_t kinds = 1; kinds < 8; kinds++) {
        struct hd_store_histories h;
        int64_t at = 0;
        must(hd_store_load_histories(store, kinds == 7 ? HD_KINDS_ALL : kinds, &h));
        assert_int_equal(h.users, USERS);
        assert_int_equal(h.items, ITEMS);
        for (int64_t i = 0; i < count; i++) {
            if (!(kinds >> twin[i].row.kind & 1))
                continue;
            int32_t user = twin[i].row.user;
            assert_true(at >= h.offset[user] && at < h.offset[user + 1]);
            assert_int_equal(h.item[at], twin[i].row.item);
            assert_int_equal(h.kind[at], twin[i].row.kind);
            assert_true(h.time[at] == twin[i].row.ts);
            at++;
        }
        assert_int_equal(h.offset[USERS], at);
        /* One user alone is the same, and so are the latest of him. */
        for (int32_t user = 0; user < USERS; user++) {
            int64_t all = h.offset[user + 1] - h.offset[user];
            for (int64_t limit = 0; limit < 5; limit++) {
                struct hd_store_history one;
                int64_t want = limit && limit < all ? limit : all;
                must(hd_store_load_history(store, user, kinds == 7 ? HD_KINDS_ALL : kinds, limit,
                                           arena, &one));
                assert_int_equal(one.count, want);
                for (int64_t i = 0; i < want; i++) {
                    int64_t e = h.offset[user + 1] - want + i;
                    assert_int_equal(one.item[i], h.item[e]);
                    assert_int_equal(one.kind[i], h.kind[e]);
                    assert_true(one.time[i] == h.time[e]);
                }
            }
            hd_arena_reset(arena);
        }
        hd_store_histories_clear(&h);
    }
    hd_arena_free(arena);
    hd_store_close(store);
}

/* An id is the identity: two that are alike in all else are two, one that says something else is
 * none. */
static void test_event_ids(void **state)
{
    hd_store *store = opened();
    struct hd_store_counts counts;

    (void)state;
    must(hd_store_begin(store));
    int32_t u = user_of(store, "u"), i = item_of(store, "i"), j = item_of(store, "j");
    struct hd_event_row row = event(u, i, 5000);
    row.id = "a";
    assert_true(put(store, row));
    assert_false(put(store, row));
    row.item = j;
    assert_false(put(store, row)); /* the same id, whatever else it says */
    row.item = i;
    row.id = "b";
    assert_true(put(store, row));
    row.id = "c";
    assert_true(put(store, row));
    assert_false(put(store, row));
    row.id = NULL;
    assert_false(put(store, row)); /* without an id: it is there */
    row.decision = "d";
    row.context = "{\"a\":1}";
    row.position = 3;
    row.ts = 6000;
    assert_true(put(store, row));
    assert_false(put(store, row));
    must(hd_store_count(store, &counts));
    assert_int_equal(counts.events, 4);
    must(hd_store_commit(store));
    hd_store_close(store);
}

static void test_items(void **state)
{
    hd_store *store = opened();
    hd_arena *arena = hd_arena_new(0);
    const float vector[] = {1, 2, 3};
    struct hd_feature_row feature = {"image", vector, 3}, *features;
    struct hd_item_row row = {.title = "T",
                              .tags = "[\"a\"]",
                              .created = -5,
                              .hidden = true,
                              .features = 1},
                       back;
    bool changed;
    int64_t count;

    (void)state;
    must(hd_store_begin(store));
    int32_t item = item_of(store, "film");
    must(hd_store_put_item(store, item, &row, &feature, &changed));
    assert_true(changed);
    must(hd_store_put_item(store, item, &row, &feature, &changed));
    assert_false(changed);
    must(hd_store_commit(store));
    must(hd_store_get_item(store, item, arena, &back));
    assert_string_equal(back.title, "T");
    assert_string_equal(back.tags, "[\"a\"]");
    assert_null(back.text);
    assert_true(back.created == -5 && back.expires == 0 && back.hidden && back.features == 1);
    must(hd_store_get_features(store, item, arena, &features, &count));
    assert_int_equal(count, 1);
    assert_string_equal(features[0].name, "image");
    assert_int_equal(features[0].count, 3);
    assert_memory_equal(features[0].value, vector, sizeof vector);

    must(hd_store_begin(store));
    feature.count = 2;
    must(hd_store_put_item(store, item, &row, &feature, &changed));
    assert_true(changed);
    row = (struct hd_item_row){.text = "only this now"};
    must(hd_store_put_item(store, item, &row, NULL, &changed));
    assert_true(changed);
    must(hd_store_commit(store));
    must(hd_store_get_item(store, item, arena, &back));
    assert_null(back.title);
    assert_string_equal(back.text, "only this now");
    assert_int_equal(back.features, 0);
    said(hd_store_get_item(store, 77, arena, &back), HEED_E_NOTFOUND, "no item number 77");
    hd_arena_free(arena);
    hd_store_close(store);
}

static heed_status each(void *context, int32_t item, const char *id, const struct hd_item_row *row)
{
    char *at = (char *)context + strlen(context);

    sprintf(at, "%d=%s:%s ", (int)item, id, row->title ? row->title : "-");
    return item == 2 ? HEED_E_CANCELLED : HEED_OK;
}

static void test_each_item(void **state)
{
    hd_store *store = opened();
    char text[128] = "";

    (void)state;
    must(hd_store_begin(store));
    for (int i = 0; i < 4; i++) {
        bool changed;
        char id[8];
        snprintf(id, sizeof id, "i%d", i);
        int32_t item = item_of(store, id);
        if (i % 2)
            must(hd_store_put_item(store, item, &(struct hd_item_row){.title = "t"}, NULL,
                                   &changed));
    }
    must(hd_store_commit(store));
    assert_int_equal(hd_store_each_item(store, each, text), HEED_E_CANCELLED);
    assert_string_equal(text, "0=i0:- 1=i1:t 2=i2:- ");
    hd_store_close(store);
}

/* Numbers stay: after closing, after a rollback, and beside another handle that adds some. */
static void test_names(void **state)
{
    hd_store *a = opened(), *b = opened();
    uint64_t before, after;
    int32_t number;
    const char *id;

    (void)state;
    must(hd_store_version(a, &before));
    must(hd_store_find_user(a, "ann", 3, &number));
    assert_int_equal(number, -1);
    must(hd_store_begin(b));
    assert_int_equal(user_of(b, "ann"), 0);
    assert_int_equal(user_of(b, "bob"), 1);
    must(hd_store_commit(b));
    must(hd_store_version(a, &after));
    assert_true(after > before);
    must(hd_store_find_user(a, "bob", 3, &number));
    assert_int_equal(number, 1);
    must(hd_store_user_id(a, 0, &id));
    assert_string_equal(id, "ann");
    said(hd_store_user_id(a, 2, &id), HEED_E_NOTFOUND, "no user number 2");
    said(hd_store_item_id(a, -1, &id), HEED_E_NOTFOUND, "no item number -1");

    must(hd_store_begin(a));
    assert_int_equal(user_of(a, "cat"), 2);
    hd_store_rollback(a);
    must(hd_store_find_user(a, "cat", 3, &number));
    assert_int_equal(number, -1);
    must(hd_store_begin(b));
    assert_int_equal(user_of(b, "dan"), 2);
    must(hd_store_commit(b));
    must(hd_store_begin(a));
    assert_int_equal(user_of(a, "cat"), 3);
    assert_int_equal(user_of(a, "dan"), 2);
    must(hd_store_commit(a));
    hd_store_close(a);
    must(hd_store_user_id(b, 3, &id));
    assert_string_equal(id, "cat");
    hd_store_close(b);
    said(hd_store_intern_user(b = opened(), "eve", 3, &number, NULL), HEED_E_STATE,
         "no transaction");
    hd_store_close(b);
}

static void test_models(void **state)
{
    hd_store *store = opened();
    hd_arena *arena = hd_arena_new(0);
    struct hd_model_row row = {"sequence", "models/1.safetensors", "{}", 17}, back;

    (void)state;
    said(hd_store_get_model(store, "sequence", arena, &back), HEED_E_NOTFOUND,
         "no model named sequence");
    must(hd_store_put_model(store, &row));
    row.file = "models/2.safetensors";
    must(hd_store_put_model(store, &row));
    hd_store_close(store);
    store = opened();
    must(hd_store_get_model(store, "sequence", arena, &back));
    assert_string_equal(back.file, "models/2.safetensors");
    assert_string_equal(back.description, "{}");
    assert_int_equal(back.made, 17);
    hd_arena_free(arena);
    hd_store_close(store);
}

/* Two writers: the second waits, then says who is at it; readers are not disturbed. */
static void test_two_writers(void **state)
{
    hd_store *a = opened(), *b = opened();
    struct hd_store_counts counts;
    char words[64];

    (void)state;
    must(hd_store_lock(a));
    must(hd_store_lock(a));
    must(hd_store_begin(a));
    user_of(a, "u");
    must(hd_store_commit(a));
    hd_store_unlock(a);
    snprintf(words, sizeof words, "process %ld is writing", (long)getpid());
    said(hd_store_begin(b), HEED_E_BUSY, words);
    must(hd_store_count(b, &counts));
    assert_int_equal(counts.users, 1);
    hd_store_unlock(a);
    must(hd_store_begin(b));
    user_of(b, "v");
    said(hd_store_begin(a), HEED_E_BUSY, "is writing");
    hd_store_rollback(b);
    must(hd_store_begin(a));
    hd_store_close(a); /* closing rolls back and lets go */
    must(hd_store_begin(b));
    must(hd_store_commit(b));
    hd_store_close(b);
}

static void test_state(void **state)
{
    hd_store *store = opened();
    struct hd_event_row row = event(0, 0, 1);
    bool fresh;

    (void)state;
    said(hd_store_commit(store), HEED_E_STATE, "no transaction");
    said(hd_store_put_event(store, &row, &fresh), HEED_E_STATE, "no transaction");
    said(hd_store_put_item(store, 0, &(struct hd_item_row){0}, NULL, &fresh), HEED_E_STATE,
         "no transaction");
    must(hd_store_begin(store));
    said(hd_store_begin(store), HEED_E_STATE, "a transaction is open");
    hd_store_rollback(store);
    hd_store_rollback(store);
    hd_store_close(store);
    hd_store_close(NULL);
}

/* ---- folders */

static void sql(const char *text)
{
    char path[128];
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/heed.db", data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void refused(const char *where, bool must_exist, heed_status want, const char *words)
{
    hd_store *store;
    struct hd_store_opts opts = {.must_exist = must_exist, .busy_ms = 50};

    said(hd_store_open(where, &opts, &store), want, words);
    assert_non_null(strstr(heed_error_message(), where));
}

static void test_folders(void **state)
{
    char path[160];

    (void)state;
    refused(data, true, HEED_E_NOTFOUND, "no such data folder");
    snprintf(path, sizeof path, "%s/none/data", folder);
    refused(path, false, HEED_E_IO, "cannot be made: No such file");
    snprintf(path, sizeof path, "%s/file", folder);
    scratch_write(path, "x", 1);
    refused(path, false, HEED_E_IO, "is a file");
    assert_int_equal(mkdir(data, 0777), 0);
    refused(data, true, HEED_E_NOTFOUND, "or nothing in it");

    snprintf(path, sizeof path, "%s/heed.db", data);
    scratch_write(path, "this is no database, however long one looks at it", 49);
    refused(data, false, HEED_E_FORMAT, "not a store of heed");
    remove(path);
    sql("CREATE TABLE theirs (x)");
    refused(data, false, HEED_E_FORMAT, "not a store of heed");
    remove(path);
    hd_store_close(opened());
    sql("PRAGMA user_version = 999");
    refused(data, false, HEED_E_VERSION, "version 999, this heed knows up to");
    remove(path);

    /* A store that lost its end. */
    hd_store_close(opened());
    assert_int_equal(truncate(path, 8192 + 4096), 0);
    hd_store *store = NULL;
    heed_status status = hd_store_open(data, NULL, &store);
    if (status == HEED_OK) {
        struct hd_store_histories h;
        status = hd_store_load_histories(store, HD_KINDS_ALL, &h);
        hd_store_close(store);
    }
    assert_int_equal(status, HEED_E_FORMAT);
}

/* As another user, where this one may write anything. */
static void test_read_only(void **state)
{
    (void)state;
    hd_store_close(opened());
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(data, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        hd_store *store;
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(77);
        heed_status status = hd_store_open(data, NULL, &store);
        if (status == HEED_OK)
            status = hd_store_begin(store);
        _exit(status == HEED_E_IO && strstr(heed_error_message(), data) ? 0 : 1);
    }
    int result;
    waitpid(child, &result, 0);
    chmod(data, 0755);
    assert_true(WIFEXITED(result) && (WEXITSTATUS(result) == 0 || WEXITSTATUS(result) == 77));
}

/* A disk that fills up: the transaction is gone, all before it is there, and it goes on when there
 * is room again. */
static void test_full_disk(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit;
        struct hd_store_counts counts = {0};
        heed_status status = HEED_OK;
        hd_store *store = opened();
        int64_t committed = 0;
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &limit);
        rlim_t whole = limit.rlim_cur;
        limit.rlim_cur = 1 << 20;
        setrlimit(RLIMIT_FSIZE, &limit);
        for (int batch = 0; batch < 100 && status == HEED_OK; batch++) {
            status = hd_store_begin(store);
            for (int i = 0; status == HEED_OK && i < 2000; i++) {
                struct hd_event_row row = event(0, 0, 1 + batch * 2000 + i);
                bool fresh;
                int32_t number;
                status = hd_store_intern_user(store, "u", 1, &number, NULL);
                if (status == HEED_OK)
                    status = hd_store_intern_item(store, "i", 1, &number, NULL);
                if (status == HEED_OK)
                    status = hd_store_put_event(store, &row, &fresh);
            }
            if (status == HEED_OK && (status = hd_store_commit(store)) == HEED_OK)
                committed += 2000;
            else
                hd_store_rollback(store);
        }
        if (status != HEED_E_IO || committed == 0 || !strstr(heed_error_message(), "data: ")) {
            print_message("%s, %d committed: %s\n", heed_status_name(status), (int)committed,
                          heed_error_message());
            _exit(1);
        }
        print_message("# %s\n", heed_error_message());
        if (hd_store_count(store, &counts) != HEED_OK || counts.events != committed)
            _exit(2);
        limit.rlim_cur = whole;
        setrlimit(RLIMIT_FSIZE, &limit);
        struct hd_event_row row = event(0, 0, 1 << 30);
        bool fresh;
        if (hd_store_begin(store) != HEED_OK ||
            hd_store_put_event(store, &row, &fresh) != HEED_OK || hd_store_commit(store) != HEED_OK)
            _exit(3);
        hd_store_close(store);
        store = opened();
        if (hd_store_count(store, &counts) != HEED_OK || counts.events != committed + 1)
            _exit(4);
        hd_store_close(store);
        _exit(0);
    }
    int result;
    waitpid(child, &result, 0);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_against_array), TEST(test_event_ids), TEST(test_items),
        TEST(test_each_item),     TEST(test_names),     TEST(test_models),
        TEST(test_two_writers),   TEST(test_state),     TEST(test_folders),
        TEST(test_read_only),     TEST(test_full_disk),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
