/* SPDX-License-Identifier: Apache-2.0
 *
 * Instants on the wire, and the two clocks. */
#ifndef HD_TIME_H
#define HD_TIME_H

#include "base/status.h"

#define HD_TIME_TEXT_BYTES 32 /* "2026-11-20T10:40:54.123Z" and some room for its NUL */

/* RFC 3339, section 5.6: a date, `T` or a blank, a time with seconds and any fraction, `Z` or an
 * offset. Digits past milliseconds are dropped; a leap second (:60) is the second after it. A date
 * alone is midnight UTC. HEED_E_FORMAT: the message says what is wrong, without a subject. */
HEED_CHECKED heed_status hd_time_parse(const char *text, size_t bytes, heed_time *time);

/* RFC 3339 in UTC; milliseconds only where there are some. Times that RFC 3339 cannot write (before
 * year 1, after 9999) are written as the nearest one that it can. */
void hd_time_format(heed_time time, char out[HD_TIME_TEXT_BYTES]);

/* What the caller's clock says, or the system's where none was given. */
heed_time hd_clock_now(const heed_clock *clock);
/* For spans and deadlines: never goes back, means nothing by itself. */
int64_t hd_monotonic_ns(void);

#endif
