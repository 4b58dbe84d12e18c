/* SPDX-License-Identifier: Apache-2.0
 *
 * Gorse's records as strangers write them. The first byte says which: F feedback, I items, U users.
 * Laws, beside surviving: what is taken becomes a record that the engine's own parser takes too
 * (but for sizes, which are the engine's to judge), and that comes back out as JSON with the id it
 * went in with. */
#include "acquire/item.h"
#include "acquire/user.h"
#include "server/gorse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define LAW(holds)                                                               \
    do {                                                                         \
        if (!(holds)) {                                                          \
            fprintf(stderr, "gorse: broken at line %d: %s\n", __LINE__, #holds); \
            abort();                                                             \
        }                                                                        \
    } while (0)

static hd_json_reader *reader, *second;
static hd_arena *arena;

/* What the writer holds, read again. NULL: labels are one deeper in it than they were, and were as
 * deep as JSON may be. */
static hd_json *read_written(struct hd_json_writer *w, const char **text)
{
    hd_json *root = NULL;
    size_t bytes;

    LAW(hd_json_finish(w, text, &bytes) == HEED_OK);
    LAW(hd_json_read(second, *text, bytes, &root) == HEED_OK ||
        strstr(heed_error_message(), "deep"));
    return root;
}

/* Sizes and the range of a float are looked at by the engine alone. */
static bool is_of_size(heed_status status)
{
    return status == HEED_E_RANGE || strncmp(heed_error_message(), "features: ", 10) == 0;
}

static void check_feedback(const hd_json *json)
{
    struct hd_gorse_feedback f;
    struct hd_json_writer w = {0}, out = {0};
    struct hd_event event;
    const char *text, *back;

    if (hd_gorse_read_feedback(json, arena, &f) != HEED_OK)
        return;
    hd_gorse_put_event(&w, &f);
    hd_json *native = read_written(&w, &text);
    if (!native)
        goto done;
    hd_gorse_put_feedback(&out, native);
    LAW(strcmp(hd_gorse_type_of(native), f.type) == 0);
    LAW(hd_json_finish(&out, &back, NULL) == HEED_OK);
    heed_status status = hd_parse_event(second, text, strlen(text), arena, &event);
    LAW(status == HEED_OK || is_of_size(status));
    if (status == HEED_OK) {
        LAW(event.user.bytes == strlen(f.user) &&
            memcmp(event.user.at, f.user, event.user.bytes) == 0);
        LAW(event.item.bytes == strlen(f.item) &&
            memcmp(event.item.at, f.item, event.item.bytes) == 0);
    }
done:
    hd_json_clear(&w), hd_json_clear(&out);
}

static void check_item(const hd_json *json)
{
    static struct hd_item item;
    struct hd_json_writer w = {0}, out = {0};
    const char *text, *back;

    if (hd_gorse_put_native_item(&w, json, NULL, arena) == HEED_OK) {
        hd_json *native = read_written(&w, &text);
        LAW(native != NULL);
        hd_gorse_put_item(&out, native);
        LAW(hd_json_finish(&out, &back, NULL) == HEED_OK);
        heed_status status = hd_item_of_json(native, arena, &item);
        LAW(status == HEED_OK || is_of_size(status));
        LAW(status != HEED_OK || (item.tags <= HD_TAGS_MAX && item.created >= 0));
    }
    hd_json_clear(&w), hd_json_clear(&out);
}

static void check_user(const hd_json *json)
{
    struct hd_json_writer w = {0}, out = {0};
    struct hd_user user;
    const char *text, *back;

    if (hd_gorse_put_native_user(&w, json, NULL, arena) == HEED_OK) {
        hd_json *native = read_written(&w, &text);
        if (!native)
            goto done;
        hd_gorse_put_user(&out, native);
        LAW(hd_json_finish(&out, &back, NULL) == HEED_OK);
        heed_status status = hd_user_of_json(native, arena, &user);
        LAW(status == HEED_OK || is_of_size(status));
        LAW(status != HEED_OK || user.given == HD_USER_ATTRIBUTES);
    }
done:
    hd_json_clear(&w), hd_json_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    hd_json *json;

    if (!reader && (hd_json_reader_new(&reader) != HEED_OK ||
                    hd_json_reader_new(&second) != HEED_OK || !(arena = hd_arena_new(0))))
        abort();
    if (bytes == 0)
        return 0;
    hd_arena_reset(arena);
    if (hd_json_read(reader, (const char *)data + 1, bytes - 1, &json) != HEED_OK)
        return 0;
    if (data[0] == 'F')
        check_feedback(json);
    else if (data[0] == 'I')
        check_item(json);
    else if (data[0] == 'U')
        check_user(json);
    return 0;
}
