/* SPDX-License-Identifier: Apache-2.0
 *
 * Interning: texts to numbers 0, 1, 2 ... in the order in which they were first seen, and back.
 * Open addressing over 64-bit hashes; the texts lie in blocks that never move. */
#ifndef HD_MAP_H
#define HD_MAP_H

#include "base/status.h"

typedef struct hd_map hd_map; /* confined; finding alone is safe from several threads */

/* The hash they are found by: 64 bits, the same on every machine of one byte order. No secret. */
uint64_t hd_hash(uint64_t seed, const char *text, size_t bytes);

/* seed: of the hash. Where ids come from strangers it should be one they cannot guess. NULL: no
 * memory. */
hd_map *hd_map_new(uint64_t seed);
void hd_map_free(hd_map *map);

/* The text's number, -1 where it is not there. */
int32_t hd_map_find(const hd_map *map, const char *text, size_t bytes);
/* The same, and adds it where it is not there. *fresh may be NULL.
 * HEED_E_NOMEM: the map is as it was; HEED_E_RANGE: it holds INT32_MAX texts. */
HEED_CHECKED heed_status hd_map_add(hd_map *map, const char *text, size_t bytes, int32_t *number,
                                    bool *fresh);
/* Ends in NUL; good until the map is cut below the number or freed. bytes may be NULL. */
const char *hd_map_text(const hd_map *map, int32_t number, size_t *bytes);
int32_t hd_map_count(const hd_map *map);
/* Another text for a number: the old one is overwritten and not found any more. What hd_map_text()
 * handed out for the number reads as empty from then on. HEED_E_EXISTS: another number has the text;
 * HEED_E_NOMEM: the map is as it was. */
HEED_CHECKED heed_status hd_map_rename(hd_map *map, int32_t number, const char *text, size_t bytes);
/* Forgets the newest texts, down to `count` of them. */
void hd_map_cut(hd_map *map, int32_t count);

#endif
