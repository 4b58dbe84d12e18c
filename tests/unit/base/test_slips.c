/* SPDX-License-Identifier: Apache-2.0
 *
 * How far words are from each other, as far as that is told. */
#include "base/slips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct slips_row {
    const char *a, *b;
    int slips;
} rows[] = {
    {"tag", "tag", 0},
    {"TAG", "tag", 0},
    {"tagg", "tag", 1},
    {"tg", "tag", 3},
    {"ta", "ta", 0},
    {"atg", "tag", 2},
    {"titel", "title", 2},
    {"author", "autor", 1},
    {"created", "crate", 2},
    {"tag", "author", 3},
    {"", "", 0},
    {"", "a", 3},
    {"a", "", 3},
    {"abcde", "abxye", 2},
    {"abcdef", "uvwxyz", 3},
};

static void test_slips(void **state)
{
    (void)state;
    for (const struct slips_row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        int slips = hd_slips(r->a, r->b);
        print_message("# %s, %s\n", r->a, r->b);
        assert_int_equal(slips > HD_SLIPS_MAX ? HD_SLIPS_MAX + 1 : slips, r->slips);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
