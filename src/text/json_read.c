/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON reader, on json-c in its strict mode, with what that leaves open closed here: single
 * quotes, NaN and Infinity, integers past int64_t (which it would quietly cap), loose numbers. */
#include "text/json.h"
#include "base/memory.h"
#include "text/utf8.h"

#include <json-c/json.h>
#include <limits.h>
#include <math.h>
#include <string.h>

struct hd_json_reader {
    json_tokener *tokener;
    struct json_object *root;
};

heed_status hd_json_reader_new(hd_json_reader **out)
{
    hd_json_reader *reader = hd_alloc(1, sizeof *reader);

    if (reader)
        reader->tokener = json_tokener_new_ex(HD_JSON_DEPTH_MAX);
    if (!reader || !reader->tokener) {
        hd_free(reader);
        return hd_fail(HEED_E_NOMEM, "json: no memory for a reader");
    }
    json_tokener_set_flags(reader->tokener, JSON_TOKENER_STRICT); /* UTF-8 is checked here */
    *out = reader;
    return HEED_OK;
}

void hd_json_reader_free(hd_json_reader *reader)
{
    if (!reader)
        return;
    json_object_put(reader->root);
    json_tokener_free(reader->tokener);
    hd_free(reader);
}

/* Bytes of the number that starts here: -? (0 | [1-9] digits) (. digits)? ([eE] [+-]? digits)?; 0
 * where it is none. */
static size_t number_length(const char *s, size_t bytes)
{
    size_t i = s[0] == '-', from = i;

    while (i < bytes && s[i] >= '0' && s[i] <= '9')
        i++;
    if (i == from || (s[from] == '0' && i > from + 1))
        return 0;
    if (i < bytes && s[i] == '.') {
        from = ++i;
        while (i < bytes && s[i] >= '0' && s[i] <= '9')
            i++;
        if (i == from)
            return 0;
    }
    if (i < bytes && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (i < bytes && (s[i] == '+' || s[i] == '-'))
            i++;
        from = i;
        while (i < bytes && s[i] >= '0' && s[i] <= '9')
            i++;
        if (i == from)
            return 0;
    }
    return i;
}

/* Even when strict, json-c 0.16 reads 'single quotes', NaN, Infinity, raw control characters in a
 * text, and numbers such as 01 or 1. So characters that RFC 8259 has no place for are looked for
 * first. The place of the first one, or `bytes`. */
static size_t find_stray(const char *text, size_t bytes)
{
    static const bool outside[256] = { /* what may stand outside of texts, numbers aside */
        [' '] = true, ['\t'] = true, ['\r'] = true, ['\n'] = true, ['{'] = true, ['}'] = true,
        ['['] = true, [']'] = true,  [':'] = true,  [','] = true,  ['t'] = true, ['r'] = true,
        ['u'] = true, ['e'] = true,  ['f'] = true,  ['a'] = true,  ['l'] = true, ['s'] = true,
        ['n'] = true};
    bool quoted = false;

    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (quoted) {
            if (c < 0x20)
                return i;
            if (c == '\\' && i + 1 < bytes && text[i + 1] != 0)
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t n = number_length(text + i, bytes - i);
            if (n == 0)
                return i;
            i += n - 1;
        } else if (!outside[c]) {
            return i;
        }
    }
    return bytes;
}

/* Digits that overflow a double read as infinity. */
static bool all_finite(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_double:
        return isfinite(json_object_get_double(value));
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++)
            if (!all_finite(json_object_array_get_idx(value, i)))
                return false;
        return true;
    case json_type_object:
        for (struct json_object_iterator i = json_object_iter_begin(value),
                                         end = json_object_iter_end(value);
             !json_object_iter_equal(&i, &end); json_object_iter_next(&i))
            if (!all_finite(json_object_iter_peek_value(&i)))
                return false;
        return true;
    default:
        return true;
    }
}

