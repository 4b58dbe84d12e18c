/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing for people: colour where it is wanted, bars, progress on stderr, and the interruption
 * that Ctrl-C asks for. */
#ifndef HD_TERMINAL_H
#define HD_TERMINAL_H

#include "cli/command.h"

/* Catches SIGINT and SIGTERM: the first asks running work to stop at the next safe place, through
 * the progress callback; the second ends the program as it always would. */
void hd_interrupt_catch(void);
/* The signal that came, or 0. */
int hd_interrupted(void);

/* Is this stream a terminal whose owner has not said no (https://no-color.org)? */
bool hd_terminal_color(FILE *stream);
int hd_terminal_columns(FILE *stream);

enum hd_style { HD_PLAIN, HD_BOLD, HD_FAINT, HD_GREEN, HD_RED, HD_BLUE };
/* The escape that starts a style, or ends all of them (HD_PLAIN); "" without colour. */
const char *hd_style(const struct hd_cli *cli, enum hd_style style);

/* A bar of `cells` places, the share 0 .. 1 of them full, in eighths of a place. out: 3 cells + 1
 * bytes. */
void hd_bar(char *out, double share, int cells);
/* The first `columns` columns' worth of UTF-8 text, `...` at its end where it was cut, padded with
 * spaces up to there. out: 4 columns + 1 bytes; columns >= 4. */
void hd_fit(char *out, const char *text, int columns);
/* 12,345,678 in one of eight buffers that take turns. */
const char *hd_thousands(int64_t value);
/* "1 item", "2,000 items", in the same buffers. */
const char *hd_counted(int64_t count, const char *noun);

/* What heed_progress.report is set to, with a struct hd_meter as its context. On a terminal one
 * line that redraws itself ten times a second, else a line every few seconds. confined to one
 * thread at a time, as the engine promises. */
struct hd_meter {
    const char *name;    /* what the line begins with */
    double start, drawn; /* seconds, monotonic */
    char what[64];       /* of the last report */
    int64_t first,
        last; /* of this part of the job: a part that starts again has a rate of its own */
    bool terminal, dirty;
};
void hd_meter_init(struct hd_meter *meter, const char *name);
bool hd_meter_report(void *meter, const char *what, int64_t done, int64_t total);
/* Takes the line away again. */
void hd_meter_clear(struct hd_meter *meter);

/* Seconds on the monotonic clock. */
double hd_seconds(void);

#endif
