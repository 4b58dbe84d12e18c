/* SPDX-License-Identifier: Apache-2.0
 *
 * Words made to fit a column, bars, and thousands. */
#include "cli/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void test_fit(void **state)
{
    static const struct row {
        const char *text;
        int columns;
        const char *fitted;
    } rows[] = {
        {"", 4, "    "},
        {"abc", 4, "abc "},
        {"abcd", 4, "abcd"},
        {"abcde", 4, "a..."},
        {"卧虎藏龙", 8, "卧虎藏龙"}, /* two columns each */
        {"卧虎藏龙", 7, "卧虎..."},
        {"卧虎藏龙", 6, "卧... "}, /* half a letter is no letter */
        {"é", 4, "é   "},
        {"a\033[31mb", 8, "a?[31mb "}, /* a title cannot drive the terminal */
        {"a\nb\x7f", 4, "a?b?"},
        {"\xff\xfe", 4, "??  "}, /* not UTF-8 */
        {"\xe5\x8d", 4, "??  "}, /* cut short */
    };

    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        char out[64];
        print_message("# %s in %d\n", r->fitted, r->columns);
        hd_fit(out, r->text, r->columns);
        assert_string_equal(out, r->fitted);
    }
}

static void test_bar(void **state)
{
    char out[3 * 4 + 1];

    (void)state;
    hd_bar(out, 0, 4);
    assert_string_equal(out, "    ");
    hd_bar(out, 1, 4);
    assert_string_equal(out, "████");
    hd_bar(out, 0.5, 4);
    assert_string_equal(out, "██  ");
    hd_bar(out, 0.53125, 4); /* 17 of 32 eighths */
    assert_string_equal(out, "██▏ ");
    hd_bar(out, -3, 4);
    assert_string_equal(out, "    ");
    hd_bar(out, 7, 4);
    assert_string_equal(out, "████");
}

static void test_thousands(void **state)
{
    (void)state;
    assert_string_equal(hd_thousands(0), "0");
    assert_string_equal(hd_thousands(999), "999");
    assert_string_equal(hd_thousands(1000), "1,000");
    assert_string_equal(hd_thousands(1234567), "1,234,567");
    assert_string_equal(hd_thousands(-1000), "-1,000");
    assert_string_equal(hd_thousands(-100), "-100");
    assert_string_equal(hd_counted(1, "item"), "1 item");
    assert_string_equal(hd_counted(2000, "item"), "2,000 items");
    assert_string_equal(hd_thousands(INT64_MIN), "-9,223,372,036,854,775,808");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_bar),
        cmocka_unit_test(test_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
