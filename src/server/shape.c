/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a request by the table of its fields. */
#include "server/shape.h"
#include "acquire/fields.h"
#include "base/limits.h"
#include "base/time.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static heed_status check_choice(const struct hd_field *field, const char *text)
{
    size_t bytes = strlen(text);

    for (const char *word = field->words; *word;) {
        size_t length = strcspn(word, "|");
        if (length == bytes && memcmp(word, text, bytes) == 0)
            return HEED_OK;
        word += length + (word[length] == '|');
    }
    return hd_fail(HEED_E_FORMAT, "%s: \"%.40s\" is not one of %s", field->name, text, field->words);
}

static heed_status check_number(const struct hd_field *field, double value)
{
    if (field->most > field->least &&
        !(value >= (double)field->least && value <= (double)field->most))
        return hd_fail(HEED_E_RANGE, "%s: %.15g is not %" PRId64 " to %" PRId64, field->name, value,
                       field->least, field->most);
    return HEED_OK;
}

static size_t text_bytes_max(const struct hd_field *field)
{
    return field->most > 0 ? (size_t)field->most : HD_LINE_BYTES_MAX;
}

static heed_status read_text(const struct hd_field *field, const hd_json *value, hd_arena *arena,
                             const char **out)
{
    struct hd_span id;
    const char *text;

    if (field->kind == HD_IS_ID) {
        HD_TRY(hd_field_id(field->name, value, arena, &id));
        *out = id.at;
        return HEED_OK;
    }
    HD_TRY(hd_field_text(field->name, value, text_bytes_max(field), &text, NULL));
    if (field->kind == HD_IS_CHOICE)
        HD_TRY(check_choice(field, text));
    *out = text;
    return HEED_OK;
}

static heed_status read_one(const struct hd_field *field, const hd_json *value, hd_arena *arena,
                            void *at)
{
    switch (field->kind) {
    case HD_IS_TEXT:
    case HD_IS_ID:
    case HD_IS_CHOICE:
        return read_text(field, value, arena, at);
    case HD_IS_INT:
        if (field->most > field->least)
            return hd_field_int(field->name, value, field->least, field->most, at);
        return hd_field_int(field->name, value, INT64_MIN, INT64_MAX, at);
    case HD_IS_NUMBER:
        HD_TRY(hd_field_number(field->name, value, at));
        return check_number(field, *(double *)at);
    case HD_IS_BOOL:
        return hd_field_bool(field->name, value, at);
    case HD_IS_TIME:
        return hd_field_time(field->name, value, at);
    case HD_IS_ANYTHING:
        return HEED_OK;
    case HD_IS_MAP:
    case HD_IS_SHAPE:
    case HD_IS_NUMBERS:
    case HD_IS_VECTORS:
        break;
    }
    if (hd_json_kind(value) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s: %s, not an object", field->name,
                       hd_json_kind_name(hd_json_kind(value)));
    return HEED_OK;
}

static heed_status check_count(const struct hd_field *field, size_t count)
{
    if (field->most_count > 0 && count > (size_t)field->most_count)
        return hd_fail(HEED_E_RANGE, "%s: %zu of them, at most %d are allowed", field->name, count,
                       field->most_count);
    return HEED_OK;
}

static heed_status read_many(const struct hd_field *field, const hd_json *value, hd_arena *arena,
                             struct hd_list *list)
{
    size_t row = field->kind == HD_IS_SHAPE ? field->shape->bytes : sizeof(const char *);
    const char *inner = "";

    if (hd_json_kind(value) != HD_JSON_ARRAY)
        return hd_fail(HEED_E_FORMAT, "%s: %s, not an array", field->name,
                       hd_json_kind_name(hd_json_kind(value)));
    size_t count = hd_json_length(value);
    HD_TRY(check_count(field, count));
    char *at = hd_arena_zalloc(arena, count + 1, row);
    if (!at)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", field->name);
    for (size_t i = 0; i < count; i++) {
        const hd_json *one = hd_json_at(value, i);
        if (field->kind != HD_IS_SHAPE) {
            HD_TRY(read_one(field, one, arena, at + i * row));
            continue;
        }
        heed_status status = hd_shape_read(field->shape, one, arena, at + i * row, &inner);
        if (status != HEED_OK)
            return hd_fail_prefix(status, "%s[%zu]%s", field->name, i, *inner ? "." : ": ");
    }
    *list = (struct hd_list){at, (int)count};
    return HEED_OK;
}

