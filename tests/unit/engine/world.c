/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's tests stand on this: a small world of readers and items in a folder of its own, made
 * and taken away around each test. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "world.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

void world_reopen(struct world *w)
{
    heed_engine_close(w->engine);
    w->engine = NULL;
    assert_status(heed_engine_open(w->data, &(heed_engine_opts){.threads = 2}, &w->engine),
                  HEED_OK);
}

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (!w)
        return -1;
    strcpy(w->folder, "/tmp/heed-test-XXXXXX");
    if (!mkdtemp(w->folder))
        return -1;
    snprintf(w->data, sizeof w->data, "%s/data", w->folder);
    world_reopen(w);
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;

    heed_engine_close(w->engine);
    nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

const char *world_file(struct world *w, const char *name, const char *text)
{
    static char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

void world_import(struct world *w, heed_import_kind kind, const char *text)
{
    heed_import_report report = {0};

    assert_status(
        heed_engine_import(w->engine, kind, world_file(w, "import.txt", text), NULL, &report),
        HEED_OK);
    assert_int_equal(report.rejected, 0);
}

void world_fill(struct world *w)
{
    static char text[WORLD_EVENTS * 96];
    size_t used = 0;

    for (int i = 0; i < WORLD_ITEMS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "{\"id\":\"i%d\",\"title\":\"Title %d\",\"tags\":[\"t%d\"],"
                                 "\"created\":%d}\n",
                                 i, i, i % 3, 1000 + i);
    world_import(w, HEED_IMPORT_ITEMS, text);
    used = 0;
    for (int u = 0; u < WORLD_USERS; u++)
        for (int e = 0; e < (u == WORLD_USERS - 1 ? 1 : 12); e++)
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "{\"ts\":%lld,\"user\":\"r%d\",\"item\":\"i%d\","
                                     "\"kind\":\"view\"}\n",
                                     1700000000000LL + 3600000LL * e, u,
                                     (u * 3 + e * (1 + u % 2)) % WORLD_ITEMS);
    world_import(w, HEED_IMPORT_EVENTS, text);
}

void world_train(struct world *w)
{
    heed_train_opts opts = {.recipe = HEED_RECIPE_SASREC,
                            .dim = 16,
                            .layers = 1,
                            .heads = 1,
                            .length = 16,
                            .epochs = 2};
    heed_train_report report;

    assert_status(heed_engine_train(w->engine, &opts, &report), HEED_OK);
}

heed_feed *world_feed(struct world *w, const char *user, int n)
{
    heed_feed *feed = NULL;

    assert_status(heed_engine_feed(w->engine, &(heed_feed_request){.user = user, .n = n}, &feed),
                  HEED_OK);
    return feed;
}
