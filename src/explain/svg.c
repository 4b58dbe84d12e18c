/* SPDX-License-Identifier: Apache-2.0
 *
 * An explanation as one picture: why the item stands where it does, what it would be without the
 * strongest reason, the attention behind it, and how far to trust all that. SVG has no line
 * breaking, so titles are cut to the room they have. */
#include "explain/picture.h"

#include <math.h>
#include <string.h>

#define WIDTH 960
#define SIDE 40      /* left and right of everything */
#define BARS 8       /* reasons shown */
#define ROW 31       /* from one to the next */
#define BAR_LEFT 352 /* where the bars' room begins */
#define BAR_WIDTH 180
#define MAP_SIDE 272

static void draw_head(struct hd_page *page, const heed_explanation *e)
{
    const char *title = e->title && *e->title ? e->title : e->item;
    const char *without = e->counterfactual_item;

    for (int i = 0; without && i < e->reason_count; i++)
        if (e->reasons[i].item && !strcmp(e->reasons[i].item, e->counterfactual_item))
            without = hd_reason_name(&e->reasons[i]);
    hd_page_add(page,
                "<text class=\"s\" x=\"%d\" y=\"46\" font-size=\"13\">Why this item, for "
                "reader %.40s</text>",
                SIDE, e->user);
    hd_page_add(page,
                "<text class=\"i t\" x=\"%d\" y=\"82\" font-size=\"24\">&#8220;%.44s&#8221; "
                "stands at place %lld</text>",
                SIDE, title, (long long)e->rank);
    if (!without || e->counterfactual_rank < 1)
        return;
    hd_page_add(page,
                "<text class=\"i\" x=\"%d\" y=\"114\" font-size=\"16\">Without <tspan "
                "class=\"p\">&#8220;%.48s&#8221;</tspan> it would ",
                SIDE, without);
    if (e->counterfactual_rank == e->rank)
        hd_page_raw(page, "still stand there.</text>");
    else
        hd_page_add(page, "%s to place %lld.</text>",
                    e->counterfactual_rank > e->rank ? "fall" : "rise",
                    (long long)e->counterfactual_rank);
}

static void draw_bar(struct hd_page *page, const heed_reason *r, double y, double low, double scale)
{
    double zero = BAR_LEFT - low * scale, wide = fmax(fabs(r->contribution) * scale, 1.0);

    hd_page_add(page, "<text class=\"i\" x=\"%d\" y=\"%f\" font-size=\"14.5\">%.39s</text>", SIDE,
                y + 15, hd_reason_name(r));
    hd_page_add(page, "<rect class=\"%s\" x=\"%f\" y=\"%f\" width=\"%f\" height=\"14\"/>",
                r->contribution < 0 ? "n" : "p", r->contribution < 0 ? zero - wide : zero, y + 3,
                wide);
    hd_page_add(page,
                "<text class=\"i\" x=\"%d\" y=\"%f\" font-size=\"14\" text-anchor=\"end\">"
                "%+.2f</text>",
                BAR_LEFT + BAR_WIDTH + 56, y + 15, r->contribution);
}

/* The strongest for it, and up to two against. Returns the y below. */
static double draw_reasons(struct hd_page *page, const heed_explanation *e, double y)
{
    int n = e->reason_count, against = 0, up = 0;
    double low = 0, high = 0, scale, first = y;

    for (int i = 0; i < n; i++) {
        low = fmin(low, e->reasons[i].contribution), high = fmax(high, e->reasons[i].contribution);
        against += e->reasons[i].contribution < -HD_REASON_LEAST * hd_reason_top(e);
    }
    against = against < 2 ? against : 2;
    while (up < n && up < BARS - against &&
           e->reasons[up].contribution > HD_REASON_LEAST * hd_reason_top(e))
        up++;
    scale = BAR_WIDTH / fmax(high - low, 1e-12);
    for (int i = 0; i < up; i++, y += ROW)
        draw_bar(page, &e->reasons[i], y, low, scale);
    for (int i = n - against; i < n; i++, y += ROW)
        draw_bar(page, &e->reasons[i], y, low, scale);
    hd_page_add(page, "<path class=\"a\" d=\"M%f %fV%f\"/>", BAR_LEFT - low * scale, first - 3,
                y - 8);
    return y;
}

