/* SPDX-License-Identifier: Apache-2.0
 *
 * Reasons as `heed feed` and `heed explain` write them. */
#ifndef HD_REASONS_H
#define HD_REASONS_H

#include "cli/session.h"

/* A bar beside the title, green for what raised the score, red for what lowered it. `most` fills a
 * bar; columns is the title's room. */
void hd_print_reason(const struct hd_cli *cli, const heed_reason *reason, double most, int columns);

/* The title, or the id where there is none. */
const char *hd_shown_name(const char *title, const char *item);
/* Room for a title on a line that holds `beside` columns more. */
int hd_title_columns(const struct hd_cli *cli, int beside);

#endif
