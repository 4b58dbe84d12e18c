/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention maps that stand for themselves, as a page and as a picture. */
#include "explain/picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS_SIDE 8 /* so small a map has room for its weights in its squares */
#define EDGE 24.0      /* around a picture */
#define SMALL 150.0    /* side of one of the small maps */
#define SMALL_GAP 22.0
#define CAPTION 18.0
#define NOTE_LINE 17.0
#define NOTE_LETTER 6.4 /* width of a letter of a note, on the safe side */
#define WORD_COLUMNS 16 /* longer names are titles, and set smaller */

static heed_status check(const heed_maps *maps, const char *path)
{
    if (!maps || !path || !maps->weights || !maps->row_names)
        return hd_fail(HEED_E_ARG, "maps: there is nothing to draw, or nowhere");
    if (maps->layers < 1 || maps->heads < 1 || maps->rows < 1 || maps->columns < 1)
        return hd_fail(HEED_E_ARG, "maps: %d layers of %d heads, (%d, %d), hold nothing",
                       maps->layers, maps->heads, maps->rows, maps->columns);
    if (maps->causal && maps->rows != maps->columns)
        return hd_fail(HEED_E_ARG, "maps: causal, but (%d, %d) is not square", maps->rows,
                       maps->columns);
    if (!maps->column_names && maps->rows != maps->columns)
        return hd_fail(HEED_E_ARG, "maps: (%d, %d) needs names for its columns", maps->rows,
                       maps->columns);
    for (size_t i = 0; i < sizeof maps->reserved / sizeof *maps->reserved; i++)
        if (maps->reserved[i])
            return hd_fail(HEED_E_ARG, "maps: reserved[%zu] is set", i);
    return HEED_OK;
}

static int longer_side(const struct hd_maps *maps)
{
    return maps->row_count > maps->column_count ? maps->row_count : maps->column_count;
}

/* Side of a square of the large map. */
static double large_cell(const struct hd_maps *maps)
{
    int side = longer_side(maps);

    return side <= NUMBERS_SIDE ? 46 : side <= 16 ? 26 : side <= 32 ? 19 : 14;
}

static unsigned large_what(const struct hd_maps *maps)
{
    return HD_HEAT_TIPS | (longer_side(maps) <= NUMBERS_SIDE ? HD_HEAT_NUMBERS : 0u);
}

/* ---- the page */

/* How much each column was looked at: its mean over rows, of rows that see it. */
static void add_words(struct hd_page *page, const struct hd_maps *maps, const struct hd_heat *mean)
{
    double sum[HD_HEAT_SIDE] = {0}, top = 1e-12;
    int longest = 0;

    for (int s = 0; s < maps->column_count; s++) {
        int columns = hd_text_columns(maps->column_names[s]);
        longest = columns > longest ? columns : longest;
        int first = maps->causal ? s : 0;
        for (int t = first; t < maps->row_count; t++)
            sum[s] += fabs(mean->weight[t][s]) / (maps->row_count - first);
        top = fmax(top, sum[s]);
    }
    hd_page_add(page, "<p class=\"words%s\">", longest > WORD_COLUMNS ? " titles" : "");
    for (int s = 0; s < maps->column_count; s++)
        hd_page_add(page,
                    "<span title=\"%.3f\" style=\"background:color-mix(in srgb,var(--for) "
                    "%.0f%%,transparent)\"><bdi>%.60s</bdi></span> ",
                    sum[s], 50 * pow(sum[s] / top, 1.5), maps->column_names[s]);
    hd_page_raw(page, "</p><p class=\"soft small\">The fuller its ground, the more it was looked at, "
                      "by all that see it together.</p>");
}

static void add_large(struct hd_page *page, const struct hd_maps *maps, const struct hd_heat *mean)
{
    double cell = large_cell(maps);
    struct hd_margins room = hd_names_margins(maps, cell);
    double width = room.left + maps->column_count * cell + room.right + 4;
    double height = room.top + maps->row_count * cell + 4;

    hd_page_add(page,
                "<svg class=\"wide\" style=\"max-width:%.0fpx\" viewBox=\"-2 -2 %.0f %.0f\" "
                "role=\"img\" aria-label=\"attention, averaged over layers and heads\">",
                width, width, height);
    hd_draw_heat(page, maps, mean, room.left, room.top, cell, large_what(maps));
    hd_draw_names(page, maps, room.left, room.top, cell);
    hd_page_raw(page, "</svg>");
}

