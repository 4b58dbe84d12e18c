/* SPDX-License-Identifier: Apache-2.0
 *
 * The parsers. None allocates but into the caller's arena, and none looks past the bytes it is given. */
#include "http/text.h"

#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const coding_names[HD_CODINGS] = {"identity", "gzip", "zstd"};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

static const char *skip_blanks(const char *at)
{
    while (is_blank(*at))
        at++;
    return at;
}

static bool same_word(const char *text, size_t bytes, const char *word)
{
    return strlen(word) == bytes && strncasecmp(text, word, bytes) == 0;
}

/* ---- codings */

static enum hd_coding coding_of(const char *text, size_t bytes)
{
    if (same_word(text, bytes, "x-gzip")) /* RFC 9110, 8.4.1.3: the same */
        return HD_GZIP;
    for (int i = 0; i < HD_CODINGS; i++)
        if (same_word(text, bytes, coding_names[i]))
            return (enum hd_coding)i;
    return HD_CODINGS;
}

enum hd_coding hd_coding_named(const char *text)
{
    size_t bytes;

    text = skip_blanks(text);
    bytes = strlen(text);
    while (bytes > 0 && is_blank(text[bytes - 1]))
        bytes--;
    return bytes == 0 ? HD_IDENTITY : coding_of(text, bytes);
}

const char *hd_coding_name(enum hd_coding coding)
{
    return coding_names[coding];
}

/* Reads `;q=0.5` where there is one, in thousandths; -1: malformed. */
static int read_quality(const char **at)
{
    const char *p = skip_blanks(*at);
    int quality = 0, digit = 100;

    if (*p != ';')
        return 1000;
    p = skip_blanks(p + 1);
    if ((p[0] != 'q' && p[0] != 'Q') || p[1] != '=' || (p[2] != '0' && p[2] != '1'))
        return -1;
    quality = (p[2] - '0') * 1000;
    p += 3;
    if (*p == '.')
        for (p++; is_digit(*p); p++, digit /= 10)
            quality += (*p - '0') * digit;
    *at = p;
    return quality <= 1000 ? quality : -1;
}

enum hd_coding hd_coding_accepted(const char *accept)
{
    int quality[HD_CODINGS], any = 0, best = HD_IDENTITY;
    bool named[HD_CODINGS] = {false};

    if (!accept)
        return HD_IDENTITY;
    for (const char *at = accept; *at;) {
        const char *start = at = skip_blanks(at);
        while (*at && *at != ',' && *at != ';' && !is_blank(*at))
            at++;
        size_t bytes = (size_t)(at - start);
        int q = read_quality(&at);
        at = skip_blanks(at);
        if (q < 0 || (*at && *at != ','))
            return HD_IDENTITY;
        enum hd_coding coding = coding_of(start, bytes);
        if (coding != HD_CODINGS) {
            quality[coding] = q;
            named[coding] = true;
        } else if (bytes == 1 && *start == '*') {
            any = q;
        }
        at += *at == ',';
    }
    /* What is not named has the quality of `*`; but identity, unless refused, is always good enough
     * and never better than a packing that was asked for. */
    for (int i = 0; i < HD_CODINGS; i++)
        if (!named[i])
            quality[i] = i == HD_IDENTITY ? 0 : any;
    for (int i = 1; i < HD_CODINGS; i++)
        if (quality[i] > 0 && quality[i] >= quality[best])
            best = i;
    return (enum hd_coding)best;
}

/* ---- media types and entity tags */

bool hd_media_is(const char *header, const char *media_type)
{
    size_t bytes;

    if (!header)
        return false;
    header = skip_blanks(header);
    bytes = strcspn(header, "; \t,");
    return same_word(header, bytes, media_type) &&
           header[bytes + strspn(header + bytes, " \t")] != ',';
}

bool hd_media_packs(const char *media_type)
{
    size_t bytes = strcspn(media_type, "; \t");

    return strncasecmp(media_type, "text/", 5) == 0 ||
           (bytes >= 4 && strncasecmp(media_type + bytes - 4, "json", 4) == 0) ||
           same_word(media_type, bytes, "image/svg+xml");
}

bool hd_etag_named(const char *header, const char *etag)
{
    const char *at = skip_blanks(header);

    if (*at == '*')
        return *skip_blanks(at + 1) == 0;
    while (*at) {
        const char *end;
        if (at[0] == 'W' && at[1] == '/')
            at += 2;
        if (*at != '"' || !(end = strchr(at + 1, '"')))
            return false;
        end++;
        if ((size_t)(end - at) == strlen(etag) && memcmp(at, etag, (size_t)(end - at)) == 0)
            return true;
        at = skip_blanks(end);
        if (*at && *at != ',')
            return false;
        while (*at == ',' || is_blank(*at))
            at++;
    }
    return false;
}

