/* SPDX-License-Identifier: Apache-2.0
 *
 * Text in words: each row is a text and its words, joined by `|`. Whatever the bytes, words are in
 * order, apart from each other, and end inside the text. */
#include "base/random.h"
#include "text/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

static const struct row {
    const char *name, *text, *words;
} rows[] = {
    {"nothing", "", ""},
    {"space alone", " \t\n\xE3\x80\x80 ", ""},
    {"English", "The cat sat on the mat.", "The|cat|sat|on|the|mat|."},
    {"joints stand inside a word", "don't well-known 3.14 (a-) 'b'",
     "don't|well-known|3.14|(|a|-|)|'|b|'"},
    {"no joint at the end", "end...", "end|.|.|."},
    {"a typographic apostrophe", "l\xE2\x80\x99" "eau", "l\xE2\x80\x99" "eau"},
    {"accents, composed or not", "caf\xC3\xA9 e\xCC\x81t\xC3\xA9", "caf\xC3\xA9|e\xCC\x81t\xC3\xA9"},
    {"Chinese: each character", "猫坐在垫子上。", "猫|坐|在|垫|子|上|。"},
    {"Chinese beside Latin", "用C11写attention", "用|C11|写|attention"},
    {"Korean has spaces", "고양이가 앉았다", "고양이가|앉았다"},
    {"Russian", "Кошка сидела", "Кошка|сидела"},
    {"a symbol and its variant", "a \xE2\x9D\xA4\xEF\xB8\x8F b", "a|\xE2\x9D\xA4\xEF\xB8\x8F|b"},
    {"a rare ideograph", "\xF0\xA0\x80\x80\xF0\xA0\x80\x81", "\xF0\xA0\x80\x80|\xF0\xA0\x80\x81"},
};

static void test_rows(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        char got[256] = "";
        size_t bytes = strlen(r->text), from = 0, length;
        print_message("# %s\n", r->name);
        while ((length = hd_word_next(r->text, bytes, &from))) {
            if (*got)
                strcat(got, "|");
            strncat(got, r->text + from, length);
            from += length;
        }
        assert_string_equal(got, r->words);
    }
}

static void test_any_bytes(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(1, 0);
    for (int i = 0; i < 20000; i++) {
        char text[24];
        size_t bytes = hd_random_below(&rng, sizeof text + 1), from = 0, end = 0, length;
        for (size_t b = 0; b < bytes; b++)
            text[b] = (char)hd_random_below(&rng, 256);
        while ((length = hd_word_next(text, bytes, &from))) {
            assert_true(from >= end && from + length <= bytes);
            end = from += length;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
