/* SPDX-License-Identifier: Apache-2.0
 *
 * kill -9 at random moments of an import. Whatever the moment: the store opens, what it holds is
 * the beginning of the file, and importing again adds the rest and nothing twice. And what an
 * import has reported as done is there even where the process dies before it closes anything.
 *
 * usage: import_kill [ROUNDS [SEED]] */
#include "base/random.h"
#include "base/time.h"
#include "engine/import.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "../scratch.h"

enum { LINES = 60000, USERS = 300, ITEMS = 200 };

struct pair {
    int user, item;
};

static struct pair lines[LINES];
static char folder[64], data[96], file[96];

static void die(const char *what)
{
    fprintf(stderr, "import_kill: %s: %s\n", what, heed_error_message());
    scratch_drop(folder);
    exit(1);
}

static void write_file(void)
{
    static char text[LINES * 12];
    heed_rng rng = hd_rng(1, 0);
    size_t bytes = 0;

    for (int i = 0; i < LINES; i++) {
        lines[i] =
            (struct pair){(int)hd_random_below(&rng, USERS), (int)hd_random_below(&rng, ITEMS)};
        bytes += (size_t)sprintf(text + bytes, "%d %d\n", lines[i].user, lines[i].item);
    }
    scratch_write(file, text, bytes);
}

/* What the store holds is the first so many lines, each in the order of its user. */
static int64_t check_beginning(hd_store *store)
{
    struct hd_store_histories h;
    struct hd_store_counts counts;
    int64_t next[USERS] = {0};
    char text[16];

    if (hd_store_count(store, &counts) != HEED_OK ||
        hd_store_load_histories(store, HD_KINDS_ALL, &h) != HEED_OK)
        die("cannot be read");
    if (h.offset[h.users] != counts.events || counts.events > LINES)
        die("counts and rows differ");
    for (int64_t i = 0; i < counts.events; i++) {
        int32_t user, item;
        snprintf(text, sizeof text, "%d", lines[i].user);
        if (hd_store_find_user(store, text, strlen(text), &user) != HEED_OK || user < 0)
            die("a user is lost");
        snprintf(text, sizeof text, "%d", lines[i].item);
        if (hd_store_find_item(store, text, strlen(text), &item) != HEED_OK || item < 0)
            die("an item is lost");
        int64_t at = h.offset[user] + next[user]++;
        if (at >= h.offset[user + 1] || h.item[at] != item)
            die("what is there is not the beginning of the file");
    }
    hd_store_histories_clear(&h);
    return counts.events;
}

static hd_store *opened(void)
{
    hd_store *store;

    if (hd_store_open(data, NULL, &store) != HEED_OK)
        die("cannot be opened");
    return store;
}

/* The child; `tell` is where it says that the import is done, before it goes on without closing. */
static void import_and_linger(int tell)
{
    heed_import_report report;
    hd_store *store;

    if (hd_store_open(data, NULL, &store) != HEED_OK ||
        hd_import(store, HEED_IMPORT_INTERACTIONS, file, NULL, &report) != HEED_OK ||
        write(tell, &report, sizeof report) != sizeof report)
        _exit(1);
    for (;;)
        pause();
}

static void kill_child(pid_t child)
{
    int result;

    kill(child, SIGKILL);
    waitpid(child, &result, 0);
    if (!WIFSIGNALED(result) || WTERMSIG(result) != SIGKILL)
        die("the import failed by itself");
}

/* wait_us below 0: until it says that it is done; *seconds is how long that took. */
static bool round_of(int64_t wait_us, double *seconds)
{
    heed_import_report report = {0};
    bool done;
    int tell[2];

    if (pipe(tell) != 0)
        die("pipe");
    pid_t child = fork();
    if (child == 0) {
        close(tell[0]);
        import_and_linger(tell[1]);
    }
    close(tell[1]);
    if (wait_us >= 0)
        usleep((useconds_t)wait_us);
    else if (read(tell[0], &report, sizeof report) != sizeof report)
        die("the import failed by itself");
    if (wait_us < 0)
        *seconds = report.seconds;
    kill_child(child);
    done = wait_us < 0 || read(tell[0], &report, sizeof report) == sizeof report;
    close(tell[0]);

    hd_store *store = opened();
    int64_t before = check_beginning(store);
    if (done && before != LINES)
        die("reported as done, and not all of it is there");
    if (hd_import(store, HEED_IMPORT_INTERACTIONS, file, NULL, &report) != HEED_OK)
        die("cannot be imported again");
    if (report.duplicate != before || report.accepted != LINES - before || report.rejected)
        die("importing again is not the rest");
    if (check_beginning(store) != LINES)
        die("not whole");
    hd_store_close(store);
    printf("killed with %" PRId64 " of %d lines in the store\n", before, LINES);
    scratch_drop(data);
    return before > 0 && before < LINES;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20, amid = 0;
    double seconds = 0;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)hd_monotonic_ns();
    heed_rng rng = hd_rng(seed, 0);

    printf("seed %" PRIu64 "\n", seed);
    scratch_make(folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(file, sizeof file, "%s/file", folder);
    write_file();
    round_of(-1, &seconds);
    for (int i = 0; i < rounds; i++)
        amid += round_of((int64_t)(hd_random_unit(&rng) * seconds * 1e6), NULL);
    scratch_drop(folder);
    printf("%d of %d in the middle\n", amid, rounds);
    /* Were none of them in the middle, the test would say nothing. */
    return rounds >= 20 && amid == 0 ? 1 : 0;
}
