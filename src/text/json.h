/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON behind a small interface: a strict reader on json-c, and a writer of our own.
 *
 * The reader takes RFC 8259 and nothing else: no comments, single quotes, NaN or trailing text,
 * UTF-8 checked, 32 levels deep at the most. The writer cannot make malformed output: it keeps
 * track of commas, escapes what must be, writes a number that is not finite as null, and remembers
 * the first failure, so that a caller writes a whole document and asks once, at the end. */
#ifndef HD_JSON_H
#define HD_JSON_H

#include "base/status.h"

/* ---- reading */

typedef struct hd_json_reader hd_json_reader; /* confined; reused from document to document */
typedef struct json_object hd_json;           /* a value; dies with the reader's next document */

enum hd_json_kind {
    HD_JSON_NULL, /* the value null, and also a NULL pointer */
    HD_JSON_BOOL,
    HD_JSON_INT, /* a number without fraction or exponent that fits int64_t */
    HD_JSON_NUMBER,
    HD_JSON_TEXT,
    HD_JSON_ARRAY,
    HD_JSON_OBJECT
};

HEED_CHECKED heed_status hd_json_reader_new(hd_json_reader **reader);
void hd_json_reader_free(hd_json_reader *reader);

/* HEED_E_FORMAT: the message says what and at which byte, from 1; without the file's name. */
HEED_CHECKED heed_status hd_json_read(hd_json_reader *reader, const char *text, size_t bytes,
                                      hd_json **root);

enum hd_json_kind hd_json_kind(const hd_json *value);
const char *hd_json_kind_name(enum hd_json_kind kind); /* with its article: "a number" */
/* Of the kind that is named; 0, "", false for another. The text ends in NUL and may hold some. */
const char *hd_json_text(const hd_json *value, size_t *bytes);
int64_t hd_json_int(const hd_json *value);
double hd_json_number(const hd_json *value); /* an int's too */
bool hd_json_bool(const hd_json *value);
size_t hd_json_length(const hd_json *array);
const hd_json *hd_json_at(const hd_json *array, size_t i);
const hd_json *hd_json_get(const hd_json *object, const char *key); /* NULL: not there */

/* for (struct hd_json_member m = hd_json_first(o); m.key; m = hd_json_next(m)) */
struct hd_json_member {
    const char *key;
    const hd_json *value;
    void *entry;
};
struct hd_json_member hd_json_first(const hd_json *object);
struct hd_json_member hd_json_next(struct hd_json_member member);
/* The value as compact JSON; dies with the document. NULL: no memory. */
const char *hd_json_compact(const hd_json *value);

/* ---- writing */

#define HD_JSON_DEPTH_MAX 32

/* All zero is an empty document. confined. */
struct hd_json_writer {
    char *text; /* what is written so far, ending in NUL */
    size_t bytes, room;
    int depth;
    bool comma; /* something stands before on this level */
    bool no_memory, too_deep;
    int indent; /* spaces a level; 0: one line. Set before the first value */
    char close[HD_JSON_DEPTH_MAX];
};

/* key is NULL inside an array and for the document itself. */
void hd_json_begin_object(struct hd_json_writer *w, const char *key);
void hd_json_begin_array(struct hd_json_writer *w, const char *key);
void hd_json_end(struct hd_json_writer *w); /* of the innermost object or array */
/* NULL text is written as null. Bytes that are not UTF-8 become U+FFFD. */
void hd_json_put_text(struct hd_json_writer *w, const char *key, const char *text);
void hd_json_put_text_bytes(struct hd_json_writer *w, const char *key, const char *text,
                            size_t bytes);
void hd_json_put_int(struct hd_json_writer *w, const char *key, int64_t value);
/* The shortest digits that read back as the same double; NAN and infinity are null. */
void hd_json_put_number(struct hd_json_writer *w, const char *key, double value);
/* A float's digits: shorter, and they read back as the same float. */
void hd_json_put_float(struct hd_json_writer *w, const char *key, float value);
void hd_json_put_bool(struct hd_json_writer *w, const char *key, bool value);
void hd_json_put_null(struct hd_json_writer *w, const char *key);
/* JSON text that is known to be well formed, as it is. */
void hd_json_put_raw(struct hd_json_writer *w, const char *key, const char *json);

/* HEED_OK once every begin has its end and nothing failed: *text (with *bytes, which may be NULL)
 * is good until the writer is cleared. */
HEED_CHECKED heed_status hd_json_finish(struct hd_json_writer *w, const char **text, size_t *bytes);
/* An empty document again, in the same memory. */
void hd_json_restart(struct hd_json_writer *w);
/* Gives back the memory and leaves an empty document with the same indent. */
void hd_json_clear(struct hd_json_writer *w);

#endif
