/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON writer: one growing buffer and a stack of what is open. */
#include "text/json.h"
#include "base/memory.h"
#include "text/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct hd_json_writer *w, const char *text, size_t bytes)
{
    if (w->no_memory)
        return;
    if (bytes >= w->room - w->bytes) { /* one byte stays for the NUL */
        size_t room = w->room ? w->room : 256;
        while (room - w->bytes <= bytes) {
            if (room > SIZE_MAX / 2) {
                w->no_memory = true;
                return;
            }
            room *= 2;
        }
        char *grown = hd_resize(w->text, room, 1);
        if (!grown) {
            w->no_memory = true;
            return;
        }
        w->text = grown;
        w->room = room;
    }
    memcpy(w->text + w->bytes, text, bytes);
    w->bytes += bytes;
    w->text[w->bytes] = 0;
}

static void put_line(struct hd_json_writer *w)
{
    if (w->indent <= 0)
        return;
    put(w, "\n", 1);
    for (int i = 0; i < w->depth * w->indent; i++)
        put(w, " ", 1);
}

static void put_escaped(struct hd_json_writer *w, const char *text, size_t bytes)
{
    size_t from = 0, i = 0; /* what stands between them goes out as it is */

    put(w, "\"", 1);
    while (i < bytes) {
        unsigned char c = (unsigned char)text[i];
        size_t length = hd_utf8_length(text + i, bytes - i);
        char escape[8];

        if (length > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7F) {
            i += length;
            continue;
        }
        put(w, text + from, i - from);
        if (length == 0)
            snprintf(escape, sizeof escape, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if (c == '\t')
            snprintf(escape, sizeof escape, "\\t");
        else
            snprintf(escape, sizeof escape, "\\u%04x", c);
        put(w, escape, strlen(escape));
        from = ++i;
    }
    put(w, text + from, i - from);
    put(w, "\"", 1);
}

/* What stands before a value: a comma, a new line, its key. */
static void put_key(struct hd_json_writer *w, const char *key)
{
    assert(w->depth > 0 || w->bytes == 0 || w->no_memory); /* one document, one value */
    assert(w->depth == 0 || w->depth > HD_JSON_DEPTH_MAX ||
           (w->close[w->depth - 1] == '}') == (key != NULL));
    if (w->comma)
        put(w, ",", 1);
    if (w->depth > 0)
        put_line(w);
    if (key) {
        put_escaped(w, key, strlen(key));
        put(w, ": ", w->indent > 0 ? 2 : 1);
    }
    w->comma = true;
}

static void begin(struct hd_json_writer *w, const char *key, char open, char close)
{
    put_key(w, key);
    put(w, &open, 1);
    if (w->depth < HD_JSON_DEPTH_MAX)
        w->close[w->depth] = close;
    else
        w->too_deep = true;
    w->depth++;
    w->comma = false;
}

void hd_json_begin_object(struct hd_json_writer *w, const char *key)
{
    begin(w, key, '{', '}');
}

void hd_json_begin_array(struct hd_json_writer *w, const char *key)
{
    begin(w, key, '[', ']');
}

void hd_json_end(struct hd_json_writer *w)
{
    assert(w->depth > 0);
    w->depth--;
    if (w->comma)
        put_line(w);
    if (w->depth < HD_JSON_DEPTH_MAX)
        put(w, &w->close[w->depth], 1);
    w->comma = true;
}

void hd_json_put_text_bytes(struct hd_json_writer *w, const char *key, const char *text,
                            size_t bytes)
{
    put_key(w, key);
    put_escaped(w, text, bytes);
}

void hd_json_put_text(struct hd_json_writer *w, const char *key, const char *text)
{
    if (text)
        hd_json_put_text_bytes(w, key, text, strlen(text));
    else
        hd_json_put_null(w, key);
}

void hd_json_put_int(struct hd_json_writer *w, const char *key, int64_t value)
{
    char text[24];

    put_key(w, key);
    put(w, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

/* The host may have set a locale whose decimal point is a comma. */
static void put_digits(struct hd_json_writer *w, char *text)
{
    for (char *c = text; *c; c++)
        if (!strchr("+-0123456789e", *c))
            *c = '.';
    put(w, text, strlen(text));
}

void hd_json_put_number(struct hd_json_writer *w, const char *key, double value)
{
    char text[40];

    put_key(w, key);
    if (!isfinite(value)) {
        put(w, "null", 4);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    put_digits(w, text);
}

void hd_json_put_float(struct hd_json_writer *w, const char *key, float value)
{
    char text[40];

    put_key(w, key);
    if (!isfinite(value)) {
        put(w, "null", 4);
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    put_digits(w, text);
}

void hd_json_put_bool(struct hd_json_writer *w, const char *key, bool value)
{
    put_key(w, key);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

void hd_json_put_null(struct hd_json_writer *w, const char *key)
{
    put_key(w, key);
    put(w, "null", 4);
}

void hd_json_put_raw(struct hd_json_writer *w, const char *key, const char *json)
{
    put_key(w, key);
    put(w, json, strlen(json));
}

heed_status hd_json_finish(struct hd_json_writer *w, const char **text, size_t *bytes)
{
    if (w->no_memory)
        return hd_fail(HEED_E_NOMEM, "json: no memory for the document");
    if (w->too_deep)
        return hd_fail(HEED_E_RANGE, "json: more than %d levels", HD_JSON_DEPTH_MAX);
    if (w->depth != 0 || w->bytes == 0)
        return hd_fail(HEED_E_STATE, "json: the document is not complete");
    *text = w->text;
    if (bytes)
        *bytes = w->bytes;
    return HEED_OK;
}

void hd_json_restart(struct hd_json_writer *w)
{
    *w = (struct hd_json_writer){.text = w->text, .room = w->room, .indent = w->indent};
}

void hd_json_clear(struct hd_json_writer *w)
{
    int indent = w->indent;

    hd_free(w->text);
    *w = (struct hd_json_writer){.indent = indent};
}
