/* SPDX-License-Identifier: Apache-2.0
 *
 * zlib and zstd on bodies, piece by piece: the bound is looked at after each piece, so that a
 * bomb is stopped where it passes it. */
#include "http/body.h"

#include "base/limits.h"
#include "base/memory.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define GZIP_WINDOW (15 + 16) /* zlib's way to say: gzip's header and check */
#define ZSTD_WINDOW_LOG \
    23               /* 8 MiB, what RFC 8878 asks a decoder to take; more is memory for strangers */
#define GZIP_LEVEL 4 /* of 9: a feed packs to a fifth, and 6 takes half as long again */
#define ZSTD_LEVEL 3
#define FIRST_ROOM 4096

/* ---- in */

int hd_body_begin(struct hd_body *body, struct hd_bodies *all, enum hd_coding coding, size_t max)
{
    *body = (struct hd_body){.all = all, .coding = coding, .max = max};
    if (coding == HD_GZIP) {
        z_stream *z = hd_alloc(1, sizeof *z);
        body->unpacker = z;
        if (!z || inflateInit2(z, GZIP_WINDOW) != Z_OK) {
            hd_free(z);
            body->unpacker = NULL;
            return 503;
        }
    } else if (coding == HD_ZSTD) {
        body->unpacker = ZSTD_createDCtx();
        if (!body->unpacker)
            return 503;
        ZSTD_DCtx_setParameter(body->unpacker, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    }
    return 0;
}

/* Room for `more` bytes and a NUL. Grows by doubling with what really came, never by what a header
 * promised: ten thousand slow senders hold ten thousand times little. */
static int make_room(struct hd_body *body, size_t more)
{
    size_t want = body->count + more + 1, room = body->room ? body->room : FIRST_ROOM;
    char *bytes;

    if (body->room >= want)
        return 0;
    while (room < want)
        room *= 2;
    if (room > body->max + 2 && want <= body->max + 2)
        room = body->max + 2;
    size_t grown = room - body->room;
    if (atomic_fetch_add(&body->all->bytes, grown) + grown > body->all->bytes_max ||
        !(bytes = hd_resize(body->bytes, room, 1))) {
        atomic_fetch_sub(&body->all->bytes, grown);
        return 503;
    }
    body->bytes = bytes;
    body->room = room;
    return 0;
}

static int take_plain(struct hd_body *body, const char *bytes, size_t count)
{
    int status;

    if (count > body->max - body->count)
        return 413;
    if ((status = make_room(body, count)) != 0)
        return status;
    memcpy(body->bytes + body->count, bytes, count);
    body->count += count;
    return 0;
}

/* Room for what the unpacker makes next. One byte past the bound is let in, to tell a body that is
 * as long as it may be from one that is longer. */
static int unpack_room(struct hd_body *body)
{
    if (body->count > body->max)
        return 413;
    return make_room(body, 1);
}

static int take_gzip(struct hd_body *body, const char *bytes, size_t count)
{
    z_stream *z = body->unpacker;

    z->next_in = (Bytef *)(uintptr_t)bytes;
    z->avail_in = (uInt)count;
    for (;;) {
        int status = unpack_room(body);
        if (status)
            return status;
        if (body->ended) { /* a member after a member, as `cat a.gz b.gz` makes them */
            if (z->avail_in == 0)
                return 0;
            inflateReset(z);
            body->ended = false;
        }
        size_t room = body->room - body->count - 1;
        z->next_out = (Bytef *)body->bytes + body->count;
        z->avail_out = (uInt)room;
        int result = inflate(z, Z_NO_FLUSH);
        body->count += room - z->avail_out;
        body->ended = result == Z_STREAM_END;
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return result == Z_MEM_ERROR ? 503 : 400;
        if (!body->ended && z->avail_in == 0 && z->avail_out > 0)
            return body->count > body->max ? 413 : 0;
    }
}

/* The library still reads the formats that zstd had before it was one, and old code that nobody uses
 * is no reader for strangers: a frame of RFC 8878, or one to be skipped, or 400. */
static bool zstd_frame(struct hd_body *body, const char *bytes, size_t count)
{
    static const unsigned char frame[4] = {0x28, 0xB5, 0x2F, 0xFD}, skip[4] = {0x50, 0x2A, 0x4D, 0x18};

    for (size_t i = 0; i < count && body->magic_bytes < 4; i++) {
        int at = body->magic_bytes++;
        body->magic[at] = (unsigned char)bytes[i];
        bool skipped = (body->magic[0] & 0xF0) == skip[0];
        if (body->magic[at] != (skipped ? skip : frame)[at] && !(skipped && at == 0))
            return false;
    }
    return true;
}

static int take_zstd(struct hd_body *body, const char *bytes, size_t count)
{
    ZSTD_inBuffer in = {bytes, count, 0};

    for (;;) {
        int status = unpack_room(body);
        if (status)
            return status;
        if (body->ended) {
            if (in.pos == in.size)
                return 0;
            body->magic_bytes = 0;
        }
        if (!zstd_frame(body, bytes + in.pos, in.size - in.pos))
            return 400;
        ZSTD_outBuffer out = {body->bytes + body->count, body->room - body->count - 1, 0};
        size_t result = ZSTD_decompressStream(body->unpacker, &out, &in);
        body->count += out.pos;
        if (ZSTD_isError(result))
            return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? 503 : 400;
        body->ended = result == 0;
        if (!body->ended && in.pos == in.size && out.pos < out.size)
            return body->count > body->max ? 413 : 0;
    }
}

int hd_body_take(struct hd_body *body, const char *bytes, size_t count)
{
    body->wire += count;
    if (body->coding == HD_GZIP)
        return take_gzip(body, bytes, count);
    if (body->coding == HD_ZSTD)
        return take_zstd(body, bytes, count);
    return take_plain(body, bytes, count);
}

int hd_body_end(struct hd_body *body)
{
    int status = body->coding != HD_IDENTITY && body->wire > 0 && !body->ended ? 400 : 0;

    if (!status)
        status = make_room(body, 0);
    if (!status)
        body->bytes[body->count] = 0;
    return status;
}

void hd_body_clear(struct hd_body *body)
{
    if (body->coding == HD_GZIP && body->unpacker) {
        inflateEnd(body->unpacker);
        hd_free(body->unpacker);
    } else if (body->coding == HD_ZSTD) {
        ZSTD_freeDCtx(body->unpacker);
    }
    if (body->room)
        atomic_fetch_sub(&body->all->bytes, body->room);
    hd_free(body->bytes);
    *body = (struct hd_body){0};
}

/* ---- out */

bool hd_packer_begin(struct hd_packer *packer, enum hd_coding coding)
{
    *packer = (struct hd_packer){.coding = coding};
    if (coding == HD_GZIP) {
        z_stream *z = packer->state = hd_alloc(1, sizeof *z);
        if (z &&
            deflateInit2(z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK)
            return true;
        hd_free(z);
        packer->state = NULL;
        return false;
    }
    packer->state = ZSTD_createCCtx();
    return packer->state && !ZSTD_isError(ZSTD_CCtx_setParameter(
                                packer->state, ZSTD_c_compressionLevel, ZSTD_LEVEL));
}

static bool run_gzip(struct hd_packer *packer, const char **in, size_t *in_bytes, bool last,
                     char *out, size_t room, size_t *made)
{
    z_stream *z = packer->state;
    int result;

    z->next_in = (Bytef *)(uintptr_t)*in;
    z->avail_in = (uInt)*in_bytes;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)room;
    result = deflate(z, last ? Z_FINISH : Z_NO_FLUSH);
    *in += *in_bytes - z->avail_in;
    *in_bytes = z->avail_in;
    *made = room - z->avail_out;
    packer->ended = result == Z_STREAM_END;
    return result != Z_STREAM_ERROR;
}

bool hd_packer_run(struct hd_packer *packer, const char **in, size_t *in_bytes, bool last,
                   char *out, size_t room, size_t *made)
{
    if (packer->coding == HD_GZIP)
        return run_gzip(packer, in, in_bytes, last, out, room, made);

    ZSTD_inBuffer from = {*in, *in_bytes, 0};
    ZSTD_outBuffer to = {out, room, 0};
    size_t left =
        ZSTD_compressStream2(packer->state, &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left))
        return false;
    *in += from.pos;
    *in_bytes -= from.pos;
    *made = to.pos;
    packer->ended = last && left == 0;
    return true;
}

void hd_packer_clear(struct hd_packer *packer)
{
    if (packer->coding == HD_GZIP && packer->state) {
        deflateEnd(packer->state);
        hd_free(packer->state);
    } else if (packer->coding == HD_ZSTD) {
        ZSTD_freeCCtx(packer->state);
    }
    *packer = (struct hd_packer){0};
}

char *hd_pack(enum hd_coding coding, const char *text, size_t bytes, size_t *packed)
{
    struct hd_packer packer;
    char *out = bytes <= UINT32_MAX / 2 ? hd_resize(NULL, bytes, 1) : NULL;

    if (!out)
        return NULL;
    if (!hd_packer_begin(&packer, coding) ||
        !hd_packer_run(&packer, &text, &bytes, true, out, bytes, packed) || !packer.ended) {
        hd_free(out);
        out = NULL;
    }
    hd_packer_clear(&packer);
    return out;
}
