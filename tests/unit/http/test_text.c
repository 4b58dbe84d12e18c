/* SPDX-License-Identifier: Apache-2.0
 *
 * The small languages of HTTP: each row is a question, what it is asked of, and the answer. */
#include "http/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

static const char *yes_or_no(bool yes)
{
    return yes ? "yes" : "no";
}

/* ---- codings */

static const char *name_of(enum hd_coding coding)
{
    return coding == HD_CODINGS ? "none" : hd_coding_name(coding);
}

static const struct {
    const char *accept, *coding;
} accepted[] = {{NULL, "identity"},
                {"", "identity"},
                {"gzip", "gzip"},
                {"GZip", "gzip"},
                {"x-gzip", "gzip"},
                {"zstd", "zstd"},
                {"gzip, zstd", "zstd"},
                {"zstd,gzip", "zstd"},
                {"gzip;q=1.0, zstd;q=0.9", "gzip"},
                {"gzip ; q=0.5 , zstd;q=0.500", "zstd"},
                {"gzip;q=0.501, zstd;q=0.5", "gzip"},
                {"gzip;q=0", "identity"},
                {"gzip;q=0.000, zstd;q=0", "identity"},
                {"*", "zstd"},
                {"*;q=0", "identity"},
                {"zstd;q=0, *", "gzip"},
                {"gzip;q=0.2, *;q=0.1", "gzip"},
                {"identity", "identity"},
                {"identity;q=0.5, gzip;q=0.5", "gzip"},
                {"identity;q=1, gzip;q=0.5", "identity"},
                {"identity;q=0", "identity"},
                {"br, deflate", "identity"},
                {"br;q=1, gzip;q=0.1", "gzip"},
                {",, gzip ,", "gzip"},
                {"gzip;q=2", "identity"},
                {"gzip;q=1.5", "identity"},
                {"gzip;q=-1", "identity"},
                {"gzip;q=", "identity"},
                {"gzip;level=9", "identity"},
                {"gzip zstd", "identity"},
                {"gzip;q=0.1234567890123456789", "gzip"}};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        print_message("# %s\n", accepted[i].accept ? accepted[i].accept : "(absent)");
        assert_string_equal(name_of(hd_coding_accepted(accepted[i].accept)), accepted[i].coding);
    }
}

