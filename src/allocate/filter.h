/* SPDX-License-Identifier: Apache-2.0
 *
 * Which items may be shown, said in words: `tag = "sport" and age < 2d and not author in ["x"]`.
 * A text from outside is parsed once into a short program without recursion, which is then asked
 * of each item. docs/FILTERS.md is its page for people; its examples are run by the tests.
 *
 *     filter  = all { "or" all }
 *     all     = one { "and" one }
 *     one     = { "not" } ( "(" filter ")" | "true" | "false" | term )
 *     term    = "has" field | field "exists"
 *             | field ( "=" | "!=" ) value           any field but age
 *             | field [ "not" ] "in" "[" [ value { "," value } ] "]"   id, tag, author, title, url
 *             | field "contains" text                id, author, title, url
 *             | field ( "<" | "<=" | ">" | ">=" ) value                 created, age
 *     field   = "id" | "tag" | "author" | "title" | "url" | "created" | "age"
 *     value   = text | instant | span
 *     text    = '"' ... '"' | "'" ... "'"      \\ \" \' inside; compared byte by byte
 *     instant = an RFC 3339 time, a date alone, bare or as a text; or whole milliseconds since 1970
 *     span    = digits ( "s" | "m" | "h" | "d" | "w" )
 *
 * `not` binds closest, then `and`, then `or`. `x != v` is `not x = v` and `x not in l` is
 * `not x in l`; of what an item does not have, everything else is false. */
#ifndef HD_FILTER_H
#define HD_FILTER_H

#include "base/memory.h"

enum hd_filter_field {
    HD_FILTER_ID,
    HD_FILTER_TAG,
    HD_FILTER_AUTHOR,
    HD_FILTER_TITLE,
    HD_FILTER_URL,
    HD_FILTER_CREATED,
    HD_FILTER_AGE, /* now less created */
    HD_FILTER_FIELDS,
};

typedef struct hd_filter hd_filter; /* confined: being bound and applied change it */

/* What is looked at of the items, as arrays by their numbers. Immutable while it is applied. */
struct hd_filter_view {
    int64_t items;
    const char *const *id, *const *title, *const *author, *const *url; /* NULL: has none */
    const heed_time *created;                                          /* 0: not known */
    const int32_t *const *topic; /* tags and author as numbers, rising and each once */
    const int32_t *topic_count;
};

/* The number of the item, tag or author of that name; -1: there is none. */
typedef heed_status (*hd_filter_find)(void *context, enum hd_filter_field field, const char *name,
                                      size_t bytes, int32_t *number);

/* The filter lives in the arena.
 * Errors  HEED_E_ARG  it makes no sense, or passes a limit: `filter: byte N: what`, N from 1 */
HEED_CHECKED heed_status hd_filter_parse(hd_arena *arena, const char *text, size_t bytes,
                                         hd_filter **filter);
/* Looks up the names in it. Until then there is no item, tag or author of any name. The first
 * error of find() is passed on. */
HEED_CHECKED heed_status hd_filter_bind(hd_filter *filter, hd_filter_find find, void *context);
/* out[i] = 1 for each item that does not pass at the moment `now`; items that are out already are
 * not looked at. Cost: items times the terms that decide, at most. */
void hd_filter_apply(hd_filter *filter, const struct hd_filter_view *view, heed_time now,
                     uint8_t *out);
/* The same filter, written in one way: parsed again it is printed as the same text. In the arena.
 */
HEED_CHECKED heed_status hd_filter_print(const hd_filter *filter, hd_arena *arena,
                                         const char **text);

#endif
