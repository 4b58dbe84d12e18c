/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of the MovieLens data sets, old and new, told apart by the look of their first line:
 *
 *     ratings.dat  user::item::rating::seconds     movies.dat  item::title::Genre|Genre
 *     u.data       user TAB item TAB rating TAB seconds
 *     u.item       item|title|01-Jan-1995||url|19 flags, one a genre
 *     ratings.csv  userId,movieId,rating,timestamp  movies.csv  movieId,title,genres
 *
 * A rating becomes a view whose value is the rating: whoever rates a film has seen it. */
#ifndef HD_MOVIELENS_H
#define HD_MOVIELENS_H

#include "acquire/item.h"

#define HD_COLUMNS_MAX 64

enum hd_look { HD_LOOK_NONE, HD_LOOK_COLONS, HD_LOOK_TABS, HD_LOOK_PIPES, HD_LOOK_CSV };

/* What the first line of a file says about the others. */
struct hd_movielens {
    enum hd_look look;
    bool header;                  /* the first line names columns and holds nothing else */
    int user, item, rating, time; /* columns, from 0; -1: there is none */
    int title, genres;
    int columns;
};

/* HEED_E_FORMAT: the line looks like none of them. */
HEED_CHECKED heed_status hd_ratings_look(const char *line, size_t bytes, struct hd_movielens *out);
HEED_CHECKED heed_status hd_movies_look(const char *line, size_t bytes, struct hd_movielens *out);

HEED_CHECKED heed_status hd_parse_rating(const struct hd_movielens *look, const char *line,
                                         size_t bytes, hd_arena *arena, struct hd_event *out);
HEED_CHECKED heed_status hd_parse_movie(const struct hd_movielens *look, const char *line,
                                        size_t bytes, hd_arena *arena, struct hd_item *out);

#endif
