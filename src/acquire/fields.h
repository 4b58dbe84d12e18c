/* SPDX-License-Identifier: Apache-2.0
 *
 * One field at a time: a JSON value or a piece of a line, held to its kind and its range. Messages
 * are `field: what is wrong`. */
#ifndef HD_FIELDS_H
#define HD_FIELDS_H

#include "acquire/event.h"

/* Whether a parser has refused what it was given: that is its writer's fault and the next line can
 * follow; anything else is not. */
static inline bool hd_is_refusal(heed_status status)
{
    return status == HEED_E_FORMAT || status == HEED_E_RANGE;
}

/* Without NUL, at most bytes_max; bytes may be NULL. */
HEED_CHECKED heed_status hd_field_text(const char *field, const hd_json *value, size_t bytes_max,
                                       const char **text, size_t *bytes);
/* A text, or a whole number taken as its digits; ends in NUL. */
HEED_CHECKED heed_status hd_field_id(const char *field, const hd_json *value, hd_arena *arena,
                                     struct hd_span *id);
HEED_CHECKED heed_status hd_field_int(const char *field, const hd_json *value, int64_t min,
                                      int64_t max, int64_t *out);
HEED_CHECKED heed_status hd_field_number(const char *field, const hd_json *value, double *out);
HEED_CHECKED heed_status hd_field_bool(const char *field, const hd_json *value, bool *out);
/* RFC 3339, or whole milliseconds since 1970. */
HEED_CHECKED heed_status hd_field_time(const char *field, const hd_json *value, heed_time *out);

/* An object as compact JSON in the arena, at most HD_CONTEXT_BYTES_MAX bytes of it. */
HEED_CHECKED heed_status hd_field_object(const char *field, const hd_json *value, hd_arena *arena,
                                         const char **out);

/* Digits with an optional sign and point, whatever the locale: no exponent, 15 digits at most. */
HEED_CHECKED heed_status hd_span_number(const char *field, struct hd_span span, double *out);
/* Seconds since 1970, as milliseconds; 0 and before are refused. */
HEED_CHECKED heed_status hd_span_seconds(const char *field, struct hd_span span, heed_time *out);

bool hd_span_is(struct hd_span span, const char *text);
/* Nothing but blanks, or what is left of a Windows end. */
bool hd_line_is_blank(const char *line, size_t bytes);
bool hd_line_has(const char *line, size_t bytes, const char *what);

#endif