static const struct hd_field *find_field(const struct hd_field *fields, const char *name)
{
    for (const struct hd_field *f = fields; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static heed_status read_member(const struct hd_shape *shape, const char *key, const hd_json *value,
                               hd_arena *arena, void *out)
{
    const struct hd_field *field = find_field(shape->fields, key);

    if (!field)
        return hd_fail(HEED_E_FORMAT, "%.60s: there is no such field", key);
    if (hd_json_kind(value) == HD_JSON_NULL)
        return HEED_OK;
    if (field->flags & HD_MANY)
        return read_many(field, value, arena, (void *)((char *)out + field->at));
    return read_one(field, value, arena, (char *)out + field->at);
}

heed_status hd_shape_read(const struct hd_shape *shape, const hd_json *object, hd_arena *arena,
                          void *out, const char **field)
{
    if (hd_json_kind(object) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s, not an object", hd_json_kind_name(hd_json_kind(object)));
    for (struct hd_json_member m = hd_json_first(object); m.key; m = hd_json_next(m)) {
        heed_status status = read_member(shape, m.key, m.value, arena, out);
        if (status != HEED_OK) {
            const char *name = hd_arena_strdup(arena, m.key); /* the document may go before it */
            *field = name ? name : "";
            return status;
        }
    }
    for (const struct hd_field *f = shape->fields; f->name; f++)
        if (f->flags & HD_NEEDED && hd_json_kind(hd_json_get(object, f->name)) == HD_JSON_NULL) {
            *field = f->name;
            return hd_fail(HEED_E_FORMAT, "%s: missing", f->name);
        }
    return HEED_OK;
}

/* ---- queries */

static heed_status query_int(const struct hd_field *field, const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!(*text == '-' || (*text >= '0' && *text <= '9')) || *end || errno)
        return hd_fail(HEED_E_FORMAT, "%s: \"%.40s\" is not a whole number", field->name, text);
    if (field->most > field->least && (value < field->least || value > field->most))
        return hd_fail(HEED_E_RANGE, "%s: %lld is not %" PRId64 " to %" PRId64, field->name, value,
                       field->least, field->most);
    *out = value;
    return HEED_OK;
}

static heed_status query_number(const struct hd_field *field, const char *text, double *out)
{
    HD_TRY(hd_span_number(field->name, (struct hd_span){text, strlen(text)}, out));
    return check_number(field, *out);
}

static heed_status query_bool(const struct hd_field *field, const char *text, bool *out)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;

    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return hd_fail(HEED_E_FORMAT, "%s: \"%.40s\" is not true or false", field->name, text);
    *out = yes;
    return HEED_OK;
}

static heed_status query_time(const struct hd_field *field, const char *text, heed_time *out)
{
    struct hd_field whole = {.name = field->name, .least = HD_TIME_MS_MIN, .most = HD_TIME_MS_MAX};
    size_t sign = text[0] == '-';

    if (!text[sign + strspn(text + sign, "0123456789")])
        return query_int(&whole, text, out);
    heed_status status = hd_time_parse(text, strlen(text), out);
    return status == HEED_OK ? HEED_OK
                             : hd_fail_prefix(status, "%s: \"%.40s\": ", field->name, text);
}

static heed_status query_text(const struct hd_field *field, const char *text, const char **out)
{
    if (field->kind == HD_IS_ID)
        HD_TRY(hd_check_id(field->name, text, strlen(text)));
    if (strlen(text) > text_bytes_max(field))
        return hd_fail(HEED_E_RANGE, "%s: %zu bytes, at most %zu are allowed", field->name,
                       strlen(text), text_bytes_max(field));
    if (field->kind == HD_IS_CHOICE)
        HD_TRY(check_choice(field, text));
    *out = text;
    return HEED_OK;
}

static heed_status query_one(const struct hd_field *field, const char *text, void *at)
{
    switch (field->kind) {
    case HD_IS_INT:
        return query_int(field, text, at);
    case HD_IS_NUMBER:
        return query_number(field, text, at);
    case HD_IS_BOOL:
        return query_bool(field, text, at);
    case HD_IS_TIME:
        return query_time(field, text, at);
    default:
        return query_text(field, text, at);
    }
}

static heed_status query_many(const struct hd_field *field, const hd_exchange *x, hd_arena *arena,
                              struct hd_list *list)
{
    int count = 0;

    while (hd_exchange_query(x, field->name, count))
        count++;
    HD_TRY(check_count(field, (size_t)count));
    const char **at = hd_arena_alloc(arena, (size_t)count + 1, sizeof *at);
    if (!at)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", field->name);
    for (int i = 0; i < count; i++)
        HD_TRY(query_text(field, hd_exchange_query(x, field->name, i), &at[i]));
    *list = (struct hd_list){at, count};
    return HEED_OK;
}

/* A name that means nothing is a mistake that would else go unseen. */
static heed_status check_names(const struct hd_field *fields, const hd_exchange *x,
                               const char **field)
{
    const char *name, *value;

    for (int i = 0; hd_exchange_query_at(x, i, &name, &value); i++)
        if (!fields || !find_field(fields, name)) {
            *field = name;
            return hd_fail(HEED_E_FORMAT, "%.60s: there is no such parameter", name);
        }
    return HEED_OK;
}

heed_status hd_shape_query(const struct hd_field *fields, const hd_exchange *x, hd_arena *arena,
                           void *out, const char **field)
{
    HD_TRY(check_names(fields, x, field));
    for (const struct hd_field *f = fields; f && f->name; f++) {
        void *at = (char *)out + f->at;
        const char *text = hd_exchange_query(x, f->name, 0);
        heed_status status = HEED_OK;
        if (text && f->flags & HD_MANY)
            status = query_many(f, x, arena, at);
        else if (text)
            status = query_one(f, text, at);
        else if (f->flags & HD_NEEDED)
            status = hd_fail(HEED_E_FORMAT, "%s: missing", f->name);
        if (status != HEED_OK) {
            *field = f->name;
            return status;
        }
    }
    return HEED_OK;
}
