/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 against the vectors that NIST publishes with FIPS 180-4, and against itself when a
 * message arrives in pieces. */
#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct row {
    const char *name, *message, *digest;
} rows[] = {
    {"the empty message", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"one block", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"padding spills into a second block",
     "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"two blocks",
     "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
     "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

static void test_vectors(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        char hex[HD_SHA256_HEX_BYTES];
        struct hd_sha256 sha;

        print_message("# %s\n", r->name);
        hd_sha256_init(&sha);
        hd_sha256_update(&sha, r->message, strlen(r->message));
        hd_sha256_final_hex(&sha, hex);
        assert_string_equal(hex, r->digest);
    }
}

static void test_a_million_letters(void **state)
{
    char hex[HD_SHA256_HEX_BYTES], letters[1000];
    struct hd_sha256 sha;

    (void)state;
    memset(letters, 'a', sizeof letters);
    hd_sha256_init(&sha);
    for (int i = 0; i < 1000; i++)
        hd_sha256_update(&sha, letters, sizeof letters);
    hd_sha256_final_hex(&sha, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Every cut of a message into two pieces, around the block's 64 bytes too, is the same message. */
static void test_pieces(void **state)
{
    char message[200], whole[HD_SHA256_HEX_BYTES], cut[HD_SHA256_HEX_BYTES];
    struct hd_sha256 sha;

    (void)state;
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (char)i;
    hd_sha256_init(&sha);
    hd_sha256_update(&sha, message, sizeof message);
    hd_sha256_final_hex(&sha, whole);
    for (size_t at = 0; at <= sizeof message; at++) {
        hd_sha256_init(&sha);
        hd_sha256_update(&sha, message, at);
        hd_sha256_update(&sha, message + at, sizeof message - at);
        hd_sha256_final_hex(&sha, cut);
        assert_string_equal(cut, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_a_million_letters),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
