/* SPDX-License-Identifier: Apache-2.0
 *
 * Problem documents. */
#include "server/problem.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

static const struct hd_field bad_record_fields[] = {
    {"line", HD_IS_INT, HD_NEEDED, .help = "which line, or which element of an array; from 1"},
    {"reason", HD_IS_TEXT, HD_NEEDED, .help = "the field, and what is wrong with it"},
    {0},
};
const struct hd_shape hd_shape_bad_record = {"BadRecord", bad_record_fields, 0, NULL};

static const struct hd_field problem_fields[] = {
    {"type", HD_IS_TEXT, HD_NEEDED, .help = "urn:heed:... where heed's own word says more"},
    {"title", HD_IS_TEXT, HD_NEEDED, .help = "the kind of problem"},
    {"status", HD_IS_INT, HD_NEEDED, .help = "the answer's status"},
    {"detail", HD_IS_TEXT, 0, .help = "this problem, with its numbers"},
    {"field", HD_IS_TEXT, 0, .help = "the field or parameter at fault"},
    {"line", HD_IS_INT, 0, .help = "the line at fault, from 1"},
    {"accepted", HD_IS_INT, 0, .help = "records taken in"},
    {"duplicate", HD_IS_INT, 0, .help = "records that were there already"},
    {"rejected", HD_IS_INT, 0, .help = "records turned away"},
    {"errors", HD_IS_SHAPE, HD_MANY, .shape = &hd_shape_bad_record,
     .most_count = HD_ERRORS_LISTED_MAX, .help = "the first of them"},
    {0},
};
const struct hd_shape hd_shape_problem = {"Problem", problem_fields, 0, "RFC 9457"};

const char *hd_status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Error";
}

void hd_problem_of(heed_status status, const char *message, struct hd_problem *problem)
{
    static const char *const types[] = {
        [HEED_E_ARG] = "argument",   [HEED_E_SHAPE] = "shape",         [HEED_E_NOMEM] = "memory",
        [HEED_E_IO] = "storage",     [HEED_E_FORMAT] = "malformed",    [HEED_E_RANGE] = "limit",
        [HEED_E_NOTFOUND] = "unknown", [HEED_E_EXISTS] = "exists",     [HEED_E_STATE] = "state",
        [HEED_E_BUSY] = "busy",      [HEED_E_CANCELLED] = "cancelled", [HEED_E_VERSION] = "version",
        [HEED_E_INVARIANT] = "invariant", [HEED_E_UNSUPPORTED] = "unsupported",
    };
    bool inside = hd_status_http(status) >= 500 && status != HEED_E_UNSUPPORTED;

    *problem = (struct hd_problem){
        .status = hd_status_http(status),
        .type = (unsigned)status < sizeof types / sizeof *types ? types[status] : NULL,
        .title = heed_status_text(status),
        .detail = inside || !*message ? NULL : message,
    };
}

void hd_put_bad_records(struct hd_json_writer *w, const struct hd_bad_record *errors, int count)
{
    hd_json_begin_array(w, "errors");
    for (int i = 0; i < count; i++) {
        hd_json_begin_object(w, NULL);
        hd_json_put_int(w, "line", errors[i].line);
        hd_json_put_text(w, "reason", errors[i].reason);
        hd_json_end(w);
    }
    hd_json_end(w);
}

void hd_problem_write(struct hd_json_writer *w, const struct hd_problem *p)
{
    char type[64] = "about:blank";

    if (p->type)
        snprintf(type, sizeof type, "urn:heed:%s", p->type);
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "type", type);
    hd_json_put_text(w, "title", p->title ? p->title : hd_status_phrase(p->status));
    hd_json_put_int(w, "status", p->status);
    if (p->detail)
        hd_json_put_text(w, "detail", p->detail);
    if (p->field && *p->field)
        hd_json_put_text(w, "field", p->field);
    if (p->line > 0)
        hd_json_put_int(w, "line", p->line);
    if (p->counted) {
        hd_json_put_int(w, "accepted", p->accepted);
        hd_json_put_int(w, "duplicate", p->duplicate);
        hd_json_put_int(w, "rejected", p->rejected);
        hd_put_bad_records(w, p->errors, p->error_count);
    }
    hd_json_end(w);
}

void hd_problem_answer(hd_exchange *x, const struct hd_problem *problem)
{
    static const char last_resort[] =
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503}";
    struct hd_json_writer w = {0};
    const char *text;
    size_t bytes;

    hd_problem_write(&w, problem);
    if (hd_json_finish(&w, &text, &bytes) == HEED_OK)
        hd_exchange_answer(x, problem->status, "application/problem+json", text, bytes);
    else /* no memory even for this */
        hd_exchange_answer(x, 503, "application/problem+json", last_resort, sizeof last_resort - 1);
    hd_json_clear(&w);
}
