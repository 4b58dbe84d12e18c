/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands that touch a data folder share: the open engine, with its progress and log on
 * stderr. */
#ifndef HD_SESSION_H
#define HD_SESSION_H

#include "cli/answer.h"
#include "cli/terminal.h"
#include "heed/engine.h"

struct hd_session {
    heed_engine *engine;
    struct hd_meter meter;
    heed_progress progress; /* of the meter */
};

/* create: the folder is made where it is not there; else that is an error which says what to do.
 * name begins the progress line; threads 0: all processors. On failure nothing is left open. */
HEED_CHECKED heed_status hd_session_open(struct hd_session *session, const struct hd_cli *cli,
                                         const char *name, bool create, int threads);
/* Takes the progress line away and closes the engine. */
void hd_session_close(struct hd_session *session);

/* Can the file be read? Asked before a data folder is made for what is in it. */
HEED_CHECKED heed_status hd_check_readable(const char *path);

#endif
