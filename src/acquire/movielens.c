/* SPDX-License-Identifier: Apache-2.0
 *
 * Splitting a line is one function for each look; what the columns mean is the same for all. */
#include "acquire/movielens.h"
#include "acquire/fields.h"
#include "base/time.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- splitting */

struct columns {
    struct hd_span at[HD_COLUMNS_MAX];
    int count;
};

static heed_status add(struct columns *c, const char *at, size_t bytes)
{
    if (c->count == HD_COLUMNS_MAX)
        return hd_fail(HEED_E_FORMAT, "line: more than %d columns", HD_COLUMNS_MAX);
    c->at[c->count++] = (struct hd_span){at, bytes};
    return HEED_OK;
}

static heed_status split(const char *line, size_t bytes, const char *separator, struct columns *c)
{
    size_t length = strlen(separator), from = 0;

    c->count = 0;
    for (size_t i = 0; i + length <= bytes;) {
        if (memcmp(line + i, separator, length) == 0) {
            HD_TRY(add(c, line + from, i - from));
            i = from = i + length;
        } else {
            i++;
        }
    }
    return add(c, line + from, bytes - from);
}

/* One quoted field of RFC 4180, from behind its first quote; "" inside it is one quote. */
static heed_status split_quoted(const char *line, size_t bytes, size_t *i, hd_arena *arena,
                                struct columns *c)
{
    size_t from = *i, length = 0;
    bool doubled = false;
    char *copy;

    for (; *i < bytes; ++*i) {
        if (line[*i] != '"')
            continue;
        if (*i + 1 == bytes || line[*i + 1] != '"')
            break;
        doubled = true;
        ++*i;
    }
    if (*i == bytes)
        return hd_fail(HEED_E_FORMAT, "line: a quote is opened and not closed");
    size_t end = (*i)++;
    if (*i < bytes && line[*i] != ',')
        return hd_fail(HEED_E_FORMAT, "line: no comma after a closing quote");
    if (!doubled)
        return add(c, line + from, end - from);
    copy = hd_arena_alloc(arena, end - from, 1);
    if (!copy)
        return hd_fail(HEED_E_NOMEM, "line: no memory");
    for (size_t k = from; k < end; k++) {
        copy[length++] = line[k];
        k += line[k] == '"';
    }
    return add(c, copy, length);
}

static heed_status split_csv(const char *line, size_t bytes, hd_arena *arena, struct columns *c)
{
    size_t i = 0;

    c->count = 0;
    for (;;) {
        if (i < bytes && line[i] == '"') {
            i++;
            HD_TRY(split_quoted(line, bytes, &i, arena, c));
        } else {
            size_t from = i;
            while (i < bytes && line[i] != ',')
                i++;
            HD_TRY(add(c, line + from, i - from));
        }
        if (i >= bytes)
            return HEED_OK;
        i++; /* the comma; a last empty field follows one at the end */
    }
}

static heed_status split_line(const struct hd_movielens *look, const char *line, size_t bytes,
                              hd_arena *arena, struct columns *c)
{
    switch (look->look) {
    case HD_LOOK_COLONS:
        HD_TRY(split(line, bytes, "::", c));
        break;
    case HD_LOOK_TABS:
        HD_TRY(split(line, bytes, "\t", c));
        break;
    case HD_LOOK_PIPES:
        HD_TRY(split(line, bytes, "|", c));
        break;
    case HD_LOOK_CSV:
    case HD_LOOK_NONE:
        HD_TRY(split_csv(line, bytes, arena, c));
        break;
    }
    if (c->count != look->columns)
        return hd_fail(HEED_E_FORMAT, "line: %d column%s, not %d", c->count,
                       c->count == 1 ? "" : "s", look->columns);
    return HEED_OK;
}

/* ---- the look of a file */

static bool named(struct hd_span span, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == span.bytes && strncasecmp(span.at, *names, span.bytes) == 0)
            return true;
    return false;
}

