/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8, checked as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef HD_UTF8_H
#define HD_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes from the start that are well-formed UTF-8; `bytes` where all are. */
size_t hd_utf8_valid(const char *text, size_t bytes);
/* Bytes of the well-formed character that starts here, 0 where there is none. */
size_t hd_utf8_length(const char *text, size_t bytes);
/* Latin-1 to UTF-8; out has room for 2 * bytes. How many were written. */
size_t hd_utf8_from_latin1(const char *text, size_t bytes, char *out);

#endif