heed_status heed_maps_html(const heed_maps *given, const char *path)
{
    struct hd_page page = {0};
    struct hd_maps maps;
    struct hd_heat mean;

    HD_TRY(check(given, path));
    hd_maps_part(given, HD_HEAT_SIDE, &maps);
    hd_heat_mean(&maps, &mean);
    hd_page_begin(&page, given->title ? given->title : "Attention");
    hd_page_add(&page, "<div class=\"kick\">Attention, by layer and head</div><h1><bdi>%s</bdi></h1>",
                given->title ? given->title : "Who looks at what");
    if (given->note)
        hd_page_add(&page, "<div class=\"card\">%s</div>", given->note);
    add_words(&page, &maps, &mean);
    hd_page_add(&page,
                "<h2>Who looks at what</h2><p class=\"soft small\">Each row is one that looks, and "
                "each square along it says how much of its attention went to the one %s. Point at "
                "a square for its number.%s</p>",
                maps.causal ? "whose name stands above it at the end of a row; nothing is seen "
                              "before it is there"
                            : "named above the column",
                maps.row_count < given->rows || maps.column_count < given->columns
                    ? maps.causal ? " Only the latest 48 are drawn." : " Only the first 48 are drawn."
                    : "");
    add_large(&page, &maps, &mean);
    hd_add_scale(&page, &maps, &mean);
    hd_page_raw(&page, "<h2>By layer and head</h2>");
    hd_add_small_maps(&page, &maps);
    hd_page_add(&page,
                "<footer>Weights are a picture of how attention computes, not reasons. Made by heed "
                "%s; this page asks the network for nothing.</footer></main></body></html>\n",
                HEED_VERSION_TEXT);
    heed_status status = hd_page_write(&page, path);
    hd_page_clear(&page);
    return status;
}

/* ---- the picture */

struct layout {
    double cell, width, height, top; /* top: where the large map's names begin */
    struct hd_margins room;
    double small_x, small_y, small_width, small_height, small_cell;
    int across; /* small maps beside each other; 0: there is one map alone */
};

/* SVG breaks no lines: the note is cut between words into lines that fit. Returns how many; page
 * NULL: they are only counted. */
static int draw_note(struct hd_page *page, const char *note, const struct layout *l, double y)
{
    size_t room = (size_t)((l->width - 2 * EDGE) / NOTE_LETTER);
    char line[512];
    int lines = 0;

    room = room < sizeof line ? room : sizeof line - 1;
    while (*(note += strspn(note, " "))) {
        size_t end = strlen(note), cut = end;
        if (end > room) /* the last space that fits, else the next there is */
            for (cut = room; cut > 0 && note[cut] != ' '; cut--)
                ;
        if (cut == 0)
            cut = strcspn(note, " ");
        if (page) {
            snprintf(line, sizeof line, "%.*s", (int)cut, note);
            hd_page_add(page, "<text class=\"s\" x=\"%f\" y=\"%f\" font-size=\"12\">%s</text>",
                        EDGE, y + lines * NOTE_LINE, line);
        }
        note += cut, lines++;
    }
    return lines;
}

/* The small maps stand beside the large one, as many heads across as fit, a layer below the other. */
static void lay_out(const heed_maps *given, const struct hd_maps *maps, struct layout *l)
{
    int count = maps->layers * maps->heads;
    double large_width, large_height;

    *l = (struct layout){.cell = large_cell(maps), .top = EDGE + (given->title ? 34 : 0)};
    l->room = hd_names_margins(maps, l->cell);
    large_width = l->room.left + maps->column_count * l->cell + l->room.right;
    large_height = l->room.top + maps->row_count * l->cell + CAPTION;
    l->width = 2 * EDGE + large_width;
    l->height = l->top + large_height + EDGE;
    if (count > 1) {
        l->small_cell = SMALL / longer_side(maps);
        l->small_width = SMALL + SMALL_GAP;
        l->small_height = maps->row_count * l->small_cell + CAPTION + SMALL_GAP;
        l->across = maps->heads < 4 ? maps->heads : 4;
        l->small_x = EDGE + large_width + 2 * SMALL_GAP;
        l->small_y = l->top + (maps->causal ? 0 : 10);
        int lines = maps->layers * ((maps->heads + l->across - 1) / l->across);
        l->width = l->small_x + l->across * l->small_width - SMALL_GAP + EDGE;
        l->height = fmax(l->height, l->small_y + lines * l->small_height - SMALL_GAP + EDGE);
    }
    if (given->note)
        l->height += 7 + NOTE_LINE * draw_note(NULL, given->note, l, 0);
}

