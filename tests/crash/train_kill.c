/* SPDX-License-Identifier: Apache-2.0
 *
 * kill -9 at random moments of a training. Whatever the moment: the folder opens, the model that
 * was there before is still served (or none, where there was none), and going on with --resume, as
 * often as it takes, ends in the file that an uninterrupted training writes, byte for byte.
 *
 * usage: train_kill [ROUNDS [SEED]] */
#include "base/random.h"
#include "base/sha256.h"
#include "base/time.h"
#include "heed/engine.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "../scratch.h"

enum { USERS = 60, ITEMS = 40, EVENTS = 15, KILLS_MAX = 4 };

static char folder[64], data[96], file[96], model[128];

static void die(const char *what)
{
    fprintf(stderr, "train_kill: %s: %s\n", what, heed_error_message());
    scratch_drop(folder);
    exit(1);
}

static heed_engine *opened(void)
{
    heed_engine *engine;

    if (heed_engine_open(data, &(heed_engine_opts){.threads = 2}, &engine) != HEED_OK)
        die("cannot be opened");
    return engine;
}

static void fill(void)
{
    static char text[USERS * EVENTS * 12];
    heed_rng rng = hd_rng(1, 0);
    heed_import_report report;
    heed_engine *engine = opened();
    size_t bytes = 0;

    for (int u = 0; u < USERS; u++)
        for (int e = 0, item = u; e < EVENTS; e++) {
            item = (item + 1 + (int)hd_random_below(&rng, 3)) % ITEMS;
            bytes += (size_t)sprintf(text + bytes, "%d %d\n", u, item);
        }
    scratch_write(file, text, bytes);
    if (heed_engine_import(engine, HEED_IMPORT_INTERACTIONS, file, NULL, &report) != HEED_OK)
        die("cannot be filled");
    heed_engine_close(engine);
}

static heed_status train(bool resume, heed_train_report *report)
{
    heed_train_opts opts = {.recipe = HEED_RECIPE_SASREC,
                            .dim = 64,
                            .layers = 2,
                            .length = 64,
                            .epochs = 12,
                            .batch = 4,
                            .seed = 5,
                            .threads = 1,
                            .resume = resume};
    heed_engine *engine = opened();
    heed_status status = heed_engine_train(engine, &opts, report);

    heed_engine_close(engine);
    return status;
}

/* The model's file; all zeros where there is none. */
static void digest(char hex[HD_SHA256_HEX_BYTES])
{
    char block[4096];
    struct hd_sha256 sha;
    size_t got;
    FILE *f = fopen(model, "rb");

    memset(hex, 0, HD_SHA256_HEX_BYTES);
    if (!f)
        return;
    hd_sha256_init(&sha);
    while ((got = fread(block, 1, sizeof block, f)) > 0)
        hd_sha256_update(&sha, block, got);
    fclose(f);
    hd_sha256_final_hex(&sha, hex);
}

#define RESUMED 3 /* exit status of a child that was done, and had gone on from a checkpoint */

/* Whether the child was killed before it was done; *resumed is set where it was not, and resumed. */
static bool train_and_kill(bool resume, int64_t wait_us, bool *resumed)
{
    heed_train_report report;
    int result;
    pid_t child = fork();

    if (child == 0)
        _exit(train(resume, &report) != HEED_OK ? 1 : report.resumed ? RESUMED : 0);
    usleep((useconds_t)wait_us);
    kill(child, SIGKILL);
    waitpid(child, &result, 0);
    if (WIFEXITED(result) && WEXITSTATUS(result) == 1)
        die("the training failed by itself");
    *resumed |= WIFEXITED(result) && WEXITSTATUS(result) == RESUMED;
    return WIFSIGNALED(result);
}

static void check_feed(const char *policy)
{
    heed_engine *engine = opened();
    heed_feed *feed;

    if (heed_engine_feed(engine, &(heed_feed_request){.user = "7", .unrecorded = true}, &feed) !=
        HEED_OK)
        die("no feed");
    if (strcmp(feed->policy, policy) != 0 || feed->count == 0)
        die(feed->why_policy);
    heed_feed_free(feed);
    heed_engine_close(engine);
}

/* One training, killed again and again. Returns whether it was ever resumed. */
static bool round_of(heed_rng *rng, double seconds, const char *want)
{
    char before[HD_SHA256_HEX_BYTES], now[HD_SHA256_HEX_BYTES];
    heed_train_report report = {0};
    bool killed = true, resumed = false;
    int kills = 0;

    unlink(model);
    digest(before);
    for (; killed && kills < KILLS_MAX; kills++) {
        killed = train_and_kill(kills > 0, (int64_t)((0.2 + 0.6 * hd_random_unit(rng)) * seconds * 1e6),
                                &resumed);
        digest(now);
        /* Between the rename and the exit there is a whole model already. */
        if (memcmp(now, before, sizeof now) != 0 && strcmp(now, want) != 0)
            die("there is a model that nobody trained");
        check_feed(now[0] ? "sequence" : "popular");
    }
    if (train(true, &report) != HEED_OK)
        die("cannot be resumed");
    digest(now);
    if (strcmp(now, want) != 0)
        die("what was resumed is another model");
    check_feed("sequence");
    resumed |= report.resumed;
    printf("stopped %d times, %s\n", kills, resumed ? "resumed" : "begun again");
    return resumed;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 8, resumed = 0;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)hd_monotonic_ns();
    heed_rng rng = hd_rng(seed, 0);
    heed_train_report report;
    char want[HD_SHA256_HEX_BYTES];

    printf("seed %" PRIu64 "\n", seed);
    scratch_make(folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(file, sizeof file, "%s/file", folder);
    snprintf(model, sizeof model, "%s/models/sequence.safetensors", data);
    fill();
    int64_t began_ns = hd_monotonic_ns();
    if (train(false, &report) != HEED_OK)
        die("cannot be trained");
    double seconds = (double)(hd_monotonic_ns() - began_ns) * 1e-9;
    digest(want);
    for (int i = 0; i < rounds; i++)
        resumed += round_of(&rng, seconds, want);
    scratch_drop(folder);
    printf("%d of %d resumed\n", resumed, rounds);
    /* Were none of them resumed, the test would say nothing. */
    return rounds >= 8 && resumed == 0 ? 1 : 0;
}
