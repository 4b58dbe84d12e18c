/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of a file, one at a time, whatever it is wrapped in: plain, gzip or zstd, told apart by
 * what is in it and not by its name. Memory stays the same however long the file or a line of it
 * is.
 *
 * A line that cannot be used (too long, a NUL byte, not UTF-8) is handed out with what is wrong
 * with it, and the next one follows: one bad line is no reason to lose a million good ones. */
#ifndef HD_LINES_H
#define HD_LINES_H

#include "base/status.h"

typedef struct hd_lines hd_lines; /* confined */

struct hd_line {
    const char
        *text; /* without its end (LF or CR LF); not ending in NUL; good until the next one */
    size_t bytes;
    int64_t number;      /* from 1 */
    const char *problem; /* NULL: the line is well-formed UTF-8 without NUL; else a sentence */
};

/* latin1: the text is Latin-1 and is handed out as UTF-8.
 * HEED_E_NOTFOUND (no such file), HEED_E_IO (a directory, no permission), HEED_E_FORMAT (an
 * archive), HEED_E_NOMEM; the message begins with the path. */
HEED_CHECKED heed_status hd_lines_open(const char *path, bool latin1, hd_lines **lines);
void hd_lines_close(hd_lines *lines);

/* *more: false at the end, and the line is not touched then.
 * HEED_E_IO, HEED_E_FORMAT (the compression is damaged or cut short): PATH:LINE: reason. */
HEED_CHECKED heed_status hd_lines_next(hd_lines *lines, struct hd_line *line, bool *more);

/* Bytes read of how many there are, both as they lie on the disk; total is 0 for a pipe. */
void hd_lines_progress(const hd_lines *lines, int64_t *done, int64_t *total);

#endif
