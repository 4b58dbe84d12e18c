/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files: what is read from good ones, what is said of bad ones, and that what is written
 * reads back. */
#include "base/limits.h"
#include "base/memory.h"
#include "nn/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A file of this header and as many bytes of numbers, each its own place. */
static unsigned char *file_of(const char *header, size_t data_bytes, size_t *count)
{
    uint64_t length = strlen(header);
    unsigned char *bytes = malloc(8 + length + data_bytes);

    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        bytes[8 + length + i] = (unsigned char)i;
    *count = 8 + length + data_bytes;
    return bytes;
}

#define A "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static const struct row {
    const char *name, *header;
    size_t data_bytes;
    heed_status status;
    const char *message;
} rows[] = {
    {"an empty file of tensors", "{}", 0, HEED_OK, NULL},
    {"spaces behind the object", "{}   \n", 0, HEED_OK, NULL},
    {"one tensor", A "}", 8, HEED_OK, NULL},
    {"fields in another order", "{\"a\":{\"data_offsets\":[0,8],\"shape\":[2],\"dtype\":\"F32\"}}",
     8, HEED_OK, NULL},
    {"a single number has no dimensions",
     "{\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, HEED_OK, NULL},
    {"a tensor without elements",
     "{\"a\":{\"dtype\":\"F64\",\"shape\":[3,0],\"data_offsets\":[0,0]}}", 0, HEED_OK, NULL},
    {"two tensors, the later first",
     "{\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[8,12]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
     12, HEED_OK, NULL},
    {"an empty one where another starts",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
     4, HEED_OK, NULL},
    {"metadata", "{\"__metadata__\":{\"k\":\"v\",\"\\u00e9\\ud83d\\ude00\":\"\\\"\\n\"}}", 0,
     HEED_OK, NULL},
    {"empty metadata", "{\"__metadata__\":{}}", 0, HEED_OK, NULL},

    {"no header", "", 0, HEED_E_FORMAT, "f: byte 8: expected '{'"},
    {"an array", "[]", 0, HEED_E_FORMAT, "f: byte 8: expected '{'"},
    {"space before the object", " {}", 0, HEED_E_FORMAT, "f: byte 8: expected '{'"},
    {"no end", "{\"a\"", 0, HEED_E_FORMAT, "f: byte 12: expected ':'"},
    {"a comma too many", A ",}", 8, HEED_E_FORMAT, "f: byte 62: expected '\"'"},
    {"something behind", "{}x", 0, HEED_E_FORMAT, "f: byte 10: more than one object"},
    {"a name without end", "{\"a\\\"", 0, HEED_E_FORMAT, "f: byte 10: a string without end"},
    {"a line feed in a name", "{\"a\n\"", 0, HEED_E_FORMAT,
     "f: byte 11: a byte that no string may hold"},
    {"overlong UTF-8", "{\"\xC0\x80\"", 0, HEED_E_FORMAT,
     "f: byte 10: a byte that no string may hold"},
    {"UTF-8 of a surrogate", "{\"\xED\xA0\x80\"", 0, HEED_E_FORMAT,
     "f: byte 10: a byte that no string may hold"},
    {"UTF-8 cut by the string's end", "{\"\xE2\x82\"", 0, HEED_E_FORMAT,
     "f: byte 10: a byte that no string may hold"},
    {"half a surrogate", "{\"\\ud800\"", 0, HEED_E_FORMAT, "f: byte 16: half a pair of surrogates"},
    {"the other half", "{\"\\udc00\"", 0, HEED_E_FORMAT, "f: byte 16: half a pair of surrogates"},
    {"a zero in a name", "{\"\\u0000\"", 0, HEED_E_FORMAT, "f: byte 16: a zero in a string"},
    {"an unknown escape", "{\"\\x\"", 0, HEED_E_FORMAT, "f: byte 11: an escape that is none"},
    {"text for metadata", "{\"__metadata__\":\"k\"}", 0, HEED_E_FORMAT, "f: byte 24: expected '{'"},
    {"a number in the metadata", "{\"__metadata__\":{\"k\":1}}", 0, HEED_E_FORMAT,
     "f: byte 29: expected '\"'"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, HEED_E_FORMAT,
     "f: byte 42: a second __metadata__"},
    {"a key twice", "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, HEED_E_FORMAT,
     "f: there are two metadata keys k"},
    {"a name twice",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, HEED_E_FORMAT, "f: there are two tensors a"},
    {"an unknown type", "{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: a has the unknown element type F33"},
    {"an unknown field", "{\"a\":{\"dtype\":\"F32\",\"shapes\":[2],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: a has an unknown or second field shapes"},
    {"a field twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 8, HEED_E_FORMAT,
     "f: a has an unknown or second field dtype"},
    {"a field missing", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, HEED_E_FORMAT,
     "f: a lacks one of dtype, shape, data_offsets"},
    {"a negative dimension", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: byte 37: expected a whole number"},
    {"a fraction", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: byte 38: expected ',' or ']'"},
    {"a leading zero", "{\"a\":{\"dtype\":\"F32\",\"shape\":[02],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: byte 39: expected a whole number"},
    {"past 64 bits",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: byte 55: a number past 2^63"},
    {"a dimension at the limit has too few bytes here",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1099511627776],\"data_offsets\":[0,8]}}", 8,
     HEED_E_FORMAT, "f: a (1099511627776) takes 1099511627776 bytes, its offsets say 8"},
    {"a dimension past the limit",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1099511627777],\"data_offsets\":[0,8]}}", 8, HEED_E_RANGE,
     "f: a has more than 8 dimensions or one above 1099511627776"},
    {"nine dimensions",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
     HEED_E_RANGE, "f: a has more than 8 dimensions or one above 1099511627776"},
    {"a product past 64 bits",
     "{\"a\":{\"dtype\":\"F64\",\"shape\":[1099511627776,1099511627776],\"data_offsets\":[0,0]}}",
     0, HEED_E_RANGE, "f: a (1099511627776, 1099511627776) is larger than any file"},
    {"a product past 64 bits times zero stays refused",
     "{\"a\":{\"dtype\":\"F64\",\"shape\":[1099511627776,1099511627776,0],"
     "\"data_offsets\":[0,0]}}",
     0, HEED_E_RANGE, "f: a (1099511627776, 1099511627776, 0) is larger than any file"},
    {"offsets that do not fit the shape",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,12]}}", 12, HEED_E_FORMAT,
     "f: a (2) takes 8 bytes, its offsets say 12"},
    {"offsets the wrong way round",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, HEED_E_FORMAT,
     "f: a (2) takes 8 bytes, its offsets say -8"},
    {"numbers cut short", A "}", 7, HEED_E_FORMAT, "f: a ends at byte 8 of 7 of numbers"},
    {"an offset past all",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
     "\"data_offsets\":[9223372036854775806,9223372036854775807]}}",
     8, HEED_E_FORMAT, "f: a ends at byte 9223372036854775807 of 8 of numbers"},
    {"bytes behind", A "}", 9, HEED_E_FORMAT, "f: 1 bytes behind the last tensor"},
    {"a gap", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8, HEED_E_FORMAT,
     "f: a starts at byte 4 of the numbers, not 0"},
    {"an overlap",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
     6, HEED_E_FORMAT, "f: b starts at byte 2 of the numbers, not 4"},
};

