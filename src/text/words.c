/* SPDX-License-Identifier: Apache-2.0
 *
 * What a character is to a word is told by the blocks of Unicode 15, not by its properties: enough
 * to show text in pieces, not to index it. */
#include "text/words.h"
#include "text/utf8.h"

#include <stdint.h>

enum kind {
    SPACE,
    LETTER, /* goes on a word */
    JOINT,  /* goes on a word between two letters */
    MARK,   /* goes on whatever is before it */
    ALONE,
};

struct range {
    uint32_t first, last;
    enum kind kind;
};

/* In order; what is in none of them is a letter. */
static const struct range ranges[] = {
    {0x00, 0x20, SPACE},        {0x21, 0x26, ALONE},        {0x27, 0x27, JOINT},
    {0x28, 0x2C, ALONE},        {0x2D, 0x2E, JOINT},        {0x2F, 0x2F, ALONE},
    {0x3A, 0x40, ALONE},        {0x5B, 0x5E, ALONE},        {0x60, 0x60, ALONE},
    {0x7B, 0x7E, ALONE},        {0x7F, 0xA0, SPACE},        {0xA1, 0xA9, ALONE},
    {0xAB, 0xB4, ALONE},        {0xB6, 0xB9, ALONE},        {0xBB, 0xBF, ALONE},
    {0xD7, 0xD7, ALONE},        {0xF7, 0xF7, ALONE},        {0x0300, 0x036F, MARK},
    {0x1680, 0x1680, SPACE},    {0x2000, 0x200B, SPACE},    {0x200C, 0x200D, MARK},
    {0x200E, 0x200F, SPACE},    {0x2010, 0x2011, JOINT},    {0x2012, 0x2018, ALONE},
    {0x2019, 0x2019, JOINT},    {0x201A, 0x2027, ALONE},    {0x2028, 0x202F, SPACE},
    {0x2030, 0x205E, ALONE},    {0x205F, 0x206F, SPACE},    {0x20A0, 0x20CF, ALONE},
    {0x20D0, 0x20FF, MARK},     {0x2190, 0x2BFF, ALONE},    {0x2E00, 0x2FFF, ALONE},
    {0x3000, 0x3000, SPACE},    {0x3001, 0x3029, ALONE},    {0x302A, 0x302F, MARK},
    {0x3030, 0x3098, ALONE},    {0x3099, 0x309A, MARK},     {0x309B, 0x312F, ALONE},
    {0x3190, 0xA4CF, ALONE},    {0xF900, 0xFAFF, ALONE},    {0xFE00, 0xFE0F, MARK},
    {0xFE10, 0xFE1F, ALONE},    {0xFE20, 0xFE2F, MARK},     {0xFE30, 0xFE6F, ALONE},
    {0xFEFF, 0xFEFF, SPACE},    {0xFF00, 0xFF0F, ALONE},    {0xFF1A, 0xFF20, ALONE},
    {0xFF3B, 0xFF40, ALONE},    {0xFF5B, 0xFF9D, ALONE},    {0xFF9E, 0xFF9F, MARK},
    {0xFFE0, 0xFFFF, ALONE},    {0x1F000, 0x1F3FA, ALONE},  {0x1F3FB, 0x1F3FF, MARK},
    {0x1F400, 0x1FAFF, ALONE},  {0x20000, 0x3FFFF, ALONE},  {0xE0100, 0xE01EF, MARK},
};

static enum kind kind_of(uint32_t c)
{
    size_t low = 0, high = sizeof ranges / sizeof *ranges;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof ranges / sizeof *ranges && c >= ranges[low].first ? ranges[low].kind
                                                                          : LETTER;
}

/* Bytes and kind of the character at `at`, which there is. */
static size_t look(const char *text, size_t bytes, size_t at, enum kind *kind)
{
    const unsigned char *s = (const unsigned char *)text + at;
    size_t length = hd_utf8_length(text + at, bytes - at);
    uint32_t c = length < 2 ? s[0] : s[0] & (0x7Fu >> length);

    for (size_t i = 1; i < length; i++)
        c = c << 6 | (s[i] & 0x3Fu);
    *kind = kind_of(c);
    return length ? length : 1;
}

size_t hd_word_next(const char *text, size_t bytes, size_t *from)
{
    enum kind first = SPACE, kind;
    size_t at = *from;

    while (at < bytes) {
        size_t length = look(text, bytes, at, &first);
        *from = at, at += length;
        if (first != SPACE)
            break;
    }
    if (first == SPACE)
        return 0;
    while (at < bytes) {
        size_t length = look(text, bytes, at, &kind), next = at + length;
        if (kind == JOINT && first == LETTER && next < bytes) {
            length += look(text, bytes, next, &kind);
            kind = kind == LETTER ? LETTER : ALONE;
        }
        if (kind != MARK && !(kind == LETTER && first == LETTER))
            break;
        at += length;
    }
    return at - *from;
}
