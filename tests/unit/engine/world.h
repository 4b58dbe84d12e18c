/* SPDX-License-Identifier: Apache-2.0
 *
 * A data folder for a test, and small files to fill it with. */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include "heed/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Readers r0 .. r39 walk through items i0 .. i29 in steps of one or two, from a place of their own:
 * what comes next is learnable from what came last. r39 has one event alone. */
enum { WORLD_USERS = 40, WORLD_ITEMS = 30, WORLD_EVENTS = 39 * 12 + 1 };

struct world {
    char folder[64]; /* a fresh one under /tmp; the data folder is "data" in it */
    char data[80];
    heed_engine *engine;
};

/* cmocka's setup and teardown of a test: *state is a struct world with an open, empty engine. */
int world_setup(void **state);
int world_teardown(void **state);

/* Closes and opens again. */
void world_reopen(struct world *w);
/* Writes a file into the folder; the path is good until the next call. */
const char *world_file(struct world *w, const char *name, const char *text);
/* Imports a file with this text, all of whose lines must be accepted. */
void world_import(struct world *w, heed_import_kind kind, const char *text);
/* The readers and items above, with titles, tags, and times an hour apart. */
void world_fill(struct world *w);
/* One short training: enough for a model to be there. */
void world_train(struct world *w);
/* The feed for a user; it must be answered. */
heed_feed *world_feed(struct world *w, const char *user, int n);

/* assert_int_equal for a status, with the engine's words where it fails. */
#define assert_status(expression, want)                                           \
    do {                                                                          \
        heed_status got_ = (expression);                                          \
        if (got_ != (want))                                                       \
            fail_msg("%s is %s, not %s: %s", #expression, heed_status_name(got_), \
                     heed_status_name(want), heed_error_message());               \
    } while (0)
#define assert_says(words)                                                        \
    do {                                                                          \
        if (!strstr(heed_error_message(), words))                                 \
            fail_msg("\"%s\" does not hold \"%s\"", heed_error_message(), words); \
    } while (0)

#endif
