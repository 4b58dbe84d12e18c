/* SPDX-License-Identifier: Apache-2.0
 *
 * Interning against the plainest twin: an array that is searched from its start. */
#include "base/map.h"
#include "base/memory.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TEXTS 700

static void test_against_array(void **state)
{
    static char seen[TEXTS][24];
    heed_rng rng = hd_rng(1, 0);
    hd_map *map = hd_map_new(42);
    int32_t count = 0;

    (void)state;
    assert_non_null(map);
    for (int round = 0; round < 20000; round++) {
        char text[24];
        int32_t number = -1, want = -1;
        bool fresh;
        snprintf(text, sizeof text, "%.*s%d", (int)hd_random_below(&rng, 12), "abcdefghijkl",
                 (int)hd_random_below(&rng, 40));
        for (int32_t i = 0; i < count && want < 0; i++)
            if (strcmp(seen[i], text) == 0)
                want = i;
        assert_int_equal(hd_map_find(map, text, strlen(text)), want);
        if (want < 0 && count == TEXTS)
            continue;
        assert_int_equal(hd_map_add(map, text, strlen(text), &number, &fresh), HEED_OK);
        assert_int_equal(fresh, want < 0);
        assert_int_equal(number, want < 0 ? count : want);
        if (fresh)
            memcpy(seen[count++], text, sizeof text);
        assert_int_equal(hd_map_count(map), count);
        if (round % 1000 == 999) { /* forgets some, and gives their numbers again */
            count -= (int32_t)hd_random_below(&rng, (uint64_t)count);
            hd_map_cut(map, count);
        }
    }
    for (int32_t i = 0; i < count; i++) {
        size_t bytes;
        assert_string_equal(hd_map_text(map, i, &bytes), seen[i]);
        assert_int_equal(bytes, strlen(seen[i]));
    }
    hd_map_free(map);
}

static void test_bytes_count(void **state)
{
    hd_map *map = hd_map_new(0);
    int32_t a, b, c, d;

    (void)state;
    assert_int_equal(hd_map_add(map, "", 0, &a, NULL), HEED_OK);
    assert_int_equal(hd_map_add(map, "\0", 1, &b, NULL), HEED_OK);
    assert_int_equal(hd_map_add(map, "x", 1, &c, NULL), HEED_OK);
    assert_int_equal(hd_map_add(map, "x\0", 2, &d, NULL), HEED_OK);
    assert_true(a == 0 && b == 1 && c == 2 && d == 3);
    hd_map_free(map);
    hd_map_free(NULL);
}

/* Renamed at random, against an array of names: what a number is called is found, what it was called
 * is not, whatever stood behind it in the table. */
static void test_rename(void **state)
{
    enum { ROUNDS = 5000 };
    static char name[TEXTS][24];
    heed_rng rng = hd_rng(3, 0);
    hd_map *map = hd_map_new(7);
    int32_t number;

    (void)state;
    for (int i = 0; i < TEXTS; i++) {
        snprintf(name[i], sizeof name[i], "%d", i);
        assert_int_equal(hd_map_add(map, name[i], strlen(name[i]), &number, NULL), HEED_OK);
    }
    for (int round = 0; round < ROUNDS; round++) {
        int i = (int)hd_random_below(&rng, TEXTS);
        const char *kept = hd_map_text(map, i, NULL);
        char old[24];
        strcpy(old, name[i]);
        snprintf(name[i], sizeof name[i], "r%d", round);
        assert_int_equal(hd_map_rename(map, i, name[i], strlen(name[i])), HEED_OK);
        assert_string_equal(kept, ""); /* nothing is left of it */
        assert_int_equal(hd_map_find(map, old, strlen(old)), -1);
        for (int j = round % 50; j < TEXTS; j += 50)
            assert_int_equal(hd_map_find(map, name[j], strlen(name[j])), j);
    }
    for (int i = 0; i < TEXTS; i++) {
        assert_int_equal(hd_map_find(map, name[i], strlen(name[i])), i);
        assert_string_equal(hd_map_text(map, i, NULL), name[i]);
    }
    assert_int_equal(hd_map_count(map), TEXTS);
    assert_int_equal(hd_map_rename(map, 3, name[3], strlen(name[3])), HEED_OK);
    assert_int_equal(hd_map_rename(map, 3, name[4], strlen(name[4])), HEED_E_EXISTS);
    hd_map_free(map);
}

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

/* Whichever allocation fails, the map stays as it was and goes on working. */
static void test_no_memory(void **state)
{
    bool whole = false;

    (void)state;
    heed_set_allocator(&(heed_allocator){failing, NULL});
    for (int64_t n = 0; n < 100 && !whole; n++) {
        left = n;
        hd_map *map = hd_map_new(7);
        whole = map != NULL;
        for (int i = 0; map && i < 3000; i++) {
            char text[16];
            int32_t number;
            snprintf(text, sizeof text, "%d", i);
            heed_status status = hd_map_add(map, text, strlen(text), &number, NULL);
            if (status != HEED_OK) {
                whole = false;
                assert_int_equal(status, HEED_E_NOMEM);
                assert_int_equal(hd_map_count(map), i);
                assert_int_equal(hd_map_find(map, text, strlen(text)), -1);
                left = 1000;
                assert_int_equal(hd_map_add(map, text, strlen(text), &number, NULL), HEED_OK);
            }
            assert_int_equal(number, i);
        }
        hd_map_free(map);
    }
    heed_set_allocator(NULL);
    assert_true(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_array),
        cmocka_unit_test(test_bytes_count),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
