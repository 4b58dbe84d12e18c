/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's records and heed's own, in both directions, one at a time.
 *
 *     feedback {type, user, item}   event {id, kind, user, item, ext.gorse.type}
 *     user     Labels, Comment      attributes.labels, attributes.comment
 *     item     Comment              title
 *              Categories, texts in Labels    tags
 *              lists of numbers in Labels     features, named by their label */
#include "acquire/fields.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "server/gorse.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- kinds of feedback */

static const struct {
    const char *type, *kind;
} kinds[] = {
    {"impression", "impression"},
    {"exposure", "impression"},
    {"show", "impression"},
    {"view", "view"},
    {"read", "view"},
    {"watch", "view"},
    {"play", "view"},
    {"click", "click"},
    {"open", "click"},
    {"like", "like"},
    {"star", "like"},
    {"upvote", "like"},
    {"dislike", "dislike"},
    {"downvote", "dislike"},
    {"share", "share"},
    {"save", "save"},
    {"favorite", "save"},
    {"favourite", "save"},
    {"bookmark", "save"},
    {"fork", "save"},
    {"cart", "save"},
    {"hide", "hide"},
    {"block", "hide"},
    {"report", "report"},
    {"convert", "convert"},
    {"purchase", "convert"},
    {"buy", "convert"},
    {"order", "convert"},
};

const char *hd_gorse_kind(const char *type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcasecmp(type, kinds[i].type) == 0)
            return kinds[i].kind;
    return "view";
}

static void put_time(struct hd_json_writer *w, const char *key, const hd_json *time)
{
    const char *text = hd_json_text(time, NULL);

    hd_json_put_text(w, key, *text ? text : "0001-01-01T00:00:00Z");
}

/* ---- reading fields */

static heed_status read_id(const char *field, const hd_json *json, hd_arena *arena, const char **id)
{
    const hd_json *value = hd_json_get(json, field);
    struct hd_span span;

    if (hd_json_kind(value) == HD_JSON_NULL)
        return hd_fail(HEED_E_FORMAT, "%s: missing", field);
    HD_TRY(hd_field_id(field, value, arena, &span));
    *id = hd_arena_strdup(arena, span.at); /* the document goes before the feedback does */
    return *id ? HEED_OK : hd_fail(HEED_E_NOMEM, "%s: no memory", field);
}

/* NULL where it is not there, null or empty. */
static heed_status read_text(const char *field, const hd_json *json, size_t bytes_max,
                             const char **text)
{
    const hd_json *value = hd_json_get(json, field);

    *text = NULL;
    if (hd_json_kind(value) == HD_JSON_NULL)
        return HEED_OK;
    HD_TRY(hd_field_text(field, value, bytes_max, text, NULL));
    *text = **text ? *text : NULL;
    return HEED_OK;
}

