/* SPDX-License-Identifier: Apache-2.0
 *
 *     file ─▶ raw ─▶ (inflate, zstd, or nothing) ─▶ text: start ── line ── line ── end
 *
 * `text` has room for the longest line that is allowed and one more read. A line is handed out
 * where it lies; what is left of the last one moves to the front before more is read. */
#include "text/lines.h"
#include "base/limits.h"
#include "base/memory.h"
#include "text/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define RAW_BYTES ((size_t)128 << 10)
#define TEXT_BYTES ((size_t)HD_LINE_BYTES_MAX + ((size_t)256 << 10))

enum wrapping { PLAIN, GZIP, ZSTD };

struct hd_lines {
    char *path;
    int file;
    enum wrapping wrapping;
    bool latin1;
    bool ended;     /* the file is read to its end */
    bool in_stream; /* inside a gzip member or a zstd frame */
    int64_t total, done, number;
    z_stream inflate;
    bool inflating; /* inflate is to be ended */
    ZSTD_DStream *zstd;
    unsigned char *raw;
    size_t raw_at, raw_end;
    char *text;
    size_t start, end;
    size_t checked;  /* no line ends between start and here */
    char *converted; /* Latin-1 as UTF-8 */
    char problem[64];
};

static heed_status bad(hd_lines *l, const char *reason)
{
    return hd_fail(HEED_E_FORMAT, "%s:%" PRId64 ": %s", l->path, l->number + 1, reason);
}

/* ---- raw bytes */

