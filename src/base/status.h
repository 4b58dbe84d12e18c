/* SPDX-License-Identifier: Apache-2.0
 *
 * Raising and passing on errors. `return hd_fail(status, fmt, ...)` raises, HD_TRY(expr) passes on. */
#ifndef HD_STATUS_H
#define HD_STATUS_H

#include "heed/base.h"

#include <stdarg.h>

#define HD_TRY(expr) HEED_TRY(expr)

/* Keeps `subject: what is wrong, with the numbers` as this thread's message and returns status. */
heed_status hd_fail(heed_status status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for a system call that failed: appends errno's text. */
heed_status hd_fail_errno(heed_status status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts words before this thread's message: `train: ` + what the callee said. Returns status. */
heed_status hd_fail_prefix(heed_status status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The HTTP status of a status, from the one table. */
int hd_status_http(heed_status status);

#endif
