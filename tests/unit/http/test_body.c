/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies packed and unpacked: whatever the pieces they come in, they are what they were; bounds
 * hold at the limit and one past it; what was taken is given back. */
#include "base/memory.h"
#include "base/random.h"
#include "http/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

#define BYTES 200000

static char text[BYTES + 1], packed[2 * BYTES], again[BYTES];
static struct hd_bodies all = {0, 1 << 20};

/* Packs `bytes` of the text in pieces of this size, through a window of that. */
static size_t pack(enum hd_coding coding, size_t bytes, size_t piece, size_t window)
{
    struct hd_packer packer;
    size_t at = 0, count = 0;

    if (coding == HD_IDENTITY) {
        memcpy(packed, text, bytes);
        return bytes;
    }
    assert_true(hd_packer_begin(&packer, coding));
    while (!packer.ended) {
        size_t now = bytes - at < piece ? bytes - at : piece, left = now, made;
        const char *in = text + at;
        assert_true(
            hd_packer_run(&packer, &in, &left, at + now == bytes, packed + count, window, &made));
        at += now - left;
        count += made;
    }
    hd_packer_clear(&packer);
    return count;
}

/* The status of a body that comes in such pieces. */
static int receive(struct hd_body *body, enum hd_coding coding, size_t max, size_t bytes,
                   size_t piece)
{
    int status = hd_body_begin(body, &all, coding, max);

    for (size_t at = 0; at < bytes && !status; at += piece)
        status = hd_body_take(body, packed + at, bytes - at < piece ? bytes - at : piece);
    return status ? status : hd_body_end(body);
}

static void test_pieces(void **state)
{
    static const size_t pieces[] = {1, 2, 7, 4095, 4096, 4097, 65536, BYTES};

    (void)state;
    for (int coding = 0; coding < HD_CODINGS; coding++)
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
            for (size_t q = 0; q < sizeof pieces / sizeof *pieces; q++) {
                struct hd_body body;
                size_t bytes = coding && (pieces[p] == 1 || pieces[q] == 1) ? 5000 : BYTES;
                size_t count = pack((enum hd_coding)coding, bytes, pieces[p], pieces[q]);
                assert_int_equal(receive(&body, (enum hd_coding)coding, BYTES, count, pieces[q]),
                                 0);
                assert_int_equal(body.count, bytes);
                assert_memory_equal(body.bytes, text, bytes);
                assert_int_equal(body.bytes[bytes], 0);
                assert_int_equal(body.wire, count);
                hd_body_clear(&body);
                assert_int_equal(all.bytes, 0);
            }
}

static void test_bounds(void **state)
{
    static const size_t sizes[] = {1, 4094, 4095, 4096, 4097, 65535, 65536, BYTES};

    (void)state;
    for (int coding = 0; coding < HD_CODINGS; coding++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t piece = 1000; piece <= BYTES; piece *= 200) {
                struct hd_body body;
                size_t count = pack((enum hd_coding)coding, sizes[i], BYTES, BYTES);
                assert_int_equal(receive(&body, (enum hd_coding)coding, sizes[i], count, piece), 0);
                hd_body_clear(&body);
                assert_int_equal(receive(&body, (enum hd_coding)coding, sizes[i] - 1, count, piece),
                                 413);
                hd_body_clear(&body);
            }
    assert_int_equal(all.bytes, 0);
}

/* A thousandth of its size: what it becomes must not be held. */
static void test_bomb(void **state)
{
    (void)state;
    for (int coding = HD_GZIP; coding < HD_CODINGS; coding++) {
        static char zeros[1 << 20];
        struct hd_body body;
        struct hd_packer packer;
        size_t count = 0, made;
        assert_true(hd_packer_begin(&packer, (enum hd_coding)coding));
        for (int i = 0; !packer.ended; i++) {
            const char *in = zeros;
            size_t left = i < 64 ? sizeof zeros : 0;
            do {
                assert_true(hd_packer_run(&packer, &in, &left, i >= 64, packed + count,
                                          sizeof packed - count, &made));
                count += made;
            } while (left > 0);
        }
        hd_packer_clear(&packer);
        assert_true(count < 100000);
        assert_int_equal(receive(&body, (enum hd_coding)coding, 300000, count, count), 413);
        assert_true(body.room <= 300002);
        hd_body_clear(&body);
    }
}

