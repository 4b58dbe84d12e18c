/* SPDX-License-Identifier: Apache-2.0
 *
 * Users as they are described: one line of NDJSON (DESIGN.md 5),
 *
 *     {"id":ID, "attributes":{...}, "consent":{"learn":BOOL, "personalise":BOOL, "sell":BOOL},
 *      "block":{"items":[ID...], "authors":[...], "tags":[...]}, "follow":{"authors":[...], "tags":[...]}}
 */
#ifndef HD_USER_H
#define HD_USER_H

#include "acquire/event.h"

/* The bits are in the store: appended, never renumbered. */
enum {
    HD_CONSENT_LEARN = 1,       /* from the user's events */
    HD_CONSENT_PERSONALISE = 2, /* what the user is shown */
    HD_CONSENT_SELL = 4,        /* the user's attention, in segments that are priced */
};
#define HD_CONSENT_ALL (HD_CONSENT_LEARN | HD_CONSENT_PERSONALISE | HD_CONSENT_SELL)
/* Of a user who has not said anything. Nobody is sold who has not said so. */
#define HD_CONSENT_DEFAULT (HD_CONSENT_LEARN | HD_CONSENT_PERSONALISE)

/* Bits of hd_user.given. The consents are the same bits as above. */
enum {
    HD_USER_ATTRIBUTES = 8,
    HD_USER_BLOCK_ITEMS = 16,
    HD_USER_BLOCK_AUTHORS = 32,
    HD_USER_BLOCK_TAGS = 64,
    HD_USER_FOLLOW_AUTHORS = 128,
    HD_USER_FOLLOW_TAGS = 256,
};

struct hd_user_mark {
    unsigned list;    /* which of the five lists above it stands in */
    const char *name; /* ends in NUL */
};

/* The texts point into the document or the arena. */
struct hd_user {
    struct hd_span id;
    const char *attributes; /* a compact JSON object; NULL: none */
    unsigned consent;       /* with the ordinary value where it was not given */
    struct hd_user_mark *mark;
    int64_t marks;
    unsigned given; /* what the line spoke of. A field that is null was given, as nothing */
};

/* The lists' two words as they stand in a line and in the store: "block" "item". NULL: no list. */
const char *hd_user_mark_word(unsigned list);
const char *hd_user_what_word(unsigned list);
/* And back; 0: there is no such list. */
unsigned hd_user_list_of(const char *mark, const char *what);

HEED_CHECKED heed_status hd_parse_user(hd_json_reader *reader, const char *line, size_t bytes,
                                       hd_arena *arena, struct hd_user *out);
/* The same, of a document that was read already. */
HEED_CHECKED heed_status hd_user_of_json(const hd_json *root, hd_arena *arena, struct hd_user *out);

#endif
