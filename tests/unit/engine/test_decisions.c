/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of decisions: appended to by threads and processes while a user's lines are taken out and
 * the file is turned over, and no line of anybody else is lost, doubled or torn. */
#include "base/random.h"
#include "engine/decision_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../../scratch.h"

static char folder[64];
static int dir = -1;

static void must(heed_status status)
{
    if (status != HEED_OK)
        fail_msg("said: %s", heed_error_message());
}

static int set_up(void **state)
{
    (void)state;
    scratch_make(folder);
    return hd_decisions_open(folder, &dir) == HEED_OK ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    close(dir);
    scratch_drop(folder);
    return 0;
}

static void append(const char *user, int number, int64_t bytes_max)
{
    char line[256];
    int bytes = snprintf(line, sizeof line,
                         "{\"decision\":\"%d\",\"user\":\"%s\",\"items\":[\"ann\"]}\n", number, user);

    must(hd_decisions_append(dir, line, (size_t)bytes, bytes_max));
}

static int64_t of(const char *user)
{
    int64_t count;

    must(hd_decisions_of(dir, user, NULL, NULL, &count));
    return count;
}

static int64_t erase(const char *user)
{
    int64_t removed;

    must(hd_decisions_erase(dir, user, &removed));
    return removed;
}

/* An id that is part of another, that stands in another field, that must be escaped. */
static void test_whose(void **state)
{
    (void)state;
    append("ann", 1, INT64_MAX);
    append("anna", 2, INT64_MAX);
    append("bob", 3, INT64_MAX);
    append("a\\\"b", 4, INT64_MAX); /* a"b */
    append("ann", 5, INT64_MAX);
    assert_int_equal(of("ann"), 2);
    assert_int_equal(of("a\"b"), 1);
    assert_int_equal(of("nobody"), 0);
    assert_int_equal(erase("ann"), 2);
    assert_int_equal(erase("a\"b"), 1);
    assert_int_equal(erase("ann"), 0);
    assert_int_equal(of("anna") + of("bob"), 2);
}

static heed_status note(void *context, const char *line, size_t bytes)
{
    snprintf((char *)context + strlen(context), 20, "%.*s ", bytes > 15 ? 15 : (int)bytes, line);
    return HEED_OK;
}

/* A full file becomes the older one; one generation is kept; both are looked at. */
static void test_turned_over(void **state)
{
    char seen[512] = "";
    int64_t count;

    (void)state;
    for (int i = 0; i < 9; i++)
        append(i % 2 ? "ann" : "bob", i, 120); /* three lines are more */
    must(hd_decisions_of(dir, "ann", note, seen, &count));
    assert_string_equal(seen, "{\"decision\":\"7\" "); /* 6 7 8 are the older file, 0 to 5 are gone */
    append("ann", 9, INT64_MAX);
    assert_int_equal(of("ann"), 2);
    assert_int_equal(of("bob"), 2);
    assert_int_equal(erase("ann"), 2);
    assert_int_equal(of("bob"), 2);
}

/* A line longer than what is read at once, and one that was torn. */
static void test_odd_lines(void **state)
{
    enum { LONG = 1 << 19 };
    static char line[LONG + 100];
    int bytes = snprintf(line, sizeof line, "{\"user\":\"bob\",\"x\":\"%0*d\"}\n", LONG, 1);

    (void)state;
    append("ann", 1, INT64_MAX);
    must(hd_decisions_append(dir, line, (size_t)bytes, INT64_MAX));
    must(hd_decisions_append(dir, "{\"user\":\"ann\",\"it", 17, INT64_MAX));
    assert_int_equal(of("bob"), 1);
    assert_int_equal(of("ann"), 2);
    assert_int_equal(erase("ann"), 2);
    assert_int_equal(of("bob"), 1);
    assert_int_equal(erase("bob"), 1);
    struct stat st;
    assert_int_equal(fstatat(dir, HD_DECISION_FILE, &st, 0), 0);
    assert_int_equal(st.st_size, 0);
}

/* What a rewriting that was killed has left is neither kept nor counted. */
static void test_left_over(void **state)
{
    (void)state;
    append("ann", 1, INT64_MAX);
    int fd = openat(dir, HD_DECISION_PART_FILE, O_WRONLY | O_CREAT, 0666);
    assert_int_equal(write(fd, "{\"user\":\"ann\"}\n", 15), 15);
    close(fd);
    assert_int_equal(of("ann"), 1);
    assert_int_equal(faccessat(dir, HD_DECISION_PART_FILE, F_OK, 0), -1);
    assert_int_equal(erase("ann"), 1);
}

enum { WRITERS = 3, LINES = 3000 };

static void *writer(void *number)
{
    char name[16];

    snprintf(name, sizeof name, "w%d", *(int *)number);
    for (int i = 0; i < LINES; i++) {
        append(name, i, INT64_MAX);
        append("ann", i, INT64_MAX);
    }
    return NULL;
}

/* Whether the writer's lines are 0, 1, 2 ... */
struct order {
    int64_t next;
    bool good;
};

static heed_status check_order(void *context, const char *line, size_t bytes)
{
    struct order *o = context;

    (void)bytes;
    o->good = o->good && strtol(line + strlen("{\"decision\":\""), NULL, 10) == o->next++;
    return HEED_OK;
}

static void test_beside_writers(void **state)
{
    pthread_t thread[WRITERS];
    int number[WRITERS];
    int64_t removed = 0, rounds = 0, count;

    (void)state;
    for (int i = 0; i < WRITERS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, writer, &number[i]), 0);
    }
    pid_t child = fork(); /* a process of its own, with a fourth writer */
    if (child == 0) {
        int fourth = WRITERS;
        writer(&fourth);
        _exit(0);
    }
    int result = 0;
    while (waitpid(child, &result, WNOHANG) == 0) {
        removed += erase("ann");
        rounds++;
    }
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    removed += erase("ann");
    print_message("# %d rewritings beside the writers\n", (int)rounds);
    assert_int_equal(removed, (WRITERS + 1) * LINES);
    for (int i = 0; i <= WRITERS; i++) {
        struct order order = {.good = true};
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        must(hd_decisions_of(dir, name, check_order, &order, &count));
        assert_int_equal(count, LINES);
        assert_true(order.good);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whose),     TEST(test_turned_over),    TEST(test_odd_lines),
        TEST(test_left_over), TEST(test_beside_writers),
    };
    return cmocka_run_group_tests_name("decisions", tests, NULL, NULL);
}
