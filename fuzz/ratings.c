/* SPDX-License-Identifier: Apache-2.0
 *
 * MovieLens files: the first line tells the look, the others are read by it. Laws: as in events.c.
 */
#include "acquire/movielens.h"
#include "base/limits.h"

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
}

/* look: of the first line; `movies` tells which kind of file it was taken for. */
static void try_line(const struct hd_movielens *look, bool movies, hd_arena *arena,
                     const char *line, size_t bytes)
{
    struct hd_event event;
    struct hd_item item;

    hd_arena_reset(arena);
    if (movies && hd_parse_movie(look, line, bytes, arena, &item) == HEED_OK) {
        check_id(item.id);
        LAW(item.title.bytes <= HD_TITLE_BYTES_MAX && item.tags <= HD_TAGS_MAX);
    }
    if (!movies && hd_parse_rating(look, line, bytes, arena, &event) == HEED_OK) {
        check_id(event.user);
        check_id(event.item);
        LAW(event.ts >= 0 && event.ts <= HD_TIME_MS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static hd_arena *arena;
    struct hd_movielens look;

    if (!arena)
        LAW(arena = hd_arena_new(0));
    for (int movies = 0; movies < 2; movies++) {
        bool looked = false;
        for (size_t at = 0; at < bytes;) {
            const uint8_t *end = memchr(data + at, '\n', bytes - at);
            size_t length = end ? (size_t)(end - data) - at : bytes - at;
            char *line = malloc(length ? length : 1);
            LAW(line);
            memcpy(line, data + at, length);
            at += length + 1;
            if (!memchr(line, 0, length)) {
                if (!looked) {
                    heed_status status = movies ? hd_movies_look(line, length, &look)
                                                : hd_ratings_look(line, length, &look);
                    if (status != HEED_OK)
                        at = bytes; /* no such file */
                    looked = status == HEED_OK;
                    if (looked && !look.header)
                        try_line(&look, movies, arena, line, length);
                } else {
                    try_line(&look, movies, arena, line, length);
                }
            }
            free(line);
        }
    }
    return 0;
}
