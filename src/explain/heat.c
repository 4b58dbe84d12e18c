/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention maps as drawings (see heat.h). */
#include "explain/heat.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define LEAST 0.02    /* of the largest: what could not be told from paper is not drawn */
#define TIPS_MAX 12000  /* squares of a page that say what they are; more make it heavy */
#define NAME_COLUMNS 38
#define AXIS_COLUMNS 22 /* of a name that stands aslant */
#define LETTER 0.58     /* width of a letter beside its size, on the safe side */
#define SLANT 50.0      /* degrees */

void hd_maps_part(const heed_maps *given, int most, struct hd_maps *maps)
{
    const char *const *columns = given->column_names ? given->column_names : given->row_names;

    assert(most <= HD_HEAT_SIDE);
    *maps = (struct hd_maps){
        .weights = given->weights,
        .layers = given->layers,
        .heads = given->heads,
        .rows = given->rows,
        .columns = given->columns,
        .causal = given->causal,
        .row_count = given->rows < most ? given->rows : most,
        .column_count = given->columns < most ? given->columns : most,
    };
    if (maps->causal)
        maps->row = maps->column = given->rows - maps->row_count;
    for (int t = 0; t < maps->row_count; t++)
        maps->row_names[t] = given->row_names[maps->row + t];
    for (int s = 0; s < maps->column_count; s++)
        maps->column_names[s] = columns[maps->column + s];
}

bool hd_maps_signed(const struct hd_maps *maps)
{
    int64_t count = (int64_t)maps->layers * maps->heads * maps->rows * maps->columns;

    for (int64_t i = 0; i < count; i++)
        if (maps->weights[i] < -1e-6f)
            return true;
    return false;
}

/* Columns of row t that can hold something. */
static int row_end(const struct hd_maps *maps, int t)
{
    return maps->causal ? t + 1 : maps->column_count;
}

void hd_heat_one(const struct hd_maps *maps, int layer, int head, struct hd_heat *heat)
{
    int64_t at = (int64_t)layer * maps->heads + head;

    assert(maps->row_count <= HD_HEAT_SIDE && maps->column_count <= HD_HEAT_SIDE);
    assert(!maps->causal || maps->row_count == maps->column_count);
    heat->top = 1e-12;
    for (int t = 0; t < maps->row_count; t++) {
        const float *row =
            maps->weights + (at * maps->rows + maps->row + t) * maps->columns + maps->column;
        for (int s = 0; s < row_end(maps, t); s++) {
            heat->weight[t][s] = isfinite(row[s]) ? (double)row[s] : 0.0;
            heat->top = fmax(heat->top, fabs(heat->weight[t][s]));
        }
    }
}

void hd_heat_mean(const struct hd_maps *maps, struct hd_heat *heat)
{
    bool sizes = hd_maps_signed(maps);
    int count = maps->layers * maps->heads;
    struct hd_heat one;

    *heat = (struct hd_heat){.top = 1e-12};
    for (int m = 0; m < count; m++) {
        hd_heat_one(maps, m / maps->heads, m % maps->heads, &one);
        for (int t = 0; t < maps->row_count; t++) {
            double row = 1e-12;
            for (int s = 0; s < row_end(maps, t); s++)
                row = fmax(row, fabs(one.weight[t][s]));
            for (int s = 0; s < row_end(maps, t); s++) {
                double weight = one.weight[t][s];
                heat->weight[t][s] += (sizes ? fabs(weight) / row : weight) / count;
            }
        }
    }
    for (int t = 0; t < maps->row_count; t++)
        for (int s = 0; s < row_end(maps, t); s++)
            heat->top = fmax(heat->top, heat->weight[t][s]);
}

/* Nothing is above the diagonal of a causal map: its outline is a stair. */
static void draw_outline(struct hd_page *page, const struct hd_maps *maps, double x, double y,
                         double cell)
{
    int rows = maps->row_count, columns = maps->column_count;

    hd_page_add(page, "<path class=\"a\" d=\"M%f %fV%fH%f", x, y, y + rows * cell,
                x + columns * cell);
    if (maps->causal)
        for (int t = rows; t > 0; t--)
            hd_page_add(page, "V%fH%f", y + (t - 1) * cell, x + (t - 1) * cell);
    else
        hd_page_add(page, "V%f", y);
    hd_page_raw(page, "Z\"/>");
}

static void draw_number(struct hd_page *page, double weight, double size, double x, double y,
                        double cell)
{
    hd_page_add(page,
                "<text class=\"%s\" x=\"%f\" y=\"%f\" font-size=\"%f\" text-anchor=\"middle\" "
                "pointer-events=\"none\">%.2f</text>",
                size > 0.5 ? "o" : "i", x + cell / 2, y + cell * 0.6, cell * 0.27, weight);
}

