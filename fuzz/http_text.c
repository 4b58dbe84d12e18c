/* SPDX-License-Identifier: Apache-2.0
 *
 * What strangers write into the head of a request, and packed bodies. The first byte says what the
 * rest is:
 *
 *     A Accept-Encoding   E If-None-Match   M Content-Type   T target, query and its escapes
 *     L HOST:PORT         G body in gzip    Z body in zstd  H a head's end        R a TLS record
 *
 * Laws, beside surviving: what is taken keeps to its grammar; written again it is read as the same;
 * a body is the same in whatever pieces it came, and never longer than its bound. */
#include "http/body.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define BODY_BYTES_MAX 70000

#define LAW(holds)                                                                   \
    do {                                                                             \
        if (!(holds)) {                                                              \
            fprintf(stderr, "http_text: broken at line %d: %s\n", __LINE__, #holds); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

/* `before text after`, on the heap, so that reading past it shows. */
static char *join(const char *before, const char *text, const char *after)
{
    size_t bytes = strlen(before) + strlen(text) + strlen(after) + 1;
    char *out = malloc(bytes);

    if (!out)
        abort();
    snprintf(out, bytes, "%s%s%s", before, text, after);
    return out;
}

static void check_accept(const char *text)
{
    enum hd_coding coding = hd_coding_accepted(text);
    char *more = join("br;q=0.3 , ", text, "");

    LAW(coding < HD_CODINGS);
    LAW(hd_coding_named(hd_coding_name(coding)) == coding);
    LAW(hd_coding_accepted(more) == coding || coding == HD_IDENTITY);
    free(more);
}

static void check_etag(const char *text)
{
    static const char *const etags[] = {"\"a\"", "\"0123456789abcdef-gzip\"", "\"\""};

    for (size_t i = 0; i < sizeof etags / sizeof *etags; i++) {
        bool named = hd_etag_named(text, etags[i]);
        char *more = join("W/\"other\", ", text, "");
        if (named && !strchr(text, '*'))
            LAW(strstr(text, etags[i]) && hd_etag_named(more, etags[i]));
        free(more);
        more = join(etags[i], ", ", text);
        LAW(hd_etag_named(more, etags[i]));
        free(more);
    }
}

static void check_media(const char *text)
{
    char *more = join(text, "; x=y", "");

    if (hd_media_is(text, "application/json"))
        LAW(hd_media_packs(text + strspn(text, " \t")) && hd_media_is(more, "application/json"));
    free(more);
}

static void check_unescaped(const char *text, size_t bytes, bool plus)
{
    char *out = malloc(bytes + 1), *escaped = malloc(3 * bytes + 1), *again = malloc(3 * bytes + 1);
    size_t count, back;

    if (!out || !escaped || !again)
        abort();
    if (hd_http_unescape(text, bytes, plus, out, &count) == HEED_OK) {
        LAW(count <= bytes && hd_utf8_valid(out, count) == count);
        for (size_t i = 0; i < count; i++) {
            LAW((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
            snprintf(escaped + 3 * i, 4, "%%%02X", (unsigned char)out[i]);
        }
        LAW(hd_http_unescape(escaped, 3 * count, plus, again, &back) == HEED_OK);
        LAW(back == count && memcmp(again, out, count) == 0);
    }
    free(out);
    free(escaped);
    free(again);
}

static void check_target(const char *text)
{
    const char *path = hd_http_path(text), *at = text, *end = text;
    struct hd_query pair;
    size_t bytes = strlen(text);

    if (path)
        LAW(path >= text && path < text + bytes && (*path == '/' || strcmp(path, "*") == 0));
    if (hd_http_target(text, bytes))
        LAW(hd_http_value(text, bytes));
    if (hd_http_plain_id(text))
        LAW(bytes <= 64 && hd_http_token(text, bytes) && hd_http_target(text, bytes));
    while (hd_query_next(&at, &pair)) {
        LAW(pair.name >= end && pair.value >= pair.name + pair.name_bytes);
        LAW(!memchr(pair.name, '=', pair.name_bytes) && !memchr(pair.name, '&', pair.name_bytes));
        LAW(!memchr(pair.value, '&', pair.value_bytes));
        end = pair.value + pair.value_bytes;
        LAW(end == at && end <= text + bytes);
        check_unescaped(pair.value, pair.value_bytes, true);
    }
    check_unescaped(text, bytes, false);
}

static void check_listen(const char *text)
{
    struct hd_listen listen, again;
    uint64_t port;
    char back[300];

    if (hd_listen_parse(text, &listen) != HEED_OK)
        return;
    LAW(hd_http_length(listen.port, &port) && port <= 65535);
    snprintf(back, sizeof back, strchr(listen.host, ':') ? "[%s]:%s" : "%s:%s", listen.host,
             listen.port);
    LAW(hd_listen_parse(back, &again) == HEED_OK);
    LAW(strcmp(again.host, listen.host) == 0 && strcmp(again.port, listen.port) == 0);
}

/* ---- bodies */

static int receive(struct hd_body *body, struct hd_bodies *all, enum hd_coding coding,
                   const uint8_t *data, size_t bytes, size_t piece)
{
    int status = hd_body_begin(body, all, coding, BODY_BYTES_MAX);

    for (size_t at = 0; at < bytes && !status; at += piece)
        status =
            hd_body_take(body, (const char *)data + at, bytes - at < piece ? bytes - at : piece);
    return status ? status : hd_body_end(body);
}

/* Once the first thing is whole, what follows does not change that. */
static void check_first(bool (*whole)(const char *, size_t), const char *text, size_t bytes)
{
    bool before = false;

    for (size_t n = 0; n <= bytes && n < 4096; n++) {
        char *beginning = malloc(n ? n : 1); /* so that reading past it shows */
        if (!beginning)
            abort();
        memcpy(beginning, text, n);
        bool now = whole(beginning, n);
        LAW(now || !before);
        LAW(!now || n > 0);
        before = now;
        free(beginning);
    }
}

static void check_body(enum hd_coding coding, const uint8_t *data, size_t bytes)
{
    struct hd_bodies all = {0, SIZE_MAX};
    struct hd_body whole, pieces;
    int status = receive(&whole, &all, coding, data, bytes, bytes ? bytes : 1);
    int again = receive(&pieces, &all, coding, data, bytes, bytes > 3000 ? 97 : 1);

    LAW((status == 0) == (again == 0));
    LAW(status == 0 || status == 400 || status == 413);
    LAW(whole.room <= BODY_BYTES_MAX + 2);
    if (status == 0) {
        LAW(whole.count <= BODY_BYTES_MAX && whole.count == pieces.count);
        LAW(memcmp(whole.bytes, pieces.bytes, whole.count + 1) == 0 &&
            whole.bytes[whole.count] == 0);
    }
    hd_body_clear(&whole);
    hd_body_clear(&pieces);
    LAW(all.bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text;

    if (bytes == 0)
        return 0;
    if (data[0] == 'G' || data[0] == 'Z') {
        check_body(data[0] == 'G' ? HD_GZIP : HD_ZSTD, data + 1, bytes - 1);
        return 0;
    }
    text = malloc(bytes);
    if (!text)
        abort();
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = 0;
    switch (data[0]) {
    case 'A':
        check_accept(text);
        break;
    case 'E':
        check_etag(text);
        break;
    case 'M':
        check_media(text);
        break;
    case 'T':
        check_target(text);
        break;
    case 'L':
        check_listen(text);
        break;
    case 'H':
        check_first(hd_http_head_whole, text, bytes - 1);
        break;
    case 'R':
        check_first(hd_tls_record_whole, text, bytes - 1);
        break;
    default:
        break;
    }
    free(text);
    return 0;
}