static const struct {
    const char *question, *text, *about, *answer;
} rows[] = {{"coding", "gzip", "", "gzip"},
            {"coding", " x-GZIP ", "", "gzip"},
            {"coding", "", "", "identity"},
            {"coding", "identity", "", "identity"},
            {"coding", "zstd", "", "zstd"},
            {"coding", "br", "", "none"},
            {"coding", "gzip, gzip", "", "none"},
            {"media", "application/json", "application/json", "yes"},
            {"media", " Application/JSON; charset=utf-8", "application/json", "yes"},
            {"media", "application/json ;a=b", "application/json", "yes"},
            {"media", "application/jsonx", "application/json", "no"},
            {"media", "application", "application/json", "no"},
            {"media", "application/json, text/html", "application/json", "no"},
            {"media", "application/json , text/html", "application/json", "no"},
            {"media", "", "application/json", "no"},
            {"packs", "application/json", "", "yes"},
            {"packs", "application/problem+json", "", "yes"},
            {"packs", "application/x-ndjson", "", "yes"},
            {"packs", "text/plain; charset=utf-8", "", "yes"},
            {"packs", "image/svg+xml", "", "yes"},
            {"packs", "image/png", "", "no"},
            {"packs", "application/octet-stream", "", "no"},
            {"packs", "", "", "no"},
            {"etag", "\"a\"", "\"a\"", "yes"},
            {"etag", "W/\"a\"", "\"a\"", "yes"},
            {"etag", "\"b\", \"a\"", "\"a\"", "yes"},
            {"etag", "\"b\" ,, W/\"a\"", "\"a\"", "yes"},
            {"etag", "*", "\"a\"", "yes"},
            {"etag", " * ", "\"a\"", "yes"},
            {"etag", "*, \"a\"", "\"a\"", "no"},
            {"etag", "a", "\"a\"", "no"},
            {"etag", "\"ab\"", "\"a\"", "no"},
            {"etag", "\"a", "\"a\"", "no"},
            {"etag", "\"b\" \"a\"", "\"a\"", "no"},
            {"etag", "", "\"a\"", "no"},
            {"token", "X-Request-ID", "", "yes"},
            {"token", "!#$%&'*+-.^_`|~09", "", "yes"},
            {"token", "", "", "no"},
            {"token", "a b", "", "no"},
            {"token", "a:", "", "no"},
            {"token", "a\x7f", "", "no"},
            {"token", "\xc3\xa4", "", "no"},
            {"value", "", "", "yes"},
            {"value", "a\tb \xff", "", "yes"},
            {"value", "a\rb", "", "no"},
            {"value", "a\nb", "", "no"},
            {"value", "a\x1f", "", "no"},
            {"value", "a\x7f", "", "no"},
            {"target", "/a?b=\xc3\xa4", "", "yes"},
            {"target", "", "", "no"},
            {"target", "/a b", "", "no"},
            {"target", "/a#b", "", "no"},
            {"target", "/a\x7f", "", "no"},
            {"id", "a", "", "yes"},
            {"id", "a.B_c-9", "", "yes"},
            {"id", "0123456789012345678901234567890123456789012345678901234567890123", "", "yes"},
            {"id", "01234567890123456789012345678901234567890123456789012345678901234", "", "no"},
            {"id", "", "", "no"},
            {"id", "a b", "", "no"},
            {"length", "0", "", "0"},
            {"length", "007", "", "7"},
            {"length", "18446744073709551615", "", "18446744073709551615"},
            {"length", "18446744073709551616", "", "no"},
            {"length", "99999999999999999999", "", "no"},
            {"length", "", "", "no"},
            {"length", "+1", "", "no"},
            {"length", "1 ", "", "no"},
            {"path", "/a", "", "/a"},
            {"path", "*", "", "*"},
            {"path", "**", "", "no"},
            {"path", "http://h/a?b", "", "/a?b"},
            {"path", "HTTPS://h:1/", "", "/"},
            {"path", "http://h", "", "no"},
            {"path", "http://h?/a", "", "no"},
            {"path", "a", "", "no"},
            {"path", "", "", "no"},
            {"unescape", "a%20b+c", "", "a b+c"},
            {"unescape", "%C3%A4%2f", "", "\xc3\xa4/"},
            {"unescape", "", "", ""},
            {"unescape", "%2", "", "url: a % without two hexadecimal digits at byte 0"},
            {"unescape", "ab%", "", "url: a % without two hexadecimal digits at byte 2"},
            {"unescape", "%g0", "", "url: a % without two hexadecimal digits at byte 0"},
            {"unescape", "a%00", "", "url: a control character at byte 3"},
            {"unescape", "%0A", "", "url: a control character at byte 2"},
            {"unescape", "%7F", "", "url: a control character at byte 2"},
            {"unescape", "%ff", "", "url: not UTF-8 once decoded"},
            {"unescape", "%C0%80", "", "url: not UTF-8 once decoded"},
            {"query", "a=1&b=2", "", "[a][1][b][2]"},
            {"query", "&&a&=b&c=d=e&", "", "[a][][][b][c][d=e]"},
            {"query", "", "", ""},
            {"query", "&", "", ""},
            {"query", "=", "", "[][]"},
            {"listen", "127.0.0.1:80", "", "127.0.0.1 80"},
            {"listen", "localhost:0", "", "localhost 0"},
            {"listen", "[::1]:65535", "", "::1 65535"},
            {"listen", ":80", "", " 80"},
            {"listen", "80", "", "listen: `80` is not HOST:PORT"},
            {"listen", "a:", "", "listen: the port of `a:` is not 0 to 65535"},
            {"listen", "a:65536", "", "listen: the port of `a:65536` is not 0 to 65535"},
            {"listen", "a:000080", "", "listen: the port of `a:000080` is not 0 to 65535"},
            {"listen", "::1:80", "", "listen: write an IPv6 address as [HOST]:PORT, not `::1:80`"},
            {"listen", "[]:80", "", "listen: `[]:80` is not [HOST]:PORT"},
            {"listen", "[::1:80", "", "listen: `[::1:80` is not [HOST]:PORT"},
            {"listen", "a b:80", "", "listen: `a b:80` names no host"},
            {"listen", "[[a]:80", "", "listen: `[[a]:80` names no host"}};

static void answer_query(const char *text, char *out, size_t room)
{
    struct hd_query pair;
    size_t used = 0;

    *out = 0;
    while (hd_query_next(&text, &pair))
        used += (size_t)snprintf(out + used, room - used, "[%.*s][%.*s]", (int)pair.name_bytes,
                                 pair.name, (int)pair.value_bytes, pair.value);
}

static void answer_unescape(const char *text, bool plus, char *out)
{
    size_t bytes;

    if (hd_http_unescape(text, strlen(text), plus, out, &bytes) == HEED_OK)
        out[bytes] = 0;
    else
        strcpy(out, heed_error_message());
}

