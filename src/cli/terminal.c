/* SPDX-License-Identifier: Apache-2.0
 *
 * Colour, bars, progress and interruption. Nothing here is for machines: they read --json. */
#include "cli/terminal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1 /* faster than that nobody reads */
#define LINE_SECONDS 5.0   /* a log file wants fewer */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

void hd_interrupt_catch(void)
{
    struct sigaction action = {0};

    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND; /* the second one ends the program */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int hd_interrupted(void)
{
    return interrupted;
}

bool hd_terminal_color(FILE *stream)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fileno(stream)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

int hd_terminal_columns(FILE *stream)
{
    struct winsize size;

    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    return 100;
}

const char *hd_style(const struct hd_cli *cli, enum hd_style style)
{
    static const char *const escapes[] = {"\033[0m",  "\033[1m",  "\033[2m",
                                          "\033[32m", "\033[31m", "\033[34m"};

    return cli->color ? escapes[style] : "";
}

void hd_bar(char *out, double share, int cells)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int full = (int)((share < 0 ? 0 : share > 1 ? 1 : share) * cells * 8 + 0.5);

    *out = '\0';
    for (int i = 0; i < cells; i++, full -= 8) {
        if (full >= 8)
            strcat(out, "█");
        else
            strcat(out, full > 0 ? eighths[full] : " ");
    }
}

/* East Asian letters take two columns; this tells the blocks that titles use, not all of Unicode.
 */
static int letter_columns(const unsigned char *at, int bytes)
{
    uint32_t c = at[0];

    if (bytes == 3)
        c = (at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    else if (bytes == 4)
        c = (at[0] & 0x07u) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu);
    else
        return 1;
    return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) ||
                   (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
                   (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                   (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD)
               ? 2
               : 1;
}

/* Bytes of the letter at `at`; a byte that starts none counts as one, and is shown as '?'. */
static int letter_bytes(const unsigned char *at)
{
    int bytes = at[0] < 0x80 ? 1 : at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : at[0] >= 0xC0 ? 2 : 0;

    for (int i = 1; i < bytes; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return bytes;
}

void hd_fit(char *out, const char *text, int columns)
{
    const unsigned char *at = (const unsigned char *)text;
    char *end = out, *cut = out; /* cut: where dots would go */
    int used = 0, cut_used = 0;

    while (*at) {
        int bytes = letter_bytes(at), width = bytes ? letter_columns(at, bytes) : 1;
        if (used + width > columns) {
            memcpy(cut, "...", 3);
            end = cut + 3, used = cut_used + 3;
            break;
        }
        if (bytes > 0 && (*at >= 0x20 && *at != 0x7F)) {
            memcpy(end, at, (size_t)bytes);
            end += bytes;
        } else {
            *end++ = '?'; /* control characters would drive the terminal */
        }
        used += width;
        at += bytes ? bytes : 1;
        if (used <= columns - 3)
            cut = end, cut_used = used;
    }
    while (used++ < columns)
        *end++ = ' ';
    *end = '\0';
}

/* Eight that take turns, so that a line of words can hold as many. */
static char *next_buffer(void)
{
    static char buffers[8][48];
    static int turn;

    return buffers[turn++ % 8];
}

const char *hd_thousands(int64_t value)
{
    char digits[24], *out = next_buffer();
    int length = snprintf(digits, sizeof digits, "%" PRId64, value), o = 0;

    for (int i = 0; i < length; i++) {
        out[o++] = digits[i];
        int left = length - 1 - i;
        if (left && left % 3 == 0 && digits[i] != '-')
            out[o++] = ',';
    }
    out[o] = '\0';
    return out;
}

const char *hd_counted(int64_t count, const char *noun)
{
    const char *number = hd_thousands(count);
    char *out = next_buffer();

    snprintf(out, 48, "%s %s%s", number, noun, count == 1 ? "" : "s");
    return out;
}

double hd_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void hd_meter_init(struct hd_meter *meter, const char *name)
{
    *meter = (struct hd_meter){.name = name, .terminal = isatty(fileno(stderr))};
    meter->start = meter->drawn = hd_seconds();
}

static void draw(const struct hd_meter *meter, int64_t done, int64_t total, double now)
{
    double seconds = now - meter->start,
           rate = seconds > 0 ? (double)(done - meter->first) / seconds : 0;
    char bar[3 * 24 + 1], left[32] = "";

    if (total > 0 && rate > 0 && total > done)
        snprintf(left, sizeof left, ", %.0f s left", (double)(total - done) / rate);
    if (!meter->terminal) {
        fprintf(stderr, "%s: ", meter->name);
    } else {
        fprintf(stderr, "\r\033[K%s ", meter->name);
        if (total > 0) {
            hd_bar(bar, (double)done / (double)total, 24);
            fprintf(stderr, "▕%s▏%3.0f %% ", bar, 100.0 * (double)done / (double)total);
        }
    }
    fprintf(stderr, "%s %s", meter->what, hd_thousands(done));
    if (total > 0)
        fprintf(stderr, " of %s", hd_thousands(total));
    if (rate >= 10)
        fprintf(stderr, ", %s/s", hd_thousands((int64_t)rate));
    else if (rate >= 0.1)
        fprintf(stderr, ", %.1f/s", rate);
    fprintf(stderr, "%s%s", left, meter->terminal ? "" : "\n");
    fflush(stderr);
}

bool hd_meter_report(void *context, const char *what, int64_t done, int64_t total)
{
    struct hd_meter *meter = context;
    double now = hd_seconds();

    if (strcmp(meter->what, what) != 0 || done < meter->last) {
        snprintf(meter->what, sizeof meter->what, "%s", what);
        meter->start = now, meter->first = done;
    }
    meter->last = done;
    if (now - meter->drawn >= (meter->terminal ? REDRAW_SECONDS : LINE_SECONDS)) {
        meter->drawn = now, meter->dirty = meter->terminal;
        draw(meter, done, total, now);
    }
    return !interrupted;
}

void hd_meter_clear(struct hd_meter *meter)
{
    if (meter->dirty)
        fputs("\r\033[K", stderr);
    meter->dirty = false;
}
