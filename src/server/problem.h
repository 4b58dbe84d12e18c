/* SPDX-License-Identifier: Apache-2.0
 *
 * What went wrong, as a problem document (RFC 9457). `detail` may quote short pieces of what was sent;
 * it is JSON, escaped, and no browser takes application/problem+json for a page. */
#ifndef HD_PROBLEM_H
#define HD_PROBLEM_H

#include "server/shape.h"

struct hd_bad_record {
    int64_t line;
    const char *reason;
};

/* All zero but status is the ordinary case. */
struct hd_problem {
    int status;         /* of HTTP */
    const char *type;   /* the end of "urn:heed:..."; NULL: about:blank */
    const char *title;  /* NULL: the status's own */
    const char *detail;
    const char *field;
    int64_t line;
    /* Of records that were all turned away. */
    bool counted;
    int64_t accepted, duplicate, rejected;
    const struct hd_bad_record *errors;
    int error_count;
};

extern const struct hd_shape hd_shape_problem;
extern const struct hd_shape hd_shape_bad_record;

/* "Not Found" of 404. */
const char *hd_status_phrase(int status);
void hd_problem_write(struct hd_json_writer *w, const struct hd_problem *problem);
void hd_problem_answer(hd_exchange *x, const struct hd_problem *problem);
/* Out of a status and this thread's message. What failed inside heed is the log's to tell: of 500 and
 * above only the general text goes out. */
void hd_problem_of(heed_status status, const char *message, struct hd_problem *problem);
/* "errors": [{"line", "reason"}, ...] */
void hd_put_bad_records(struct hd_json_writer *w, const struct hd_bad_record *errors, int count);

#endif
