/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of an events file, an items file and an interactions file. Laws: what is accepted is within
 * every limit that is promised to the store, what is refused says why, and the JSON that is kept of
 * a line is JSON again. */
#include "acquire/event.h"
#include "acquire/item.h"
#include "base/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAW(holds)    \
    do {              \
        if (!(holds)) \
            abort();  \
    } while (0)

static void check_id(struct hd_span id)
{
    LAW(id.bytes >= 1 && id.bytes <= HD_ID_BYTES_MAX);
    for (size_t i = 0; i < id.bytes; i++)
        LAW((unsigned char)id.at[i] >= 0x20);
}

static void check_event(const struct hd_event *e)
{
    check_id(e->user);
    check_id(e->item);
    LAW((int)e->kind >= 0 && e->kind < HD_EVENT_KINDS);
    LAW(e->ts >= HD_TIME_MS_MIN && e->ts <= HD_TIME_MS_MAX);
    LAW(e->dwell_ms >= -1 && e->dwell_ms <= HD_DWELL_MS_MAX);
    LAW(isnan(e->value) || isfinite(e->value));
    LAW(e->position >= -1);
}

static void check_json(hd_json_reader *reader, const char *text)
{
    hd_json *root = NULL;

    if (text)
        LAW(hd_json_read(reader, text, strlen(text), &root) == HEED_OK &&
            hd_json_kind(root) == HD_JSON_OBJECT);
}

static void check_item(const struct hd_item *item)
{
    check_id(item->id);
    LAW(item->title.bytes <= HD_TITLE_BYTES_MAX && item->text.bytes <= HD_TEXT_BYTES_MAX);
    LAW(item->tags >= 0 && item->tags <= HD_TAGS_MAX);
    LAW(item->features >= 0 && item->features <= HD_FEATURES_MAX);
    for (int f = 0; f < item->features; f++)
        for (int64_t i = 0; i < item->feature[f].count; i++)
            LAW(isfinite((double)item->feature[f].value[i]));
}

static void try_line(hd_json_reader *reader, hd_json_reader *other, hd_arena *arena,
                     const char *line, size_t bytes)
{
    struct hd_event event;
    struct hd_item item;

    hd_arena_reset(arena);
    if (hd_parse_event(reader, line, bytes, arena, &event) == HEED_OK) {
        check_event(&event);
        check_json(other, event.context);
        check_json(other, event.ext);
    } else {
        LAW(heed_error_message()[0] != '\0');
    }
    if (hd_parse_item(reader, line, bytes, arena, &item) == HEED_OK)
        check_item(&item);
    if (hd_parse_interaction(line, bytes, &event) == HEED_OK)
        check_event(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static hd_json_reader *reader, *other;
    static hd_arena *arena;

    if (!arena)
        LAW(hd_json_reader_new(&reader) == HEED_OK && hd_json_reader_new(&other) == HEED_OK &&
            (arena = hd_arena_new(0)));
    for (size_t at = 0; at < bytes;) {
        const uint8_t *end = memchr(data + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - data) - at : bytes - at;
        /* A copy of the line alone and no more, so that reading past it shows. */
        char *line = malloc(length ? length : 1);
        LAW(line);
        memcpy(line, data + at, length);
        if (!memchr(line, 0, length)) /* src/text/lines.c has refused those */
            try_line(reader, other, arena, line, length);
        free(line);
        at += length + 1;
    }
    return 0;
}
