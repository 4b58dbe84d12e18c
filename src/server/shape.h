/* SPDX-License-Identifier: Apache-2.0
 *
 * What a request or an answer looks like: a table of its fields. One table reads the request, names the
 * field at fault, and makes the page of it in /openapi.json, so that the page cannot tell of a field
 * which is not there. */
#ifndef HD_SHAPE_H
#define HD_SHAPE_H

#include "base/memory.h"
#include "http/http.h"
#include "text/json.h"

enum hd_shape_kind {
    HD_IS_TEXT,   /* const char *; `most` bytes */
    HD_IS_ID,     /* const char *: a text, or a whole number taken as its digits */
    HD_IS_CHOICE, /* const char *: one of `words` */
    HD_IS_INT,    /* int64_t, least to most */
    HD_IS_NUMBER, /* double, least to most */
    HD_IS_BOOL,   /* bool */
    HD_IS_TIME,   /* heed_time: RFC 3339, or whole milliseconds since 1970 */
    HD_IS_SHAPE,  /* an object of `shape`, where `at` is; read only inside HD_MANY */
    HD_IS_MAP,    /* an object of anybody's own fields: looked at and not read */
    HD_IS_ANYTHING, /* any JSON: looked at and not read */
    HD_IS_NUMBERS, /* an object whose values are numbers; in answers alone */
    HD_IS_VECTORS, /* an object whose values are arrays of numbers; in records alone */
};

enum {
    HD_NEEDED = 1 << 0, /* in a request: it must be there; in an answer: it always is */
    HD_MANY = 1 << 1,   /* an array; read into a struct hd_list */
    HD_OR_NULL = 1 << 2,
};

struct hd_list {
    void *at; /* texts: const char *; shapes: their structs */
    int count;
};

struct hd_field {
    const char *name; /* NULL: the end */
    enum hd_shape_kind kind;
    unsigned flags;
    size_t at; /* where it is read to, in the caller's struct, which starts all zero */
    int64_t least, most; /* both 0: no bounds of its own. HD_MANY: most_count holds its length */
    int most_count;
    const char *words; /* "a|b|c" */
    const struct hd_shape *shape;
    const char *help; /* one line, no full stop */
};

struct hd_shape {
    const char *name; /* in /openapi.json */
    const struct hd_field *fields;
    size_t bytes; /* of the struct that it is read to; 0: it is never read */
    const char *help;
};

/**
 * Reads an object. Unknown fields are refused by name; null is as good as not given.
 * Errors   HEED_E_FORMAT, HEED_E_RANGE  the message begins with the field's name, to which *field is
 *                                       then set (static text, or in the arena)
 * Memory   texts belong to the document or to the arena
 */
HEED_CHECKED heed_status hd_shape_read(const struct hd_shape *shape, const hd_json *object,
                                       hd_arena *arena, void *out, const char **field);
/* The same out of a request's query. */
HEED_CHECKED heed_status hd_shape_query(const struct hd_field *fields, const hd_exchange *x,
                                        hd_arena *arena, void *out, const char **field);

#endif
