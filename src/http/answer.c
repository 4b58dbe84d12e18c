/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers as they go out: entity tags and 304, packing, the headers that every answer has, pieces
 * of a stream. */
#include "http/inside.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ETAG_BYTES 32 /* "0123456789abcdef-gzip" with its quotes */

static bool put(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

/* What the layers above added. */
static bool put_own(const hd_exchange *x, struct MHD_Response *response)
{
    bool whole = true, cached = false;

    for (const struct hd_put *p = x->puts; p; p = p->next) {
        whole = whole && put(response, p->name, p->value);
        cached = cached || strcasecmp(p->name, "Cache-Control") == 0;
    }
    return whole && (cached || put(response, "Cache-Control", "no-store"));
}

/* Who may read the answer from a page elsewhere. */
static bool put_cors(const hd_exchange *x, struct MHD_Response *response)
{
    const char *allowed = x->http->opts.cors_origin, *origin = hd_exchange_header(x, "Origin");

    if (!allowed || !origin || (strcmp(allowed, "*") != 0 && strcmp(allowed, origin) != 0))
        return true;
    return put(response, "Access-Control-Allow-Origin", allowed) &&
           put(response, "Access-Control-Expose-Headers", "ETag, Link, Retry-After, X-Request-ID");
}

/* What caches must tell answers apart by. */
static bool put_vary(const hd_exchange *x, struct MHD_Response *response, bool packs)
{
    const char *origin = x->http->opts.cors_origin;
    bool by_origin = origin && strcmp(origin, "*") != 0;

    if (packs)
        return put(response, "Vary", by_origin ? "Accept-Encoding, Origin" : "Accept-Encoding");
    return !by_origin || put(response, "Vary", "Origin");
}

static bool put_common(const hd_exchange *x, struct MHD_Response *response, const char *media_type,
                       enum hd_coding coding, bool close)
{
    bool whole = put_cors(x, response) &&
                 put_vary(x, response, media_type && hd_media_packs(media_type)) &&
                 put(response, "X-Content-Type-Options", "nosniff") &&
                 put(response, "X-Request-ID", x->id) && put(response, "Server", "heed");

    if (media_type)
        whole = whole && put(response, "Content-Type", media_type);
    if (coding != HD_IDENTITY)
        whole = whole && put(response, "Content-Encoding", hd_coding_name(coding));
    if (close || atomic_load(&x->http->stopping))
        whole = whole && put(response, "Connection", "close");
    return whole;
}

static struct MHD_Response *if_whole(struct MHD_Response *response, bool whole)
{
    if (response && !whole) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

static void free_packed(void *packed)
{
    hd_free(packed);
}

/* ---- whole answers */

static void write_etag(uint64_t hash, enum hd_coding coding, char etag[ETAG_BYTES])
{
    snprintf(etag, ETAG_BYTES, "\"%016llx%s%s\"", (unsigned long long)hash,
             coding == HD_IDENTITY ? "" : "-", coding == HD_IDENTITY ? "" : hd_coding_name(coding));
}

/* The asker has these bytes, packed as they would be now or not packed: etag says which. */
static bool is_known(const hd_exchange *x, uint64_t hash, enum hd_coding coding,
                     char etag[ETAG_BYTES])
{
    const char *known = hd_exchange_header(x, "If-None-Match");

    if (!known)
        return false;
    write_etag(hash, coding, etag);
    if (hd_etag_named(known, etag))
        return true;
    write_etag(hash, HD_IDENTITY, etag);
    return hd_etag_named(known, etag);
}

static struct MHD_Response *answer_known(const hd_exchange *x, const char *media_type,
                                         const char *etag)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);

    return if_whole(response, response && put_common(x, response, media_type, HD_IDENTITY, false) &&
                                  put_own(x, response) && put(response, "ETag", etag));
}