static void test_headers(void **state)
{
    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        hd_safetensors *file = NULL;
        size_t count;
        unsigned char *bytes = file_of(r->header, r->data_bytes, &count);

        print_message("# %s\n", r->name);
        heed_status status = hd_safetensors_open_bytes(bytes, count, "f", &file);
        if (r->message && status == r->status)
            assert_string_equal(heed_error_message(), r->message);
        assert_int_equal(status, r->status);
        hd_safetensors_close(file);
        free(bytes);
    }
}

/* Every prefix of a good file is refused, with a word. */
static void test_cut_anywhere(void **state)
{
    size_t count;
    unsigned char *bytes = file_of(A ",\"__metadata__\":{\"k\":\"\\u00e9\"}}", 8, &count);
    hd_safetensors *file;

    (void)state;
    assert_int_equal(hd_safetensors_open_bytes(bytes, count, "f", &file), HEED_OK);
    hd_safetensors_close(file);
    for (size_t n = 0; n < count; n++) {
        unsigned char *part = malloc(n + !n); /* its own, so that a sanitizer sees past the end */
        memcpy(part, bytes, n);
        assert_int_equal(hd_safetensors_open_bytes(part, n, "f", &file), HEED_E_FORMAT);
        assert_true(strncmp(heed_error_message(), "f: ", 3) == 0);
        free(part);
    }
    free(bytes);
}

