/* SPDX-License-Identifier: Apache-2.0
 *
 * The import: exact accounts, in the order of the file, and the same again changes nothing,
 * whatever happened in between. */
#include "acquire/event.h"
#include "base/random.h"
#include "engine/import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>
#include <zlib.h>

#include "../../scratch.h"

static char folder[64], data[96], file[96], items_file[96];
static hd_store *store;

static int set_up(void **state)
{
    (void)state;
    scratch_make(folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(file, sizeof file, "%s/file", folder);
    snprintf(items_file, sizeof items_file, "%s/items", folder);
    return hd_store_open(data, NULL, &store) != HEED_OK;
}

static int tear_down(void **state)
{
    (void)state;
    hd_store_close(store);
    store = NULL;
    scratch_drop(folder);
    return 0;
}

static void again(void)
{
    tear_down(NULL);
    assert_int_equal(set_up(NULL), 0);
}

static heed_import_report import(heed_import_kind kind, const heed_import_opts *opts)
{
    heed_import_report report = {0};

    if (hd_import(store, kind, file, opts, &report) != HEED_OK)
        fail_msg("said: %s", heed_error_message());
    return report;
}

static heed_import_report import_text(heed_import_kind kind, const char *text)
{
    scratch_write(file, text, strlen(text));
    return import(kind, NULL);
}

/* `user:item,item user:item` in the order of the store. */
static void histories(char *out)
{
    struct hd_store_histories h;
    const char *id;

    assert_int_equal(hd_store_load_histories(store, HD_KINDS_ALL, &h), HEED_OK);
    *out = 0;
    for (int64_t u = 0; u < h.users; u++) {
        assert_int_equal(hd_store_user_id(store, (int32_t)u, &id), HEED_OK);
        out += sprintf(out, "%s%s:", u ? " " : "", id);
        for (int64_t e = h.offset[u]; e < h.offset[u + 1]; e++) {
            assert_int_equal(hd_store_item_id(store, h.item[e], &id), HEED_OK);
            out += sprintf(out, "%s%s", e > h.offset[u] ? "," : "", id);
        }
    }
    hd_store_histories_clear(&h);
}

#define INTERACTIONS HEED_IMPORT_INTERACTIONS
#define MOVIELENS HEED_IMPORT_MOVIELENS
#define EVENTS HEED_IMPORT_EVENTS
#define ITEMS HEED_IMPORT_ITEMS
#define WHO HEED_IMPORT_USERS
#define E(ts, user, item) \
    "{\"ts\":" #ts ",\"user\":\"" user "\",\"item\":\"" item "\",\"kind\":\"view\"}\n"

/* account: accepted, duplicate, rejected, users, items; then the first that was turned away. */
static const struct row {
    const char *name;
    heed_import_kind kind;
    const char *text;
    int64_t account[5];
    const char *first, *histories; /* NULL: not looked at */
} rows[] = {
    {"interactions in the order of the file",
     INTERACTIONS,
     "b 3\na 1\nb 2\nb 3\na 1\n",
     {5, 0, 0, 2, 3},
     NULL,
     "b:3,2,3 a:1,1"},
    {"bad lines between good ones",
     INTERACTIONS,
     "a 1\nx\n\na 2\nb,3\na 3 4\n",
     {2, 0, 3, 1, 2},
     "file:2: line: 1 field, not 2",
     "a:1,2"},
    {"an end of Windows, no end at all, an empty line",
     INTERACTIONS,
     "a 1\r\n\r\na 2",
     {2, 0, 0, 1, 2},
     NULL,
     "a:1,2"},
    {"one event for each", INTERACTIONS, "a 1\nb 1\n", {2, 0, 0, 2, 1}, NULL, "a:1 b:1"},
    {"ratings in the order of their times",
     MOVIELENS,
     "1::10::5::300\n1::11::4::100\n2::10::3::200\n1::12::1::200\n",
     {4, 0, 0, 2, 3},
     NULL,
     "1:11,12,10 2:10"},
    {"ties in the order of the file",
     MOVIELENS,
     "1\t9\t5\t100\n1\t3\t5\t100\n1\t5\t5\t100\n",
     {3, 0, 0, 1, 3},
     NULL,
     "1:9,3,5"},
    {"the same rating twice",
     MOVIELENS,
     "1::10::5::300\n1::10::5::300\n1::10::5::301\n",
     {2, 1, 0, 1, 1},
     NULL,
     "1:10,10"},
    {"a header",
     MOVIELENS,
     "userId,movieId,rating,timestamp\n1,2,3.5,4\n",
     {1, 0, 0, 1, 1},
     NULL,
     "1:2"},
    {"ratings with a bad time",
     MOVIELENS,
     "1::10::5::300\n1::11::5::-1\n1::12::5::0\n",
     {1, 0, 2, 1, 1},
     "file:2: timestamp: -1 is not after 1970",
     "1:10"},
    {"events that come late land in their place",
     EVENTS,
     E(3000, "a", "x") E(1000, "a", "y") E(2000, "a", "z"),
     {3, 0, 0, 1, 3},
     NULL,
     "a:y,z,x"},
    {"events with bad fields",
     EVENTS,
     E(1, "a", "x") "{\"ts\":1,\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\",\"colour\":1}\n"
                    "{\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n"
                    "{\"ts\":\n",
     {1, 0, 3, 1, 1},
     "file:2: colour: an event has no such field",
     "a:x"},
    {"events without times",
     EVENTS,
     "{\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n" E(1, "a", "x"),
     {1, 0, 1, 1, 1},
     "file:1: ts: missing; null where it is not known",
     "a:x"},
    {"events whose times are not known, in the order of the file",
     EVENTS,
     E(7, "a", "z") E(null, "a", "y") E(null, "b", "y") E(null, "a", "x") E(null, "a", "y"),
     {5, 0, 0, 2, 3},
     NULL,
     "a:y,x,y,z b:y"},
    {"users, and one who says the same twice",
     WHO,
     "{\"id\":\"a\",\"follow\":{\"tags\":[\"t\"]}}\n{\"id\":\"b\",\"consent\":{\"learn\":false}}\n"
     "{\"id\":\"a\",\"follow\":{\"tags\":[\"t\"]}}\n",
     {2, 1, 0, 2, 0},
     NULL,
     "a: b:"},
    {"users with a bad field",
     WHO,
     "{\"id\":\"a\",\"consent\":{\"lern\":true}}\n{\"id\":\"b\"}\n",
     {1, 0, 1, 1, 0},
     "file:1: consent",
     "b:"},
    {"the same event under two ids, and one id twice",
     EVENTS,
     "{\"id\":\"1\",\"ts\":5,\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n"
     "{\"id\":\"2\",\"ts\":5,\"user\":\"a\",\"item\":\"x\",\"kind\":\"view\"}\n"
     "{\"id\":\"1\",\"ts\":9,\"user\":\"b\",\"item\":\"y\",\"kind\":\"like\"}\n",
     {2, 1, 0, 2, 2},
     NULL,
     "a:x,x b:"},
    {"items",
     ITEMS,
     "{\"id\":\"x\",\"title\":\"X\"}\n{\"id\":\"y\"}\n{\"id\":\"x\",\"title\":\"X\"}\n",
     {2, 1, 0, 0, 2},
     NULL,
     ""},
    {"films",
     ITEMS,
     "1::Toy Story (1995)::Animation\n2::B\n",
     {1, 0, 1, 0, 1},
     "file:2: line: 2 columns, not 3",
     ""},
};

static void check_account(const struct row *r, const heed_import_report *report)
{
    assert_int_equal(report->accepted, r->account[0]);
    assert_int_equal(report->duplicate, r->account[1]);
    assert_int_equal(report->rejected, r->account[2]);
    assert_int_equal(report->users, r->account[3]);
    assert_int_equal(report->items, r->account[4]);
    assert_int_equal(report->has_first, r->first != NULL);
    if (r->first && !strstr(report->first_reject, r->first))
        fail_msg("first: %s", report->first_reject);
    assert_true(report->seconds > 0 && report->per_second > 0);
}

static void test_rows(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        char got[512];
        print_message("# %s\n", r->name);
        again();
        heed_import_report first = import_text(r->kind, r->text), second;
        check_account(r, &first);
        histories(got);
        assert_string_equal(got, r->histories);
        /* The same again: all of it is known. */
        second = import(r->kind, NULL);
        assert_int_equal(second.accepted, 0);
        assert_int_equal(second.duplicate, first.accepted + first.duplicate);
        assert_int_equal(second.rejected, first.rejected);
        histories(got);
        assert_string_equal(got, r->histories);
    }
}

