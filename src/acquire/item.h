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

/* Bits of hd_item.given. */
enum {
    HD_ITEM_TITLE = 1,
    HD_ITEM_TEXT = 2,
    HD_ITEM_TAGS = 4,
    HD_ITEM_AUTHOR = 8,
    HD_ITEM_URL = 16,
    HD_ITEM_CREATED = 32,
    HD_ITEM_EXPIRES = 64,
    HD_ITEM_HIDDEN = 128,
    HD_ITEM_FEATURES = 256,
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
    unsigned given; /* what the line spoke of. A field that is null was given, as nothing */
};

HEED_CHECKED heed_status hd_parse_item(hd_json_reader *reader, const char *line, size_t bytes,
                                       hd_arena *arena, struct hd_item *out);
/* The same, of a document that was read already. */
HEED_CHECKED heed_status hd_item_of_json(const hd_json *root, hd_arena *arena, struct hd_item *out);

#endif
