/* SPDX-License-Identifier: Apache-2.0
 *
 * Statuses, their texts, and the message each thread keeps of its last failure. */
#include "base/status.h"
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[HD_ERROR_BYTES_MAX];

const char *heed_version(void)
{
    return HEED_VERSION_TEXT;
}

const char *heed_status_name(heed_status status)
{
    switch (status) {
#define NAME(name, value, text, exit_code, http) \
    case HEED_##name:                            \
        return "HEED_" #name;
        HEED_STATUS_MAP(NAME)
#undef NAME
    }
    return "HEED_?";
}

const char *heed_status_text(heed_status status)
{
    switch (status) {
#define TEXT(name, value, text, exit_code, http) \
    case HEED_##name:                            \
        return text;
        HEED_STATUS_MAP(TEXT)
#undef TEXT
    }
    return "unknown status";
}

int heed_status_exit_code(heed_status status)
{
    switch (status) {
#define EXIT(name, value, text, exit_code, http) \
    case HEED_##name:                            \
        return exit_code;
        HEED_STATUS_MAP(EXIT)
#undef EXIT
    }
    return 1;
}

int hd_status_http(heed_status status)
{
    switch (status) {
#define HTTP(name, value, text, exit_code, http) \
    case HEED_##name:                            \
        return http;
        HEED_STATUS_MAP(HTTP)
#undef HTTP
    }
    return 500;
}

const char *heed_error_message(void)
{
    return message;
}

heed_status hd_fail(heed_status status, const char *fmt, ...)
{
    char text[sizeof message]; /* the arguments may point into the old message */
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    memcpy(message, text, sizeof message);
    return status;
}

heed_status hd_fail_errno(heed_status status, const char *fmt, ...)
{
    int error = errno;
    char text[sizeof message];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hd_fail(status, "%s: %s", text, strerror(error));
}

heed_status hd_fail_prefix(heed_status status, const char *fmt, ...)
{
    char text[sizeof message];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hd_fail(status, "%s%s", text, message);
}
