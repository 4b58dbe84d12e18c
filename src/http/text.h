/* SPDX-License-Identifier: Apache-2.0
 *
 * The small languages inside HTTP: targets, queries, media types, entity tags, codings, addresses.
 * Pure functions over bytes; every input is a stranger's. Of RFC 9110 and 9112 as much as heed
 * needs. */
#ifndef HD_HTTP_TEXT_H
#define HD_HTTP_TEXT_H

#include "base/status.h"

enum hd_coding { HD_IDENTITY, HD_GZIP, HD_ZSTD, HD_CODINGS };

/* The name as it stands in Content-Encoding; HD_CODINGS: none that is known. "" is identity. */
enum hd_coding hd_coding_named(const char *text);
const char *hd_coding_name(enum hd_coding coding);
/* The best that an Accept-Encoding allows; of equally good ones the one that packs better. Identity
 * where the header is absent (NULL), malformed, or allows nothing: an answer beats none. */
enum hd_coding hd_coding_accepted(const char *accept);

/* `Content-Type: application/json; charset=utf-8` is application/json. */
bool hd_media_is(const char *header, const char *media_type);
/* Texts and JSON, which are worth packing. */
bool hd_media_packs(const char *media_type);

/* Whether an If-None-Match names the entity tag (with its quotes), by weak comparison, or is `*`.
 */
bool hd_etag_named(const char *header, const char *etag);

/* A token of RFC 9110, 5.6.2: what a header's name may be. */
bool hd_http_token(const char *text, size_t bytes);
/* No controls but the tab: what a header's value may be. */
bool hd_http_value(const char *text, size_t bytes);
/* No controls, blanks or fragment: what a request's target may be. */
bool hd_http_target(const char *text, size_t bytes);
/* 1 to 64 of [A-Za-z0-9._-]: can be written into a log as it is. */
bool hd_http_plain_id(const char *text);
/* Digits alone; false also where it does not fit. */
bool hd_http_length(const char *text, uint64_t *length);

/* Whether a request's head has come to its end, an empty line. A line may end in LF alone, and empty
 * ones may come first: whether they may is for whoever reads the head. */
bool hd_http_head_whole(const char *text, size_t bytes);
/* Whether the first record of a TLS connection has come, or something that is none. */
bool hd_tls_record_whole(const char *text, size_t bytes);

/* Where the path starts in a target: past the scheme and authority of an absolute one. NULL: it is
 * neither a path, nor absolute, nor `*`. */
const char *hd_http_path(const char *target);

/* Undoes %XX, and `+` for a blank where `plus`. out: room for `bytes`. HEED_E_FORMAT: malformed, a
 * NUL or another control, or not UTF-8. */
HEED_CHECKED heed_status hd_http_unescape(const char *text, size_t bytes, bool plus, char *out,
                                          size_t *out_bytes);

struct hd_query {
    const char *name, *value; /* still escaped */
    size_t name_bytes, value_bytes;
};
/* The next `name=value` of `a=1&b=2`; empty ones are passed over. False at the end. */
bool hd_query_next(const char **at, struct hd_query *out);

struct hd_listen {
    char host[256]; /* "": every address */
    char port[6];
};
/* HOST:PORT, [HOST]:PORT or :PORT. HEED_E_ARG says what is wrong. */
HEED_CHECKED heed_status hd_listen_parse(const char *text, struct hd_listen *out);

#endif
