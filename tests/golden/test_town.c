/* SPDX-License-Identifier: Apache-2.0
 *
 * A small town, byte for byte as it was when it was reviewed; a run that is cancelled or cannot
 * write leaves what was there. HEED_GOLDEN=write rewrites the files; the diff is reviewed as code.
 */
#include "heed/simulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

static const char *const names[] = {"items.ndjson", "events.ndjson", "truth.ndjson", "README.txt"};
static const heed_simulate_opts small = {.users = 6, .items = 8, .events = 60, .seed = 7};
static char folder[] = "/tmp/heed-town-XXXXXX";

static char *slurp(const char *directory, const char *name, size_t *bytes)
{
    char path[512], *text;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    text = calloc(*bytes + 1, 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, *bytes, f), *bytes);
    fclose(f);
    return text;
}

static void test_same_bytes(void **state)
{
    (void)state;
    heed_simulate_report report;
    const char *golden = getenv("HEED_GOLDEN_TOWN"), *mode = getenv("HEED_GOLDEN");
    bool rewrite = mode && !strcmp(mode, "write");

    assert_non_null(golden);
    assert_int_equal(heed_simulate(&small, rewrite ? golden : folder, &report), HEED_OK);
    assert_int_equal(report.events, 60);
    assert_int_equal(report.events, report.impressions + report.views + report.clicks +
                                        report.likes + report.dislikes + report.shares +
                                        report.saves + report.hides);
    assert_true(report.first < report.last && report.readers <= report.users);
    for (size_t i = 0; !rewrite && i < sizeof names / sizeof *names; i++) {
        size_t want_bytes = 0, got_bytes = 0;
        char *want = slurp(golden, names[i], &want_bytes),
             *got = slurp(folder, names[i], &got_bytes);
        print_message("# %s\n", names[i]);
        assert_non_null(want);
        assert_non_null(got);
        assert_int_equal(got_bytes, want_bytes);
        assert_memory_equal(got, want, want_bytes);
        free(want), free(got);
    }
}

/* Another seed is another town; a larger town does not begin with the smaller one's bytes. */
static void test_other_seed(void **state)
{
    (void)state;
    heed_simulate_opts opts = small;
    size_t a_bytes, b_bytes;
    char *a, *b;

    assert_int_equal(heed_simulate(&opts, folder, NULL), HEED_OK);
    a = slurp(folder, "events.ndjson", &a_bytes);
    opts.seed = 8;
    assert_int_equal(heed_simulate(&opts, folder, NULL), HEED_OK);
    b = slurp(folder, "events.ndjson", &b_bytes);
    assert_true(a_bytes != b_bytes || memcmp(a, b, a_bytes));
    free(a), free(b);
}

static bool stop(void *context, const char *what, int64_t done, int64_t total)
{
    *(int64_t *)context = done;
    return strcmp(what, "events") != 0 || done > total;
}

static void test_nothing_half_done(void **state)
{
    (void)state;
    int64_t reached = 0;
    size_t before_bytes, after_bytes;
    heed_simulate_opts opts = {
        .users = 50, .items = 40, .events = 50000, .seed = 1, .progress = {stop, &reached}};
    char path[512], *before, *after;
    struct stat info;

    assert_int_equal(heed_simulate(&small, folder, NULL), HEED_OK);
    before = slurp(folder, "events.ndjson", &before_bytes);
    assert_int_equal(heed_simulate(&opts, folder, NULL), HEED_E_CANCELLED);
    assert_int_equal(reached, 20000);
    after = slurp(folder, "events.ndjson", &after_bytes);
    assert_int_equal(before_bytes, after_bytes);
    assert_memory_equal(before, after, before_bytes);
    snprintf(path, sizeof path, "%s/events.ndjson.part", folder);
    assert_int_not_equal(stat(path, &info), 0);
    free(before), free(after);

    snprintf(path, sizeof path, "%s/events.ndjson/below-a-file", folder);
    assert_int_equal(heed_simulate(&small, path, NULL), HEED_E_IO);
    assert_non_null(strstr(heed_error_message(), path));
    assert_int_equal(heed_simulate(&small, "", NULL), HEED_E_ARG);
    assert_int_equal(heed_simulate(&small, NULL, NULL), HEED_E_ARG);
}

/* Folders above the one named are made too. */
static void test_folders(void **state)
{
    (void)state;
    char path[512];
    size_t bytes;

    snprintf(path, sizeof path, "%s/a//b/", folder);
    assert_int_equal(heed_simulate(&small, path, NULL), HEED_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text = slurp(path, names[i], &bytes), name[640];
        assert_non_null(text);
        free(text);
        snprintf(name, sizeof name, "%s%s", path, names[i]);
        assert_int_equal(remove(name), 0);
    }
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/a", folder);
    assert_int_equal(rmdir(path), 0);
}

static int clear_folder(void **state)
{
    char path[512];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_other_seed),
        cmocka_unit_test(test_nothing_half_done),
        cmocka_unit_test(test_folders),
    };
    if (!mkdtemp(folder))
        return 1;
    return cmocka_run_group_tests(tests, NULL, clear_folder);
}
