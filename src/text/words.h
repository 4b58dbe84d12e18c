/* SPDX-License-Identifier: Apache-2.0
 *
 * Text cut into words by a simple rule, the same for every language that puts spaces between them:
 * a run of letters and digits is a word, with apostrophes, hyphens and points inside it (don't,
 * well-known, 3.14); everything else that is not space stands alone. Chinese and Japanese put no
 * spaces: there each character is a word. No dictionary, no case. */
#ifndef HD_WORDS_H
#define HD_WORDS_H

#include <stddef.h>

/* Bytes of the next word of well-formed UTF-8, 0 where none is left; *from is moved to its start. */
size_t hd_word_next(const char *text, size_t bytes, size_t *from);

#endif
