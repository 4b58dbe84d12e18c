/* SPDX-License-Identifier: Apache-2.0
 *
 * Users of NDJSON. */
#include "acquire/user.h"
#include "acquire/fields.h"
#include "base/limits.h"

#include <string.h>

/* The lists of marks: how a line names them and how the store does. */
static const struct list {
    unsigned bit;
    const char *mark, *plural, *what, *field;
} lists[] = {
    {HD_USER_BLOCK_ITEMS, "block", "items", "item", "block.items"},
    {HD_USER_BLOCK_AUTHORS, "block", "authors", "author", "block.authors"},
    {HD_USER_BLOCK_TAGS, "block", "tags", "tag", "block.tags"},
    {HD_USER_FOLLOW_AUTHORS, "follow", "authors", "author", "follow.authors"},
    {HD_USER_FOLLOW_TAGS, "follow", "tags", "tag", "follow.tags"},
};
#define LISTS (sizeof lists / sizeof *lists)

static const struct list *list_of(unsigned bit)
{
    for (const struct list *l = lists; l < lists + LISTS; l++)
        if (l->bit == bit)
            return l;
    return NULL;
}

const char *hd_user_mark_word(unsigned list)
{
    const struct list *l = list_of(list);

    return l ? l->mark : NULL;
}

const char *hd_user_what_word(unsigned list)
{
    const struct list *l = list_of(list);

    return l ? l->what : NULL;
}

unsigned hd_user_list_of(const char *mark, const char *what)
{
    for (const struct list *l = lists; l < lists + LISTS; l++)
        if (strcmp(l->mark, mark) == 0 && strcmp(l->what, what) == 0)
            return l->bit;
    return 0;
}

static heed_status need_object(const char *field, const hd_json *value)
{
    enum hd_json_kind kind = hd_json_kind(value);

    if (kind != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s: %s, not an object", field, hd_json_kind_name(kind));
    return HEED_OK;
}

static heed_status parse_consent(const hd_json *value, struct hd_user *user)
{
    static const struct {
        const char *key, *field;
        unsigned bit;
    } consents[] = {
        {"learn", "consent.learn", HD_CONSENT_LEARN},
        {"personalise", "consent.personalise", HD_CONSENT_PERSONALISE},
        {"sell", "consent.sell", HD_CONSENT_SELL},
    };

    HD_TRY(need_object("consent", value));
    for (struct hd_json_member m = hd_json_first(value); m.key; m = hd_json_next(m)) {
        size_t i = 0;
        while (i < 3 && strcmp(m.key, consents[i].key) != 0)
            i++;
        if (i == 3)
            return hd_fail(HEED_E_FORMAT,
                           "consent.%.60s: there is no such consent; there are learn, personalise, "
                           "sell",
                           m.key);
        user->given |= consents[i].bit;
        bool yes = (HD_CONSENT_DEFAULT & consents[i].bit) != 0;
        if (hd_json_kind(m.value) != HD_JSON_NULL)
            HD_TRY(hd_field_bool(consents[i].field, m.value, &yes));
        user->consent = yes ? user->consent | consents[i].bit : user->consent & ~consents[i].bit;
    }
    return HEED_OK;
}

/* Marks that one object may hold: the arena's array is made for all of them at once. */
static size_t count_marks(const hd_json *root)
{
    size_t count = 0;

    for (const struct list *l = lists; l < lists + LISTS; l++)
        count += hd_json_length(hd_json_get(hd_json_get(root, l->mark), l->plural));
    return count;
}

static heed_status parse_list(const struct list *list, const hd_json *value, hd_arena *arena,
                              struct hd_user *user)
{
    enum hd_json_kind kind = hd_json_kind(value);

    user->given |= list->bit;
    if (kind == HD_JSON_NULL)
        return HEED_OK;
    if (kind != HD_JSON_ARRAY)
        return hd_fail(HEED_E_FORMAT, "%s: %s, not an array", list->field,
                       hd_json_kind_name(kind));
    for (size_t i = 0; i < hd_json_length(value); i++) {
        struct hd_span name;
        HD_TRY(hd_field_id(list->field, hd_json_at(value, i), arena, &name));
        user->mark[user->marks++] = (struct hd_user_mark){list->bit, name.at};
    }
    return HEED_OK;
}

static heed_status parse_marks(const char *mark, const hd_json *value, hd_arena *arena,
                               struct hd_user *user)
{
    if (hd_json_kind(value) == HD_JSON_NULL) {
        for (const struct list *l = lists; l < lists + LISTS; l++)
            if (strcmp(l->mark, mark) == 0)
                user->given |= l->bit;
        return HEED_OK;
    }
    HD_TRY(need_object(mark, value));
    for (struct hd_json_member m = hd_json_first(value); m.key; m = hd_json_next(m)) {
        const struct list *l = lists;
        while (l < lists + LISTS && (strcmp(l->mark, mark) != 0 || strcmp(l->plural, m.key) != 0))
            l++;
        if (l == lists + LISTS)
            return hd_fail(HEED_E_FORMAT, "%s.%.60s: there is no such list", mark, m.key);
        HD_TRY(parse_list(l, m.value, arena, user));
    }
    return HEED_OK;
}

static heed_status parse_member(const char *key, const hd_json *value, hd_arena *arena,
                                struct hd_user *user)
{
    bool none = hd_json_kind(value) == HD_JSON_NULL;

    if (strcmp(key, "id") == 0)
        return none ? HEED_OK : hd_field_id(key, value, arena, &user->id);
    if (strcmp(key, "attributes") == 0) {
        user->given |= HD_USER_ATTRIBUTES;
        return none ? HEED_OK : hd_field_object(key, value, arena, &user->attributes);
    }
    if (strcmp(key, "consent") == 0) {
        user->given |= none ? HD_CONSENT_ALL : 0;
        return none ? HEED_OK : parse_consent(value, user);
    }
    if (strcmp(key, "block") == 0 || strcmp(key, "follow") == 0)
        return parse_marks(key, value, arena, user);
    return hd_fail(HEED_E_FORMAT,
                   "%.60s: a user has no such field; your own go under attributes", key);
}

heed_status hd_user_of_json(const hd_json *root, hd_arena *arena, struct hd_user *out)
{
    struct hd_user user = {.consent = HD_CONSENT_DEFAULT};
    size_t marks = count_marks(root);

    if (hd_json_kind(root) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s, not an object", hd_json_kind_name(hd_json_kind(root)));
    if (marks > HD_MARKS_MAX)
        return hd_fail(HEED_E_RANGE, "block, follow: %zu names, at most %d are allowed", marks,
                       HD_MARKS_MAX);
    user.mark = hd_arena_alloc(arena, marks, sizeof *user.mark);
    if (!user.mark)
        return hd_fail(HEED_E_NOMEM, "block, follow: no memory");
    for (struct hd_json_member m = hd_json_first(root); m.key; m = hd_json_next(m))
        HD_TRY(parse_member(m.key, m.value, arena, &user));
    if (!user.id.at)
        return hd_fail(HEED_E_FORMAT, "id: missing");
    *out = user;
    return HEED_OK;
}

heed_status hd_parse_user(hd_json_reader *reader, const char *line, size_t bytes, hd_arena *arena,
                          struct hd_user *out)
{
    hd_json *root;

    HD_TRY(hd_json_read(reader, line, bytes, &root));
    return hd_user_of_json(root, arena, out);
}
