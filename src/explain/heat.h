/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention maps as drawings: squares, the stronger the weight the fuller their colour, with the
 * names of who looked (rows) and what was looked at (columns). Shared by explanations and by maps
 * that stand for themselves. All drawings use the classes of hd_picture_style. */
#ifndef HD_HEAT_H
#define HD_HEAT_H

#include "explain/page.h"
#include "heed/engine.h"

#define HD_HEAT_SIDE 48 /* rows and columns that a drawing has at most: more cannot be read */

/* Weights by layer and head, and the part of them that is drawn. */
struct hd_maps {
    const float *weights; /* (layers, heads, rows, columns) */
    int layers, heads, rows, columns;
    bool causal; /* rows are the columns too, and see none after themselves */
    int row, column, row_count, column_count;
    const char *row_names[HD_HEAT_SIDE], *column_names[HD_HEAT_SIDE]; /* of the part */
};

/* At most `most` rows and columns: the latest of causal maps, else the first. most <= HD_HEAT_SIDE. */
void hd_maps_part(const heed_maps *given, int most, struct hd_maps *maps);

/* One map, or the mean of all. */
struct hd_heat {
    double top; /* the largest |weight|, at least tiny */
    double weight[HD_HEAT_SIDE][HD_HEAT_SIDE];
};

/* Some weight is below zero, as SiLU's may be. */
bool hd_maps_signed(const struct hd_maps *maps);
void hd_heat_one(const struct hd_maps *maps, int layer, int head, struct hd_heat *heat);
/* Where weights have a sign, which would cancel: the mean of their sizes, each row of a map scaled
 * by its own largest. */
void hd_heat_mean(const struct hd_maps *maps, struct hd_heat *heat);

enum {
    HD_HEAT_TIPS = 1 << 0,   /* what a pointer on a square is told */
    HD_HEAT_NUMBERS = 1 << 1 /* the weight in its square; for squares of 36 and more */
};

/* Squares of `cell` from (x, y) on, in their outline. */
void hd_draw_heat(struct hd_page *page, const struct hd_maps *maps, const struct hd_heat *heat,
                  double x, double y, double cell, unsigned what);
/* The names. A causal map is empty above its diagonal, and has them there: each is that of its row
 * and of the column beneath it. Else they stand before the rows and, aslant, above the columns. */
void hd_draw_names(struct hd_page *page, const struct hd_maps *maps, double x, double y,
                   double cell);
/* What the names take on each side of the squares. */
struct hd_margins {
    double left, top, right;
};
struct hd_margins hd_names_margins(const struct hd_maps *maps, double cell);

/* For a page: what the mean's colours mean; and all maps, small, each with its layer and head. */
void hd_add_scale(struct hd_page *page, const struct hd_maps *maps, const struct hd_heat *mean);
void hd_add_small_maps(struct hd_page *page, const struct hd_maps *maps);

#endif
