/* SPDX-License-Identifier: Apache-2.0
 *
 * Decision ids and the file of decisions. A line is
 *
 *     {"decision":ID,"ts":MS,"at":MS,"user":ID,"policy":NAME,"placement":NAME,
 *      "items":[{"item":ID,"score":X,"source":NAME,"propensity":P}, ...]}
 */
#include "engine/decision.h"
#include "base/limits.h"
#include "base/random.h"
#include "engine/decision_file.h"
#include "text/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hd_decision_id(heed_engine *engine, heed_time now, char id[HD_DECISION_ID_BYTES])
{
    uint64_t number = atomic_fetch_add(&engine->decision_count, 1);

    snprintf(id, HD_DECISION_ID_BYTES, "%012" PRIx64 "%04" PRIx64 "%016" PRIx64,
             (uint64_t)now & UINT64_C(0xffffffffffff), number & 0xffff,
             hd_mix64(engine->decision_key + number));
}

void hd_decision_draw(const char id[HD_DECISION_ID_BYTES], double u[2])
{
    char number[17] = "";

    memcpy(number, id + HD_DECISION_ID_BYTES - sizeof number, sizeof number - 1);
    heed_rng rng = hd_rng(strtoull(number, NULL, 16), 0);
    u[0] = hd_random_unit(&rng);
    u[1] = hd_random_unit(&rng);
}

void hd_decision_keep(heed_engine *engine, const heed_feed *feed, const heed_feed_request *request,
                      heed_time now, heed_time at)
{
    struct hd_json_writer w = {0};
    const char *text;
    size_t bytes;

    if (engine->decisions < 0)
        return;
    hd_json_begin_object(&w, NULL);
    hd_json_put_text(&w, "decision", feed->decision);
    hd_json_put_int(&w, "ts", now);
    hd_json_put_int(&w, "at", at);
    hd_json_put_text(&w, "user", feed->user);
    hd_json_put_text(&w, "policy", feed->policy);
    if (request->placement)
        hd_json_put_text(&w, "placement", request->placement);
    hd_json_begin_array(&w, "items");
    for (int i = 0; i < feed->count; i++) {
        hd_json_begin_object(&w, NULL);
        hd_json_put_text(&w, "item", feed->items[i].item);
        hd_json_put_number(&w, "score", feed->items[i].score);
        hd_json_put_text(&w, "source", feed->items[i].source);
        hd_json_put_number(&w, "propensity", feed->items[i].propensity);
        hd_json_end(&w);
    }
    hd_json_end(&w);
    hd_json_end(&w);
    heed_status status = hd_json_finish(&w, &text, &bytes);
    if (status == HEED_OK) {
        w.text[bytes] = '\n'; /* in the place of the NUL: the line goes out in one piece */
        status =
            hd_decisions_append(engine->decisions, text, bytes + 1, HD_DECISIONS_BYTES_MAX);
    }
    hd_json_clear(&w);
    if (status != HEED_OK)
        hd_engine_log(engine, HEED_LOG_WARN, "feed: a decision was not kept: %s",
                      heed_error_message());
}