static void draw_small(struct hd_page *page, const struct hd_maps *maps, const struct layout *l)
{
    int lines = (maps->heads + l->across - 1) / l->across; /* of one layer */
    struct hd_heat heat;

    for (int layer = 0; layer < maps->layers; layer++) {
        for (int head = 0; head < maps->heads; head++) {
            double x = l->small_x + head % l->across * l->small_width;
            double y = l->small_y + (layer * lines + head / l->across) * l->small_height;
            hd_heat_one(maps, layer, head, &heat);
            hd_draw_heat(page, maps, &heat, x, y, l->small_cell, 0);
            hd_page_add(page,
                        "<text class=\"s\" x=\"%f\" y=\"%f\" font-size=\"11.5\">layer %d, head %d"
                        "</text>",
                        x, y + maps->row_count * l->small_cell + 14, layer + 1, head + 1);
        }
    }
}

/* Five steps, as they are in the squares, between nothing and the darkest. */
static void draw_scale(struct hd_page *page, double x, double y, double top, bool many)
{
    hd_page_add(page, "<text class=\"s\" x=\"%f\" y=\"%f\" font-size=\"11.5\">%s0</text>", x, y + 9,
                many ? "mean of all: " : "");
    x += many ? 86 : 12;
    for (int i = 1; i <= 5; i++)
        hd_page_add(page,
                    "<rect class=\"p\" x=\"%f\" y=\"%f\" width=\"11\" height=\"9\" "
                    "fill-opacity=\"%f\"/>",
                    x + 12 * (i - 1), y, 0.04 + 0.96 * pow(i / 5.0, 0.7));
    hd_page_add(page, "<text class=\"s\" x=\"%f\" y=\"%f\" font-size=\"11.5\">%.2f</text>", x + 65,
                y + 9, top);
}

heed_status heed_maps_svg(const heed_maps *given, const char *path)
{
    struct hd_page page = {0};
    struct hd_maps maps;
    struct hd_heat mean;
    struct layout l;

    HD_TRY(check(given, path));
    hd_maps_part(given, HD_HEAT_SIDE, &maps);
    bool many = maps.layers * maps.heads > 1;
    if (many)
        hd_heat_mean(&maps, &mean);
    else
        hd_heat_one(&maps, 0, 0, &mean);
    lay_out(given, &maps, &l);
    double x = EDGE + l.room.left, y = l.top + l.room.top;
    hd_page_add(&page,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
                "height=\"%.0f\" role=\"img\"><title>%.90s</title><style>",
                l.width, l.height, l.width, l.height, given->title ? given->title : "Attention");
    hd_page_raw(&page, hd_picture_style);
    hd_page_add(&page, "</style><rect width=\"%.0f\" height=\"%.0f\" rx=\"10\" fill=\"var(--paper)\"/>",
                l.width, l.height);
    if (given->title)
        hd_page_add(&page, "<text class=\"i\" x=\"%f\" y=\"%f\" font-size=\"18\">%.60s</text>", EDGE,
                    EDGE + 14, given->title);
    hd_draw_heat(&page, &maps, &mean, x, y, l.cell, large_what(&maps));
    hd_draw_names(&page, &maps, x, y, l.cell);
    draw_scale(&page, x, y + maps.row_count * l.cell + 9, mean.top, many);
    if (many)
        draw_small(&page, &maps, &l);
    if (given->note)
        draw_note(&page, given->note, &l,
                  l.height - EDGE + 4 - NOTE_LINE * (draw_note(NULL, given->note, &l, 0) - 1));
    hd_page_raw(&page, "</svg>\n");
    heed_status status = hd_page_write(&page, path);
    hd_page_clear(&page);
    return status;
}