/* What fails as a whole, with which words; nothing stays in the store. */
static const struct refusal {
    const char *name;
    heed_import_kind kind;
    const char *text;
    size_t bytes; /* 0: strlen */
    heed_status status;
    const char *words;
} refusals[] = {
    {"an empty file", MOVIELENS, "", 0, HEED_E_FORMAT, "file: the file is empty"},
    {"blank lines", INTERACTIONS, "\n  \n\r\n", 0, HEED_E_FORMAT, "file: the file is empty"},
    {"a header alone", MOVIELENS, "userId,movieId,rating,timestamp\n", 0, HEED_E_FORMAT,
     "is empty"},
    {"letters for numbers", MOVIELENS, "1::2::x::y\n", 0, HEED_E_FORMAT,
     "file:1: rating: \"x\" is not a number"},
    {"the wrong separator", INTERACTIONS, "1,2\n3,4\n", 0, HEED_E_FORMAT, "file:1: line: 1 field"},
    {"ratings for interactions", INTERACTIONS, "1::2::3::4\n", 0, HEED_E_FORMAT,
     "are these ratings"},
    {"interactions for ratings", MOVIELENS, "1 2\n3 4\n", 0, HEED_E_FORMAT,
     "file:1: line: neither"},
    {"interactions for events", EVENTS, "1 2\n", 0, HEED_E_FORMAT, "file:1: not JSON"},
    {"NUL bytes", INTERACTIONS, "\0\0\0\n\0", 5, HEED_E_FORMAT, "file:1: a NUL byte at byte 1"},
    {"Latin-1", ITEMS, "1::Les Mis\xE9rables::Drama\n", 0, HEED_E_FORMAT,
     "file:1: not UTF-8 at byte 11"},
    {"negative times alone", MOVIELENS, "1::2::3::-4\n", 0, HEED_E_FORMAT, "file:1: timestamp: -4"},
    {"a zip", MOVIELENS, "PK\3\4..........", 0, HEED_E_FORMAT, "file: a zip archive"},
    {"a gzip that is none", MOVIELENS, "\x1F\x8B nothing of the kind", 0, HEED_E_FORMAT,
     "file:1: the gzip data is damaged"},
    {"a zstd that is cut short", MOVIELENS, "\x28\xB5\x2F\xFD", 0, HEED_E_FORMAT, "is cut short"},
};

