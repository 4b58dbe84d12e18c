/* SPDX-License-Identifier: Apache-2.0
 *
 * Reasons as `heed feed` and `heed explain` print them: signed contributions, strongest first. */
#include "cli/reasons.h"

#include <math.h>

const char *hd_shown_name(const char *title, const char *item)
{
    return title && *title ? title : item;
}

void hd_print_reason(const struct hd_cli *cli, const heed_reason *reason, double most, int columns)
{
    char name[4 * 200 + 1], bar[3 * 16 + 1];
    bool up = reason->contribution >= 0;

    hd_fit(name, hd_shown_name(reason->title, reason->item), columns);
    hd_bar(bar, most > 0 ? fabs(reason->contribution) / most : 0, 16);
    printf("%s  %+8.3f %s%s%s\n", name, reason->contribution, hd_style(cli, up ? HD_GREEN : HD_RED),
           bar, hd_style(cli, HD_PLAIN));
}

int hd_title_columns(const struct hd_cli *cli, int beside)
{
    int columns = cli->columns - beside;
    return columns < 20 ? 20 : columns > 60 ? 60 : columns;
}