static heed_status check_object(const hd_json *json)
{
    if (hd_json_kind(json) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s, not an object", hd_json_kind_name(hd_json_kind(json)));
    return HEED_OK;
}

static bool is_given(const hd_json *json, const char *field)
{
    return hd_json_kind(hd_json_get(json, field)) != HD_JSON_NULL;
}

/* ---- feedback */

static heed_status read_labels(const hd_json *json, hd_arena *arena, const char **labels)
{
    const char *text;

    *labels = NULL;
    if (!is_given(json, "Labels"))
        return HEED_OK;
    text = hd_json_compact(hd_json_get(json, "Labels"));
    if (text && strlen(text) > HD_CONTEXT_BYTES_MAX)
        return hd_fail(HEED_E_RANGE, "Labels: longer than %d bytes", HD_CONTEXT_BYTES_MAX);
    *labels = text ? hd_arena_strdup(arena, text) : NULL;
    return *labels ? HEED_OK : hd_fail(HEED_E_NOMEM, "Labels: no memory");
}

heed_status hd_gorse_read_feedback(const hd_json *json, hd_arena *arena,
                                   struct hd_gorse_feedback *feedback)
{
    struct hd_gorse_feedback f = {0};

    HD_TRY(check_object(json));
    HD_TRY(read_id("FeedbackType", json, arena, &f.type));
    HD_TRY(read_id("UserId", json, arena, &f.user));
    HD_TRY(read_id("ItemId", json, arena, &f.item));
    if (is_given(json, "Value"))
        HD_TRY(hd_field_number("Value", hd_json_get(json, "Value"), &f.value));
    HD_TRY(hd_gorse_time("Timestamp", hd_json_get(json, "Timestamp"), &f.ts));
    HD_TRY(read_text("Comment", json, HD_TITLE_BYTES_MAX, &f.comment));
    if (f.comment && !(f.comment = hd_arena_strdup(arena, f.comment)))
        return hd_fail(HEED_E_NOMEM, "Comment: no memory");
    HD_TRY(read_labels(json, arena, &f.labels));
    *feedback = f;
    return HEED_OK;
}

heed_status hd_gorse_read_visit(const hd_json *json, hd_arena *arena,
                                struct hd_gorse_feedback *feedback)
{
    struct hd_gorse_feedback f = {0};

    HD_TRY(check_object(json));
    HD_TRY(read_id("ItemId", json, arena, &f.item));
    HD_TRY(hd_gorse_time("Timestamp", hd_json_get(json, "Timestamp"), &f.ts));
    *feedback = f;
    return HEED_OK;
}

void hd_gorse_id(const struct hd_gorse_feedback *f, char id[HD_GORSE_ID_BYTES])
{
    char hex[HD_SHA256_HEX_BYTES];
    struct hd_sha256 sha;

    /* Each with its NUL, so that nothing moves from one to the next. */
    hd_sha256_init(&sha);
    hd_sha256_update(&sha, f->type, strlen(f->type) + 1);
    hd_sha256_update(&sha, f->user, strlen(f->user) + 1);
    hd_sha256_update(&sha, f->item, strlen(f->item) + 1);
    hd_sha256_final_hex(&sha, hex);
    snprintf(id, HD_GORSE_ID_BYTES, "gorse:%.32s", hex);
}

void hd_gorse_put_event(struct hd_json_writer *w, const struct hd_gorse_feedback *f)
{
    char id[HD_GORSE_ID_BYTES];

    hd_gorse_id(f, id);
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "id", id);
    if (f->ts)
        hd_json_put_int(w, "ts", f->ts);
    hd_json_put_text(w, "user", f->user);
    hd_json_put_text(w, "item", f->item);
    hd_json_put_text(w, "kind", hd_gorse_kind(f->type));
    if (f->value < 0 || f->value > 0)
        hd_json_put_number(w, "value", f->value);
    hd_json_begin_object(w, "ext");
    hd_json_begin_object(w, "gorse");
    hd_json_put_text(w, "type", f->type);
    if (f->comment)
        hd_json_put_text(w, "comment", f->comment);
    if (f->labels)
        hd_json_put_raw(w, "labels", f->labels);
    hd_json_end(w);
    hd_json_end(w);
    hd_json_end(w);
}

static const hd_json *gorse_of(const hd_json *event)
{
    return hd_json_get(hd_json_get(event, "ext"), "gorse");
}

const char *hd_gorse_type_of(const hd_json *event)
{
    const char *type = hd_json_text(hd_json_get(gorse_of(event), "type"), NULL);

    return *type ? type : hd_json_text(hd_json_get(event, "kind"), NULL);
}

static void put_json(struct hd_json_writer *w, const char *key, const hd_json *value)
{
    if (hd_json_kind(value) == HD_JSON_NULL)
        hd_json_put_null(w, key);
    else
        hd_json_put_raw(w, key, hd_json_compact(value));
}

void hd_gorse_put_feedback(struct hd_json_writer *w, const hd_json *event)
{
    const hd_json *gorse = gorse_of(event);

    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "FeedbackType", hd_gorse_type_of(event));
    hd_json_put_text(w, "UserId", hd_json_text(hd_json_get(event, "user"), NULL));
    hd_json_put_text(w, "ItemId", hd_json_text(hd_json_get(event, "item"), NULL));
    hd_json_put_number(w, "Value", hd_json_number(hd_json_get(event, "value")));
    put_time(w, "Timestamp", hd_json_get(event, "ts"));
    put_json(w, "Labels", hd_json_get(gorse, "labels"));
    hd_json_put_text(w, "Comment", hd_json_text(hd_json_get(gorse, "comment"), NULL));
    hd_json_end(w);
}