/* Columns of a line that may be a header. Quoted names are without doubled quotes, so no arena. */
static void read_header(const char *line, size_t bytes, struct hd_movielens *m)
{
    static const char *const user[] = {"userId", "user_id", "user", NULL};
    static const char *const item[] = {"movieId", "itemId", "movie_id", "item_id", "item", NULL};
    static const char *const rating[] = {"rating", NULL};
    static const char *const seconds[] = {"timestamp", "time", NULL};
    static const char *const title[] = {"title", NULL}, *const genres[] = {"genres", NULL};
    struct columns c;

    m->user = m->item = m->rating = m->time = m->title = m->genres = -1;
    if (split(line, bytes, ",", &c) != HEED_OK)
        return;
    m->columns = c.count;
    for (int i = 0; i < c.count; i++) {
        struct hd_span name = c.at[i];
        if (name.bytes >= 2 && name.at[0] == '"' && name.at[name.bytes - 1] == '"')
            name = (struct hd_span){name.at + 1, name.bytes - 2};
        if (named(name, user))
            m->user = i;
        else if (named(name, item))
            m->item = i;
        else if (named(name, rating))
            m->rating = i;
        else if (named(name, seconds))
            m->time = i;
        else if (named(name, title))
            m->title = i;
        else if (named(name, genres))
            m->genres = i;
    }
}

heed_status hd_ratings_look(const char *line, size_t bytes, struct hd_movielens *out)
{
    struct hd_movielens m = {
        .user = 0, .item = 1, .rating = 2, .time = 3, .title = -1, .genres = -1, .columns = 4};

    if (hd_line_has(line, bytes, "::")) {
        m.look = HD_LOOK_COLONS;
    } else if (hd_line_has(line, bytes, "\t")) {
        m.look = HD_LOOK_TABS;
    } else if (hd_line_has(line, bytes, ",")) {
        struct hd_movielens with_names = m;
        m.look = HD_LOOK_CSV;
        read_header(line, bytes, &with_names);
        if (with_names.user >= 0 && with_names.item >= 0) {
            if (with_names.time < 0)
                return hd_fail(HEED_E_FORMAT, "header: no column named timestamp");
            m = with_names;
            m.look = HD_LOOK_CSV;
            m.header = true;
        }
    } else {
        return hd_fail(HEED_E_FORMAT, "line: neither `::` nor tabs nor commas between its columns: "
                                      "not ratings.dat, u.data or ratings.csv");
    }
    *out = m;
    return HEED_OK;
}

#define U_ITEM_COLUMNS 24 /* five, and a flag for each of the 19 genres */

heed_status hd_movies_look(const char *line, size_t bytes, struct hd_movielens *out)
{
    struct hd_movielens m = {
        .user = -1, .item = 0, .rating = -1, .time = -1, .title = 1, .genres = 2, .columns = 3};

    if (hd_line_has(line, bytes, "::")) {
        m.look = HD_LOOK_COLONS;
    } else if (hd_line_has(line, bytes, "||")) {
        m.look = HD_LOOK_PIPES;
        m.columns = U_ITEM_COLUMNS;
    } else if (hd_line_has(line, bytes, ",")) {
        struct hd_movielens with_names = m;
        m.look = HD_LOOK_CSV;
        read_header(line, bytes, &with_names);
        if (with_names.item >= 0 && with_names.title >= 0) {
            m = with_names;
            m.look = HD_LOOK_CSV;
            m.header = true;
        }
    } else {
        return hd_fail(HEED_E_FORMAT,
                       "line: neither an object nor a line of movies.dat, movies.csv "
                       "or u.item");
    }
    *out = m;
    return HEED_OK;
}

/* ---- lines */