heed_status hd_json_read(hd_json_reader *reader, const char *text, size_t bytes, hd_json **root)
{
    json_tokener *tokener = reader->tokener;

    json_object_put(reader->root);
    reader->root = NULL;
    if (bytes > INT_MAX)
        return hd_fail(HEED_E_RANGE, "JSON of %zu bytes is too long", bytes);
    size_t valid = hd_utf8_valid(text, bytes);
    if (valid < bytes)
        return hd_fail(HEED_E_FORMAT, "not UTF-8 at byte %zu", valid + 1);
    size_t stray = find_stray(text, bytes);
    if (stray < bytes)
        return hd_fail(HEED_E_FORMAT, "not JSON at byte %zu: %s does not belong here", stray + 1,
                       (unsigned char)text[stray] > ' ' ? (char[]){text[stray], 0}
                                                        : "a control character");
    json_tokener_reset(tokener);
    struct json_object *value = json_tokener_parse_ex(tokener, text, (int)bytes);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    /* A bare number or word at the end of the text is known to be over only when more is read. */
    if (error == json_tokener_continue && bytes > 0) {
        value = json_tokener_parse_ex(tokener, "\n", 1);
        error = json_tokener_get_error(tokener);
        end = bytes;
    }
    if (error == json_tokener_continue)
        return hd_fail(HEED_E_FORMAT, "not JSON: it ends before it is complete");
    if (error != json_tokener_success)
        return hd_fail(HEED_E_FORMAT, "not JSON at byte %zu: %s", end + 1,
                       json_tokener_error_desc(error));
    reader->root = value;
    while (end < bytes && strchr(" \t\r\n", text[end]) && text[end])
        end++;
    if (end < bytes)
        return hd_fail(HEED_E_FORMAT, "not JSON: more text after the value, at byte %zu", end + 1);
    if (!all_finite(value))
        return hd_fail(HEED_E_FORMAT, "not JSON: a number that is not finite");
    *root = value;
    return HEED_OK;
}

/* json-c caps integers that do not fit; digits that needed more than int64_t count as a number. */
enum hd_json_kind hd_json_kind(const hd_json *value)
{
    switch (json_object_get_type(value)) {
    case json_type_boolean:
        return HD_JSON_BOOL;
    case json_type_int:
        /* A uint64_t past INT64_MAX reads as INT64_MAX; so does that number itself, which is lost
         * here as an integer and is out of every range we know. */
        return json_object_get_int64(value) == INT64_MAX ||
                       json_object_get_int64(value) == INT64_MIN
                   ? HD_JSON_NUMBER
                   : HD_JSON_INT;
    case json_type_double:
        return HD_JSON_NUMBER;
    case json_type_string:
        return HD_JSON_TEXT;
    case json_type_array:
        return HD_JSON_ARRAY;
    case json_type_object:
        return HD_JSON_OBJECT;
    case json_type_null:
        break;
    }
    return HD_JSON_NULL;
}

const char *hd_json_kind_name(enum hd_json_kind kind)
{
    static const char *const names[] = {"null",   "true or false", "a whole number", "a number",
                                        "a text", "an array",      "an object"};
    return names[kind];
}

/* json-c takes values it does not change without const. */
static struct json_object *bare(const hd_json *value)
{
    return (struct json_object *)(uintptr_t)value;
}

const char *hd_json_text(const hd_json *value, size_t *bytes)
{
    bool text = json_object_get_type(value) == json_type_string;

    if (bytes)
        *bytes = text ? (size_t)json_object_get_string_len(value) : 0;
    return text ? json_object_get_string(bare(value)) : "";
}

int64_t hd_json_int(const hd_json *value)
{
    return hd_json_kind(value) == HD_JSON_INT ? json_object_get_int64(value) : 0;
}

double hd_json_number(const hd_json *value)
{
    enum hd_json_kind kind = hd_json_kind(value);

    return kind == HD_JSON_INT || kind == HD_JSON_NUMBER ? json_object_get_double(value) : 0.0;
}

bool hd_json_bool(const hd_json *value)
{
    return hd_json_kind(value) == HD_JSON_BOOL && json_object_get_boolean(value);
}

size_t hd_json_length(const hd_json *array)
{
    return hd_json_kind(array) == HD_JSON_ARRAY ? json_object_array_length(array) : 0;
}

const hd_json *hd_json_at(const hd_json *array, size_t i)
{
    return i < hd_json_length(array) ? json_object_array_get_idx(array, i) : NULL;
}

const hd_json *hd_json_get(const hd_json *object, const char *key)
{
    return hd_json_kind(object) == HD_JSON_OBJECT ? json_object_object_get(object, key) : NULL;
}

static struct hd_json_member member(struct lh_entry *entry)
{
    if (!entry)
        return (struct hd_json_member){0};
    return (struct hd_json_member){lh_entry_k(entry), lh_entry_v(entry), entry};
}

struct hd_json_member hd_json_first(const hd_json *object)
{
    if (hd_json_kind(object) != HD_JSON_OBJECT)
        return member(NULL);
    return member(json_object_get_object(object)->head);
}

struct hd_json_member hd_json_next(struct hd_json_member m)
{
    return member(((struct lh_entry *)m.entry)->next);
}

const char *hd_json_compact(const hd_json *value)
{
    return json_object_to_json_string_ext(bare(value),
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}