static void test_limits(void **state)
{
    uint64_t length = HD_HEADER_BYTES_MAX;
    unsigned char *bytes = malloc(8 + length + 1);
    hd_safetensors *file;

    (void)state;
    memset(bytes, ' ', 8 + length + 1);
    memcpy(bytes + 8, "{}", 2);
    memcpy(bytes, &length, 8);
    assert_int_equal(hd_safetensors_open_bytes(bytes, 8 + length, "f", &file), HEED_OK);
    hd_safetensors_close(file);
    length++;
    memcpy(bytes, &length, 8);
    assert_int_equal(hd_safetensors_open_bytes(bytes, 8 + length, "f", &file), HEED_E_RANGE);
    length = UINT64_MAX;
    memcpy(bytes, &length, 8);
    assert_int_equal(hd_safetensors_open_bytes(bytes, 16, "f", &file), HEED_E_RANGE);
    free(bytes);

    for (int64_t n = HD_TENSORS_MAX; n <= HD_TENSORS_MAX + 1; n++) {
        struct hd_stored *list = calloc((size_t)n, sizeof *list);
        char *names = calloc((size_t)n, 16), *header;
        size_t header_bytes;
        for (int64_t i = 0; i < n; i++) {
            list[i].name = names + 16 * i;
            snprintf(names + 16 * i, 16, "t%d", (int)i);
            list[i].rank = 1; /* of no elements */
        }
        heed_status status = hd_safetensors_header(list, n, NULL, NULL, 0, &header, &header_bytes);
        assert_int_equal(status, n > HD_TENSORS_MAX ? HEED_E_RANGE : HEED_OK);
        if (status == HEED_OK) {
            assert_int_equal(hd_safetensors_open_bytes(header, header_bytes, "f", &file), HEED_OK);
            assert_int_equal(hd_safetensors_count(file), n);
            hd_safetensors_close(file);
            hd_free(header);
        }
        free(names);
        free(list);
    }
}

static void test_lookup(void **state)
{
    size_t count;
    unsigned char *bytes =
        file_of("{\"b\":{\"dtype\":\"I8\",\"shape\":[2,2],\"data_offsets\":[8,12]},"
                "\"__metadata__\":{\"\\u00e9\\ud83d\\ude00\":\"\\\"\\n\",\"a\":\"\"},"
                "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                12, &count);
    hd_safetensors *file;
    unsigned char four[4];
    double numbers[4];

    (void)state;
    assert_int_equal(hd_safetensors_open_bytes(bytes, count, "f", &file), HEED_OK);
    assert_int_equal(hd_safetensors_count(file), 2);
    assert_string_equal(hd_safetensors_at(file, 0)->name, "a");
    assert_null(hd_safetensors_find(file, "c"));
    const struct hd_stored *b = hd_safetensors_find(file, "b");
    assert_non_null(b);
    assert_int_equal(b->type, HD_STORED_I8);
    assert_string_equal(hd_stored_shape_text(b), "(2, 2)");
    assert_int_equal(hd_safetensors_read(file, b, four), HEED_OK);
    assert_memory_equal(four, "\x08\x09\x0a\x0b", 4);
    assert_int_equal(hd_safetensors_read_as(file, b, HEED_F64, numbers), HEED_E_FORMAT);
    assert_string_equal(heed_error_message(), "f: b holds I8, not floating-point numbers");
    assert_string_equal(hd_safetensors_text(file, "\xC3\xA9\xF0\x9F\x98\x80"), "\"\n");
    assert_string_equal(hd_safetensors_text(file, "a"), "");
    assert_null(hd_safetensors_text(file, "b"));
    hd_safetensors_close(file);
    free(bytes);
}

static void test_number_types(void **state)
{
    /* 1.5, -2, the smallest subnormal, infinity, NaN and -0, in both half formats */
    static const uint16_t f16[] = {0x3E00, 0xC000, 0x0001, 0x7C00, 0x7E00, 0x8000, 0x03FF, 0x7BFF};
    static const double want16[] = {1.5,         -2,   0x1p-24,        (double)INFINITY,
                                    (double)NAN, -0.0, 1023 * 0x1p-24, 65504};
    static const uint16_t bf16[] = {0x3FC0, 0xC000, 0x0001, 0x7F80, 0x7FC0, 0x8000, 0x3F81, 0xFF7F};
    static const double want_bf[] = {1.5,         -2,   0x1p-133,  (double)INFINITY,
                                     (double)NAN, -0.0, 1.0078125, -0x1.FEp127};
    hd_safetensors *file;

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        size_t count;
        unsigned char *bytes =
            file_of(kind ? "{\"a\":{\"dtype\":\"BF16\",\"shape\":[8],\"data_offsets\":[0,16]}}"
                         : "{\"a\":{\"dtype\":\"F16\",\"shape\":[8],\"data_offsets\":[0,16]}}",
                    16, &count);
        const double *want = kind ? want_bf : want16;
        double wide[8];
        float narrow[8];

        memcpy(bytes + count - 16, kind ? bf16 : f16, 16);
        assert_int_equal(hd_safetensors_open_bytes(bytes, count, "f", &file), HEED_OK);
        const struct hd_stored *a = hd_safetensors_find(file, "a");
        assert_int_equal(hd_safetensors_read_as(file, a, HEED_F64, wide), HEED_OK);
        assert_int_equal(hd_safetensors_read_as(file, a, HEED_F32, narrow), HEED_OK);
        for (int i = 0; i < 8; i++) {
            assert_true(isnan(want[i]) ? isnan(wide[i]) : wide[i] == want[i]);
            assert_int_equal(signbit(wide[i]), signbit(want[i]));
            assert_true(isnan(want[i]) ? isnan(narrow[i]) : (double)narrow[i] == want[i]);
        }
        hd_safetensors_close(file);
        free(bytes);
    }
}