heed_status hd_parse_rating(const struct hd_movielens *look, const char *line, size_t bytes,
                            hd_arena *arena, struct hd_event *out)
{
    struct hd_event e = {
        .kind = HD_EVENT_VIEW, .dwell_ms = -1, .value = (double)NAN, .position = -1};
    struct columns c;

    HD_TRY(split_line(look, line, bytes, arena, &c));
    e.user = c.at[look->user];
    e.item = c.at[look->item];
    HD_TRY(hd_check_id("user", e.user.at, e.user.bytes));
    HD_TRY(hd_check_id("item", e.item.at, e.item.bytes));
    if (look->rating >= 0)
        HD_TRY(hd_span_number("rating", c.at[look->rating], &e.value));
    HD_TRY(hd_span_seconds("timestamp", c.at[look->time], &e.ts));
    *out = e;
    return HEED_OK;
}

static heed_status add_tag(struct hd_item *item, struct hd_span tag)
{
    if (tag.bytes == 0 || hd_span_is(tag, "(no genres listed)"))
        return HEED_OK;
    if (item->tags == HD_TAGS_MAX)
        return hd_fail(HEED_E_RANGE, "genres: more than %d of them", HD_TAGS_MAX);
    HD_TRY(hd_check_id("genres", tag.at, tag.bytes));
    item->tag[item->tags++] = tag;
    return HEED_OK;
}

/* "01-Jan-1995" as an instant; anything else, and nothing, is a date that is not known. */
static heed_time release_date(struct hd_span span)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[16];
    heed_time time;

    if (span.bytes != 11 || span.at[2] != '-' || span.at[6] != '-')
        return 0;
    for (int month = 0; month < 12; month++) {
        if (memcmp(months + (ptrdiff_t)month * 3, span.at + 3, 3) != 0)
            continue;
        int bytes = snprintf(text, sizeof text, "%.4s-%02d-%.2s", span.at + 7, month + 1, span.at);
        return hd_time_parse(text, (size_t)bytes, &time) == HEED_OK ? time : 0;
    }
    return 0;
}

static heed_status parse_flags(const struct columns *c, struct hd_item *item)
{
    static const char *const genres[] = {"",           "Action",  "Adventure", "Animation",
                                         "Children's", "Comedy",  "Crime",     "Documentary",
                                         "Drama",      "Fantasy", "Film-Noir", "Horror",
                                         "Musical",    "Mystery", "Romance",   "Sci-Fi",
                                         "Thriller",   "War",     "Western"};

    for (int i = 5; i < c->count; i++) {
        if (hd_span_is(c->at[i], "0"))
            continue;
        if (!hd_span_is(c->at[i], "1"))
            return hd_fail(HEED_E_FORMAT, "genres: a flag in column %d that is neither 0 nor 1",
                           i + 1);
        HD_TRY(add_tag(item, (struct hd_span){genres[i - 5], strlen(genres[i - 5])}));
    }
    return HEED_OK;
}

heed_status hd_parse_movie(const struct hd_movielens *look, const char *line, size_t bytes,
                           hd_arena *arena, struct hd_item *out)
{
    struct columns c, tags;

    HD_TRY(split_line(look, line, bytes, arena, &c));
    *out = (struct hd_item){.id = c.at[look->item], .title = c.at[look->title]};
    HD_TRY(hd_check_id("item", out->id.at, out->id.bytes));
    if (out->title.bytes > HD_TITLE_BYTES_MAX)
        return hd_fail(HEED_E_RANGE, "title: %zu bytes, at most %d are allowed", out->title.bytes,
                       HD_TITLE_BYTES_MAX);
    if (look->look == HD_LOOK_PIPES) {
        out->created = release_date(c.at[2]);
        if (c.at[4].bytes <= HD_URL_BYTES_MAX)
            out->url = c.at[4];
        return parse_flags(&c, out);
    }
    if (look->genres >= 0) {
        HD_TRY(split(c.at[look->genres].at, c.at[look->genres].bytes, "|", &tags));
        for (int i = 0; i < tags.count; i++)
            HD_TRY(add_tag(out, tags.at[i]));
    }
    return HEED_OK;
}
