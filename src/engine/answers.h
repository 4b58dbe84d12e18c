/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of the engine as JSON, and the names in questions: one way for the program and the
 * server. */
#ifndef HD_ANSWERS_H
#define HD_ANSWERS_H

#include "heed/engine.h"
#include "text/json.h"

/* What a heed_feed_kind is called, in the order of the enum. */
#define HD_FEED_KIND_WORDS "best|popular|trending|fresh|similar"
/* Of a name that is one of them. */
heed_feed_kind hd_feed_kind(const char *name);

/* {"decision", "user", "policy", ..., "items": [...]}; with the reasons where `explain`. */
void hd_put_feed(struct hd_json_writer *json, const heed_feed *feed, bool explain);
void hd_put_explanation(struct hd_json_writer *json, const heed_explanation *explanation);
/* A fixed number of decimals, for what is measured and not meant to be read back to the bit. */
void hd_put_rounded(struct hd_json_writer *json, const char *key, double value, int decimals);

#endif