/* ---- items */

struct labels {
    const char *tag[HD_TAGS_MAX];
    int tags;
    struct hd_json_writer *features; /* they are written where they are found */
    int feature_count;
};

/* What is no tag of heed's (empty, too long, one too many) is left out: GORSE.md says so. */
static void add_tag(struct labels *l, const hd_json *value)
{
    size_t bytes;
    const char *tag = hd_json_text(value, &bytes);

    if (l->tags == HD_TAGS_MAX || hd_check_id("tag", tag, bytes) != HEED_OK)
        return;
    for (int i = 0; i < l->tags; i++)
        if (strcmp(l->tag[i], tag) == 0)
            return;
    l->tag[l->tags++] = tag;
}

static bool is_vector(const hd_json *value)
{
    size_t count = hd_json_length(value);

    for (size_t i = 0; i < count; i++) {
        enum hd_json_kind kind = hd_json_kind(hd_json_at(value, i));
        if (kind != HD_JSON_INT && kind != HD_JSON_NUMBER)
            return false;
    }
    return count > 0 && count <= HD_FEATURE_COUNT_MAX;
}

static void add_tags(struct labels *l, const hd_json *list)
{
    for (size_t i = 0; i < hd_json_length(list); i++)
        add_tag(l, hd_json_at(list, i));
}

/* A label by its name: a text, a list of texts, a list of numbers, or a map of those. As deep as
 * the JSON reader lets it be. */
static void add_label(struct labels *l, const char *name, const hd_json *value)
{
    switch (hd_json_kind(value)) {
    case HD_JSON_TEXT:
        add_tag(l, value);
        break;
    case HD_JSON_ARRAY:
        if (!is_vector(value)) {
            add_tags(l, value);
        } else if (l->feature_count < HD_FEATURES_MAX &&
                   hd_check_id("label", name, strlen(name)) == HEED_OK) {
            hd_json_put_raw(l->features, name, hd_json_compact(value));
            l->feature_count++;
        }
        break;
    case HD_JSON_OBJECT:
        for (struct hd_json_member m = hd_json_first(value); m.key; m = hd_json_next(m))
            add_label(l, m.key, m.value);
        break;
    default:
        break;
    }
}

/* What was given of the time; with a whole item nothing was given on purpose. */
static void put_created(struct hd_json_writer *w, heed_time created, bool whole)
{
    if (created)
        hd_json_put_int(w, "created", created);
    else if (whole)
        hd_json_put_null(w, "created");
}

/* Labels alone change no categories: both are tags here, and which were which is not known any
 * more. */
static void put_labels_in(struct hd_json_writer *w, const hd_json *json, const hd_json *old)
{
    bool categories = is_given(json, "Categories"), labels = is_given(json, "Labels");
    struct labels l = {.features = w};

    if (old && !categories && !labels)
        return;
    add_tags(&l, old && !categories ? hd_json_get(old, "tags") : hd_json_get(json, "Categories"));
    if (!old || labels) {
        hd_json_begin_object(w, "features");
        add_label(&l, "labels", hd_json_get(json, "Labels"));
        hd_json_end(w);
    }
    hd_json_begin_array(w, "tags");
    for (int i = 0; i < l.tags; i++)
        hd_json_put_text(w, NULL, l.tag[i]);
    hd_json_end(w);
}

heed_status hd_gorse_put_native_item(struct hd_json_writer *w, const hd_json *json,
                                     const hd_json *old, hd_arena *arena)
{
    const char *id = hd_json_text(hd_json_get(old, "id"), NULL), *title;
    heed_time created;
    bool hidden = false;

    HD_TRY(check_object(json));
    if (!old)
        HD_TRY(read_id("ItemId", json, arena, &id));
    HD_TRY(read_text("Comment", json, HD_TITLE_BYTES_MAX, &title));
    HD_TRY(hd_gorse_time("Timestamp", hd_json_get(json, "Timestamp"), &created));
    if (is_given(json, "IsHidden"))
        HD_TRY(hd_field_bool("IsHidden", hd_json_get(json, "IsHidden"), &hidden));
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "id", id);
    if (!old || is_given(json, "Comment"))
        hd_json_put_text(w, "title", title);
    put_created(w, created, !old);
    if (!old || is_given(json, "IsHidden"))
        hd_json_put_bool(w, "hidden", hidden);
    put_labels_in(w, json, old);
    hd_json_end(w);
    return HEED_OK;
}