static void said(heed_status got, heed_status want, const char *words)
{
    assert_int_equal(got, want);
    if (!strstr(heed_error_message(), words))
        fail_msg("said: %s", heed_error_message());
}

static void assert_empty(void)
{
    struct hd_store_counts counts;

    assert_int_equal(hd_store_count(store, &counts), HEED_OK);
    assert_true(counts.users == 0 && counts.items == 0 && counts.events == 0);
}

static void test_refusals(void **state)
{
    heed_import_report report = {.accepted = 4711};
    char path[128];

    (void)state;
    for (const struct refusal *r = refusals; r < refusals + sizeof refusals / sizeof *refusals;
         r++) {
        print_message("# %s\n", r->name);
        scratch_write(file, r->text, r->bytes ? r->bytes : strlen(r->text));
        said(hd_import(store, r->kind, file, NULL, &report), r->status, r->words);
        assert_empty();
    }
    snprintf(path, sizeof path, "%s/none", folder);
    said(hd_import(store, MOVIELENS, path, NULL, &report), HEED_E_NOTFOUND, "none: no such file");
    said(hd_import(store, MOVIELENS, folder, NULL, &report), HEED_E_IO, "is a directory");
    said(hd_import(store, MOVIELENS, "", NULL, &report), HEED_E_ARG, "no file named");
    said(hd_import(store, (heed_import_kind)9, file, NULL, &report), HEED_E_ARG, "no kind 9");
    said(hd_import(store, MOVIELENS, file, &(heed_import_opts){.encoding = "koi8"}, &report),
         HEED_E_ARG, "\"koi8\" is neither");
    said(hd_import(store, MOVIELENS, file, &(heed_import_opts){.reserved = {1}}, &report),
         HEED_E_ARG, "reserved");
    assert_empty();
    assert_int_equal(report.accepted, 4711); /* written only when it is done */
}

/* A line at the limit of an id comes in, a line longer than any may be does not, and what follows
 * does. */
static void test_long_line(void **state)
{
    size_t bytes = 3 << 20;
    char *text = malloc(bytes);

    (void)state;
    memset(text, 'x', bytes);
    memcpy(text, "a 1\n", 4);
    memcpy(text + bytes - 5, "\na 2\n", 5);
    scratch_write(file, text, bytes);
    heed_import_report report = import(INTERACTIONS, NULL);
    assert_int_equal(report.accepted, 2);
    assert_int_equal(report.rejected, 1);
    assert_non_null(strstr(report.first_reject, "file:2: the line is longer than 1048576 bytes"));
    free(text);
}

