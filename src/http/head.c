/* SPDX-License-Identifier: Apache-2.0
 *
 * A request's head, looked over before anybody acts on it. What two parties could read differently
 * is refused: a proxy in front must not see one request where this server sees two. */
#include "http/inside.h"

#include "base/limits.h"

#include <string.h>
#include <strings.h>

static const char *const methods[HD_METHODS] = {"GET",   "HEAD",   "POST",   "PUT",
                                                "PATCH", "DELETE", "OPTIONS"};

/* Headers of which a second one leaves open which counts. */
static const char *const single[] = {"Host",         "Content-Length",   "Transfer-Encoding",
                                     "Content-Type", "Content-Encoding", "Authorization"};

struct verdict {
    hd_exchange *x;
    int status;
    const char *why;
};

static int refuse(struct verdict *v, int status, const char *why)
{
    v->status = status;
    v->why = why;
    return status;
}

/* libmicrohttpd 0.9.75 works on texts that end in NUL, so a NUL in a head hides what follows it,
 * and it takes a bare line feed for the end of a line. It writes two NULs over each CR LF and one
 * over each first colon, in place; so a head that was read as it was meant looks like
 *
 *     GET 0 /path 0 HTTP/1.1 0 0  Name 0 value 0 0  Name 0 value 0 0  0 0
 *
 * and any other was not. */
static bool lies_as_read(const hd_exchange *x, const char *method, const char *version,
                         size_t bytes)
{
    const char *end = method + bytes, *at = version + strlen(version);

    if (x->line_at != method + strlen(method) + 1 || version != x->line_at + x->line_bytes + 1)
        return false;
    for (;;) {
        if (end - at < 4 || at[0] != 0 || at[1] != 0)
            return false;
        at += 2;
        if (end - at == 2)
            return at[0] == 0 && at[1] == 0;
        size_t name = strnlen(at, (size_t)(end - at));
        if (!hd_http_token(at, name))
            return false;
        at += name + 1;
        if (at < end)
            at += strnlen(at, (size_t)(end - at));
    }
}

static enum MHD_Result collect_header(void *context, enum MHD_ValueKind kind, const char *name,
                                      size_t name_bytes, const char *value, size_t value_bytes)
{
    struct verdict *v = context;
    hd_exchange *x = v->x;
    char *copy;

    (void)kind;
    /* The library compares a Transfer-Encoding with the blanks after it, so they count here too. */
    while (value_bytes > 0 && strchr(" \t", value[value_bytes - 1]) &&
           strcasecmp(name, "Transfer-Encoding") != 0)
        value_bytes--;
    if (x->header_count == HD_HTTP_HEADERS_MAX)
        refuse(v, 431, "the request has too many header lines");
    else if (!hd_http_token(name, name_bytes) || !hd_http_value(value, value_bytes))
        refuse(v, 400, "a header line is malformed");
    else if (!(copy = hd_arena_alloc(x->arena, name_bytes + value_bytes + 2, 1)))
        refuse(v, 503, "out of memory");
    if (v->status)
        return MHD_NO;
    x->headers[x->header_count++] = (struct hd_header){copy, copy + name_bytes + 1};
    memcpy(copy, name, name_bytes);
    copy[name_bytes] = 0;
    copy += name_bytes + 1;
    if (value_bytes)
        memcpy(copy, value, value_bytes);
    copy[value_bytes] = 0;
    return MHD_YES;
}

static int count_header(const hd_exchange *x, const char *name)
{
    int count = 0;

    for (int i = 0; i < x->header_count; i++)
        count += strcasecmp(x->headers[i].name, name) == 0;
    return count;
}

static int check_headers(struct verdict *v)
{
    hd_exchange *x = v->x;

    x->headers = hd_arena_alloc(x->arena, HD_HTTP_HEADERS_MAX, sizeof *x->headers);
    if (!x->headers)
        return refuse(v, 503, "out of memory");
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, collect_header, v);
    for (size_t i = 0; !v->status && i < sizeof single / sizeof *single; i++)
        if (count_header(x, single[i]) > 1)
            refuse(v, 400, "a header that may stand once stands twice");
    return v->status;
}

/* Who is meant, and how long the body is. */
static int check_framing(struct verdict *v, const char *version)
{
    hd_exchange *x = v->x;
    const char *host = hd_exchange_header(x, "Host");
    const char *length = hd_exchange_header(x, "Content-Length");
    const char *transfer = hd_exchange_header(x, "Transfer-Encoding");
    bool old = strcmp(version, "HTTP/1.0") == 0;
    uint64_t bytes;

    if (!host && !old)
        return refuse(v, 400, "the request has no Host");
    if (host && *host && (!hd_http_target(host, strlen(host)) || strpbrk(host, "/@\\,")))
        return refuse(v, 400, "the Host is malformed");
    if (length && transfer)
        return refuse(v, 400, "the request has a Content-Length and a Transfer-Encoding");
    if (transfer && (old || strcasecmp(transfer, "chunked") != 0))
        return refuse(v, 400, "the Transfer-Encoding is not chunked");
    if (length && !hd_http_length(length, &bytes))
        return refuse(v, 400, "the Content-Length is not a number");
    return 0;
}