static void draw_trust(struct hd_page *page, const heed_explanation *e, double y)
{
    double own = 100.0 * e->comprehensiveness, random = 100.0 * e->random_comprehensiveness;
    double scale = 180.0 / fmax(fmax(fabs(own), fabs(random)), 1e-9);
    static const char *const label[2] = {"these reasons", "as many events at random"};

    hd_page_add(page, "<path class=\"a\" d=\"M%d %fH%d\"/>", SIDE, y, WIDTH - SIDE);
    hd_page_add(page,
                "<text class=\"i\" x=\"%d\" y=\"%f\" font-size=\"14.5\">What its "
                "%.1f&#8201;%% loses without them</text><text class=\"s\" x=\"%d\" "
                "y=\"%f\" font-size=\"12.5\">mean over the strongest 1 to 50&#8201;%% of the "
                "%d events</text>",
                SIDE, y + 28, 100.0 * e->probability, SIDE, y + 48, e->reason_count);
    for (int i = 0; i < 2; i++) {
        double value = i ? random : own, at = y + 15 + 22 * i;
        hd_page_add(page,
                    "<text class=\"s\" x=\"590\" y=\"%f\" font-size=\"12.5\" "
                    "text-anchor=\"end\">%s</text>",
                    at + 12, label[i]);
        hd_page_add(page, "<rect class=\"%s\" x=\"602\" y=\"%f\" width=\"%f\" height=\"14\"/>",
                    value < 0 ? "n"
                    : i       ? "c"
                              : "p",
                    at, fmax(fabs(value) * scale, 1.0));
        hd_page_add(page,
                    "<text class=\"i\" x=\"%d\" y=\"%f\" font-size=\"14\" "
                    "text-anchor=\"end\">%+.2f&#8201;%%</text>",
                    WIDTH - SIDE, at + 12, -value);
    }
}

heed_status heed_explanation_svg(const heed_explanation *e, const char *path)
{
    struct hd_page page = {0};
    struct hd_maps maps;
    struct hd_heat heat;
    double bottom = 150 + BARS * ROW + 26;
    heed_status status;

    if (!e || !path || !e->user || !e->item)
        return hd_fail(HEED_E_ARG, "explanation: there is nothing to draw, or nowhere");
    hd_page_add(&page,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" "
                "height=\"%.0f\" role=\"img\"><title>Why %.80s stands at place %lld for %.60s"
                "</title><style>",
                WIDTH, bottom + 76, WIDTH, bottom + 76, e->title && *e->title ? e->title : e->item,
                (long long)e->rank, e->user);
    hd_page_raw(&page, hd_picture_style);
    hd_page_raw(&page, ".t{font-family:ui-serif,'Iowan Old Style','Palatino Linotype',Palatino,"
                       "Georgia,'Noto Serif','Noto Serif CJK SC',serif!important}</style>");
    hd_page_add(&page, "<rect width=\"%d\" height=\"%.0f\" rx=\"14\" fill=\"var(--paper)\"/>",
                WIDTH, bottom + 76);
    draw_head(&page, e);
    draw_reasons(&page, e, 146);
    if (hd_has_maps(e)) {
        double x = WIDTH - SIDE - MAP_SIDE;
        hd_explanation_maps(e, &maps);
        hd_heat_mean(&maps, &heat);
        hd_draw_heat(&page, &maps, &heat, x, 138, MAP_SIDE * 0.88 / maps.row_count, HD_HEAT_TIPS);
        hd_page_add(&page,
                    "<text class=\"s\" x=\"%f\" y=\"%f\" font-size=\"12.5\">attention: mean "
                    "of %d layer%s, %d head%s</text>",
                    x, 138 + MAP_SIDE * 0.88 + 18, e->layers, e->layers == 1 ? "" : "s", e->heads,
                    e->heads == 1 ? "" : "s");
    }
    draw_trust(&page, e, bottom);
    hd_page_raw(&page, "</svg>\n");
    status = hd_page_write(&page, path);
    hd_page_clear(&page);
    return status;
}
