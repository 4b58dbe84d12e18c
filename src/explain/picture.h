/* SPDX-License-Identifier: Apache-2.0
 *
 * What the page and the picture of an explanation share: how it is read, and the drawings of it.
 * All drawings use the classes of hd_picture_style: p and n for what speaks for and against. */
#ifndef HD_PICTURE_H
#define HD_PICTURE_H

#include "explain/heat.h"

#define HD_PICTURE_EVENTS 24 /* steps of the history, the latest, that a drawn map shows */
#define HD_WHEN_BYTES 48

/* Colours, light and dark, as CSS: custom properties on the root, and the classes: p and n for what
 * speaks for and against, c for chance, i and s for ink and softer ink, o for ink on a full colour,
 * a for lines. */
extern const char *const hd_picture_style;
/* A page up to its <main>: no script, no network, and a policy in its head that would allow neither.
 */
void hd_page_begin(struct hd_page *page, const char *title);

/* The title, or the id where there is none. */
const char *hd_reason_name(const heed_reason *reason);
/* "12 March 2026, 20:15" in UTC; empty where the time is not known. */
void hd_when_text(heed_time when, char text[HD_WHEN_BYTES]);
/* The largest |contribution|, at least tiny. */
double hd_reason_top(const heed_explanation *e);
/* Reasons from here down are too small, beside the strongest, to be worth a line. */
#define HD_REASON_LEAST 0.02

bool hd_has_maps(const heed_explanation *e);
/* The latest of them, for a drawing. */
void hd_explanation_maps(const heed_explanation *e, struct hd_maps *maps);
/* Each event's contribution where it stood in the history, in a box of width x height. */
void hd_draw_history(struct hd_page *page, const heed_explanation *e, double width, double height);

#endif
