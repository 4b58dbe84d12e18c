/* SPDX-License-Identifier: Apache-2.0
 *
 * NDJSON and documents, record by record. */
#include "engine/ingest_read.h"
#include "acquire/fields.h"
#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void hd_ingest_refuse(heed_ingest *piece, int64_t line, const char *why)
{
    char reason[HD_ERROR_BYTES_MAX]; /* a copy: the callback may call us and fail */

    piece->rejected++;
    if (!piece->reject)
        return;
    snprintf(reason, sizeof reason, "%s", why);
    heed_reject told = {.reason = reason, .line = line};
    piece->reject(piece->reject_context, &told);
}

heed_status hd_ingest_grow(void **array, int64_t count, int64_t *room, size_t size)
{
    if (count < *room)
        return HEED_OK;
    int64_t more = *room ? *room * 2 : 256;
    void *grown = hd_resize(*array, (size_t)more, size);
    if (!grown)
        return hd_fail(HEED_E_NOMEM, "ingest: no memory for %" PRId64 " records", more);
    *array = grown;
    *room = more;
    return HEED_OK;
}

/* ---- records of a piece */

struct walk {
    hd_json_reader *json;
    heed_ingest *piece;
    hd_record_fn take;
    void *context;
};

static heed_status take(struct walk *w, const hd_json *root, int64_t line)
{
    heed_status status = w->take(w->context, root, line);

    if (!hd_is_refusal(status))
        return status;
    hd_ingest_refuse(w->piece, line, heed_error_message());
    return HEED_OK;
}

static heed_status read_and_take(struct walk *w, const char *text, size_t bytes, int64_t line)
{
    hd_json *root;
    heed_status status = hd_json_read(w->json, text, bytes, &root);

    if (hd_is_refusal(status)) {
        hd_ingest_refuse(w->piece, line, heed_error_message());
        return HEED_OK;
    }
    HD_TRY(status);
    if (!w->piece->document || hd_json_kind(root) != HD_JSON_ARRAY)
        return take(w, root, line);
    for (size_t i = 0; i < hd_json_length(root); i++)
        HD_TRY(take(w, hd_json_at(root, i), (int64_t)i + 1));
    return HEED_OK;
}

static heed_status take_line(struct walk *w, const char *text, size_t bytes, int64_t line)
{
    char too_long[64];

    if (hd_line_is_blank(text, bytes))
        return HEED_OK;
    if (bytes <= HD_LINE_BYTES_MAX)
        return read_and_take(w, text, bytes, line);
    snprintf(too_long, sizeof too_long, "longer than %d bytes", HD_LINE_BYTES_MAX);
    hd_ingest_refuse(w->piece, line, too_long);
    return HEED_OK;
}

heed_status hd_ingest_each(hd_json_reader *json, heed_ingest *piece, hd_record_fn take_record,
                           void *context)
{
    struct walk w = {json, piece, take_record, context};
    const char *at = piece->text, *end = at + piece->bytes;

    if (piece->document)
        return read_and_take(&w, at, piece->bytes, 1);
    for (int64_t line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        HD_TRY(take_line(&w, at, (size_t)(stop - at), line));
        at = stop + 1;
    }
    return HEED_OK;
}

/* ---- events */

struct event_walk {
    struct hd_read_events *out;
    heed_ingest *piece;
};

/* What points into the document must outlive it. */
static heed_status keep(hd_arena *arena, const char **text, size_t bytes)
{
    char *copy = *text ? hd_arena_alloc_small(arena, bytes + 1) : NULL;

    if (*text && !copy)
        return hd_fail(HEED_E_NOMEM, "ingest: no memory for a text");
    if (copy) {
        memcpy(copy, *text, bytes);
        copy[bytes] = 0;
    }
    *text = copy;
    return HEED_OK;
}

static heed_status keep_event(void *context, const hd_json *root, int64_t line)
{
    struct event_walk *w = context;
    struct hd_read_events *out = w->out;
    struct hd_read_event read = {.piece = w->piece, .line = line};
    struct hd_event *e = &read.event;

    HD_TRY(hd_event_of_json(root, out->arena, e));
    HD_TRY(keep(out->arena, &e->user.at, e->user.bytes));
    HD_TRY(keep(out->arena, &e->item.at, e->item.bytes));
    HD_TRY(keep(out->arena, &e->id, e->id ? strlen(e->id) : 0));
    HD_TRY(keep(out->arena, &e->decision, e->decision ? strlen(e->decision) : 0));
    HD_TRY(hd_ingest_grow((void **)&out->event, out->count, &out->room, sizeof *out->event));
    out->event[out->count++] = read;
    return HEED_OK;
}

heed_status hd_ingest_read_events(hd_json_reader *json, heed_ingest *piece,
                                  struct hd_read_events *out)
{
    struct event_walk w = {out, piece};

    return hd_ingest_each(json, piece, keep_event, &w);
}