static void test_faults(void **state)
{
    struct hd_body body;

    (void)state;
    for (int coding = HD_GZIP; coding < HD_CODINGS; coding++) {
        size_t count = pack((enum hd_coding)coding, 5000, BYTES, BYTES);
        for (size_t cut = 1; cut < count; cut += 97) {
            assert_int_equal(receive(&body, (enum hd_coding)coding, BYTES, cut, BYTES), 400);
            hd_body_clear(&body);
        }
        memcpy(packed + count, packed, count); /* one after the other */
        assert_int_equal(receive(&body, (enum hd_coding)coding, BYTES, 2 * count, 100), 0);
        assert_int_equal(body.count, 10000);
        hd_body_clear(&body);
        packed[count] = 'x';
        assert_int_equal(receive(&body, (enum hd_coding)coding, BYTES, 2 * count, 100), 400);
        hd_body_clear(&body);
    }
    pack(HD_IDENTITY, BYTES, 0, 0);
    all.bytes_max = 100000;
    assert_int_equal(receive(&body, HD_IDENTITY, BYTES, BYTES, 1000), 503);
    hd_body_clear(&body);
    assert_int_equal(receive(&body, HD_IDENTITY, BYTES, 60000, 1000), 0);
    hd_body_clear(&body);
    assert_int_equal(all.bytes, 0);
    all.bytes_max = 1 << 20;
}

static void test_whole(void **state)
{
    (void)state;
    for (int coding = HD_GZIP; coding < HD_CODINGS; coding++) {
        heed_rng rng = hd_rng(1, 0);
        struct hd_body body;
        size_t count;
        char *out = hd_pack((enum hd_coding)coding, text, BYTES, &count);
        assert_non_null(out);
        assert_true(count < BYTES);
        memcpy(packed, out, count);
        hd_free(out);
        assert_int_equal(receive(&body, (enum hd_coding)coding, BYTES, count, BYTES), 0);
        assert_memory_equal(body.bytes, text, BYTES);
        hd_body_clear(&body);
        for (size_t i = 0; i < BYTES; i++)
            again[i] = (char)hd_random_below(&rng, 256);
        assert_null(
            hd_pack((enum hd_coding)coding, again, BYTES, &count)); /* would not be shorter */
        assert_null(hd_pack((enum hd_coding)coding, "", 0, &count));
    }
}

/* Formats from before zstd was a standard: the library would read them. */
static void test_old_zstd(void **state)
{
    static const unsigned char skipped[] = {0x5F, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    static const size_t pieces[] = {1, 3, BYTES};
    struct hd_body body;

    (void)state;
    memset(text, 'x', 100);
    size_t bytes = pack(HD_ZSTD, 100, 100, sizeof packed);
    memmove(packed + sizeof skipped, packed, bytes);
    memcpy(packed, skipped, sizeof skipped);
    memcpy(packed + sizeof skipped + bytes, packed + sizeof skipped, bytes);
    for (size_t p = 0; p < 3; p++) {
        assert_int_equal(receive(&body, HD_ZSTD, BYTES, sizeof skipped + 2 * bytes, pieces[p]), 0);
        assert_int_equal(body.count, 200);
        hd_body_clear(&body);
    }
    for (int version = 0x1E; version < 0x28; version++) { /* 0.1 has another one: FD2FB51E */
        for (size_t p = 0; p < 3; p++) {
            packed[sizeof skipped + bytes] = (char)version; /* of the second frame */
            assert_int_equal(receive(&body, HD_ZSTD, BYTES, sizeof skipped + 2 * bytes, pieces[p]), 400);
            hd_body_clear(&body);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces), cmocka_unit_test(test_bounds),
                                       cmocka_unit_test(test_bomb), cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_whole), cmocka_unit_test(test_old_zstd)};
    heed_rng rng = hd_rng(7, 0);

    for (size_t i = 0; i < BYTES; i++)
        text[i] = "the cat sat on the mat"[hd_random_below(&rng, 22)];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