static void test_header_round_trip(void **state)
{
    struct hd_stored list[] = {
        {"z\"\\\x01\xC3\xA9", HD_STORED_F32, 2, {3, 5}},
        {"", HD_STORED_BOOL, 0, {0}},
        {"empty", HD_STORED_U16, 3, {4, 0, 7}},
    };
    const char *keys[] = {"k\t", ""}, *values[] = {"line\nline", "\xF0\x9F\x98\x80"};
    char *header;
    size_t bytes;
    hd_safetensors *file;

    (void)state;
    for (int64_t pairs = 0; pairs <= 2; pairs++)
        for (int64_t count = 0; count <= 3; count++) {
            assert_int_equal(
                hd_safetensors_header(list, count, keys, values, pairs, &header, &bytes), HEED_OK);
            assert_int_equal(bytes % 64, 0);
            size_t data = count ? (size_t)(list[count - 1].offset + list[count - 1].bytes) : 0;
            char *all = calloc(bytes + data, 1);
            memcpy(all, header, bytes);
            assert_int_equal(hd_safetensors_open_bytes(all, bytes + data, "f", &file), HEED_OK);
            assert_int_equal(hd_safetensors_count(file), count);
            assert_int_equal(hd_safetensors_text_count(file), pairs);
            for (int64_t i = 0; i < pairs; i++)
                assert_string_equal(hd_safetensors_text(file, keys[i]), values[i]);
            for (int64_t i = 0; i < count; i++) {
                const struct hd_stored *t = hd_safetensors_find(file, list[i].name);
                assert_non_null(t);
                assert_int_equal(t->type, list[i].type);
                assert_int_equal(t->rank, list[i].rank);
                assert_int_equal(t->offset, list[i].offset);
                assert_memory_equal(t->dim, list[i].dim, sizeof t->dim);
            }
            hd_safetensors_close(file);
            hd_free(header);
            free(all);
        }

    list[1].name = list[0].name;
    assert_int_equal(hd_safetensors_header(list, 2, NULL, NULL, 0, &header, &bytes), HEED_E_EXISTS);
    list[1].name = "__metadata__";
    assert_int_equal(hd_safetensors_header(list, 2, NULL, NULL, 0, &header, &bytes), HEED_E_EXISTS);
    list[1].name = "\xFF";
    assert_int_equal(hd_safetensors_header(list, 2, NULL, NULL, 0, &header, &bytes), HEED_E_FORMAT);
    keys[0] = keys[1];
    assert_int_equal(hd_safetensors_header(list, 1, keys, values, 2, &header, &bytes),
                     HEED_E_EXISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),      cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_number_types), cmocka_unit_test(test_header_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
