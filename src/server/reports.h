/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports take as long as a walk over all events, so no thread of HTTP makes one: they wait in a queue
 * for a thread of their own, one at a time, at the lowest priority. */
#ifndef HD_REPORTS_H
#define HD_REPORTS_H

#include "heed/operate.h"
#include "http/http.h"

typedef struct hd_reports hd_reports; /* locked */

/* In its exchange's arena, as are the texts of opts. */
struct hd_report_order {
    hd_exchange *x;
    heed_report_opts opts;
    struct hd_report_order *next;
};

HEED_CHECKED heed_status hd_reports_new(heed_engine *engine, hd_reports **reports);
/* Calls hd_exchange_later() and answers when it is made. HEED_E_BUSY where too many wait: nothing was
 * taken, and the exchange is the caller's to answer. */
HEED_CHECKED heed_status hd_reports_put(hd_reports *reports, struct hd_report_order *order);
/* Stops the one that is being made; those that wait are answered so too. NULL is fine. */
void hd_reports_free(hd_reports *reports);

#endif
