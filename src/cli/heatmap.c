/* SPDX-License-Identifier: Apache-2.0
 *
 * A square is two letters wide, as a letter is twice as high; with its number it is seven. How full
 * the shade is tells the weight, on dark terminals as on light ones, in colour or without. */
#include "cli/heatmap.h"
#include "explain/heat.h"

#include <math.h>
#include <string.h>

#define PLAIN_CELL 2
#define NUMBER_CELL 7 /* with the space before the next */
#define NAME_LEAST 16 /* columns for the name at the end of a causal map's last row */
#define LABEL_MOST 20
#define FIT_MOST 200
#define HEADER_MOST 10 /* letters of a name that stands upright */

static const char *shade(double share)
{
    return share <= 0 ? " " : share < 0.12 ? "·" : share < 0.32 ? "░" : share < 0.55 ? "▒"
           : share < 0.8 ? "▓" : "█";
}

/* Three or four letters: .17, 1.4, -.02. */
static void number_text(char text[16], double weight)
{
    char all[32];
    double size = fabs(weight);

    snprintf(all, sizeof all, size < 0.995 ? "%.2f" : size < 99.95 ? "%.1f" : "%.0f", size);
    snprintf(text, 16, "%s%.8s", weight < -0.005 ? "-" : "", all[0] == '0' ? all + 1 : all);
}

/* What is not seen stays empty. */
static void print_cell(const struct hd_cli *cli, double weight, double top, int wide)
{
    if (weight == 0) {
        printf("%*s", wide == NUMBER_CELL ? NUMBER_CELL - 1 : PLAIN_CELL, "");
        return;
    }
    const char *full = shade(fabs(weight) / top);
    char number[16];

    printf("%s%s%s%s", hd_style(cli, weight < 0 ? HD_RED : HD_GREEN), full, full,
           hd_style(cli, HD_PLAIN));
    if (wide == NUMBER_CELL) {
        number_text(number, weight);
        printf("%4s", number);
    }
}

void hd_print_fitting(const char *text, int columns)
{
    char fit[4 * FIT_MOST + 1];

    hd_fit(fit, text, columns < FIT_MOST ? columns : FIT_MOST);
    size_t length = strlen(fit);
    while (length > 0 && fit[length - 1] == ' ')
        length--;
    printf("%.*s", (int)length, fit);
}

/* ---- names above columns */

/* The letter at index `n` of a name, with the space that it leaves of two columns. */
static void print_letter(const char *name, int n)
{
    const unsigned char *at = (const unsigned char *)name;
    char letter[8];
    int bytes = 0;

    for (int i = 0; *at; i++, at += bytes) {
        for (bytes = 1; (at[bytes] & 0xC0) == 0x80 && bytes < 4; bytes++)
            ;
        if (i == n)
            break;
    }
    if (!*at) {
        fputs("  ", stdout);
        return;
    }
    memcpy(letter, at, (size_t)bytes);
    letter[bytes] = '\0';
    if (*at < 0x20 || *at == 0x7F)
        *letter = '?'; /* it would drive the terminal */
    printf("%s%*s", letter, 2 - hd_text_columns(letter), "");
}

static int letters(const char *name)
{
    int count = 0;

    for (; *name; name++)
        count += (*name & 0xC0) != 0x80;
    return count;
}

static void print_header(const struct hd_maps *maps, int label, int wide)
{
    char name[4 * NUMBER_CELL + 1];
    int most = 1;

    if (wide == NUMBER_CELL) {
        printf("%*s", label + 1, "");
        for (int s = 0; s < maps->column_count; s++) {
            hd_fit(name, maps->column_names[s], NUMBER_CELL - 1);
            printf("%s ", name);
        }
        putchar('\n');
        return;
    }
    for (int s = 0; s < maps->column_count; s++)
        most = letters(maps->column_names[s]) > most ? letters(maps->column_names[s]) : most;
    most = most < HEADER_MOST ? most : HEADER_MOST;
    for (int line = 0; line < most; line++) {
        printf("%*s", label + 1, "");
        for (int s = 0; s < maps->column_count; s++)
            print_letter(maps->column_names[s], line);
        putchar('\n');
    }
}

