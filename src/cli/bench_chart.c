/* SPDX-License-Identifier: Apache-2.0
 *
 * The chart of time and memory against length, both on logarithmic axes, as one picture. */
#include "cli/bench_lengths.h"
#include "explain/picture.h"

#include <math.h>

#define WIDTH 980.0
#define HEIGHT 528.0
#define TOP 102.0
#define PANEL 360.0
#define TALL 300.0
#define LEFT 64.0
#define SECOND 560.0 /* where the second panel begins */

/* Distinct in light and dark, and to eyes that see fewer colours: each line has a dash of its own. */
static const struct look {
    const char *color, *dash;
} looks[HD_LENGTH_FORMS] = {
    {"var(--for)", "none"}, {"var(--against)", "none"}, {"#8a63b8", "7 4"},
    {"#b08a1e", "2 4"},     {"#3f87d9", "10 3 2 3"},
};

struct panel {
    double x;          /* of its left edge */
    int low, high;     /* powers of ten */
    const char *title; /* with the unit */
};

static double across(const struct panel *p, double L, const struct hd_lengths *l)
{
    double first = (double)l->L[0], last = (double)l->L[HD_LENGTHS - 1];
    return p->x + PANEL * log(L / first) / log(last / first);
}

static double up(const struct panel *p, double value)
{
    return TOP + TALL * (1 - (log10(value) - p->low) / (p->high - p->low));
}

/* 0.001, 1, 1,000. */
static void power_text(int power, char *out, size_t bytes)
{
    if (power < 0)
        snprintf(out, bytes, "%.*f", -power, pow(10, power));
    else
        snprintf(out, bytes, "%s", hd_thousands((int64_t)llround(pow(10, power))));
}

static void draw_axes(struct hd_page *page, const struct panel *p, const struct hd_lengths *l)
{
    char text[32];

    hd_page_add(page, "<text class=\"i\" x=\"%f\" y=\"%f\" font-size=\"14\">%s</text>", p->x,
                TOP - 16, p->title);
    for (int power = p->low; power <= p->high; power++) {
        double y = up(p, pow(10, power));
        power_text(power, text, sizeof text);
        hd_page_add(page,
                    "<path class=\"a\" d=\"M%f %fH%f\"/><text class=\"s\" x=\"%f\" y=\"%f\" "
                    "font-size=\"11.5\" text-anchor=\"end\">%s</text>",
                    p->x, y, p->x + PANEL, p->x - 7, y + 4, text);
    }
    for (int i = 0; i < HD_LENGTHS; i += 2) {
        double x = across(p, (double)l->L[i], l);
        hd_page_add(page,
                    "<path class=\"a\" d=\"M%f %fv5\"/><text class=\"s\" x=\"%f\" y=\"%f\" "
                    "font-size=\"11.5\" text-anchor=\"middle\">%s</text>",
                    x, TOP + TALL, x, TOP + TALL + 19, hd_thousands(l->L[i]));
    }
}

static void draw_line(struct hd_page *page, const struct panel *p, const struct hd_lengths *l,
                      int f, bool memory)
{
    hd_page_add(page,
                "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"%s\" "
                "stroke-linejoin=\"round\" d=\"",
                looks[f].color, looks[f].dash);
    for (int i = 0; i < HD_LENGTHS; i++)
        hd_page_add(page, "%s%f %f", i ? "L" : "M", across(p, (double)l->L[i], l),
                    up(p, memory ? l->mib[f][i] : l->timing[f][i].ms));
    hd_page_raw(page, "\"/>");
    for (int i = 0; i < HD_LENGTHS; i++)
        hd_page_add(page, "<circle fill=\"%s\" cx=\"%f\" cy=\"%f\" r=\"2.6\"/>", looks[f].color,
                    across(p, (double)l->L[i], l),
                    up(p, memory ? l->mib[f][i] : l->timing[f][i].ms));
}

