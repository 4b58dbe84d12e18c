/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 against the definition: every code point, every pair of bytes. */
#include "text/utf8.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static size_t encode(uint32_t c, char *out)
{
    if (c < 0x80)
        return out[0] = (char)c, 1;
    if (c < 0x800)
        return out[0] = (char)(0xC0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3F)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xE0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3F)),
               out[2] = (char)(0x80 | (c & 0x3F)), 3;
    return out[0] = (char)(0xF0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 0x3F)),
           out[2] = (char)(0x80 | (c >> 6 & 0x3F)), out[3] = (char)(0x80 | (c & 0x3F)), 4;
}

/* Every code point is well formed but the surrogates and what is past the last one; cut short by a
 * byte it is not. */
static void test_code_points(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        char text[4];
        size_t bytes = encode(c, text);
        bool good = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
        if (hd_utf8_length(text, bytes) != (good ? bytes : 0) ||
            (bytes > 1 && hd_utf8_length(text, bytes - 1) != 0))
            fail_msg("code point %X", c);
    }
    assert_int_equal(hd_utf8_length("", 0), 0);
}

static const struct row {
    const char *name, *text;
    size_t bytes, valid;
} rows[] = {
    {"nothing", "", 0, 0},
    {"ASCII", "attention", 9, 9},
    {"ASCII and a NUL", "a\0b", 3, 3},
    {"Chinese", "\xE6\xB3\xA8\xE6\x84\x8F", 6, 6},
    {"a Latin-1 letter at the end", "Caf\xE9", 4, 3},
    {"a Latin-1 letter in the ninth byte", "Am\xC3\xA9lie \xE9", 9, 8},
    {"an overlong slash", "\xC0\xAF", 2, 0},
    {"an overlong three-byte form", "\xE0\x80\xAF", 3, 0},
    {"a byte that goes on with nothing", "abc\x80", 4, 3},
    {"a surrogate", "\xED\xA0\x80", 3, 0},
    {"past U+10FFFF", "\xF4\x90\x80\x80", 4, 0},
    {"0xFF", "12345678\xFF", 9, 8},
};

static void test_valid(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        print_message("# %s\n", r->name);
        assert_int_equal(hd_utf8_valid(r->text, r->bytes), r->valid);
    }
}

static void test_latin1(void **state)
{
    char all[256], out[512];

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    size_t bytes = hd_utf8_from_latin1(all, sizeof all, out), at = 0;
    assert_int_equal(bytes, 128 + 2 * 128);
    assert_int_equal(hd_utf8_valid(out, bytes), bytes);
    for (uint32_t i = 0; i < 256; i++) {
        char want[4];
        size_t length = encode(i, want);
        assert_memory_equal(out + at, want, length);
        at += length;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_points),
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_latin1),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
