/* SPDX-License-Identifier: Apache-2.0
 *
 * kill -9 at random moments of an erasure, a retention, a backup. Whatever the moment: the store opens,
 * every invariant holds, nobody else has lost anything, and what was begun is done by asking again.
 *
 * usage: erase_kill [ROUNDS [SEED]] */
#include "base/random.h"
#include "base/time.h"
#include "heed/operate.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../scratch.h"

enum { USERS = 60, EACH = 400, OLD = 100, DECISIONS = 4000 };
enum job { ERASE, RETAIN, BACKUP, JOBS };

static const char *const names[JOBS] = {"erase", "retain", "backup"};
static char folder[64], whole[96], data[96], copy[96];

static void die(const char *what)
{
    fprintf(stderr, "erase_kill: %s: %s\n", what, heed_error_message());
    scratch_drop(folder);
    exit(1);
}

static heed_engine *opened(const char *path)
{
    heed_engine *engine = NULL;

    if (heed_engine_open(path, NULL, &engine) != HEED_OK)
        die("cannot be opened");
    return engine;
}

/* A store with users of EACH events, the first OLD of each old, and decisions of all of them. */
static void make_whole(void)
{
    static char text[USERS * EACH * 80];
    char path[128];
    heed_import_report report;
    size_t bytes = 0;

    for (int u = 0; u < USERS; u++)
        for (int e = 0; e < EACH; e++)
            bytes += (size_t)sprintf(text + bytes,
                                     "{\"ts\":%d,\"user\":\"u%d\",\"item\":\"i%d\",\"kind\":\"view\"}\n",
                                     (e < OLD ? 1000 : 1000000) + e, u, (u + e) % 97);
    snprintf(path, sizeof path, "%s/events", folder);
    scratch_write(path, text, bytes);
    heed_engine *engine = opened(whole);
    if (heed_engine_import(engine, HEED_IMPORT_EVENTS, path, NULL, &report) != HEED_OK)
        die("import");
    heed_engine_close(engine);
    bytes = 0;
    for (int d = 0; d < DECISIONS; d++)
        bytes += (size_t)sprintf(text + bytes,
                                 "{\"decision\":\"%d\",\"user\":\"u%d\",\"items\":[]}\n", d, d % USERS);
    snprintf(path, sizeof path, "%s/decisions.ndjson", whole);
    scratch_write(path, text, bytes);
}

static void copy_one(const char *name)
{
    static char text[8 << 20];
    char from[160], to[160];

    snprintf(from, sizeof from, "%s/%s", whole, name);
    snprintf(to, sizeof to, "%s/%s", data, name);
    FILE *f = fopen(from, "rb");
    if (!f)
        die(from);
    size_t bytes = fread(text, 1, sizeof text, f);
    fclose(f);
    scratch_write(to, text, bytes);
}

static void fresh_copy(void)
{
    scratch_drop(data);
    scratch_drop(copy);
    if (mkdir(data, 0777) != 0)
        die("mkdir");
    copy_one("heed.db");
    copy_one("decisions.ndjson");
}

static heed_status work(heed_engine *engine, enum job job)
{
    heed_erasure report;
    int64_t removed;

    switch (job) {
    case ERASE:
        return heed_engine_erase(engine, "u7", &report);
    case RETAIN:
        return heed_engine_retain(engine, NULL, 500000, &removed);
    default:
        return heed_engine_backup(engine, copy, NULL);
    }
}

static void say(void *context, const char *what)
{
    (void)context;
    fprintf(stderr, "erase_kill: %s\n", what);
}

static void must_be_whole(heed_engine *engine, const char *when)
{
    heed_check_report report;

    if (heed_engine_check(engine, say, NULL, &report) != HEED_OK || report.findings)
        die(when);
}

static heed_erasure trace(heed_engine *engine, const char *user)
{
    heed_erasure report;

    if (heed_engine_erase_verify(engine, user, &report) != HEED_OK)
        die("verify");
    return report;
}

static void check_after(enum job job)
{
    heed_engine *engine = opened(data), *back;
    heed_erasure other;

    must_be_whole(engine, "after the kill");
    other = trace(engine, "u8");
    if (!other.known || other.decisions < DECISIONS / USERS ||
        other.events < (job == RETAIN ? EACH - OLD : EACH))
        die("somebody else has lost something");
    if (work(engine, job) != HEED_OK && !(job == BACKUP && access(copy, F_OK) == 0))
        die("cannot be done again");
    must_be_whole(engine, "after it was done again");
    other = trace(engine, "u8");
    if (other.events != (job == RETAIN ? EACH - OLD : EACH))
        die("not done, or too much of it");
    if (job == ERASE) {
        heed_erasure gone = trace(engine, "u7");
        if (gone.known || gone.events || gone.decisions)
            die("a trace is left");
    }
    if (job == BACKUP) {
        back = opened(copy);
        must_be_whole(back, "the backup");
        if (trace(back, "u8").events != EACH)
            die("the backup is not all of it");
        heed_engine_close(back);
    }
    heed_engine_close(engine);
}

/* Whether it was killed before it was done. wait_us below 0: not at all; then *us is how long it took. */
static bool round_of(enum job job, int64_t wait_us, int64_t *us)
{
    int result, tell[2];
    char started;

    fresh_copy();
    if (pipe(tell) != 0)
        die("pipe");
    pid_t child = fork();
    if (child == 0) {
        heed_engine *engine = opened(data);
        if (write(tell[1], "s", 1) != 1)
            _exit(2);
        _exit(work(engine, job) == HEED_OK ? 0 : 1);
    }
    close(tell[1]);
    if (read(tell[0], &started, 1) != 1)
        die("did not begin");
    close(tell[0]);
    int64_t begun = hd_monotonic_ns();
    if (wait_us >= 0) {
        usleep((useconds_t)wait_us);
        kill(child, SIGKILL);
    }
    waitpid(child, &result, 0);
    *us = (hd_monotonic_ns() - begun) / 1000;
    if (WIFEXITED(result) && WEXITSTATUS(result) != 0)
        die("failed by itself");
    check_after(job);
    return WIFSIGNALED(result);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 15, amid[JOBS] = {0};
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)hd_monotonic_ns();
    heed_rng rng = hd_rng(seed, 0);
    bool said_nothing = false;

    printf("seed %" PRIu64 "\n", seed);
    scratch_make(folder);
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(copy, sizeof copy, "%s/copy", folder);
    make_whole();
    for (int job = 0; job < JOBS; job++) {
        int64_t us, ignored;
        round_of((enum job)job, -1, &us);
        for (int i = 0; i < rounds; i++)
            amid[job] += round_of((enum job)job, (int64_t)(hd_random_unit(&rng) * (double)us), &ignored);
        printf("%s: %d of %d killed in the middle of %" PRId64 " us\n", names[job], amid[job], rounds, us);
        said_nothing = said_nothing || amid[job] == 0;
    }
    scratch_drop(folder);
    /* Were none of them in the middle, the test would say nothing. */
    return rounds >= 15 && said_nothing ? 1 : 0;
}
