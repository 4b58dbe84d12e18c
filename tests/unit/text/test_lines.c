/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines out of files, whatever these are wrapped in. */
#include "text/lines.h"
#include "base/limits.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "scratch.h"

enum wrapping { PLAIN, GZIP, GZIP_MEMBERS, ZSTD_FRAMES, WRAPPINGS };

static char folder[64], path[128];

static int set_up(void **state)
{
    (void)state;
    scratch_make(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_drop(folder);
    return 0;
}

static void write_wrapped(enum wrapping wrapping, const char *text, size_t bytes)
{
    size_t half = bytes / 2;

    if (wrapping == PLAIN) {
        scratch_write(path, text, bytes);
    } else if (wrapping == ZSTD_FRAMES) {
        char *packed = malloc(2 * ZSTD_compressBound(bytes + 1));
        size_t made = ZSTD_compress(packed, ZSTD_compressBound(half), text, half, 3);
        made += ZSTD_compress(packed + made, ZSTD_compressBound(bytes - half), text + half,
                              bytes - half, 3);
        scratch_write(path, packed, made);
        free(packed);
    } else {
        gzFile f = gzopen(path, "wb");
        assert_int_equal(gzwrite(f, text, (unsigned)half), half);
        if (wrapping == GZIP_MEMBERS) {
            gzclose(f);
            f = gzopen(path, "ab");
        }
        assert_int_equal(gzwrite(f, text + half, (unsigned)(bytes - half)), bytes - half);
        gzclose(f);
    }
}

/* What comes out, one line a row: `number:text` or `number!problem`. */
static char *read_all(bool latin1, heed_status *status)
{
    size_t room = 1 << 22, at = 0;
    char *out = calloc(room, 1);
    hd_lines *lines;
    struct hd_line line;
    bool more = true;

    *status = hd_lines_open(path, latin1, &lines);
    if (*status != HEED_OK)
        return out;
    while ((*status = hd_lines_next(lines, &line, &more)) == HEED_OK && more) {
        assert_true(at + line.bytes + 100 < room);
        if (line.problem)
            at += (size_t)snprintf(out + at, room - at, "%d!%s\n", (int)line.number, line.problem);
        else
            at += (size_t)snprintf(out + at, room - at, "%d:%.*s\n", (int)line.number,
                                   (int)line.bytes, line.text);
    }
    int64_t done, total;
    hd_lines_progress(lines, &done, &total);
    assert_true(done <= total);
    hd_lines_close(lines);
    return out;
}

static const struct row {
    const char *name, *text;
    size_t bytes; /* 0: strlen */
    bool latin1;
    const char *want;
} rows[] = {
    {"nothing", "", 0, false, ""},
    {"one line", "a\n", 0, false, "1:a\n"},
    {"no end at the end", "a\nb", 0, false, "1:a\n2:b\n"},
    {"ends of Windows", "a\r\nb\r\n", 0, false, "1:a\n2:b\n"},
    {"a CR inside stays", "a\rb\n", 0, false, "1:a\rb\n"},
    {"empty lines are lines", "\n\na\n", 0, false, "1:\n2:\n3:a\n"},
    {"a byte order mark",
     "\xEF\xBB\xBF"
     "a\nb\n",
     0, false, "1:a\n2:b\n"},
    {"a NUL byte", "a\nb\0c\nd\n", 8, false, "1:a\n2!a NUL byte at byte 2: a binary file?\n3:d\n"},
    {"not UTF-8", "Caf\xE9\nx\n", 0, false,
     "1!not UTF-8 at byte 4 (0xE9): Latin-1, perhaps?\n2:x\n"},
    {"Latin-1", "Caf\xE9\nx\n", 0, true, "1:Caf\xC3\xA9\n2:x\n"},
    {"a NUL byte in Latin-1", "\0\n", 2, true, "1!a NUL byte at byte 1: a binary file?\n"},
};

static void test_rows(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        for (int wrapping = PLAIN; wrapping < WRAPPINGS; wrapping++) {
            heed_status status;
            print_message("# %s, wrapping %d\n", r->name, wrapping);
            write_wrapped(wrapping, r->text, r->bytes ? r->bytes : strlen(r->text));
            char *got = read_all(r->latin1, &status);
            assert_int_equal(status, HEED_OK);
            assert_string_equal(got, r->want);
            free(got);
        }
    }
}

