/* SPDX-License-Identifier: Apache-2.0
 *
 * The subset of Gorse's HTTP API under /api that lets its published client libraries work
 * unchanged. docs/GORSE.md says what works and what differs. Everything here is translation:
 * feedback becomes events, labels become tags, attributes and features, and back; what is decided
 * is decided by the engine.
 *
 *     gorse.c          recommendations, health
 *     gorse_records.c  users and items, in and out
 *     gorse_feedback.c feedback, in and out
 *     gorse_convert.c  one record's JSON, both ways
 *     gorse_time.c     dates in many forms */
#ifndef HD_GORSE_H
#define HD_GORSE_H

#include "server/request.h"

/* One feedback. Texts belong to the document or the arena. */
struct hd_gorse_feedback {
    const char *type, *user, *item;
    const char *comment; /* NULL: none */
    const char *labels;  /* compact JSON; NULL: none */
    double value;        /* 0: none */
    heed_time ts;        /* 0: now */
};

/* The kind of event that a feedback type is; "view" for a type that says nothing to heed. */
const char *hd_gorse_kind(const char *type);
/* Dates as people write them; 0 where there is none (null, "", year 1). */
HEED_CHECKED heed_status hd_gorse_time(const char *field, const hd_json *value, heed_time *time);

/* Out of a request. The message begins with the field's name. */
HEED_CHECKED heed_status hd_gorse_read_feedback(const hd_json *json, hd_arena *arena,
                                                struct hd_gorse_feedback *feedback);
/* One of a session, of which only the item is needed. */
HEED_CHECKED heed_status hd_gorse_read_visit(const hd_json *json, hd_arena *arena,
                                             struct hd_gorse_feedback *feedback);
/* The event's id: the same for the same type, user and item, so that a feedback is there once. */
#define HD_GORSE_ID_BYTES 40 /* "gorse:", 32 digits, and the NUL */
void hd_gorse_id(const struct hd_gorse_feedback *feedback, char id[HD_GORSE_ID_BYTES]);
void hd_gorse_put_event(struct hd_json_writer *w, const struct hd_gorse_feedback *feedback);
/* A whole item or user; or with `old`, what the engine has of it, what is to change. */
HEED_CHECKED heed_status hd_gorse_put_native_item(struct hd_json_writer *w, const hd_json *json,
                                                  const hd_json *old, hd_arena *arena);
HEED_CHECKED heed_status hd_gorse_put_native_user(struct hd_json_writer *w, const hd_json *json,
                                                  const hd_json *old, hd_arena *arena);

/* Into an answer, from the engine's own JSON. */
const char *hd_gorse_type_of(const hd_json *event);
void hd_gorse_put_feedback(struct hd_json_writer *w, const hd_json *event);
void hd_gorse_put_item(struct hd_json_writer *w, const hd_json *item);
void hd_gorse_put_user(struct hd_json_writer *w, const hd_json *user);
/* The engine keeps the number of an item that was removed: hidden, and nothing else is known of it.
 */
bool hd_gorse_item_is_removed(const hd_json *item);

/* ---- shared by the handlers */

/* Puts records in by the intake, all or none of which make sense; the writer is cleared whatever
 * happens. `done` answers. */
HEED_CHECKED heed_status hd_gorse_put_in(struct hd_request *r, heed_record what,
                                         struct hd_json_writer *w,
                                         void (*done)(struct hd_delivery *, void *), void *context);
/* Answers for a delivery that failed; false where it did not. */
bool hd_gorse_failed(struct hd_delivery *delivery);
/* Reads what the engine wrote, and frees it. The document takes the place of the request's own. */
HEED_CHECKED heed_status hd_gorse_read(struct hd_request *r, heed_text *text, hd_json **root);
/* A message that begins with a field's name goes out with that field. Returns status. */
heed_status hd_gorse_fail(struct hd_request *r, heed_status status);

/* `what "text" and what "text"`: a filter with every text quoted. NULL where there is none. */
HEED_CHECKED heed_status hd_gorse_filter(hd_arena *arena, const char *what, const char *const *text,
                                         int count, const char **filter);

struct hd_gorse_query {
    int64_t n, offset;
    struct hd_list category;
    const char *cursor, *search, *user, *write_back_type, *write_back_delay;
};
/* The query by the route's table; n is 1 to HD_FEED_ITEMS_MAX. */
HEED_CHECKED heed_status hd_gorse_query(struct hd_request *r, struct hd_gorse_query *query);

/* ---- records, in gorse_records.c */

/* Puts one record of a body into the document for the engine. */
typedef heed_status (*hd_gorse_put)(struct hd_request *r, struct hd_json_writer *w,
                                    const hd_json *json);
/* The body is a list of records, or one; `before` (or NULL) is called for each once all make sense.
 */
HEED_CHECKED heed_status hd_gorse_post(struct hd_request *r, heed_record what, hd_gorse_put put,
                                       heed_status (*before)(struct hd_request *, const hd_json *));
HEED_CHECKED heed_status hd_gorse_answer_affected(hd_exchange *x, int64_t rows);
/* A page of the engine's. Of an unknown user or item there is an empty one, as Gorse has it. */
HEED_CHECKED heed_status hd_gorse_read_page(struct hd_request *r, heed_record what,
                                            const heed_list_opts *opts, hd_json **page);
/* Puts the records of a page; those of feedback only of `type`, where it is not NULL. */
typedef void (*hd_gorse_put_page)(struct hd_json_writer *w, const hd_json *page, const char *type);
HEED_CHECKED heed_status hd_gorse_list(struct hd_request *r, heed_record what, const char *type,
                                       hd_gorse_put_page put);

/* ---- rows of the tables */

extern const struct hd_shape hd_shape_gorse_affected;
extern const struct hd_field hd_gorse_page_query[];

#define HD_GORSE_AT(field) .at = offsetof(struct hd_gorse_query, field)
#define HD_GORSE_N                                                                              \
    {                                                                                           \
        "n", HD_IS_INT, HD_GORSE_AT(n), .most = INT32_MAX, .help = "how many; 10, 1000 at most" \
    }

#define HD_GORSE_CURSOR                                                                       \
    {                                                                                         \
        "cursor", HD_IS_TEXT, HD_GORSE_AT(cursor), .most = 2048, .help = "of the page before" \
    }
#define HD_GORSE_PAGE(of, title, what)                                                          \
    static const struct hd_field of##_page_fields[] = {                                         \
        {"Cursor", HD_IS_TEXT, HD_NEEDED, .help = "asks for the next page; empty on the last"}, \
        {what, HD_IS_SHAPE, HD_MANY | HD_NEEDED, .shape = &of##_shape},                         \
        {0},                                                                                    \
    };                                                                                          \
    static const struct hd_shape of##_page_shape = {title, of##_page_fields, 0, NULL}
#define HD_GORSE_TAKES(shape_) .body_kind = HD_BODY_RECORDS, .body = &shape_
#define HD_GORSE_TAKES_ONE(shape_) .body_kind = HD_BODY_JSON, .body = &shape_
#define HD_GORSE_GIVES(shape_) HD_GIVES(200, shape_, "as Gorse has it")
#define HD_GORSE_GIVES_MANY(shape_) \
    .answers = {{.status = 200, .shape = &shape_, .help = "as Gorse has it", .many = true}}
#define HD_GORSE_AFFECTED HD_GORSE_GIVES(hd_shape_gorse_affected)

#endif
