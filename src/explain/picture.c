/* SPDX-License-Identifier: Apache-2.0
 *
 * The drawings of an explanation (see picture.h). */
#include "explain/picture.h"
#include "base/time.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const hd_picture_style =
    ":root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d1c1a;--soft:#6e6a63;"
    "--line:#e5e1d9;--for:#0f6e78;--against:#b4532a;--chance:#b9b3a8}"
    "@media(prefers-color-scheme:dark){:root{--paper:#161514;--card:#1e1d1b;--ink:#ece8e1;"
    "--soft:#a39d93;--line:#34322e;--for:#4fb8c2;--against:#e08a5b;--chance:#6a655d}}"
    ".p{fill:var(--for)}.n{fill:var(--against)}.c{fill:var(--chance)}.i{fill:var(--ink)}"
    ".s{fill:var(--soft)}.a{stroke:var(--line);fill:none}.h{fill:transparent}"
    ".g:hover{stroke:var(--ink);stroke-width:1}"
    "svg text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,"
    "'Noto Sans','Noto Sans CJK SC',sans-serif}";

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

bool hd_map_signed(const heed_explanation *e)
{
    int64_t count = (int64_t)e->layers * e->heads * e->history_count * e->history_count;

    for (int64_t i = 0; i < count; i++)
        if (e->maps[i] < -1e-6f)
            return true;
    return false;
}

void hd_map_one(const heed_explanation *e, int layer, int head, struct hd_map *map)
{
    int64_t n = e->history_count, at = (int64_t)layer * e->heads + head;

    map->n = (int)(n < HD_PICTURE_EVENTS ? n : HD_PICTURE_EVENTS);
    map->from = (int)n - map->n, map->top = 1e-12;
    for (int t = 0; t < map->n; t++) {
        const float *row = e->maps + (at * n + map->from + t) * n + map->from;
        for (int s = 0; s <= t; s++) {
            map->weight[t][s] = isfinite(row[s]) ? (double)row[s] : 0.0;
            map->top = fmax(map->top, fabs(map->weight[t][s]));
        }
    }
}

void hd_map_all(const heed_explanation *e, struct hd_map *map)
{
    bool sizes = hd_map_signed(e);
    int count = e->layers * e->heads;
    struct hd_map one;

    hd_map_one(e, 0, 0, map);
    memset(map->weight, 0, sizeof map->weight);
    map->top = 1e-12;
    for (int m = 0; m < count; m++) {
        hd_map_one(e, m / e->heads, m % e->heads, &one);
        for (int t = 0; t < map->n; t++) {
            double row = 1e-12;
            for (int s = 0; s <= t; s++)
                row = fmax(row, fabs(one.weight[t][s]));
            for (int s = 0; s <= t; s++) {
                double weight = one.weight[t][s];
                map->weight[t][s] += (sizes ? fabs(weight) / row : weight) / count;
            }
        }
    }
    for (int t = 0; t < map->n; t++)
        for (int s = 0; s <= t; s++)
            map->top = fmax(map->top, map->weight[t][s]);
}

void hd_draw_map(struct hd_page *page, const heed_explanation *e, const struct hd_map *map,
                 double x, double y, double cell, bool names, bool tips)
{
    int n = map->n;
    double gap = cell > 10 ? 1.0 : 0.0;

    /* The outline of the triangle: a causal map has nothing above it. */
    hd_page_add(page, "<path class=\"a\" d=\"M%f %fV%fH%f", x, y, y + n * cell, x + n * cell);
    for (int t = n; t > 0; t--)
        hd_page_add(page, "V%fH%f", y + (t - 1) * cell, x + (t - 1) * cell);
    hd_page_raw(page, "Z\"/>");
    for (int t = 0; t < n; t++) {
        const heed_reason *step = &e->history[map->from + t];
        for (int s = 0; s <= t; s++) {
            double weight = map->weight[t][s], size = fabs(weight) / map->top;
            if (size < 0.02) /* what could not be told from paper is not drawn */
                continue;
            hd_page_add(page,
                        "<rect class=\"g %s\" x=\"%f\" y=\"%f\" width=\"%f\" height=\"%f\" "
                        "fill-opacity=\"%.3f\"",
                        weight < 0 ? "n" : "p", x + s * cell, y + t * cell, cell - gap, cell - gap,
                        0.04 + 0.96 * pow(size, 0.7));
            if (tips)
                hd_page_add(page, "><title>%.48s looks at %.48s: %.3f</title></rect>",
                            hd_reason_name(step), hd_reason_name(&e->history[map->from + s]),
                            weight);
            else
                hd_page_raw(page, "/>");
        }
        if (names)
            hd_page_add(page, "<text class=\"%s\" x=\"%f\" y=\"%f\" font-size=\"%f\">%.38s</text>",
                        t == n - 1 ? "i" : "s", x + (t + 1) * cell + 5, y + (t + 0.73) * cell,
                        cell * 0.72, hd_reason_name(step));
    }
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