void hd_draw_heat(struct hd_page *page, const struct hd_maps *maps, const struct hd_heat *heat,
                  double x, double y, double cell, unsigned what)
{
    double gap = cell > 10 ? 1.0 : 0.0;

    draw_outline(page, maps, x, y, cell);
    for (int t = 0; t < maps->row_count; t++) {
        for (int s = 0; s < row_end(maps, t); s++) {
            double weight = heat->weight[t][s], size = fabs(weight) / heat->top;
            double left = x + s * cell, top = y + t * cell;
            if (size >= LEAST) {
                hd_page_add(page,
                            "<rect class=\"g %s\" x=\"%f\" y=\"%f\" width=\"%f\" height=\"%f\" "
                            "fill-opacity=\"%f\"",
                            weight < 0 ? "n" : "p", left, top, cell - gap, cell - gap,
                            0.04 + 0.96 * pow(size, 0.7));
                if (what & HD_HEAT_TIPS)
                    hd_page_add(page, "><title>%.48s looks at %.48s: %.3f</title></rect>",
                                maps->row_names[t], maps->column_names[s], weight);
                else
                    hd_page_raw(page, "/>");
            }
            if (what & HD_HEAT_NUMBERS)
                draw_number(page, weight, pow(size, 0.7), left, top, cell);
        }
    }
}

static double name_size(double cell)
{
    return fmin(cell * 0.72, 15.0);
}

static double longest_name(const char *const *names, int count, double size)
{
    int columns = 1;

    for (int i = 0; i < count; i++) {
        int own = hd_text_columns(names[i]);
        columns = own > columns ? own : columns;
    }
    return (columns < AXIS_COLUMNS ? columns : AXIS_COLUMNS) * size * LETTER;
}

struct hd_margins hd_names_margins(const struct hd_maps *maps, double cell)
{
    double size = name_size(cell), slant = SLANT * 0.017453292519943295;

    if (maps->causal) {
        double right = 0; /* past the squares: a name begins where its row ends */
        for (int t = 0; t < maps->row_count; t++) {
            int columns = hd_text_columns(maps->row_names[t]);
            double wide = (columns < NAME_COLUMNS ? columns : NAME_COLUMNS) * size * LETTER;
            right = fmax(right, (t + 1 - maps->row_count) * cell + 5 + wide);
        }
        return (struct hd_margins){.right = right};
    }
    double above = longest_name(maps->column_names, maps->column_count, size) + size;
    return (struct hd_margins){
        .left = longest_name(maps->row_names, maps->row_count, size) + 8,
        .top = above * sin(slant) + 6,
        .right = above * cos(slant) - cell / 2,
    };
}

void hd_draw_names(struct hd_page *page, const struct hd_maps *maps, double x, double y,
                   double cell)
{
    double size = name_size(cell);

    for (int t = 0; t < maps->row_count; t++) {
        double base = y + t * cell + cell / 2 + size * 0.34;
        if (maps->causal)
            hd_page_add(page,
                        "<text class=\"%s\" x=\"%f\" y=\"%f\" font-size=\"%f\">%.38s</text>",
                        t == maps->row_count - 1 ? "i" : "s", x + (t + 1) * cell + 5, base, size,
                        maps->row_names[t]);
        else
            hd_page_add(page,
                        "<text class=\"i\" x=\"%f\" y=\"%f\" font-size=\"%f\" "
                        "text-anchor=\"end\">%.22s</text>",
                        x - 7, base, size, maps->row_names[t]);
    }
    for (int s = 0; !maps->causal && s < maps->column_count; s++)
        hd_page_add(page,
                    "<text class=\"s\" transform=\"translate(%f %f)rotate(-%.0f)\" "
                    "font-size=\"%f\">%.22s</text>",
                    x + s * cell + cell / 2 + size * 0.15, y - 6, SLANT, size,
                    maps->column_names[s]);
}

void hd_add_scale(struct hd_page *page, const struct hd_maps *maps, const struct hd_heat *mean)
{
    bool sizes = hd_maps_signed(maps);

    hd_page_add(page,
                "<p class=\"soft small\">Mean over %d layer%s and %d head%s%s. "
                "0<span class=\"scale\"></span>%.3f</p>",
                maps->layers, maps->layers == 1 ? "" : "s", maps->heads,
                maps->heads == 1 ? "" : "s",
                sizes ? ", of sizes without sign, each row against its largest" : "", mean->top);
    if (sizes)
        hd_page_raw(page, "<p class=\"soft small\">Weights of this model have a sign: below, the "
                          "warm squares are negative.</p>");
}

void hd_add_small_maps(struct hd_page *page, const struct hd_maps *maps)
{
    int rows = maps->row_count, columns = maps->column_count, count = maps->layers * maps->heads;
    bool tips = (int64_t)count * rows * (maps->causal ? rows + 1 : 2 * columns) / 2 <= TIPS_MAX;
    double cell = 168.0 / (rows > columns ? rows : columns);
    struct hd_heat heat;

    hd_page_raw(page, "<div class=\"maps\">");
    for (int m = 0; m < count; m++) {
        int layer = m / maps->heads, head = m % maps->heads;
        hd_page_add(page,
                    "<figure><svg class=\"wide\" viewBox=\"-1 -1 170 %f\" role=\"img\" "
                    "aria-label=\"layer %d, head %d\">",
                    rows * cell + 2, layer + 1, head + 1);
        hd_heat_one(maps, layer, head, &heat);
        hd_draw_heat(page, maps, &heat, 0, 0, cell, tips ? HD_HEAT_TIPS : 0);
        hd_page_add(page,
                    "</svg><figcaption>Layer %d, head %d &middot; darkest %.3f"
                    "</figcaption></figure>",
                    layer + 1, head + 1, heat.top);
    }
    hd_page_raw(page, "</div>");
}
