/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in a folder of its own, for tests of what is kept beside events and items. */
#ifndef HEED_TEST_SHOP_H
#define HEED_TEST_SHOP_H

#include "store/store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "scratch.h"

static char folder[64], data[96];

static inline int set_up(void **state)
{
    (void)state;
    scratch_make(folder);
    snprintf(data, sizeof data, "%s/data", folder);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    scratch_drop(folder);
    return 0;
}

static inline void must(heed_status status)
{
    if (status != HEED_OK)
        fail_msg("said: %s", heed_error_message());
}

static inline hd_store *opened(void)
{
    hd_store *store = NULL;

    must(hd_store_open(data, &(struct hd_store_opts){.busy_ms = 50}, &store));
    return store;
}

static inline int32_t user_of(hd_store *store, const char *id)
{
    int32_t number;

    must(hd_store_intern_user(store, id, strlen(id), &number, NULL));
    return number;
}

static inline int32_t item_of(hd_store *store, const char *id)
{
    int32_t number;

    must(hd_store_intern_item(store, id, strlen(id), &number, NULL));
    return number;
}

static inline int32_t found(hd_store *store, const char *id)
{
    int32_t number;

    must(hd_store_find_user(store, id, strlen(id), &number));
    return number;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
