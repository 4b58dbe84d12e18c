/* SPDX-License-Identifier: Apache-2.0
 *
 * Group commit: bodies with records wait in one queue, and a thread takes in all that has come meanwhile
 * with one wait for the disk. Under load the wait is shared by as many as came during the last one;
 * alone, a body waits for its own. A second thread reads the next group while the first one waits for
 * the disk, where the group is long enough; callers who do not wait for their answers may find their
 * bodies taken in in another order.
 *
 *     handler ─▶ hd_intake_put ─▶ queue ─▶ heed_engine_ingest(all of it) ─▶ done(delivery) for each */
#ifndef HD_INTAKE_H
#define HD_INTAKE_H

#include "base/limits.h"
#include "heed/engine.h"
#include "http/http.h"
#include "server/problem.h"

typedef struct hd_intake hd_intake; /* locked */

/* A body on its way, in its exchange's arena. Whoever puts it in fills what, text, bytes, document and
 * merge of the piece, and what is below the line. */
struct hd_delivery {
    heed_ingest piece;
    heed_status status;               /* of the call */
    char message[HD_ERROR_BYTES_MAX]; /* where status is not HEED_OK */
    struct hd_bad_record errors[HD_ERRORS_LISTED_MAX]; /* the first of those turned away */
    int error_count;
    struct hd_delivery *next;
    /* ---- */
    hd_exchange *x;
    /* Answers the exchange, on a thread of the intake; the delivery is gone with it. */
    void (*done)(struct hd_delivery *delivery, void *context);
    void *context;
};

/* Told after each group. */
struct hd_intake_watch {
    void (*taken)(void *context, const struct hd_delivery *delivery);
    void *context;
};

HEED_CHECKED heed_status hd_intake_new(heed_engine *engine, const struct hd_intake_watch *watch,
                                       hd_intake **intake);
/* Takes in what still waits, then ends. NULL is fine. */
void hd_intake_free(hd_intake *intake);
/* Calls hd_exchange_later() and takes the delivery. HEED_E_BUSY where too many wait: nothing was taken,
 * and the exchange is the caller's to answer. */
HEED_CHECKED heed_status hd_intake_put(hd_intake *intake, struct hd_delivery *delivery);
/* How many wait. */
int hd_intake_waiting(hd_intake *intake);

#endif