static int decode_pair(struct verdict *v, const struct hd_query *pair)
{
    hd_exchange *x = v->x;
    char *text = hd_arena_alloc(x->arena, pair->name_bytes + pair->value_bytes + 2, 1);
    size_t bytes;

    if (!text)
        return refuse(v, 503, "out of memory");
    if (hd_http_unescape(pair->name, pair->name_bytes, true, text, &bytes) != HEED_OK)
        return refuse(v, 400, "the query is malformed");
    text[bytes] = 0;
    char *value = text + bytes + 1;
    if (hd_http_unescape(pair->value, pair->value_bytes, true, value, &bytes) != HEED_OK)
        return refuse(v, 400, "the query is malformed");
    value[bytes] = 0;
    x->pairs[x->pair_count++] = (struct hd_header){text, value};
    return 0;
}

static int check_query(struct verdict *v)
{
    hd_exchange *x = v->x;
    const char *at = x->query;
    struct hd_query pair;

    if (!at)
        return 0;
    x->pairs = hd_arena_alloc(x->arena, HD_HTTP_QUERY_MAX, sizeof *x->pairs);
    if (!x->pairs)
        return refuse(v, 503, "out of memory");
    while (!v->status && hd_query_next(&at, &pair)) {
        if (x->pair_count == HD_HTTP_QUERY_MAX)
            return refuse(v, 400, "the query has too many names");
        decode_pair(v, &pair);
    }
    return v->status;
}

/* Method, path and query, out of the copy of the target. */
static int check_target(struct verdict *v, const char *method)
{
    hd_exchange *x = v->x;
    const char *path = hd_http_path(x->target);
    char *query;

    if (!path || !hd_http_target(x->target, x->line_bytes) ||
        (*path == '*' && strcmp(method, "OPTIONS") != 0))
        return refuse(v, 400, "the request's target is malformed");
    x->path = path;
    query = strchr(path, '?');
    if (query) {
        *query = 0;
        x->query = query + 1;
    }
    for (int i = 0; i < HD_METHODS; i++)
        if (strcmp(method, methods[i]) == 0)
            x->method = (enum hd_method)i;
    if (x->method == HD_METHODS)
        return refuse(v, 501, "the method is not known here");
    return check_query(v);
}

bool hd_head_body(const hd_exchange *x, uint64_t *length)
{
    const char *text = hd_exchange_header(x, "Content-Length");

    *length = 0;
    if (text)
        return hd_http_length(text, length) && *length > 0;
    return hd_exchange_header(x, "Transfer-Encoding") != NULL;
}

static int check_body(struct verdict *v)
{
    const char *coding = hd_exchange_header(v->x, "Content-Encoding");
    uint64_t length;

    if (!hd_head_body(v->x, &length))
        return 0;
    if (length > v->x->http->opts.limits.body_bytes)
        return refuse(v, 413, "the body is longer than is taken here");
    if (coding && hd_coding_named(coding) == HD_CODINGS) {
        hd_exchange_put_header(v->x, "Accept-Encoding", "gzip, zstd");
        return refuse(v, 415, "the Content-Encoding is none of gzip, zstd and identity");
    }
    return 0;
}

static void take_id(hd_exchange *x)
{
    const char *id = hd_exchange_header(x, "X-Request-ID");

    if (id && hd_http_plain_id(id))
        memcpy(x->id, id, strlen(id) + 1);
}

int hd_head_check(hd_exchange *x, const char *method, const char *version, const char **why)
{
    const struct hd_http_limits *limits = &x->http->opts.limits;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct verdict v = {x, 0, NULL};

    if (!x->target)
        refuse(&v, x->line_at ? 503 : 400,
               x->line_at ? "out of memory" : "the request has no target");
    else if (x->line_bytes > limits->url_bytes)
        refuse(&v, 414, "the URL is longer than is taken here");
    else if (info && info->header_size > limits->head_bytes)
        refuse(&v, 431, "the header is longer than is taken here");
    else if (x->http->heads_checked_here &&
             (!info || !lies_as_read(x, method, version, info->header_size)))
        refuse(&v, 400, "the request's head is malformed");
    if (!v.status && !check_headers(&v))
        take_id(x);
    if (!v.status && !check_framing(&v, version) && !check_target(&v, method))
        check_body(&v);
    *why = v.why;
    return v.status;
}