static void ask(const char *question, const char *text, const char *about, char *out, size_t room)
{
    size_t bytes = strlen(text);
    struct hd_listen listen;
    uint64_t length;

    if (strcmp(question, "coding") == 0)
        strcpy(out, name_of(hd_coding_named(text)));
    else if (strcmp(question, "media") == 0)
        strcpy(out, yes_or_no(hd_media_is(text, about)));
    else if (strcmp(question, "packs") == 0)
        strcpy(out, yes_or_no(hd_media_packs(text)));
    else if (strcmp(question, "etag") == 0)
        strcpy(out, yes_or_no(hd_etag_named(text, about)));
    else if (strcmp(question, "token") == 0)
        strcpy(out, yes_or_no(hd_http_token(text, bytes)));
    else if (strcmp(question, "value") == 0)
        strcpy(out, yes_or_no(hd_http_value(text, bytes)));
    else if (strcmp(question, "target") == 0)
        strcpy(out, yes_or_no(hd_http_target(text, bytes)));
    else if (strcmp(question, "id") == 0)
        strcpy(out, yes_or_no(hd_http_plain_id(text)));
    else if (strcmp(question, "path") == 0)
        strcpy(out, hd_http_path(text) ? hd_http_path(text) : "no");
    else if (strcmp(question, "unescape") == 0)
        answer_unescape(text, false, out);
    else if (strcmp(question, "query") == 0)
        answer_query(text, out, room);
    else if (strcmp(question, "length") == 0 && hd_http_length(text, &length))
        snprintf(out, room, "%llu", (unsigned long long)length);
    else if (strcmp(question, "listen") == 0)
        snprintf(out, room, "%s",
                 hd_listen_parse(text, &listen) == HEED_OK ? "" : heed_error_message());
    else
        strcpy(out, "no");
    if (strcmp(question, "listen") == 0 && !*out)
        snprintf(out, room, "%s %s", listen.host, listen.port);
}

static void test_rows(void **state)
{
    char got[600];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("# %s of `%s`\n", rows[i].question, rows[i].text);
        ask(rows[i].question, rows[i].text, rows[i].about, got, sizeof got);
        assert_string_equal(got, rows[i].answer);
    }
}

/* whole_at: the shortest beginning that is whole; 0: none is. Literals, as there are zeros in them. */
#define FIRST(kind, text, whole_at) {hd_##kind##_whole, text, sizeof(text) - 1, whole_at}
static const struct {
    bool (*whole)(const char *text, size_t bytes);
    const char *text;
    size_t bytes, whole_at;
} firsts[] = {
    FIRST(http_head, "", 0),
    FIRST(http_head, "GET / HTTP/1.1\r\n\r\n", 18),
    FIRST(http_head, "GET / HTTP/1.1\r\nHost: a\r\n\r\nand more\n\n", 27),
    FIRST(http_head, "GET / HTTP/1.1\nHost: a\n\nand more", 24),
    FIRST(http_head, "GET / HTTP/1.1\nHost: a\n\r\n", 25),
    FIRST(http_head, "GET / HTTP/1.1\r\nHost: a\r\n\n", 26),
    FIRST(http_head, "GET / HTTP/1.1\r\nHost: a\r\n \r\n", 0),
    FIRST(http_head, "GET / HTTP/1.1\r\nHost: a\n\rb\r\n", 0),
    FIRST(http_head, "GET / HTTP/1.1\r\rHost: a\r\r", 0),
    FIRST(http_head, "GET /\0 HTTP/1.1\r\n\r\n", 19),
    FIRST(http_head, "\r\n\r\n\n\n\r\r", 0),
    FIRST(http_head, "\r\n\nGET / HTTP/1.1\r\n\r\n", 21),
    FIRST(tls_record, "", 0),
    FIRST(tls_record, "GET", 1),
    FIRST(tls_record, "\x80\x2e\x01", 1),
    FIRST(tls_record, "\x16\x03\x01\x00\x00", 5),
    FIRST(tls_record, "\x16\x03\x01\x00\x04\x01\x00\x00\x00\x00", 9),
    FIRST(tls_record, "\x16\x03\x01\x01\x00\x01\x00\x00\x00", 0),
};

static void test_firsts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        print_message("# `%s`\n", firsts[i].text);
        for (size_t bytes = 0; bytes <= firsts[i].bytes; bytes++) {
            char *beginning = malloc(bytes ? bytes : 1); /* of its own length, so that reading on shows */
            memcpy(beginning, firsts[i].text, bytes);
            assert_int_equal(firsts[i].whole(beginning, bytes),
                             firsts[i].whole_at && bytes >= firsts[i].whole_at);
            free(beginning);
        }
    }
}

static void test_edges(void **state)
{
    char got[64], host[300] = "", want[512];
    struct hd_listen listen;

    (void)state;
    answer_unescape("a+b%2B", true, got);
    assert_string_equal(got, "a b+");
    assert_false(hd_media_is(NULL, "a/b"));
    assert_false(hd_http_token("a\0b", 3));
    assert_false(hd_http_value("a\0b", 3));
    assert_false(hd_http_target("/\0b", 3));
    memset(host, 'h', 255);
    strcpy(want, host);
    strcat(host, ":1");
    assert_int_equal(hd_listen_parse(host, &listen), HEED_OK);
    assert_string_equal(listen.host, want);
    memset(host, 'h', 256);
    strcpy(host + 256, ":1");
    assert_int_equal(hd_listen_parse(host, &listen), HEED_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accepted), cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_firsts), cmocka_unit_test(test_edges)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