static int told;

static void tell(void *context, const heed_reject *reject)
{
    told++;
    sprintf((char *)context + strlen(context), "%s:%d:%s;", strrchr(reject->file, '/') + 1,
            (int)reject->line, reject->reason);
}

/* Items that go with ratings; both files' bad lines are told, the titles are there. */
static void test_items_aside(void **state)
{
    static const char ratings[] = "1::1::5::100\n1::x\n1::2::3::200\n";
    static const char films[] = "1::Les Mis\xE9rables::Drama\n9::Nine::\n\n7\n";
    char rejects[512] = "", got[64];
    heed_import_opts opts = {
        .items_path = items_file, .encoding = "latin-1", .reject = tell, .reject_context = rejects};
    struct hd_item_row row;
    hd_arena *arena = hd_arena_new(0);
    int32_t number;

    (void)state;
    told = 0;
    scratch_write(file, ratings, sizeof ratings - 1);
    scratch_write(items_file, films, sizeof films - 1);
    heed_import_report report = import(MOVIELENS, &opts);
    assert_int_equal(report.accepted, 2);
    assert_int_equal(report.items_accepted, 2);
    assert_int_equal(report.rejected, 2);
    assert_int_equal(report.items, 3);
    assert_int_equal(told, 2);
    assert_string_equal(rejects, "items:4:line: 1 column, not 3;file:2:line: 2 columns, not 4;");
    assert_non_null(strstr(report.first_reject, "file:2: line: 2 columns"));
    assert_int_equal(hd_store_find_item(store, "1", 1, &number), HEED_OK);
    assert_int_equal(hd_store_get_item(store, number, arena, &row), HEED_OK);
    assert_string_equal(row.title, "Les Mis\xC3\xA9rables");
    assert_string_equal(row.tags, "[\"Drama\"]");
    hd_arena_free(arena);
    histories(got);
    assert_string_equal(got, "1:1,2");
    report = import(MOVIELENS, &opts);
    assert_true(report.accepted == 0 && report.duplicate == 2 && report.items_accepted == 0);

    /* A slip in the name of the items: nothing of the ratings comes in. */
    again();
    scratch_write(file, ratings, sizeof ratings - 1);
    opts.items_path = "/nonexistent";
    said(hd_import(store, MOVIELENS, file, &opts, &report), HEED_E_NOTFOUND, "/nonexistent");
    assert_empty();
}

static void test_every_field(void **state)
{
    static const char line[] =
        "{\"id\":\"i\",\"title\":\"T\",\"text\":\"t\\nt\",\"tags\":[\"a\",\"b\\\"c\"],\"author\":"
        "\"ann\","
        "\"url\":\"u\",\"created\":5,\"expires\":6,\"hidden\":true,\"features\":{\"v\":[1,2]}}\n";
    hd_arena *arena = hd_arena_new(0);
    struct hd_feature_row *features;
    struct hd_item_row row;
    int64_t count;

    (void)state;
    assert_int_equal(import_text(ITEMS, line).accepted, 1);
    assert_int_equal(hd_store_get_item(store, 0, arena, &row), HEED_OK);
    assert_string_equal(row.title, "T");
    assert_string_equal(row.text, "t\nt");
    assert_string_equal(row.tags, "[\"a\",\"b\\\"c\"]");
    assert_string_equal(row.author, "ann");
    assert_string_equal(row.url, "u");
    assert_true(row.created == 5 && row.expires == 6 && row.hidden);
    assert_int_equal(hd_store_get_features(store, 0, arena, &features, &count), HEED_OK);
    assert_true(count == 1 && features[0].count == 2 && features[0].value[1] == 2.0f);
    hd_arena_free(arena);
}

/* ---- a longer file */

enum { LINES = 60000, USERS = 97 };

/* Lines of USERS users in turns, items that come again. */
static size_t long_file(char *text, int lines)
{
    heed_rng rng = hd_rng(9, 0);
    size_t bytes = 0;

    for (int i = 0; i < lines; i++)
        bytes += (size_t)sprintf(text + bytes, "%d %d\n", (int)hd_random_below(&rng, USERS),
                                 (int)hd_random_below(&rng, 50));
    return bytes;
}

