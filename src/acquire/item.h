/* SPDX-License-Identifier: Apache-2.0
 *
 * Items as they are described: one line of NDJSON (DESIGN.md 5), or of a MovieLens list of films.
 */
#ifndef HD_ITEM_H
#define HD_ITEM_H

#include "acquire/event.h"
#include "base/limits.h"

struct hd_item_feature {
    const char *name; /* ends in NUL */
    const float *value;
    int64_t count;
};

/* What was not given: NULL, no bytes, 0. Texts point into the line, the document or the arena. */
struct hd_item {
    struct hd_span id, title, text, author, url;
    struct hd_span tag[HD_TAGS_MAX];
    int tags;
    heed_time created, expires;
    bool hidden;
    struct hd_item_feature feature[HD_FEATURES_MAX];
    int features;
};

HEED_CHECKED heed_status hd_parse_item(hd_json_reader *reader, const char *line, size_t bytes,
                                       hd_arena *arena, struct hd_item *out);

#endif