/* ---- one map */

static int label_columns(const heed_maps *maps)
{
    int most = 4;

    for (int t = 0; t < maps->rows; t++) {
        int columns = hd_text_columns(maps->row_names[t]);
        most = columns > most ? columns : most;
    }
    return most < LABEL_MOST ? most : LABEL_MOST;
}

/* What is left of a line for squares. */
static int room(const struct hd_cli *cli, const heed_maps *maps)
{
    return cli->columns - (maps->causal ? NAME_LEAST : label_columns(maps)) - 2;
}

int hd_heatmap_side(const struct hd_cli *cli, const heed_maps *maps)
{
    int side = room(cli, maps) / PLAIN_CELL;
    return side < 1 ? 1 : side < HD_HEAT_SIDE ? side : HD_HEAT_SIDE;
}

static void print_rows(const struct hd_cli *cli, const struct hd_maps *maps,
                       const struct hd_heat *heat, int label, int wide)
{
    char name[4 * LABEL_MOST + 1];

    for (int t = 0; t < maps->row_count; t++) {
        int end = maps->causal ? t + 1 : maps->column_count;
        if (!maps->causal) {
            hd_fit(name, maps->row_names[t], label);
            printf("%s ", name);
        }
        for (int s = 0; s < end; s++) {
            fputs(s && wide == NUMBER_CELL ? " " : "", stdout);
            print_cell(cli, heat->weight[t][s], heat->top, wide);
        }
        if (maps->causal) { /* the name is also that of the column beneath it */
            int columns = cli->columns - end * wide - 2;
            putchar(' ');
            hd_print_fitting(maps->row_names[t], columns < 60 ? columns : 60);
        }
        putchar('\n');
    }
}

void hd_print_heatmap(const struct hd_cli *cli, const heed_maps *given, int layer, int head)
{
    struct hd_maps maps;
    struct hd_heat heat;
    int label = label_columns(given);

    hd_maps_part(given, hd_heatmap_side(cli, given), &maps);
    if (layer < 0)
        hd_heat_mean(&maps, &heat);
    else
        hd_heat_one(&maps, layer, head, &heat);
    int wide = maps.column_count * NUMBER_CELL <= room(cli, given) ? NUMBER_CELL : PLAIN_CELL;
    if (!maps.causal)
        print_header(&maps, label, wide);
    print_rows(cli, &maps, &heat, label, wide);
}

/* ---- all of them, small */

static void print_small_row(const struct hd_cli *cli, const struct hd_maps *maps,
                            const struct hd_heat *heat, int t)
{
    for (int s = 0; s < maps->column_count; s++) {
        if (maps->causal && s > t)
            fputs("  ", stdout);
        else
            print_cell(cli, heat->weight[t][s], heat->top, PLAIN_CELL);
    }
}

void hd_print_heatmaps(const struct hd_cli *cli, const heed_maps *given)
{
    struct hd_maps maps;
    struct hd_heat heat;
    char caption[64];

    hd_maps_part(given, hd_heatmap_side(cli, given), &maps);
    int wide = maps.column_count * PLAIN_CELL > 16 ? maps.column_count * PLAIN_CELL : 16;
    int across = (cli->columns - 2) / (wide + 3), count = maps.layers * maps.heads;
    across = across < 1 ? 1 : across;
    for (int first = 0; first < count; first += across) {
        int end = first + across < count ? first + across : count;
        putchar('\n');
        for (int m = first; m < end; m++) {
            snprintf(caption, sizeof caption, "layer %d, head %d", m / maps.heads + 1,
                     m % maps.heads + 1);
            printf("  %s%-*s%s ", hd_style(cli, HD_FAINT), wide, caption, hd_style(cli, HD_PLAIN));
        }
        putchar('\n');
        for (int t = 0; t < maps.row_count; t++) {
            for (int m = first; m < end; m++) {
                hd_heat_one(&maps, m / maps.heads, m % maps.heads, &heat);
                fputs("  ", stdout);
                print_small_row(cli, &maps, &heat, t);
                printf("%*s", wide - maps.column_count * PLAIN_CELL + 1, "");
            }
            putchar('\n');
        }
    }
}
