/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of the engine as JSON, one way for the program and the server. */
#ifndef HD_ANSWERS_H
#define HD_ANSWERS_H

#include "heed/engine.h"
#include "text/json.h"

/* {"decision", "user", "policy", ..., "items": [...]}; with the reasons where `explain`. */
void hd_put_feed(struct hd_json_writer *json, const heed_feed *feed, bool explain);
void hd_put_explanation(struct hd_json_writer *json, const heed_explanation *explanation);
/* A fixed number of decimals, for what is measured and not meant to be read back to the bit. */
void hd_put_rounded(struct hd_json_writer *json, const char *key, double value, int decimals);

#endif