static heed_status read_raw(hd_lines *l)
{
    ssize_t got;

    if (l->raw_at < l->raw_end || l->ended)
        return HEED_OK;
    do
        got = read(l->file, l->raw, RAW_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be read", l->path);
    l->raw_at = 0;
    l->raw_end = (size_t)got;
    l->done += got;
    l->ended = got == 0;
    return HEED_OK;
}

static heed_status unwrap_plain(hd_lines *l, size_t room, size_t *made)
{
    size_t bytes = l->raw_end - l->raw_at;

    if (bytes > room)
        bytes = room;
    memcpy(l->text + l->end, l->raw + l->raw_at, bytes);
    l->raw_at += bytes;
    *made = bytes;
    return HEED_OK;
}

/* Several members one after the other are one file, as gzip has it; zeros after the last are
 * padding of a tape or a block device. */
static heed_status unwrap_gzip(hd_lines *l, size_t room, size_t *made)
{
    if (!l->in_stream) {
        while (l->raw_at < l->raw_end && l->raw[l->raw_at] == 0)
            l->raw_at++;
        if (l->raw_at == l->raw_end)
            return HEED_OK;
        if (inflateReset(&l->inflate) != Z_OK)
            return bad(l, "the gzip data is damaged");
        l->in_stream = true;
    }
    l->inflate.next_in = l->raw + l->raw_at;
    l->inflate.avail_in = (uInt)(l->raw_end - l->raw_at);
    l->inflate.next_out = (unsigned char *)l->text + l->end;
    l->inflate.avail_out = (uInt)room;
    int code = inflate(&l->inflate, Z_NO_FLUSH);
    l->raw_at = l->raw_end - l->inflate.avail_in;
    *made = room - l->inflate.avail_out;
    if (code == Z_STREAM_END)
        l->in_stream = false;
    else if (code == Z_MEM_ERROR)
        return hd_fail(HEED_E_NOMEM, "%s: no memory to unpack it", l->path);
    else if (code != Z_OK && code != Z_BUF_ERROR)
        return bad(l, "the gzip data is damaged");
    return HEED_OK;
}

static heed_status unwrap_zstd(hd_lines *l, size_t room, size_t *made)
{
    ZSTD_inBuffer in = {l->raw, l->raw_end, l->raw_at};
    ZSTD_outBuffer out = {l->text + l->end, room, 0};
    size_t left = ZSTD_decompressStream(l->zstd, &out, &in);

    if (ZSTD_isError(left))
        return bad(l, "the zstd data is damaged");
    l->raw_at = in.pos;
    *made = out.pos;
    l->in_stream = left != 0;
    return HEED_OK;
}

/* More text behind what is there, if there is any and any room. */
static heed_status fill(hd_lines *l, bool *more)
{
    size_t made = 0;

    if (l->start > 0) {
        memmove(l->text, l->text + l->start, l->end - l->start);
        l->end -= l->start;
        l->checked -= l->start;
        l->start = 0;
    }
    *more = false;
    do {
        bool before = l->in_stream;
        HD_TRY(read_raw(l));
        size_t room = TEXT_BYTES - l->end, at = l->raw_at;
        if (l->ended && !l->in_stream)
            return HEED_OK;
        if (l->wrapping == PLAIN)
            HD_TRY(unwrap_plain(l, room, &made));
        else if (l->wrapping == GZIP)
            HD_TRY(unwrap_gzip(l, room, &made));
        else
            HD_TRY(unwrap_zstd(l, room, &made));
        /* At the end of the file, nothing in and nothing out: it stops in the middle. */
        if (l->ended && made == 0 && at == l->raw_at && before && l->in_stream)
            return bad(l, "the compressed data is cut short");
    } while (made == 0);
    l->end += made;
    *more = true;
    return HEED_OK;
}

/* ---- lines */

/* Hands out text[start .. end) as the next line; `next` is where the one after it begins. */
static void hand_out(hd_lines *l, size_t end, size_t next, struct hd_line *line)
{
    const char *text = l->text + l->start;
    size_t bytes = end - l->start;

    if (bytes > 0 && text[bytes - 1] == '\r')
        bytes--;
    if (l->number == 0 && bytes >= 3 &&
        memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark */
        text += 3;
        bytes -= 3;
    }
    *line = (struct hd_line){.text = text, .bytes = bytes, .number = ++l->number};
    l->start = l->checked = next;

    const char *nul = memchr(text, 0, bytes);
    if (bytes > HD_LINE_BYTES_MAX) {
        snprintf(l->problem, sizeof l->problem, "the line is longer than %d bytes",
                 HD_LINE_BYTES_MAX);
        line->problem = l->problem;
    } else if (nul) {
        snprintf(l->problem, sizeof l->problem, "a NUL byte at byte %zu: a binary file?",
                 (size_t)(nul - text) + 1);
        line->problem = l->problem;
    } else if (l->latin1) {
        line->bytes = hd_utf8_from_latin1(text, bytes, l->converted);
        line->text = l->converted;
    } else {
        size_t valid = hd_utf8_valid(text, bytes);
        if (valid < bytes) {
            snprintf(l->problem, sizeof l->problem,
                     "not UTF-8 at byte %zu (0x%02X): Latin-1, perhaps?", valid + 1,
                     (unsigned)(unsigned char)text[valid]);
            line->problem = l->problem;
        }
    }
}

/* A line that does not fit: its rest is read and dropped. */
static heed_status skip_line(hd_lines *l, struct hd_line *line)
{
    bool more = true;

    while (more) {
        char *feed = memchr(l->text + l->start, '\n', l->end - l->start);
        if (feed) {
            l->start = (size_t)(feed - l->text) + 1;
            break;
        }
        l->start = l->end;
        l->checked = l->end;
        HD_TRY(fill(l, &more));
    }
    l->checked = l->start;
    snprintf(l->problem, sizeof l->problem, "the line is longer than %d bytes", HD_LINE_BYTES_MAX);
    *line = (struct hd_line){.text = "", .number = ++l->number, .problem = l->problem};
    return HEED_OK;
}

heed_status hd_lines_next(hd_lines *l, struct hd_line *line, bool *more)
{
    bool filled;

    for (;;) {
        char *feed = memchr(l->text + l->checked, '\n', l->end - l->checked);
        if (feed) {
            size_t end = (size_t)(feed - l->text);
            hand_out(l, end, end + 1, line);
            *more = true;
            return HEED_OK;
        }
        l->checked = l->end;
        *more = true;
        if (l->end - l->start > HD_LINE_BYTES_MAX + 1) /* one may be the CR of its end */
            return skip_line(l, line);
        HD_TRY(fill(l, &filled));
        if (filled)
            continue;
        *more = l->start < l->end; /* a last line without its end */
        if (*more)
            hand_out(l, l->end, l->end, line);
        return HEED_OK;
    }
}

void hd_lines_progress(const hd_lines *l, int64_t *done, int64_t *total)
{
    *done = l->done;
    *total = l->total;
}

/* ---- opening */

static voidpf zlib_alloc(voidpf context, uInt count, uInt size)
{
    (void)context;
    return hd_alloc(count, size);
}

static void zlib_free(voidpf context, voidpf pointer)
{
    (void)context;
    hd_free(pointer);
}

static heed_status look_inside(hd_lines *l)
{
    HD_TRY(read_raw(l));
    const unsigned char *b = l->raw;
    size_t bytes = l->raw_end;

    if (bytes >= 2 && b[0] == 0x1F && b[1] == 0x8B) {
        l->wrapping = GZIP;
        l->inflate.zalloc = zlib_alloc;
        l->inflate.zfree = zlib_free;
        if (inflateInit2(&l->inflate, 15 + 16) != Z_OK)
            return hd_fail(HEED_E_NOMEM, "%s: no memory to unpack it", l->path);
        l->inflating = true;
    } else if (bytes >= 4 && memcmp(b, "\x28\xB5\x2F\xFD", 4) == 0) {
        l->wrapping = ZSTD;
        l->zstd = ZSTD_createDStream();
        if (!l->zstd)
            return hd_fail(HEED_E_NOMEM, "%s: no memory to unpack it", l->path);
        l->in_stream = true;
    } else if (bytes >= 4 && memcmp(b, "PK\3\4", 4) == 0) {
        return hd_fail(HEED_E_FORMAT, "%s: a zip archive: unpack it first", l->path);
    } else if (bytes >= 6 && memcmp(b,
                                    "\xFD"
                                    "7zXZ",
                                    6) == 0) {
        return hd_fail(HEED_E_FORMAT,
                       "%s: packed with xz: unpack it first (gzip and zstd are read)", l->path);
    } else if (bytes >= 3 && memcmp(b, "BZh", 3) == 0) {
        return hd_fail(HEED_E_FORMAT,
                       "%s: packed with bzip2: unpack it first (gzip and zstd are read)", l->path);
    }
    return HEED_OK;
}

static heed_status open_file(hd_lines *l)
{
    struct stat st;

    l->file = open(l->path, O_RDONLY | O_CLOEXEC);
    if (l->file < 0 && errno == ENOENT)
        return hd_fail(HEED_E_NOTFOUND, "%s: no such file", l->path);
    if (l->file < 0 || fstat(l->file, &st) != 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be opened", l->path);
    if (S_ISDIR(st.st_mode))
        return hd_fail(HEED_E_IO, "%s: is a directory, not a file", l->path);
    l->total = S_ISREG(st.st_mode) ? st.st_size : 0;
    l->raw = hd_resize(NULL, RAW_BYTES, 1);
    l->text = hd_resize(NULL, TEXT_BYTES, 1);
    if (l->latin1)
        l->converted = hd_resize(NULL, (size_t)HD_LINE_BYTES_MAX, 2);
    if (!l->raw || !l->text || (l->latin1 && !l->converted))
        return hd_fail(HEED_E_NOMEM, "%s: no memory to read it", l->path);
    return look_inside(l);
}

heed_status hd_lines_open(const char *path, bool latin1, hd_lines **out)
{
    hd_lines *l = hd_alloc(1, sizeof *l);

    if (!l)
        return hd_fail(HEED_E_NOMEM, "%s: no memory to read it", path);
    l->file = -1;
    l->latin1 = latin1;
    l->path = hd_strdup(path);
    heed_status status =
        l->path ? open_file(l) : hd_fail(HEED_E_NOMEM, "%s: no memory to read it", path);
    if (status != HEED_OK) {
        hd_lines_close(l);
        return status;
    }
    *out = l;
    return HEED_OK;
}

void hd_lines_close(hd_lines *l)
{
    if (!l)
        return;
    if (l->inflating)
        inflateEnd(&l->inflate);
    ZSTD_freeDStream(l->zstd);
    if (l->file >= 0)
        close(l->file);
    hd_free(l->raw);
    hd_free(l->text);
    hd_free(l->converted);
    hd_free(l->path);
    hd_free(l);
}
