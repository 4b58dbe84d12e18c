/* SPDX-License-Identifier: Apache-2.0
 *
 * What the page and the picture of an explanation share: how it is read, and the drawings of it.
 * All drawings use the classes of hd_picture_style: p and n for what speaks for and against. */
#ifndef HD_PICTURE_H
#define HD_PICTURE_H

#include "explain/page.h"
#include "heed/engine.h"

#define HD_PICTURE_EVENTS 24 /* steps of the history, the latest, that a drawn map shows */
#define HD_WHEN_BYTES 48

/* Colours, light and dark, as CSS: custom properties on the root, and the classes. */
extern const char *const hd_picture_style;

/* The title, or the id where there is none. */
const char *hd_reason_name(const heed_reason *reason);
/* "12 March 2026, 20:15" in UTC; empty where the time is not known. */
void hd_when_text(heed_time when, char text[HD_WHEN_BYTES]);
/* The largest |contribution|, at least tiny. */
double hd_reason_top(const heed_explanation *e);
/* Reasons from here down are too small, beside the strongest, to be worth a line. */
#define HD_REASON_LEAST 0.02

bool hd_has_maps(const heed_explanation *e);
/* Some weight is below zero, as SiLU's may be. */
bool hd_map_signed(const heed_explanation *e);

/* The last n steps of one map, or of all of them: their mean, and where weights have a sign, which
 * would cancel, the mean of their sizes, each row of a map scaled by its own largest. */
struct hd_map {
    int n, from;
    double top;                                          /* the largest |weight|, at least tiny */
    double weight[HD_PICTURE_EVENTS][HD_PICTURE_EVENTS]; /* step, event it looked at */
};
void hd_map_one(const heed_explanation *e, int layer, int head, struct hd_map *map);
void hd_map_all(const heed_explanation *e, struct hd_map *map);

/* At (x, y), in squares of `cell`; names: titles along the diagonal, where a causal map is empty.
 * tips: what a pointer on a cell is told. */
void hd_draw_map(struct hd_page *page, const heed_explanation *e, const struct hd_map *map,
                 double x, double y, double cell, bool names, bool tips);
/* Each event's contribution where it stood in the history, in a box of width x height. */
void hd_draw_history(struct hd_page *page, const heed_explanation *e, double width, double height);

#endif
