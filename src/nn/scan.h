/* SPDX-License-Identifier: Apache-2.0
 *
 * A strict reader of the JSON that a model file's header may hold (RFC 8259, less what such a
 * header has no use for): objects, arrays, strings and whole numbers, taken one after the other by
 * who knows what must come. It goes through the bytes once, allocates strings alone, and never
 * recurses, so a hostile header costs no more than its length. */
#ifndef HD_SCAN_H
#define HD_SCAN_H

#include "base/memory.h"

struct hd_scan {
    const char *subject; /* begins each message: the file's name */
    const unsigned char *text;
    size_t bytes, at;
    size_t first;    /* number of text[0] in the file, for messages */
    hd_arena *arena; /* of the strings */
};

/* HEED_E_FORMAT, `FILE: byte N: what`. */
heed_status hd_scan_fail(const struct hd_scan *scan, const char *what);
/* Skips white space; true, and past it, where the next byte is c. */
bool hd_scan_take(struct hd_scan *scan, char c);
/* The same where anything but c is an error. */
HEED_CHECKED heed_status hd_scan_expect(struct hd_scan *scan, char c);
/* After an element of an object or array: *more where a comma follows, false where `end` does. */
HEED_CHECKED heed_status hd_scan_next(struct hd_scan *scan, char end, bool *more);
/* UTF-8, checked, with escapes undone. Strings with a zero in them are refused. */
HEED_CHECKED heed_status hd_scan_string(struct hd_scan *scan, const char **out);
/* 0 .. 2^63 - 1, as digits alone. */
HEED_CHECKED heed_status hd_scan_count(struct hd_scan *scan, int64_t *out);
/* Bytes of the well-formed UTF-8 sequence (Unicode 15, table 3-7) at text[0 .. left - 1], left > 0;
 * 0 where it is none. */
size_t hd_scan_utf8(const unsigned char *text, size_t left);
/* Nothing but white space is left. */
HEED_CHECKED heed_status hd_scan_end(struct hd_scan *scan);

#endif