/* Lines at the limit and one past it, at the start, between others and at the end of the file. */
static void test_long_lines(void **state)
{
    char want[128];

    (void)state;
    for (int over = 0; over < 2; over++) {
        for (int crlf = 0; crlf < 2; crlf++) {
            size_t length = HD_LINE_BYTES_MAX + (size_t)over, at = 0;
            char *text = malloc(3 * length + 64);
            heed_status status;
            struct hd_line line;
            hd_lines *lines;
            bool more;
            for (int i = 0; i < 3; i++) {
                memset(text + at, 'a' + i, length);
                at += length;
                at += (size_t)sprintf(text + at, "%sx\n", crlf ? "\r\n" : "\n");
            }
            at -= 2 + (crlf ? 2 : 1); /* the last one is the end of the file, without its own */
            for (int wrapping = PLAIN; wrapping < WRAPPINGS; wrapping++) {
                write_wrapped(wrapping, text, at);
                assert_int_equal(hd_lines_open(path, crlf, &lines), HEED_OK);
                for (int i = 0; i < 5; i++) {
                    status = hd_lines_next(lines, &line, &more);
                    assert_int_equal(status, HEED_OK);
                    assert_true(more);
                    assert_int_equal(line.number, i + 1);
                    if (i % 2 == 1) {
                        assert_int_equal(line.bytes, 1);
                    } else if (over) {
                        snprintf(want, sizeof want, "the line is longer than %d bytes",
                                 HD_LINE_BYTES_MAX);
                        assert_string_equal(line.problem, want);
                    } else {
                        assert_null(line.problem);
                        assert_int_equal(line.bytes, length);
                        assert_int_equal(line.text[length - 1], 'a' + i / 2);
                    }
                }
                assert_int_equal(hd_lines_next(lines, &line, &more), HEED_OK);
                assert_false(more);
                hd_lines_close(lines);
            }
            free(text);
        }
    }
}

/* A packed file that is cut anywhere gives its first lines or none, and says that it is cut. */
static void test_cut_short(void **state)
{
    enum { LINES = 4000 };
    static char text[LINES * 12], packed[sizeof text];
    size_t bytes = 0;
    heed_status status;

    (void)state;
    for (int i = 0; i < LINES; i++)
        bytes += (size_t)sprintf(text + bytes, "%d\n", (i * 7919) & 0xFFFF);
    for (int wrapping = GZIP; wrapping < WRAPPINGS; wrapping++) {
        write_wrapped(wrapping, text, bytes);
        char *whole = read_all(false, &status);
        assert_int_equal(status, HEED_OK);
        FILE *f = fopen(path, "rb");
        size_t made = fread(packed, 1, sizeof packed, f);
        fclose(f);
        int complete = 0;
        for (size_t cut = 18; cut < made; cut += cut < 64 || cut > made - 64 ? 1 : 397) {
            scratch_write(path, packed, cut);
            char *got = read_all(false, &status);
            if (status == HEED_OK)
                complete++; /* between two members it is a file of its own */
            else if (!strstr(heed_error_message(), "cut short"))
                fail_msg("said: %s", heed_error_message());
            assert_memory_equal(got, whole, strlen(got) > 0 ? strlen(got) - 1 : 0);
            free(got);
        }
        assert_true(complete <= 1);
        packed[made / 3] ^= 0x10;
        scratch_write(path, packed, made);
        free(read_all(false, &status));
        assert_int_equal(status, HEED_E_FORMAT);
        if (!strstr(heed_error_message(), "file:"))
            fail_msg("said: %s", heed_error_message());
        free(whole);
    }
}

/* Random lines come out of each wrapping as they went in. */
static void test_round_trip(void **state)
{
    heed_rng rng = hd_rng(11, 0);

    (void)state;
    for (int round = 0; round < 40; round++) {
        size_t room = 1 << 20, at = 0, want_at = 0;
        char *text = malloc(room), *want = calloc(room * 2, 1);
        heed_status status;
        int number = 0;
        while (at < room / 2 && hd_random_below(&rng, 200) > 0) {
            size_t length = hd_random_below(&rng, hd_random_below(&rng, 8) ? 40 : 60000);
            if (at + length + 2 > room)
                break;
            for (size_t i = 0; i < length; i++)
                text[at + i] = (char)('!' + hd_random_below(&rng, 90));
            want_at +=
                (size_t)sprintf(want + want_at, "%d:%.*s\n", ++number, (int)length, text + at);
            at += length;
            text[at++] = '\n';
        }
        write_wrapped(round % WRAPPINGS, text, at);
        char *got = read_all(false, &status);
        assert_int_equal(status, HEED_OK);
        assert_string_equal(got, want);
        free(got);
        free(want);
        free(text);
    }
}

static void assert_refused(const char *name, heed_status want, const char *words)
{
    hd_lines *lines;

    assert_int_equal(hd_lines_open(name, false, &lines), want);
    if (!strstr(heed_error_message(), words) || !strstr(heed_error_message(), name))
        fail_msg("said: %s", heed_error_message());
}

static void test_not_lines(void **state)
{
    (void)state;
    assert_refused("/nonexistent/file", HEED_E_NOTFOUND, "no such file");
    assert_refused(folder, HEED_E_IO, "directory");
    scratch_write(path, "PK\3\4....", 8);
    assert_refused(path, HEED_E_FORMAT, "zip archive");
    scratch_write(path,
                  "\xFD"
                  "7zXZ\0....",
                  10);
    assert_refused(path, HEED_E_FORMAT, "xz");
    scratch_write(path, "BZh9....", 8);
    assert_refused(path, HEED_E_FORMAT, "bzip2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_cut_short), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_not_lines),
    };
    return cmocka_run_group_tests_name("lines", tests, set_up, tear_down);
}
