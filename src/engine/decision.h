/* SPDX-License-Identifier: Apache-2.0
 *
 * What was decided, kept: one line of JSON for each feed answer in decisions.ndjson of the data
 * folder, appended in one write. It is not in the database, because an answer must not wait for
 * whoever is writing there, and is not synced, because an answer that nobody saw after a power cut
 * was not given. An events file refers to a line by its decision id. */
#ifndef HD_DECISION_H
#define HD_DECISION_H

#include "engine/state.h"

#define HD_DECISION_ID_BYTES 33 /* 32 digits and the terminator */

/* Milliseconds first, so that ids rise with time, then a number that no other answer has. */
void hd_decision_id(heed_engine *engine, heed_time now, char id[HD_DECISION_ID_BYTES]);

/* Appends the answer to a request made at `at`. A folder that cannot be written costs a line in the
 * log, never the answer. */
void hd_decision_keep(heed_engine *engine, const heed_feed *feed, const heed_feed_request *request,
                      heed_time now, heed_time at);

/* Two numbers of [0, 1) that the id decides. */
void hd_decision_draw(const char id[HD_DECISION_ID_BYTES], double u[2]);

#endif
