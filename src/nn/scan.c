/* SPDX-License-Identifier: Apache-2.0
 *
 * The strict reader of a header's JSON. */
#include "nn/scan.h"

heed_status hd_scan_fail(const struct hd_scan *scan, const char *what)
{
    return hd_fail(HEED_E_FORMAT, "%s: byte %zu: %s", scan->subject, scan->first + scan->at, what);
}

static void skip_space(struct hd_scan *scan)
{
    while (scan->at < scan->bytes) {
        unsigned char c = scan->text[scan->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
        scan->at++;
    }
}

bool hd_scan_take(struct hd_scan *scan, char c)
{
    skip_space(scan);
    if (scan->at >= scan->bytes || scan->text[scan->at] != (unsigned char)c)
        return false;
    scan->at++;
    return true;
}

heed_status hd_scan_expect(struct hd_scan *scan, char c)
{
    char what[] = "expected '?'";

    if (hd_scan_take(scan, c))
        return HEED_OK;
    what[10] = c;
    return hd_scan_fail(scan, what);
}

heed_status hd_scan_next(struct hd_scan *scan, char end, bool *more)
{
    char what[] = "expected ',' or '?'";

    *more = hd_scan_take(scan, ',');
    if (*more || hd_scan_take(scan, end))
        return HEED_OK;
    what[17] = end;
    return hd_scan_fail(scan, what);
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const unsigned char *text)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        unsigned char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character after a backslash; a pair of surrogates is one. */
static heed_status escape(struct hd_scan *scan, uint32_t *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t left = scan->bytes - scan->at;
    const unsigned char *text = scan->text + scan->at;

    if (left < 1)
        return hd_scan_fail(scan, "a string without end");
    for (size_t i = 0; i + 1 < sizeof from; i++)
        if (text[0] == (unsigned char)from[i]) {
            scan->at++;
            *out = (unsigned char)to[i];
            return HEED_OK;
        }
    int32_t unit = text[0] == 'u' && left >= 5 ? hex4(text + 1) : -1;
    if (unit < 0)
        return hd_scan_fail(scan, "an escape that is none");
    scan->at += 5;
    if (unit >= 0xD800 && unit < 0xDC00) {
        int32_t low = left >= 11 && text[5] == '\\' && text[6] == 'u' ? hex4(text + 7) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return hd_scan_fail(scan, "half a pair of surrogates");
        scan->at += 6;
        unit = 0x10000 + (unit - 0xD800) * 0x400 + (low - 0xDC00);
    } else if (unit >= 0xDC00 && unit < 0xE000) {
        return hd_scan_fail(scan, "half a pair of surrogates");
    }
    if (unit == 0)
        return hd_scan_fail(scan, "a zero in a string");
    *out = (uint32_t)unit;
    return HEED_OK;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[n] | c);
    return n;
}

size_t hd_scan_utf8(const unsigned char *text, size_t left)
{
    unsigned char lead = text[0];
    size_t n = lead < 0x80                    ? 1
               : lead >= 0xC2 && lead <= 0xDF ? 2
               : lead >= 0xE0 && lead <= 0xEF ? 3
               : lead >= 0xF0 && lead <= 0xF4 ? 4
                                              : 0;

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && text[1] < 0xA0) || (lead == 0xED && text[1] > 0x9F) ||
        (lead == 0xF0 && text[1] < 0x90) || (lead == 0xF4 && text[1] > 0x8F))
        return 0;
    return n;
}

heed_status hd_scan_string(struct hd_scan *scan, const char **out)
{
    size_t n = 0, end;
    char *text;

    HD_TRY(hd_scan_expect(scan, '"'));
    for (end = scan->at; end < scan->bytes && scan->text[end] != '"'; end++)
        end += scan->text[end] == '\\';
    if (end >= scan->bytes)
        return hd_scan_fail(scan, "a string without end");
    text = hd_arena_alloc(scan->arena, end - scan->at + 1, 1); /* escapes only make it shorter */
    if (!text)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for the header", scan->subject);
    while (scan->at < end) {
        unsigned char c = scan->text[scan->at];
        if (c == '\\') {
            uint32_t character = 0;
            scan->at++;
            HD_TRY(escape(scan, &character));
            n += put_utf8(text + n, character);
            continue;
        }
        size_t sequence = hd_scan_utf8(scan->text + scan->at, end - scan->at);
        if (c < 0x20 || sequence == 0)
            return hd_scan_fail(scan, "a byte that no string may hold");
        for (size_t i = 0; i < sequence; i++)
            text[n++] = (char)scan->text[scan->at++];
    }
    text[n] = 0;
    scan->at = end + 1;
    *out = text;
    return HEED_OK;
}

heed_status hd_scan_count(struct hd_scan *scan, int64_t *out)
{
    int64_t value = 0;
    size_t start;

    skip_space(scan);
    start = scan->at;
    for (; scan->at < scan->bytes; scan->at++) {
        unsigned digit = (unsigned)scan->text[scan->at] - '0';
        if (digit > 9)
            break;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (int64_t)digit, &value))
            return hd_scan_fail(scan, "a number past 2^63");
    }
    if (scan->at == start || (scan->text[start] == '0' && scan->at > start + 1))
        return hd_scan_fail(scan, "expected a whole number");
    *out = value;
    return HEED_OK;
}

heed_status hd_scan_end(struct hd_scan *scan)
{
    skip_space(scan);
    return scan->at == scan->bytes ? HEED_OK : hd_scan_fail(scan, "more than one object");
}