/* ---- what may stand where */

bool hd_http_token(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!is_word(text[i]) && (text[i] == 0 || !strchr("!#$%&'*+-.^_`|~", text[i])))
            return false;
    return bytes > 0;
}

bool hd_http_value(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool hd_http_target(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c == 0x7f || c == '#')
            return false;
    }
    return bytes > 0;
}

bool hd_http_plain_id(const char *text)
{
    size_t bytes = 0;

    for (; text[bytes]; bytes++)
        if (bytes == 64 || (!is_word(text[bytes]) && !strchr("._-", text[bytes])))
            return false;
    return bytes > 0;
}

bool hd_http_length(const char *text, uint64_t *length)
{
    uint64_t value = 0;

    if (!*text)
        return false;
    for (; *text; text++)
        if (!is_digit(*text) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    *length = value;
    return true;
}

/* ---- where the first thing a client says ends */

bool hd_http_head_whole(const char *text, size_t bytes)
{
    const char *end = text + bytes, *at = text;

    while (at < end && (*at == '\r' || *at == '\n'))
        at++;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if (at < end && *at == '\r')
            at++;
        if (at < end && *at == '\n')
            return true;
    }
    return false;
}

bool hd_tls_record_whole(const char *text, size_t bytes)
{
    const unsigned char *b = (const unsigned char *)text;

    if (bytes > 0 && b[0] != 22) /* RFC 8446, 5.1: a handshake, version (2), length (2) */
        return true;
    return bytes >= 5 && bytes - 5 >= ((size_t)b[3] << 8 | b[4]);
}

/* ---- targets */

const char *hd_http_path(const char *target)
{
    size_t scheme;

    if (target[0] == '/' || strcmp(target, "*") == 0)
        return target;
    if (strncasecmp(target, "http://", 7) == 0)
        scheme = 7;
    else if (strncasecmp(target, "https://", 8) == 0)
        scheme = 8;
    else
        return NULL;
    target += scheme + strcspn(target + scheme, "/?");
    return *target == '/' ? target : NULL;
}

static int hex(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

heed_status hd_http_unescape(const char *text, size_t bytes, bool plus, char *out,
                             size_t *out_bytes)
{
    size_t count = 0;

    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 2 < bytes ? hex(text[i + 1]) : -1;
            int low = i + 2 < bytes ? hex(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return hd_fail(HEED_E_FORMAT,
                               "url: a %% without two hexadecimal digits at byte %zu", i);
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return hd_fail(HEED_E_FORMAT, "url: a control character at byte %zu", i);
        out[count++] = c;
    }
    if (hd_utf8_valid(out, count) != count)
        return hd_fail(HEED_E_FORMAT, "url: not UTF-8 once decoded");
    *out_bytes = count;
    return HEED_OK;
}

bool hd_query_next(const char **at, struct hd_query *out)
{
    const char *start = *at + strspn(*at, "&");
    size_t bytes = strcspn(start, "&"), name = strcspn(start, "&=");

    if (bytes == 0)
        return false;
    *out = (struct hd_query){start, start + name, name, 0};
    if (name < bytes) {
        out->value++;
        out->value_bytes = bytes - name - 1;
    }
    *at = start + bytes;
    return true;
}

/* ---- where to listen */

heed_status hd_listen_parse(const char *text, struct hd_listen *out)
{
    const char *host = text, *colon = strrchr(text, ':');
    size_t bytes, digits;
    uint64_t port;

    if (!colon)
        return hd_fail(HEED_E_ARG, "listen: `%.100s` is not HOST:PORT", text);
    bytes = (size_t)(colon - text);
    if (*text == '[') {
        if (bytes < 3 || colon[-1] != ']')
            return hd_fail(HEED_E_ARG, "listen: `%.100s` is not [HOST]:PORT", text);
        host++;
        bytes -= 2;
    } else if (memchr(text, ':', bytes)) {
        return hd_fail(HEED_E_ARG, "listen: write an IPv6 address as [HOST]:PORT, not `%.100s`",
                       text);
    }
    digits = strlen(colon + 1);
    if (digits > 5 || !hd_http_length(colon + 1, &port) || port > 65535)
        return hd_fail(HEED_E_ARG, "listen: the port of `%.100s` is not 0 to 65535", text);
    if (bytes >= sizeof out->host || memchr(host, '[', bytes) || memchr(host, ']', bytes) ||
        !hd_http_target(bytes ? host : "-", bytes ? bytes : 1))
        return hd_fail(HEED_E_ARG, "listen: `%.100s` names no host", text);
    memcpy(out->host, host, bytes);
    out->host[bytes] = 0;
    memcpy(out->port, colon + 1, digits + 1);
    return HEED_OK;
}
