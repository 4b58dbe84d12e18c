/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages (see page.h). */
#include "explain/page.h"
#include "base/memory.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put(struct hd_page *page, const char *bytes, size_t count)
{
    if (page->failed)
        return;
    if (page->room - page->used <= count) {
        size_t room = page->room ? 2 * page->room : 16384;
        while (room - page->used <= count)
            room *= 2;
        char *grown = hd_resize(page->text, room, 1);
        if (!grown) {
            page->failed = true;
            return;
        }
        page->text = grown, page->room = room;
    }
    memcpy(page->text + page->used, bytes, count);
    page->used += count;
    page->text[page->used] = 0;
}

void hd_page_raw(struct hd_page *page, const char *markup)
{
    put(page, markup, strlen(markup));
}

/* One letter of UTF-8 (RFC 3629), or U+FFFD for a byte that begins none. Returns the bytes taken.
 */
static size_t decode(const char *text, uint32_t *letter)
{
    const unsigned char *p = (const unsigned char *)text;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t count = p[0] < 0x80             ? 1
                   : (p[0] & 0xE0) == 0xC0 ? 2
                   : (p[0] & 0xF0) == 0xE0 ? 3
                   : (p[0] & 0xF8) == 0xF0 ? 4
                                           : 0;
    uint32_t value = count < 2 ? p[0] : p[0] & (0x7Fu >> count);

    for (size_t i = 1; i < count; i++) {
        if ((p[i] & 0xC0) != 0x80) /* also the NUL at the end */
            count = 0;
        else
            value = value << 6 | (p[i] & 0x3F);
    }
    if (!count || value < least[count] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        *letter = 0xFFFD;
        return 1;
    }
    *letter = value;
    return count;
}

/* Columns on a screen: 0 for what is dropped and for marks that sit on another letter. */
static int columns_of(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
        (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F || c == 0xFEFF ||
        (c & 0xFFFE) == 0xFFFE)
        return -1;
    if ((c >= 0x300 && c < 0x370) || (c >= 0x200B && c <= 0x200D) || (c >= 0xFE00 && c < 0xFE10))
        return 0;
    if ((c >= 0x1100 && c < 0x1160) || (c >= 0x2E80 && c < 0xA4D0) || (c >= 0xAC00 && c < 0xD7A4) ||
        (c >= 0xF900 && c < 0xFB00) || (c >= 0xFE30 && c < 0xFE70) || (c >= 0xFF00 && c < 0xFF61) ||
        (c >= 0x1F300 && c < 0x1FB00) || (c >= 0x20000 && c < 0x40000))
        return 2;
    return 1;
}

int hd_text_columns(const char *text)
{
    int columns = 0;

    while (*text) {
        uint32_t letter;
        text += decode(text, &letter);
        int wide = columns_of(letter);
        columns += wide > 0 ? wide : 0;
    }
    return columns;
}

static void put_letter(struct hd_page *page, const char *bytes, size_t count, uint32_t letter)
{
    switch (letter) {
    case '&':
        hd_page_raw(page, "&amp;");
        break;
    case '<':
        hd_page_raw(page, "&lt;");
        break;
    case '>':
        hd_page_raw(page, "&gt;");
        break;
    case '"':
        hd_page_raw(page, "&quot;");
        break;
    case '\'':
        hd_page_raw(page, "&#39;");
        break;
    case 0xFFFD:
        hd_page_raw(page, "\xEF\xBF\xBD");
        break;
    default:
        put(page, bytes, count);
    }
}

/* columns below 0: no end of room. */
static void put_escaped(struct hd_page *page, const char *text, int columns)
{
    bool cut = columns >= 0 && hd_text_columns(text) > columns;
    int left = cut ? columns - 1 : columns;

    while (*text) {
        uint32_t letter;
        size_t count = decode(text, &letter);
        int wide;

        if (letter == '\t' || letter == '\n' || letter == '\r') {
            wide = 1;
            if (!cut || left >= wide)
                hd_page_raw(page, " ");
        } else if ((wide = columns_of(letter)) >= 0) {
            if (cut && left < wide)
                break;
            put_letter(page, text, count, letter);
        }
        left -= wide > 0 ? wide : 0;
        text += count;
    }
    if (cut)
        hd_page_raw(page, "\xE2\x80\xA6");
}

/* decimals up to 9; shortest: as many as it needs. What is no number, or has more digits than are worth reading, is a dash. */
static void put_fixed(struct hd_page *page, double value, int decimals, bool shortest,
                      bool sign)
{
    char digits[40];
    int n = (int)sizeof digits;
    double scale = 1.0;

    for (int i = 0; i < decimals; i++)
        scale *= 10.0;
    if (!(fabs(value) * scale < 9e15)) {
        hd_page_raw(page, sign ? "\xE2\x80\x93" : "0");
        return;
    }
    uint64_t rest = (uint64_t)floor(fabs(value) * scale + 0.5);
    for (; shortest && decimals && rest % 10 == 0; decimals--)
        rest /= 10;
    bool negative = value < 0 && rest;
    for (int i = 0; i < decimals || rest || i == decimals; i++, rest /= 10) {
        if (i == decimals && decimals)
            digits[--n] = '.';
        digits[--n] = (char)('0' + rest % 10);
    }
    if (sign)
        hd_page_raw(page, negative ? "\xE2\x88\x92" : "+");
    else if (negative)
        digits[--n] = '-';
    put(page, digits + n, sizeof digits - (size_t)n);
}

void hd_page_add(struct hd_page *page, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    for (const char *at; (at = strchr(fmt, '%')); fmt = at + 1) {
        bool sign = at[1] == '+';
        int precision = -1;
        char whole[24];

        put(page, fmt, (size_t)(at - fmt));
        at += 1 + sign;
        if (*at == '.')
            for (precision = 0, at++; *at >= '0' && *at <= '9'; at++)
                precision = precision * 10 + (*at - '0');
        if (*at == 's') {
            put_escaped(page, va_arg(args, const char *), precision);
        } else if (*at == 'f') {
            put_fixed(page, va_arg(args, double), precision < 0 ? 2 : precision, precision < 0,
                      sign);
        } else if (*at == 'd') {
            snprintf(whole, sizeof whole, "%d", va_arg(args, int));
            hd_page_raw(page, whole);
        } else if (!strncmp(at, "lld", 3)) {
            snprintf(whole, sizeof whole, "%lld", va_arg(args, long long));
            hd_page_raw(page, whole);
            at += 2;
        } else { /* %% */
            hd_page_raw(page, "%");
        }
    }
    hd_page_raw(page, fmt);
    va_end(args);
}

heed_status hd_page_write(const struct hd_page *page, const char *path)
{
    heed_status status = HEED_OK;
    size_t length = strlen(path) + sizeof ".part";
    char *part;
    FILE *f = NULL;

    if (page->failed || !page->text)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for the page", path);
    if (!(part = hd_alloc(length, 1)))
        return hd_fail(HEED_E_NOMEM, "%s: no memory for its name", path);
    snprintf(part, length, "%s.part", path);
    if (!(f = fopen(part, "wb"))) {
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be written", path);
        goto done;
    }
    if (fwrite(page->text, 1, page->used, f) != page->used)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be written", path);
    if (fclose(f) && status == HEED_OK)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be written", path);
    if (status == HEED_OK && rename(part, path))
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be put in place", path);
    if (status != HEED_OK)
        remove(part);
done:
    hd_free(part);
    return status;
}

void hd_page_clear(struct hd_page *page)
{
    hd_free(page->text);
    *page = (struct hd_page){0};
}
