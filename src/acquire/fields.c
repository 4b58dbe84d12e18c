/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields of JSON objects and of delimited lines. */
#include "acquire/fields.h"
#include "base/limits.h"
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

heed_status hd_check_id(const char *field, const char *id, size_t bytes)
{
    if (bytes == 0)
        return hd_fail(HEED_E_FORMAT, "%s: empty", field);
    if (bytes > HD_ID_BYTES_MAX)
        return hd_fail(HEED_E_RANGE, "%s: %zu bytes, an id has at most %d", field, bytes,
                       HD_ID_BYTES_MAX);
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)id[i] < 0x20 || id[i] == 0x7F)
            return hd_fail(HEED_E_FORMAT, "%s: a control character (0x%02X) in an id", field,
                           (unsigned)(unsigned char)id[i]);
    return HEED_OK;
}

static heed_status wrong_kind(const char *field, const hd_json *value, const char *wanted)
{
    return hd_fail(HEED_E_FORMAT, "%s: %s, not %s", field, hd_json_kind_name(hd_json_kind(value)),
                   wanted);
}

heed_status hd_field_text(const char *field, const hd_json *value, size_t bytes_max,
                          const char **text, size_t *bytes)
{
    size_t length;

    if (hd_json_kind(value) != HD_JSON_TEXT)
        return wrong_kind(field, value, "a text");
    const char *found = hd_json_text(value, &length);
    if (length > bytes_max)
        return hd_fail(HEED_E_RANGE, "%s: %zu bytes, at most %zu are allowed", field, length,
                       bytes_max);
    if (memchr(found, 0, length))
        return hd_fail(HEED_E_FORMAT, "%s: a NUL character in it", field);
    *text = found;
    if (bytes)
        *bytes = length;
    return HEED_OK;
}

heed_status hd_field_id(const char *field, const hd_json *value, hd_arena *arena,
                        struct hd_span *id)
{
    char digits[24];
    struct hd_span found;

    if (hd_json_kind(value) == HD_JSON_INT) {
        snprintf(digits, sizeof digits, "%" PRId64, hd_json_int(value));
        found.at = hd_arena_strdup(arena, digits);
        if (!found.at)
            return hd_fail(HEED_E_NOMEM, "%s: no memory", field);
        found.bytes = strlen(digits);
    } else if (hd_json_kind(value) == HD_JSON_TEXT) {
        found.at = hd_json_text(value, &found.bytes);
        HD_TRY(hd_check_id(field, found.at, found.bytes));
    } else {
        return wrong_kind(field, value, "a text or a whole number");
    }
    *id = found;
    return HEED_OK;
}

heed_status hd_field_int(const char *field, const hd_json *value, int64_t min, int64_t max,
                         int64_t *out)
{
    if (hd_json_kind(value) != HD_JSON_INT)
        return wrong_kind(field, value, "a whole number");
    int64_t found = hd_json_int(value);
    if (found < min || found > max)
        return hd_fail(HEED_E_RANGE, "%s: %" PRId64 " is not %" PRId64 " to %" PRId64, field, found,
                       min, max);
    *out = found;
    return HEED_OK;
}

heed_status hd_field_number(const char *field, const hd_json *value, double *out)
{
    enum hd_json_kind kind = hd_json_kind(value);

    if (kind != HD_JSON_INT && kind != HD_JSON_NUMBER)
        return wrong_kind(field, value, "a number");
    *out = hd_json_number(value);
    return HEED_OK;
}

heed_status hd_field_bool(const char *field, const hd_json *value, bool *out)
{
    if (hd_json_kind(value) != HD_JSON_BOOL)
        return wrong_kind(field, value, "true or false");
    *out = hd_json_bool(value);
    return HEED_OK;
}