static void put_list(struct hd_json_writer *w, const char *key, const hd_json *list)
{
    if (hd_json_kind(list) == HD_JSON_ARRAY)
        hd_json_put_raw(w, key, hd_json_compact(list));
    else
        hd_json_begin_array(w, key), hd_json_end(w);
}

/* Tags and features; null where there is neither. */
static void put_labels(struct hd_json_writer *w, const hd_json *item)
{
    const hd_json *tags = hd_json_get(item, "tags"), *features = hd_json_get(item, "features");

    if (hd_json_length(tags) == 0 && !hd_json_first(features).key) {
        hd_json_put_null(w, "Labels");
        return;
    }
    hd_json_begin_object(w, "Labels");
    if (hd_json_length(tags) > 0)
        put_list(w, "tags", tags);
    for (struct hd_json_member m = hd_json_first(features); m.key; m = hd_json_next(m))
        if (strcmp(m.key, "tags") != 0)
            put_list(w, m.key, m.value);
    hd_json_end(w);
}

void hd_gorse_put_item(struct hd_json_writer *w, const hd_json *item)
{
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "ItemId", hd_json_text(hd_json_get(item, "id"), NULL));
    hd_json_put_bool(w, "IsHidden", hd_json_bool(hd_json_get(item, "hidden")));
    put_list(w, "Categories", hd_json_get(item, "tags"));
    put_time(w, "Timestamp", hd_json_get(item, "created"));
    put_labels(w, item);
    hd_json_put_text(w, "Comment", hd_json_text(hd_json_get(item, "title"), NULL));
    hd_json_end(w);
}

bool hd_gorse_item_is_removed(const hd_json *item)
{
    int others = 0;

    for (struct hd_json_member m = hd_json_first(item); m.key; m = hd_json_next(m))
        others += strcmp(m.key, "id") != 0 && strcmp(m.key, "hidden") != 0;
    return others == 0 && hd_json_bool(hd_json_get(item, "hidden"));
}

/* ---- users */

/* Attributes that came another way are labels as they are. */
static void user_parts(const hd_json *user, const hd_json **labels, const char **comment)
{
    const hd_json *attributes = hd_json_get(user, "attributes");

    *labels = hd_json_get(attributes, "labels");
    *comment = hd_json_text(hd_json_get(attributes, "comment"), NULL);
    if (hd_json_kind(*labels) == HD_JSON_NULL && !**comment && hd_json_first(attributes).key)
        *labels = attributes;
}

heed_status hd_gorse_put_native_user(struct hd_json_writer *w, const hd_json *json,
                                     const hd_json *old, hd_arena *arena)
{
    const char *id = hd_json_text(hd_json_get(old, "id"), NULL), *comment, *old_comment;
    const hd_json *labels;

    HD_TRY(check_object(json));
    if (!old)
        HD_TRY(read_id("UserId", json, arena, &id));
    HD_TRY(read_text("Comment", json, HD_TITLE_BYTES_MAX, &comment));
    user_parts(old, &labels, &old_comment);
    if (is_given(json, "Labels"))
        labels = hd_json_get(json, "Labels");
    if (!is_given(json, "Comment"))
        comment = old_comment;
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "id", id);
    hd_json_begin_object(w, "attributes");
    if (hd_json_kind(labels) != HD_JSON_NULL)
        put_json(w, "labels", labels);
    if (comment && *comment)
        hd_json_put_text(w, "comment", comment);
    hd_json_end(w);
    hd_json_end(w);
    return HEED_OK;
}

void hd_gorse_put_user(struct hd_json_writer *w, const hd_json *user)
{
    const hd_json *labels;
    const char *comment;

    user_parts(user, &labels, &comment);
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "UserId", hd_json_text(hd_json_get(user, "id"), NULL));
    put_json(w, "Labels", labels);
    hd_json_put_text(w, "Comment", comment);
    hd_json_end(w);
}
