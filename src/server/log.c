/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of the log. */
#include "server/log.h"
#include "base/time.h"
#include "text/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Room is kept for the newline. */
static void put(struct hd_log_line *line, const char *text, size_t bytes)
{
    size_t room = sizeof line->text - 1 - line->bytes;

    if (bytes > room)
        bytes = room;
    memcpy(line->text + line->bytes, text, bytes);
    line->bytes += bytes;
}

static void put_string(struct hd_log_line *line, const char *text)
{
    put(line, text, strlen(text));
}

void hd_log_begin(struct hd_log_line *line, heed_log_level level, const char *event)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    char time[HD_TIME_TEXT_BYTES];

    line->bytes = 0;
    hd_time_format(hd_clock_now(NULL), time);
    put_string(line, time);
    put_string(line, " ");
    put_string(line, (unsigned)level < 4 ? levels[level] : "debug");
    put_string(line, " ");
    put_string(line, event);
}

static bool is_plain(const char *text)
{
    size_t i = 0;

    for (; text[i]; i++)
        if (text[i] <= ' ' || text[i] == '"' || text[i] == '\\' || text[i] == '=' ||
            text[i] > '~')
            return false;
    return i > 0;
}

void hd_log_text(struct hd_log_line *line, const char *key, const char *value)
{
    if (!value)
        return;
    put_string(line, " ");
    put_string(line, key);
    put_string(line, "=");
    if (is_plain(value)) {
        put_string(line, value);
        return;
    }
    put_string(line, "\"");
    for (size_t left = strlen(value); left > 0;) {
        unsigned char c = (unsigned char)*value;
        size_t length = hd_utf8_length(value, left);
        char escape[8];
        bool control = c < 0x20 || c == 0x7F || length == 0 ||
                       (c == 0xC2 && (unsigned char)value[1] < 0xA0); /* U+0080 to U+009F */
        if (control) {
            snprintf(escape, sizeof escape, "\\x%02X", c);
            put_string(line, escape);
            length = 1;
        } else {
            if (c == '"' || c == '\\')
                put_string(line, "\\");
            put(line, value, length);
        }
        value += length;
        left -= length;
    }
    put_string(line, "\"");
}

void hd_log_int(struct hd_log_line *line, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, value);
    hd_log_text(line, key, text);
}

void hd_log_end(struct hd_log_line *line, int file)
{
    line->text[line->bytes++] = '\n';
    /* A log that cannot be written is no reason to stop serving, and there is nowhere to say so. */
    if (write(file, line->text, line->bytes) < 0)
        return;
}

void hd_log_say(int file, heed_log_level level, const char *event, const char *key,
                const char *value)
{
    struct hd_log_line line;

    hd_log_begin(&line, level, event);
    hd_log_text(&line, key, value);
    hd_log_end(&line, file);
}