heed_status hd_field_time(const char *field, const hd_json *value, heed_time *out)
{
    enum hd_json_kind kind = hd_json_kind(value);

    if (kind == HD_JSON_INT)
        return hd_field_int(field, value, HD_TIME_MS_MIN, HD_TIME_MS_MAX, out);
    if (kind != HD_JSON_TEXT)
        return wrong_kind(field, value, "RFC 3339 or whole milliseconds");
    size_t bytes;
    const char *text = hd_json_text(value, &bytes);
    heed_status status = hd_time_parse(text, bytes, out);
    return status == HEED_OK ? HEED_OK : hd_fail_prefix(status, "%s: \"%.40s\": ", field, text);
}

heed_status hd_field_object(const char *field, const hd_json *value, hd_arena *arena,
                            const char **out)
{
    enum hd_json_kind kind = hd_json_kind(value);

    if (kind != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s: %s, not an object", field, hd_json_kind_name(kind));
    const char *text = hd_json_compact(value); /* json-c writes the next one over it */
    if (text && strlen(text) > HD_CONTEXT_BYTES_MAX)
        return hd_fail(HEED_E_RANGE, "%s: longer than %d bytes", field, HD_CONTEXT_BYTES_MAX);
    *out = text ? hd_arena_strdup(arena, text) : NULL;
    return *out ? HEED_OK : hd_fail(HEED_E_NOMEM, "%s: no memory", field);
}

/* ---- pieces of a line */

heed_status hd_span_number(const char *field, struct hd_span span, double *out)
{
    double value = 0, unit = 1;
    size_t i = 0, digits = 0;
    bool negative = false, point = false;

    if (span.bytes > 0 && (span.at[0] == '-' || span.at[0] == '+'))
        negative = span.at[i++] == '-';
    for (; i < span.bytes; i++) {
        char c = span.at[i];
        if (c == '.' && !point) {
            point = true;
        } else if (c >= '0' && c <= '9' && digits < 15) {
            value = value * 10 + (c - '0'); /* exact: 15 digits fit a double */
            unit *= point ? 10 : 1;
            digits++;
        } else {
            digits = 0;
            break;
        }
    }
    if (digits == 0)
        return hd_fail(HEED_E_FORMAT, "%s: \"%.*s\" is not a number", field,
                       span.bytes > 40 ? 40 : (int)span.bytes, span.at);
    *out = (negative ? -value : value) / unit;
    return HEED_OK;
}

heed_status hd_span_seconds(const char *field, struct hd_span span, heed_time *out)
{
    int64_t seconds = 0;
    size_t i = span.bytes > 0 && span.at[0] == '-', from = i;

    for (; i < span.bytes && span.at[i] >= '0' && span.at[i] <= '9'; i++)
        if (seconds <= HD_TIME_MS_MAX)
            seconds = seconds * 10 + (span.at[i] - '0');
    if (i == from || i < span.bytes)
        return hd_fail(HEED_E_FORMAT, "%s: \"%.*s\" is not a whole number of seconds", field,
                       span.bytes > 40 ? 40 : (int)span.bytes, span.at);
    if (span.at[0] == '-' || seconds == 0)
        return hd_fail(HEED_E_RANGE, "%s: %.*s is not after 1970-01-01T00:00:00Z", field,
                       (int)(span.bytes > 40 ? 40 : span.bytes), span.at);
    if (seconds > HD_TIME_MS_MAX / 1000)
        return hd_fail(HEED_E_RANGE,
                       "%s: %.*s seconds are past the year 9999 (milliseconds, perhaps?)", field,
                       (int)(span.bytes > 40 ? 40 : span.bytes), span.at);
    *out = seconds * 1000;
    return HEED_OK;
}

bool hd_span_is(struct hd_span span, const char *text)
{
    return span.bytes == strlen(text) && memcmp(span.at, text, span.bytes) == 0;
}

bool hd_line_is_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

bool hd_line_has(const char *line, size_t bytes, const char *what)
{
    size_t length = strlen(what);

    for (size_t i = 0; i + length <= bytes; i++)
        if (memcmp(line + i, what, length) == 0)
            return true;
    return false;
}
