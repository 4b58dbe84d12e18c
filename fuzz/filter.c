/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters as strangers write them. Laws, beside surviving: what is refused is refused with a byte
 * of the text, or the one after it; what is taken is printed, and that is parsed as the same
 * filter, which lets the same items pass; nothing outside the items is written. */
#include "allocate/filter.h"
#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define LAW(holds)                                                                \
    do {                                                                          \
        if (!(holds)) {                                                           \
            fprintf(stderr, "filter: broken at line %d: %s\n", __LINE__, #holds); \
            abort();                                                              \
        }                                                                         \
    } while (0)

#define NOW INT64_C(1768003200000)
enum { ITEMS = 4 };

static heed_status find(void *context, enum hd_filter_field field, const char *name, size_t bytes,
                        int32_t *number)
{
    (void)context;
    LAW(field <= HD_FILTER_AUTHOR && bytes > 0 && bytes <= HD_ID_BYTES_MAX &&
        strlen(name) == bytes);
    *number = (int32_t)(unsigned char)name[0] % 5 - 1 + (field == HD_FILTER_AUTHOR ? 10 : 0);
    return HEED_OK;
}

static void apply(hd_filter *filter, heed_time now, uint8_t out[ITEMS + 1])
{
    static const char *const id[] = {"1", "2", "3", "x"};
    static const char *const title[] = {"a", "World cup", NULL, ""};
    static const char *const author[] = {"a", NULL, "b", NULL};
    static const char *const url[] = {NULL, "https://a", "", NULL};
    static const heed_time created[] = {NOW, NOW - 1000, 0, -1};
    static const int32_t row[] = {0, 1, 2, 10};
    static const int32_t *const topic[] = {row + 2, row, row + 3, NULL};
    static const int32_t topic_count[] = {2, 2, 1, 0};
    const struct hd_filter_view view = {.items = ITEMS,
                                        .id = id,
                                        .title = title,
                                        .author = author,
                                        .url = url,
                                        .created = created,
                                        .topic = topic,
                                        .topic_count = topic_count};

    memset(out, 0, ITEMS);
    out[ITEMS] = 7;
    hd_filter_apply(filter, &view, now, out);
    LAW(out[ITEMS] == 7);
    for (int i = 0; i < ITEMS; i++)
        LAW(out[i] <= 1);
}

static void check_refusal(size_t bytes)
{
    size_t byte;

    LAW(sscanf(heed_error_message(), "filter: byte %zu: ", &byte) == 1);
    LAW(byte >= 1 && byte <= bytes + 1);
}

static void check_filter(hd_filter *filter, hd_arena *arena)
{
    const heed_time moments[] = {NOW, INT64_MIN, INT64_MAX, 0};
    uint8_t out[ITEMS + 1], again_out[ITEMS + 1];
    const char *text, *again_text;
    hd_filter *again;

    LAW(hd_filter_print(filter, arena, &text) == HEED_OK);
    if (strlen(text) > HD_FILTER_BYTES_MAX) /* `[1,2]` is shorter than `["1", "2"]` */
        return;
    LAW(hd_filter_parse(arena, text, strlen(text), &again) == HEED_OK);
    LAW(hd_filter_print(again, arena, &again_text) == HEED_OK);
    LAW(strcmp(text, again_text) == 0);
    for (size_t bound = 0; bound < 2; bound++) {
        for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
            apply(filter, moments[i], out);
            apply(again, moments[i], again_out);
            LAW(memcmp(out, again_out, sizeof out) == 0);
        }
        LAW(hd_filter_bind(filter, find, NULL) == HEED_OK);
        LAW(hd_filter_bind(again, find, NULL) == HEED_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static hd_arena *arena;
    hd_filter *filter;

    if (!arena && !(arena = hd_arena_new(0)))
        abort();
    hd_arena_reset(arena);
    /* A copy of the text alone and no more, so that reading past it shows. */
    char *text = malloc(bytes ? bytes : 1);
    if (!text)
        abort();
    if (bytes > 0)
        memcpy(text, data, bytes);
    heed_status status = hd_filter_parse(arena, text, bytes, &filter);
    free(text); /* the filter keeps nothing of it */
    LAW(status == HEED_OK || status == HEED_E_ARG);
    if (status == HEED_OK)
        check_filter(filter, arena);
    else
        check_refusal(bytes);
    return 0;
}