/* Lines that are added to the end of a file later are new, all others are known. */
static void test_grown_file(void **state)
{
    static char text[LINES * 12], want[LINES * 4], got[LINES * 4];
    const int steps[] = {1, 2, 100, 30000, 30001, LINES};
    int before = 0;

    (void)state;
    scratch_write(file, text, long_file(text, LINES));
    assert_int_equal(import(INTERACTIONS, NULL).accepted, LINES);
    histories(want);
    again();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        scratch_write(file, text, long_file(text, steps[i]));
        heed_import_report report = import(INTERACTIONS, NULL);
        assert_int_equal(report.accepted, steps[i] - before);
        assert_int_equal(report.duplicate, before);
        before = steps[i];
    }
    histories(got);
    assert_string_equal(got, want);
}

static int stop_after;

static bool until(void *context, const char *what, int64_t done, int64_t total)
{
    (void)context;
    assert_string_equal(what, "bytes read");
    assert_true(done >= 0 && done <= total);
    return stop_after-- > 0;
}

/* Stopped at the first question, at the second ...: what came before stays, the rest follows. */
static void test_cancel(void **state)
{
    static char text[LINES * 12];
    heed_import_opts opts = {.progress = {until, NULL}};
    struct hd_store_counts counts;
    heed_import_report report;
    size_t bytes = long_file(text, LINES);
    bool whole = false;

    (void)state;
    for (int questions = 0; questions < 50 && !whole; questions++) {
        again();
        scratch_write(file, text, bytes);
        stop_after = questions;
        heed_status status = hd_import(store, INTERACTIONS, file, &opts, &report);
        whole = status == HEED_OK;
        if (!whole)
            said(status, HEED_E_CANCELLED, "file: stopped at line ");
        assert_int_equal(hd_store_count(store, &counts), HEED_OK);
        assert_true(counts.events > 0);
        report = import(INTERACTIONS, NULL);
        assert_int_equal(report.duplicate, counts.events);
        assert_int_equal(report.accepted + report.duplicate, LINES);
    }
    assert_true(whole);
}

/* Whichever allocation of ours fails, the import says so or is whole, and the store can go on. */
static int64_t left;

static void *failing(void *context, void *pointer, size_t bytes)
{
    (void)context;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return left-- > 0 ? realloc(pointer, bytes) : NULL;
}

static void test_no_memory(void **state)
{
    static const char *const texts[] = {
        "1::1::5::100\n1::2::3::200\n", "userId,movieId,rating,timestamp\n\"a\"\"b\",2,3,4\n",
        "{\"id\":\"e\",\"ts\":1,\"user\":3,\"item\":\"y\",\"kind\":\"like\",\"ext\":{\"a\":1}}\n",
        "{\"id\":\"x\",\"title\":\"X\",\"tags\":[\"t\"],\"features\":{\"v\":[1,2]}}\n"};
    static const heed_import_kind kinds[] = {MOVIELENS, MOVIELENS, EVENTS, ITEMS};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bool whole = false;
        for (int64_t n = 0; n < 500 && !whole; n++) {
            heed_import_report report;
            hd_store *victim = NULL;
            again();
            hd_store_close(store);
            store = NULL;
            gzFile f = gzopen(file, "wb");
            gzputs(f, texts[i]);
            gzclose(f);
            left = n;
            heed_set_allocator(&(heed_allocator){failing, NULL});
            heed_status status = hd_store_open(data, NULL, &victim);
            if (status == HEED_OK)
                status = hd_import(victim, kinds[i], file, NULL, &report);
            hd_store_close(victim);
            heed_set_allocator(NULL);
            whole = status == HEED_OK;
            if (!whole && status != HEED_E_NOMEM)
                fail_msg("allocation %d: %s", (int)n, heed_error_message());
            assert_int_equal(hd_store_open(data, NULL, &store), HEED_OK);
            report = import(kinds[i], NULL);
            assert_true(whole ? report.accepted == 0 : report.duplicate == 0);
            assert_true(report.accepted + report.duplicate > 0 && report.rejected == 0);
        }
        assert_true(whole);
    }
}

/* Two processes import the same file at once: each line goes in once, whoever is first. The second
 * waits, or says that it waited long enough. */