struct MHD_Response *hd_answer_text(hd_exchange *x, int *status, const char *media_type,
                                    const char *text, size_t bytes, size_t *out_bytes)
{
    bool tagged = *status == 200 && (x->method == HD_GET || x->method == HD_HEAD);
    enum hd_coding coding = HD_IDENTITY;
    struct MHD_Response *response = NULL;
    uint64_t hash = 0;
    char etag[ETAG_BYTES], *packed = NULL;

    *out_bytes = 0;
    if (bytes >= HD_HTTP_PACK_BYTES && media_type && hd_media_packs(media_type))
        coding = hd_coding_accepted(hd_exchange_header(x, "Accept-Encoding"));
    if (tagged) {
        hash = hd_hash(0, text, bytes);
        if (is_known(x, hash, coding, etag)) {
            *status = 304;
            return answer_known(x, media_type, etag);
        }
    }
    if (coding != HD_IDENTITY) {
        packed = hd_pack(coding, text, bytes, &bytes);
        coding = packed ? coding : HD_IDENTITY;
    }
    if (packed)
        response = MHD_create_response_from_buffer_with_free_callback(bytes, packed, free_packed);
    else
        response =
            MHD_create_response_from_buffer(bytes, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (packed && !response)
        hd_free(packed);
    write_etag(hash, coding, etag);
    *out_bytes = x->method == HD_HEAD ? 0 : bytes;
    return if_whole(response, response && put_common(x, response, media_type, coding, false) &&
                                  put_own(x, response) && (!tagged || put(response, "ETag", etag)));
}

struct MHD_Response *hd_answer_problem(const hd_exchange *x, int status, const char *detail,
                                       bool close, bool orphan, size_t *out_bytes)
{
    char text[512];
    int bytes =
        snprintf(text, sizeof text,
                 "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}\n",
                 MHD_get_reason_phrase_for((unsigned)status), status, detail);
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)bytes, text, MHD_RESPMEM_MUST_COPY);

    *out_bytes = (size_t)bytes;
    return if_whole(
        response,
        response && put_common(x, response, "application/problem+json", HD_IDENTITY, close) &&
            (orphan ? put(response, "Cache-Control", "no-store") : put_own(x, response)) &&
            (status != 503 || put(response, "Retry-After", "1")));
}

/* ---- streams */

struct stream {
    hd_exchange *x;
    int64_t (*next)(void *context, char *buffer, size_t room);
    void (*done)(void *context);
    void *context;
    enum hd_coding coding;
    struct hd_packer packer;
    bool drained; /* `next` has nothing more */
    const char *in;
    size_t in_bytes;
    char *buffer; /* what `next` made, before it is packed */
};

static ssize_t next_packed(struct stream *s, char *out, size_t room)
{
    while (!s->packer.ended) {
        size_t made;
        if (s->in_bytes == 0 && !s->drained) {
            int64_t got = s->next(s->context, s->buffer, HD_HTTP_STREAM_BYTES);
            if (got < 0)
                return MHD_CONTENT_READER_END_WITH_ERROR;
            s->in = s->buffer;
            s->in_bytes = (size_t)got;
            s->drained = got == 0;
        }
        if (!hd_packer_run(&s->packer, &s->in, &s->in_bytes, s->drained, out, room, &made))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (made > 0)
            return (ssize_t)made;
    }
    return MHD_CONTENT_READER_END_OF_STREAM;
}

/* Called when the piece before has left: so each piece has its own deadline, and a long export to a
 * slow reader is not cut off for being long. */
static ssize_t read_stream(void *context, uint64_t at, char *out, size_t room)
{
    struct stream *s = context;
    int64_t got;

    (void)at;
    atomic_store(&s->x->link->deadline_ns,
                 hd_monotonic_ns() + s->x->http->opts.limits.answer_ms * INT64_C(1000000));
    if (s->coding != HD_IDENTITY) {
        got = next_packed(s, out, room);
    } else {
        got = s->next(s->context, out, room);
        if (got <= 0)
            return got < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (got > 0)
        s->x->out_bytes += (size_t)got;
    return (ssize_t)got;
}

static void end_stream(void *context)
{
    struct stream *s = context;

    hd_exchange *x = s->x;

    if (s->done)
        s->done(s->context);
    hd_packer_clear(&s->packer);
    hd_free(s->buffer);
    hd_free(s);
    hd_exchange_release(x);
}

struct MHD_Response *hd_answer_stream(hd_exchange *x, const char *media_type,
                                      int64_t (*next)(void *context, char *buffer, size_t room),
                                      void (*done)(void *context), void *context)
{
    struct stream *s = hd_alloc(1, sizeof *s);
    struct MHD_Response *response;

    if (!s) {
        if (done)
            done(context);
        return NULL;
    }
    atomic_fetch_add(&x->holders, 1); /* what `next` reads may lie in its arena */
    *s = (struct stream){.x = x, .next = next, .done = done, .context = context};
    if (hd_media_packs(media_type))
        s->coding = hd_coding_accepted(hd_exchange_header(x, "Accept-Encoding"));
    if (s->coding != HD_IDENTITY && (!(s->buffer = hd_alloc(HD_HTTP_STREAM_BYTES, 1)) ||
                                     !hd_packer_begin(&s->packer, s->coding)))
        s->coding = HD_IDENTITY;
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HD_HTTP_STREAM_BYTES,
                                                 read_stream, s, end_stream);
    if (!response) {
        end_stream(s);
        return NULL;
    }
    /* The library would send the last, empty chunk after the head that a HEAD asks for, and the
     * client would take it for the next answer. Without chunks it ends the connection. */
    if (x->method == HD_HEAD)
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END);
    return if_whole(response,
                    put_common(x, response, media_type, s->coding, false) && put_own(x, response));
}
