/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading, exporting, erasing, retaining, backing up and checking with the n-th allocation failing, for
 * every n until none does: a clear status each time, and afterwards it is done as ever. */
#include "world.h"
#include "base/memory.h"
#include "heed/operate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static struct world *world;

static heed_status read_one(void)
{
    heed_text *text = NULL;
    heed_status status = heed_engine_read(world->engine, HEED_RECORD_ITEM, "i3", &text);

    heed_text_free(text);
    return status;
}

static heed_status list_some(void)
{
    heed_list_opts opts = {.n = 50};
    heed_text *text = NULL;
    heed_status status = heed_engine_list(world->engine, HEED_RECORD_EVENT, &opts, &text);

    heed_text_free(text);
    return status;
}

static bool swallow(void *context, const char *text, size_t bytes)
{
    (void)context, (void)text, (void)bytes;
    return true;
}

static heed_status export_items(void)
{
    return heed_engine_export(world->engine, HEED_RECORD_ITEM, &(heed_sink){swallow, NULL});
}

static heed_status export_one(void)
{
    heed_text *text = NULL;
    heed_status status = heed_engine_export_user(world->engine, "r4", &text);

    heed_text_free(text);
    return status;
}

static heed_status verify(void)
{
    heed_erasure report;

    return heed_engine_erase_verify(world->engine, "r4", &report);
}

static heed_status erase(void)
{
    heed_erasure report = {0};
    heed_status status = heed_engine_erase(world->engine, "r5", &report);

    if (status != HEED_OK)
        return status;
    left = INT64_MAX;
    HEED_TRY(heed_engine_erase_verify(world->engine, "r5", &report));
    assert_true(!report.known && report.events == 0 && report.decisions == 0);
    return HEED_OK;
}

static heed_status retain(void)
{
    return heed_engine_retain(world->engine, "view", 1700000000001, NULL);
}

static heed_status remove_item(void)
{
    return heed_engine_remove(world->engine, HEED_RECORD_ITEM, "i7");
}

static const char *beside(const char *name)
{
    static char path[2][160];
    static int turn;
    char *out = path[turn++ % 2];

    snprintf(out, sizeof path[0], "%s/%s", world->folder, name);
    return out;
}

static heed_status backup(void)
{
    return heed_engine_backup(world->engine, beside("copy"), NULL);
}

static heed_status restore(void)
{
    return heed_restore(beside("copy"), beside("back"));
}

static heed_status check(void)
{
    heed_check_report report = {0};
    heed_status status = heed_engine_check(world->engine, NULL, NULL, &report);

    assert_int_equal(report.findings, 0);
    return status;
}

static heed_status compact(void)
{
    return heed_engine_compact(world->engine, NULL, NULL);
}

static void test_every_allocation(void **state)
{
    static const struct {
        const char *name;
        heed_status (*run)(void);
    } calls[] = {
        {"read", read_one},     {"list", list_some}, {"export", export_items},
        {"export user", export_one}, {"verify", verify},  {"erase", erase},
        {"retain", retain},     {"remove", remove_item}, {"backup", backup},
        {"restore", restore},   {"check", check},    {"compact", compact},
    };

    world = *state;
    world_fill(world);
    heed_feed_free(world_feed(world, "r4", 5));
    heed_feed_free(world_feed(world, "r5", 5));
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        heed_status status = HEED_E_NOMEM;
        int64_t n = 0;
        for (; n < 2000 && status != HEED_OK; n++) {
            left = n;
            heed_set_allocator(&(heed_allocator){failing, NULL});
            status = calls[c].run();
            heed_set_allocator(NULL);
            if (status != HEED_OK && status != HEED_E_NOMEM)
                fail_msg("%s, allocation %d: %s", calls[c].name, (int)n, heed_error_message());
        }
        print_message("# %s: %d allocations\n", calls[c].name, (int)n - 1);
        assert_int_equal(status, HEED_OK);
        assert_true(n > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_allocation, world_setup, world_teardown)};
    return cmocka_run_group_tests_name("keep memory", tests, NULL, NULL);
}