static void test_two_at_once(void **state)
{
    static char text[LINES * 12];
    struct hd_store_counts counts;
    heed_import_report report = {0};
    int64_t theirs = 0;
    int tell[2], result;

    (void)state;
    scratch_write(file, text, long_file(text, LINES));
    assert_int_equal(pipe(tell), 0);
    hd_store_close(store); /* a database that is open must not go through a fork */
    store = NULL;
    pid_t child = fork();
    assert_true(child >= 0);
    assert_int_equal(hd_store_open(data, NULL, &store), HEED_OK);
    heed_status status = hd_import(store, INTERACTIONS, file, NULL, &report);
    if (child == 0) {
        if (status == HEED_OK && write(tell[1], &report.accepted, sizeof report.accepted) < 0)
            _exit(2);
        hd_store_close(store);
        _exit(status == HEED_OK || status == HEED_E_BUSY ? 0 : 1);
    }
    close(tell[1]);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    assert_true(read(tell[0], &theirs, sizeof theirs) >= 0);
    close(tell[0]);
    if (status != HEED_OK)
        said(status, HEED_E_BUSY, "is writing");
    assert_int_equal(report.accepted + theirs, LINES);
    assert_int_equal(hd_store_count(store, &counts), HEED_OK);
    assert_int_equal(counts.events, LINES);
}

/* ---- real data */

static const char *shared(const char *name, char path[512])
{
    const char *folders[] = {getenv("HEED_SHARED"), "../shared", "../../shared"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, 512, "%s/data/%s", folders[i] ? folders[i] : "", name);
        if (folders[i] && access(path, R_OK) == 0)
            return path;
    }
    print_message("skipped: no shared data\n");
    skip();
    return NULL;
}

static void test_ml_100k(void **state)
{
    char ratings[512], films[512];
    heed_import_report report;

    (void)state;
    heed_import_opts opts = {.items_path = shared("ml-100k/u.item.utf8", films)};
    heed_status status =
        hd_import(store, MOVIELENS, shared("ml-100k/u.data.gz", ratings), &opts, &report);
    assert_int_equal(status, HEED_OK);
    assert_int_equal(report.accepted, 100000);
    assert_int_equal(report.users, 943);
    assert_int_equal(report.items, 1682);
    assert_int_equal(report.items_accepted, 1681);
    assert_int_equal(report.rejected, 1); /* film 267 has a column too many in this copy */
    assert_non_null(strstr(report.first_reject, "u.item.utf8:267: line: 25 columns, not 24"));
    status = hd_import(store, MOVIELENS, ratings, NULL, &report);
    assert_int_equal(status, HEED_OK);
    assert_true(report.accepted == 0 && report.duplicate == 100000);
}

/* Each user's history is his lines in the order of the file. */
static void test_ml_1m(void **state)
{
    struct hd_store_histories h;
    heed_import_report report;
    char path[512], line[64];
    int64_t *next;

    (void)state;
    heed_status status =
        hd_import(store, INTERACTIONS, shared("ml-1m/ml-1m.txt.gz", path), NULL, &report);
    assert_int_equal(status, HEED_OK);
    assert_int_equal(report.accepted, 999611);
    assert_int_equal(report.users, 6040);
    assert_int_equal(report.items, 3416);
    print_message("# %.0f lines a second\n", report.per_second);
    assert_int_equal(hd_store_load_histories(store, HD_KINDS_ATTENTION, &h), HEED_OK);
    assert_int_equal(h.offset[h.users], 999611);
    assert_false(h.has_times);
    next = calloc((size_t)h.users, sizeof *next);
    gzFile f = gzopen(path, "rb");
    while (gzgets(f, line, sizeof line)) {
        char user[16], item[16];
        int32_t u;
        const char *id;
        assert_int_equal(sscanf(line, "%15s %15s", user, item), 2);
        assert_int_equal(hd_store_find_user(store, user, strlen(user), &u), HEED_OK);
        assert_true(h.offset[u] + next[u] < h.offset[u + 1]);
        assert_int_equal(hd_store_item_id(store, h.item[h.offset[u] + next[u]++], &id), HEED_OK);
        assert_string_equal(id, item);
    }
    gzclose(f);
    free(next);
    hd_store_histories_clear(&h);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rows),        TEST(test_refusals),   TEST(test_long_line), TEST(test_items_aside),
        TEST(test_every_field), TEST(test_grown_file), TEST(test_cancel),    TEST(test_no_memory),
        TEST(test_two_at_once), TEST(test_ml_100k),    TEST(test_ml_1m),
    };
    return cmocka_run_group_tests_name("import", tests, NULL, NULL);
}
