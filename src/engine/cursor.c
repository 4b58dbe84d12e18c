/* SPDX-License-Identifier: Apache-2.0
 *
 * Cursors of lists. A cursor is the place after which the next page begins, so records that come or
 * go in between neither repeat nor hide others:
 *
 *     byte 0: 'i' or 'u', bytes 1-8: number                           items, users
 *     byte 0: 'e', bytes 1-8: user, 9-16: time, 17-24: arrival        events
 *
 * numbers with the high byte first, all of it in base64url without padding (RFC 4648, section 5). */
#include "engine/keep.h"

#include <string.h>

#define NUMBERS_MAX 3
#define RAW_BYTES_MAX (1 + 8 * NUMBERS_MAX)

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char letter_of(heed_record what)
{
    return what == HEED_RECORD_EVENT ? 'e' : what == HEED_RECORD_ITEM ? 'i' : 'u';
}

static void encode(const uint8_t *raw, size_t bytes, char *out)
{
    uint32_t held = 0;
    int bits = 0;

    for (size_t i = 0; i < bytes; i++) {
        held = held << 8 | raw[i];
        for (bits += 8; bits >= 6; bits -= 6)
            *out++ = digits[held >> (bits - 6) & 63];
    }
    if (bits > 0)
        *out++ = digits[held << (6 - bits) & 63];
    *out = 0;
}

/* Exactly `bytes` of them; bits that are left over must be 0, so that a cursor has one form. */
static bool decode(const char *text, size_t bytes, uint8_t *raw)
{
    uint32_t held = 0;
    int bits = 0;
    size_t n = 0;

    if (strlen(text) != (bytes * 8 + 5) / 6)
        return false;
    for (; *text; text++) {
        const char *digit = strchr(digits, *text);
        if (!digit)
            return false;
        held = held << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            raw[n++] = (uint8_t)(held >> bits);
        }
    }
    return (held & ((1U << bits) - 1)) == 0;
}

void hd_cursor_write(heed_record what, int32_t number, const struct hd_event_key *key,
                     char out[HD_CURSOR_BYTES])
{
    int64_t numbers[NUMBERS_MAX] = {number};
    uint8_t raw[RAW_BYTES_MAX];
    size_t count = 1;

    if (what == HEED_RECORD_EVENT) {
        numbers[0] = key->user;
        numbers[1] = key->ts;
        numbers[2] = key->seq;
        count = 3;
    }
    raw[0] = (uint8_t)letter_of(what);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < 8; b++)
            raw[1 + 8 * i + b] = (uint8_t)((uint64_t)numbers[i] >> (56 - 8 * b));
    encode(raw, 1 + 8 * count, out);
}

heed_status hd_cursor_read(heed_record what, const char *text, int32_t *number,
                           struct hd_event_key *key)
{
    size_t count = what == HEED_RECORD_EVENT ? 3 : 1;
    uint8_t raw[RAW_BYTES_MAX] = {0};
    int64_t numbers[NUMBERS_MAX] = {0};
    bool good = decode(text, 1 + 8 * count, raw) && raw[0] == (uint8_t)letter_of(what);

    for (size_t i = 0; good && i < count; i++) {
        uint64_t n = 0;
        for (size_t b = 0; b < 8; b++)
            n = n << 8 | raw[1 + 8 * i + b];
        good = n <= INT64_MAX;
        numbers[i] = (int64_t)n;
    }
    if (!good || numbers[0] > INT32_MAX)
        return hd_fail(HEED_E_ARG, "cursor: \"%.60s\" is none of this list", text);
    *number = (int32_t)numbers[0];
    *key = (struct hd_event_key){(int32_t)numbers[0], numbers[1], numbers[2]};
    return HEED_OK;
}
