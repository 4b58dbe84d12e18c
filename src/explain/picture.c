/* SPDX-License-Identifier: Apache-2.0
 *
 * The drawings of an explanation (see picture.h). */
#include "explain/picture.h"
#include "base/time.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *hd_reason_name(const heed_reason *reason)
{
    return reason->title && *reason->title ? reason->title : reason->item ? reason->item : "";
}

void hd_when_text(heed_time when, char text[HD_WHEN_BYTES])
{
    static const char *const months[12] = {"January",   "February", "March",    "April",
                                           "May",       "June",     "July",     "August",
                                           "September", "October",  "November", "December"};
    char iso[HD_TIME_TEXT_BYTES];
    int year, month, day, hour, minute;

    text[0] = 0;
    if (!when)
        return;
    hd_time_format(when, iso);
    if (sscanf(iso, "%4d-%2d-%2dT%2d:%2d", &year, &month, &day, &hour, &minute) == 5 &&
        month >= 1 && month <= 12)
        snprintf(text, HD_WHEN_BYTES, "%d %s %d, %02d:%02d", day, months[month - 1], year, hour,
                 minute);
}

double hd_reason_top(const heed_explanation *e)
{
    double top = 1e-12;

    for (int i = 0; i < e->reason_count; i++)
        top = fmax(top, fabs(e->reasons[i].contribution));
    return top;
}

bool hd_has_maps(const heed_explanation *e)
{
    return e->maps && e->layers > 0 && e->heads > 0 && e->history_count > 0;
}

void hd_explanation_maps(const heed_explanation *e, struct hd_maps *maps)
{
    int n = e->history_count, drawn = n < HD_PICTURE_EVENTS ? n : HD_PICTURE_EVENTS;

    *maps = (struct hd_maps){.weights = e->maps,
                             .layers = e->layers,
                             .heads = e->heads,
                             .rows = n,
                             .columns = n,
                             .causal = true,
                             .row = n - drawn,
                             .column = n - drawn,
                             .row_count = drawn,
                             .column_count = drawn};
    for (int i = 0; i < drawn; i++)
        maps->row_names[i] = maps->column_names[i] = hd_reason_name(&e->history[n - drawn + i]);
}

void hd_draw_history(struct hd_page *page, const heed_explanation *e, double width, double height)
{
    int n = e->history_count;
    double top = 1e-12, low = 0, high = 0, step = width / (n > 0 ? n : 1);

    for (int i = 0; i < n; i++) {
        double c = e->history[i].contribution;
        low = fmin(low, c), high = fmax(high, c);
    }
    top = fmax(top, high - low);
    double zero = height * high / top;
    double bar = fmin(fmax(step * 0.7, 1.0), 18.0);
    for (int i = 0; i < n; i++) {
        const heed_reason *r = &e->history[i];
        double c = r->contribution, tall = fmax(height * fabs(c) / top, 0.75);
        char when[HD_WHEN_BYTES];

        hd_when_text(r->when, when);
        hd_page_add(page,
                    "<g class=\"g\"><rect class=\"%s\" x=\"%f\" y=\"%f\" width=\"%f\" "
                    "height=\"%f\"/><rect class=\"h\" x=\"%f\" y=\"0\" width=\"%f\" "
                    "height=\"%f\"/><title>%.60s%s%s: %+.3f</title></g>",
                    c < 0 ? "n" : "p", i * step + (step - bar) / 2, c < 0 ? zero : zero - tall, bar,
                    tall, i * step, step, height, hd_reason_name(r), *when ? ", " : "", when, c);
    }
    hd_page_add(page, "<path class=\"a\" d=\"M0 %fH%f\"/>", zero, width);
}
