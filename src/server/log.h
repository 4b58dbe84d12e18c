/* SPDX-License-Identifier: Apache-2.0
 *
 * The log of heed serve: a line an event: time, level, event, key=value. A value that is not a plain
 * word stands in quotes with what could break the line escaped, so nobody can write lines of their own
 * through an id or a path. Of personal data only ids, and no secret. */
#ifndef HD_LOG_H
#define HD_LOG_H

#include "base/status.h"

#define HD_LOG_FILE 2 /* stderr: whoever started the server keeps it */
#define HD_LOG_LINE_BYTES_MAX 4096 /* longer ones are cut */

struct hd_log_line {
    size_t bytes;
    char text[HD_LOG_LINE_BYTES_MAX];
};

void hd_log_begin(struct hd_log_line *line, heed_log_level level, const char *event);
void hd_log_text(struct hd_log_line *line, const char *key, const char *value); /* NULL: left out */
void hd_log_int(struct hd_log_line *line, const char *key, int64_t value);
/* One write, so that lines of several threads do not mix. */
void hd_log_end(struct hd_log_line *line, int file);

/* The three in one, for a line with one text. */
void hd_log_say(int file, heed_log_level level, const char *event, const char *key,
                const char *value);

#endif
