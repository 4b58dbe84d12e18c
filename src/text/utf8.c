/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of well-formed byte sequences is Unicode 15, table 3-7. */
#include "text/utf8.h"

#include <string.h>

size_t hd_utf8_length(const char *text, size_t bytes)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xBF; /* what the second byte may be */
    size_t length;

    if (bytes == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2)
        return 0;
    if (s[0] < 0xE0) {
        length = 2;
    } else if (s[0] < 0xF0) {
        length = 3;
        if (s[0] == 0xE0)
            low = 0xA0;
        else if (s[0] == 0xED)
            high = 0x9F;
    } else if (s[0] < 0xF5) {
        length = 4;
        if (s[0] == 0xF0)
            low = 0x90;
        else if (s[0] == 0xF4)
            high = 0x8F;
    } else {
        return 0;
    }
    if (bytes < length || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t hd_utf8_valid(const char *text, size_t bytes)
{
    size_t i = 0;

    while (i < bytes) {
        uint64_t eight;
        /* Most text is ASCII: eight bytes at a time while it is. */
        while (bytes - i >= sizeof eight) {
            memcpy(&eight, text + i, sizeof eight);
            if (eight & UINT64_C(0x8080808080808080))
                break;
            i += sizeof eight;
        }
        if (i == bytes)
            break;
        size_t length = hd_utf8_length(text + i, bytes - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

size_t hd_utf8_from_latin1(const char *text, size_t bytes, char *out)
{
    size_t written = 0;

    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80) {
            out[written++] = (char)c;
        } else {
            out[written++] = (char)(0xC0 | c >> 6);
            out[written++] = (char)(0x80 | (c & 0x3F));
        }
    }
    return written;
}
