/* SPDX-License-Identifier: Apache-2.0
 *
 * Events as they arrive: one line of NDJSON (DESIGN.md 5), of an interactions file or of MovieLens
 * ratings, checked, as a plain struct. No store, no clock. A field or kind that is not listed here
 * is refused by name, except under `context` and `ext`, so that a slip of the pen is not lost
 * silently.
 *
 * The parsers refuse with HEED_E_FORMAT or HEED_E_RANGE; the message is `field: what is wrong`, and
 * whoever knows the file and the line puts them before it. */
#ifndef HD_EVENT_H
#define HD_EVENT_H

#include "base/memory.h"
#include "base/status.h"
#include "text/json.h"

/* The numbers are in the store: appended, never renumbered. */
enum hd_event_kind {
    HD_EVENT_IMPRESSION,
    HD_EVENT_VIEW,
    HD_EVENT_CLICK,
    HD_EVENT_LIKE,
    HD_EVENT_DISLIKE,
    HD_EVENT_SHARE,
    HD_EVENT_SAVE,
    HD_EVENT_HIDE,
    HD_EVENT_REPORT,
    HD_EVENT_CONVERT,
    HD_EVENT_KINDS
};

/* Their names, in the same order. */
#define HD_EVENT_KIND_WORDS "impression|view|click|like|dislike|share|save|hide|report|convert"

#define HD_KIND(kind) (UINT32_C(1) << (kind))
/* The kinds that are attention freely given: what a history is made of. An impression is not yet
 * attention; dislike, hide and report say that there should be no more of it. */
#define HD_KINDS_ATTENTION                                                       \
    (HD_KIND(HD_EVENT_VIEW) | HD_KIND(HD_EVENT_CLICK) | HD_KIND(HD_EVENT_LIKE) | \
     HD_KIND(HD_EVENT_SHARE) | HD_KIND(HD_EVENT_SAVE) | HD_KIND(HD_EVENT_CONVERT))

const char *hd_event_kind_name(enum hd_event_kind kind);
/* -1 where there is no such kind. */
int hd_event_kind_find(const char *name, size_t bytes);

/* A piece of somebody else's text; it does not end in NUL. */
struct hd_span {
    const char *at;
    size_t bytes;
};

/* One fact. What was not given: NULL, -1, NAN, and 0 for the time. The spans and texts point into
 * the line, the reader's document or the arena, and are good as long as those. */
struct hd_event {
    struct hd_span user, item;
    enum hd_event_kind kind;
    heed_time ts; /* 0: not given; a given one is after 1970 */
    bool ts_null; /* it was given as null: somebody says that it is not known */
    int64_t dwell_ms;
    double value;
    int32_t position;
    const char *id, *decision; /* end in NUL */
    const char *context, *ext; /* compact JSON objects */
};

/* One line of NDJSON. The arena takes what must outlive a field of the document. */
HEED_CHECKED heed_status hd_parse_event(hd_json_reader *reader, const char *line, size_t bytes,
                                        hd_arena *arena, struct hd_event *out);

/* The same, of a document that was read already. */
HEED_CHECKED heed_status hd_event_of_json(const hd_json *root, hd_arena *arena,
                                          struct hd_event *out);

/* `user item`, blanks between them: a view whose time is not known. */
HEED_CHECKED heed_status hd_parse_interaction(const char *line, size_t bytes, struct hd_event *out);

/* An id as every file must have it: 1 to HD_ID_BYTES_MAX bytes without control characters. */
HEED_CHECKED heed_status hd_check_id(const char *field, const char *id, size_t bytes);

#endif
