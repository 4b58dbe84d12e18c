/* SPDX-License-Identifier: Apache-2.0
 *
 * Events as NDJSON, a page of the store at a time, so that neither side holds more than a page. Pages are
 * read one after the other: what comes in meanwhile may or may not be among them, and nothing that was
 * there before is left out. */
#include "server/stream.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

struct stream {
    heed_engine *engine;
    heed_list_opts opts; /* its texts are the exchange's */
    char *cursor;
    hd_json_reader *reader;
    heed_text *page;
    const hd_json *records; /* of the page */
    size_t i;               /* the next of them */
    char *line;             /* what is left to be sent of one; in the reader's document */
    size_t left;
    bool newline; /* is still to be sent after it */
    bool last;    /* page */
};

static void stream_free(void *context)
{
    struct stream *s = context;

    heed_text_free(s->page);
    hd_json_reader_free(s->reader);
    hd_free(s->cursor);
    hd_free(s);
}

static heed_status next_page(struct stream *s)
{
    hd_json *root;

    heed_text_free(s->page);
    s->page = NULL;
    HD_TRY(heed_engine_list(s->engine, HEED_RECORD_EVENT, &s->opts, &s->page));
    HD_TRY(hd_json_read(s->reader, s->page->text, s->page->bytes, &root));
    s->records = hd_json_get(root, "events");
    s->i = 0;
    const hd_json *cursor = hd_json_get(root, "cursor");
    s->last = hd_json_kind(cursor) != HD_JSON_TEXT;
    hd_free(s->cursor);
    s->cursor = s->last ? NULL : hd_strdup(hd_json_text(cursor, NULL));
    if (!s->last && !s->cursor)
        return hd_fail(HEED_E_NOMEM, "events: no memory");
    s->opts.cursor = s->cursor;
    return HEED_OK;
}

/* The next record's line is s->line; an empty one after a page without any, so that nobody waits for
 * the whole store to be searched. false at the end, and where it broke. */
static bool next_line(struct stream *s, bool *broken)
{
    if (s->i == hd_json_length(s->records)) {
        if (s->last)
            return false;
        if (next_page(s) != HEED_OK) {
            *broken = true;
            return false;
        }
        if (hd_json_length(s->records) == 0) {
            s->newline = !s->last;
            return !s->last;
        }
    }
    const char *text = hd_json_compact(hd_json_at(s->records, s->i++));
    *broken = !text;
    s->line = (char *)(uintptr_t)text;
    s->left = text ? strlen(text) : 0;
    s->newline = true;
    return text != NULL;
}

static int64_t stream_next(void *context, char *buffer, size_t room)
{
    struct stream *s = context;
    size_t filled = 0;
    bool broken = false;

    while (filled < room) {
        if (s->left == 0 && !s->newline && !next_line(s, &broken))
            break;
        size_t bytes = s->left < room - filled ? s->left : room - filled;
        memcpy(buffer + filled, s->line, bytes);
        s->line += bytes;
        s->left -= bytes;
        filled += bytes;
        if (s->left == 0 && filled < room) {
            buffer[filled++] = '\n';
            s->newline = false;
        }
    }
    return broken ? -1 : (int64_t)filled;
}

heed_status hd_stream_events(struct hd_request *r, const heed_list_opts *opts)
{
    struct stream *s = hd_alloc(1, sizeof *s);

    if (!s)
        return hd_fail(HEED_E_NOMEM, "events: no memory");
    s->engine = r->server->engine;
    s->opts = *opts;
    heed_status status = hd_json_reader_new(&s->reader);
    if (status == HEED_OK)
        status = next_page(s); /* before the status is sent: a user who is not known is a 404 */
    if (status != HEED_OK) {
        stream_free(s);
        return status;
    }
    hd_exchange_stream(r->x, 200, "application/x-ndjson", stream_next, stream_free, s);
    return HEED_OK;
}
