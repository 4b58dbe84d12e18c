/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention maps on a terminal: shades, and the weights in numbers where there is room. */
#ifndef HD_HEATMAP_H
#define HD_HEATMAP_H

#include "cli/terminal.h"
#include "heed/engine.h"

/* One map with its names; layer and head from 0; layer -1: the mean of all. */
void hd_print_heatmap(const struct hd_cli *cli, const heed_maps *maps, int layer, int head);
/* All maps without names, as many beside each other as fit. */
void hd_print_heatmaps(const struct hd_cli *cli, const heed_maps *maps);
/* Text within so many columns, and no spaces after it. */
void hd_print_fitting(const char *text, int columns);
/* Rows and columns that hd_print_heatmap() has room for. */
int hd_heatmap_side(const struct hd_cli *cli, const heed_maps *maps);

#endif
