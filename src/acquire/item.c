/* SPDX-License-Identifier: Apache-2.0
 *
 * Items of NDJSON. */
#include "acquire/item.h"
#include "acquire/fields.h"

#include <float.h>
#include <math.h>
#include <string.h>

static heed_status parse_tags(const hd_json *value, struct hd_item *item)
{
    enum hd_json_kind kind = hd_json_kind(value);
    size_t count = hd_json_length(value);

    if (kind != HD_JSON_ARRAY)
        return hd_fail(HEED_E_FORMAT, "tags: %s, not an array", hd_json_kind_name(kind));
    if (count > HD_TAGS_MAX)
        return hd_fail(HEED_E_RANGE, "tags: %zu of them, at most %d are allowed", count,
                       HD_TAGS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct hd_span *tag = &item->tag[i];
        if (hd_json_kind(hd_json_at(value, i)) != HD_JSON_TEXT)
            return hd_fail(HEED_E_FORMAT, "tags: %s in it, not a text",
                           hd_json_kind_name(hd_json_kind(hd_json_at(value, i))));
        tag->at = hd_json_text(hd_json_at(value, i), &tag->bytes);
        HD_TRY(hd_check_id("tags", tag->at, tag->bytes));
    }
    item->tags = (int)count;
    return HEED_OK;
}

static heed_status parse_vector(const char *name, const hd_json *value, hd_arena *arena,
                                struct hd_item_feature *feature)
{
    size_t count = hd_json_length(value);

    if (hd_json_kind(value) != HD_JSON_ARRAY || count == 0 || count > HD_FEATURE_COUNT_MAX)
        return hd_fail(HEED_E_FORMAT, "features: %.60s is not an array of 1 to %d numbers", name,
                       HD_FEATURE_COUNT_MAX);
    float *vector = hd_arena_alloc(arena, count, sizeof *vector);
    if (!vector)
        return hd_fail(HEED_E_NOMEM, "features: no memory");
    for (size_t i = 0; i < count; i++) {
        double number;
        HD_TRY(hd_field_number("features", hd_json_at(value, i), &number));
        if (!(fabs(number) <= (double)FLT_MAX))
            return hd_fail(HEED_E_RANGE, "features: %g in %.60s does not fit a float", number,
                           name);
        vector[i] = (float)number;
    }
    *feature = (struct hd_item_feature){name, vector, (int64_t)count};
    return HEED_OK;
}

static heed_status parse_features(const hd_json *value, hd_arena *arena, struct hd_item *item)
{
    enum hd_json_kind kind = hd_json_kind(value);

    if (kind != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "features: %s, not an object of named vectors",
                       hd_json_kind_name(kind));
    item->features = 0;
    for (struct hd_json_member m = hd_json_first(value); m.key; m = hd_json_next(m)) {
        if (item->features == HD_FEATURES_MAX)
            return hd_fail(HEED_E_RANGE, "features: more than %d of them", HD_FEATURES_MAX);
        HD_TRY(hd_check_id("features", m.key, strlen(m.key)));
        HD_TRY(parse_vector(m.key, m.value, arena, &item->feature[item->features]));
        item->features++;
    }
    return HEED_OK;
}

static heed_status parse_text(const char *field, const hd_json *value, size_t bytes_max,
                              struct hd_span *out)
{
    struct hd_span span;

    HD_TRY(hd_field_text(field, value, bytes_max, &span.at, &span.bytes));
    *out = span;
    return HEED_OK;
}

static heed_status parse_member(const char *key, const hd_json *value, hd_arena *arena,
                                struct hd_item *item)
{
    if (strcmp(key, "id") == 0)
        return hd_field_id(key, value, arena, &item->id);
    if (strcmp(key, "title") == 0)
        return parse_text(key, value, HD_TITLE_BYTES_MAX, &item->title);
    if (strcmp(key, "text") == 0)
        return parse_text(key, value, HD_TEXT_BYTES_MAX, &item->text);
    if (strcmp(key, "tags") == 0)
        return parse_tags(value, item);
    if (strcmp(key, "author") == 0)
        return hd_field_id(key, value, arena, &item->author);
    if (strcmp(key, "url") == 0)
        return parse_text(key, value, HD_URL_BYTES_MAX, &item->url);
    if (strcmp(key, "created") == 0)
        return hd_field_time(key, value, &item->created);
    if (strcmp(key, "expires") == 0)
        return hd_field_time(key, value, &item->expires);
    if (strcmp(key, "hidden") == 0)
        return hd_field_bool(key, value, &item->hidden);
    if (strcmp(key, "features") == 0)
        return parse_features(value, arena, item);
    return hd_fail(HEED_E_FORMAT, "%.60s: an item has no such field", key);
}

/* The bit of a field by its name; 0: it has none. */
static unsigned bit_of(const char *key)
{
    static const char *const field[] = {"title",   "text",    "tags",   "author",  "url",
                                        "created", "expires", "hidden", "features"};

    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (strcmp(field[i], key) == 0)
            return 1U << i;
    return 0;
}

heed_status hd_item_of_json(const hd_json *root, hd_arena *arena, struct hd_item *out)
{
    if (hd_json_kind(root) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s, not an object", hd_json_kind_name(hd_json_kind(root)));
    *out = (struct hd_item){0};
    for (struct hd_json_member m = hd_json_first(root); m.key; m = hd_json_next(m)) {
        if (hd_json_kind(m.value) != HD_JSON_NULL)
            HD_TRY(parse_member(m.key, m.value, arena, out));
        out->given |= bit_of(m.key);
    }
    if (!out->id.at)
        return hd_fail(HEED_E_FORMAT, "id: missing");
    return HEED_OK;
}

heed_status hd_parse_item(hd_json_reader *reader, const char *line, size_t bytes, hd_arena *arena,
                          struct hd_item *out)
{
    hd_json *root;

    HD_TRY(hd_json_read(reader, line, bytes, &root));
    return hd_item_of_json(root, arena, out);
}