/* Names at the ends of the lines, moved apart where they would stand on each other. */
static void draw_ends(struct hd_page *page, const struct panel *p, const struct hd_lengths *l,
                      bool memory)
{
    double y[HD_LENGTH_FORMS];
    int order[HD_LENGTH_FORMS];

    for (int f = 0; f < HD_LENGTH_FORMS; f++) {
        int at = f;
        y[f] = up(p, memory ? l->mib[f][HD_LENGTHS - 1] : l->timing[f][HD_LENGTHS - 1].ms);
        for (; at > 0 && y[order[at - 1]] > y[f]; at--)
            order[at] = order[at - 1];
        order[at] = f;
    }
    for (int i = 1; i < HD_LENGTH_FORMS; i++)
        y[order[i]] = fmax(y[order[i]], y[order[i - 1]] + 14);
    for (int f = 0; f < HD_LENGTH_FORMS; f++)
        hd_page_add(page, "<text fill=\"%s\" x=\"%f\" y=\"%f\" font-size=\"12.5\">%s</text>",
                    looks[f].color, p->x + PANEL + 8, y[f] + 4, l->form[f]->name);
}

/* Powers of ten around all values of a panel. */
static void scale_panel(struct panel *p, const struct hd_lengths *l, bool memory)
{
    double low = HUGE_VAL, high = 0;

    for (int f = 0; f < HD_LENGTH_FORMS; f++)
        for (int i = 0; i < HD_LENGTHS; i++) {
            double value = memory ? l->mib[f][i] : l->timing[f][i].ms;
            low = fmin(low, value), high = fmax(high, value);
        }
    p->low = (int)floor(log10(low)), p->high = (int)ceil(log10(high));
}

/* The score matrix that is never built, as far as the panel reaches. */
static void draw_matrix(struct hd_page *page, const struct panel *p, const struct hd_lengths *l)
{
    double top = pow(10, p->high), last = sqrt(top * (1 << 20) / sizeof(float));
    double first = (double)l->L[0], x = across(p, last, l), y = up(p, top);

    hd_page_add(page,
                "<path fill=\"none\" stroke=\"var(--soft)\" stroke-dasharray=\"2 3\" d=\"M%f %fL%f "
                "%f\"/><text class=\"s\" x=\"%f\" y=\"%f\" font-size=\"11.5\" "
                "text-anchor=\"end\">the scores, were they built</text>",
                across(p, first, l), up(p, fmax(first * first * sizeof(float) / (1 << 20), pow(10, p->low))), x, y,
                x - 9, y + 18);
}

heed_status hd_lengths_chart(const struct hd_lengths *l, const char *path)
{
    struct panel panels[2] = {{.x = LEFT, .title = "Time of a forward, ms"},
                              {.x = SECOND, .title = "Memory: inputs, results and scratch, MiB"}};
    struct hd_page page = {0};
    char sentence[200];

    hd_page_add(&page,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %f %f\" width=\"%f\" "
                "height=\"%f\" role=\"img\"><title>Attention against length</title><style>",
                WIDTH, HEIGHT, WIDTH, HEIGHT);
    hd_page_raw(&page, hd_picture_style);
    hd_page_add(&page,
                "</style><rect width=\"%f\" height=\"%f\" rx=\"12\" fill=\"var(--paper)\"/>"
                "<text class=\"i\" x=\"%f\" y=\"38\" font-size=\"18\">Attention against length"
                "</text><text class=\"s\" x=\"%f\" y=\"58\" font-size=\"12.5\">one causal sequence, "
                "one head of %d, float32, one thread; cached: one new position after so many</text>",
                WIDTH, HEIGHT, 24.0, 24.0, HD_LENGTHS_D);
    for (int i = 0; i < 2; i++) {
        scale_panel(&panels[i], l, i);
        draw_axes(&page, &panels[i], l);
        if (i)
            draw_matrix(&page, &panels[i], l);
        for (int f = 0; f < HD_LENGTH_FORMS; f++)
            draw_line(&page, &panels[i], l, f, i);
        draw_ends(&page, &panels[i], l, i);
    }
    for (int f = 1; f < HD_LENGTH_FORMS - 1; f++) {
        hd_lengths_sentence(l, f, sentence, sizeof sentence);
        hd_page_add(&page, "<text class=\"i\" x=\"24\" y=\"%f\" font-size=\"12.5\">%s</text>",
                    TOP + TALL + 40 + 18.0 * f, sentence);
    }
    hd_page_raw(&page, "</svg>\n");
    heed_status status = hd_page_write(&page, path);
    hd_page_clear(&page);
    return status;
}
