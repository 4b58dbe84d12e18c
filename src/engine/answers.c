/* SPDX-License-Identifier: Apache-2.0
 *
 * Feeds and explanations as JSON. */
#include "engine/answers.h"

#include <assert.h>
#include <math.h>
#include <string.h>

heed_feed_kind hd_feed_kind(const char *name)
{
    const char *word = HD_FEED_KIND_WORDS;
    int kind = 0;

    for (;; kind++) {
        size_t length = strcspn(word, "|");
        if (strlen(name) == length && memcmp(word, name, length) == 0)
            return (heed_feed_kind)kind;
        assert(word[length] && kind + 1 < HEED_FEED_KINDS);
        word += length + 1;
    }
}

void hd_put_rounded(struct hd_json_writer *json, const char *key, double value, int decimals)
{
    double scale = pow(10, decimals);

    hd_json_put_number(json, key, isfinite(value) ? round(value * scale) / scale : value);
}

/* Signed contributions, strongest first. */
static void put_reasons(struct hd_json_writer *json, const heed_reason *reasons, int count)
{
    hd_json_begin_array(json, "reasons");
    for (int i = 0; i < count; i++) {
        hd_json_begin_object(json, NULL);
        hd_json_put_text(json, "item", reasons[i].item);
        hd_json_put_text(json, "title", reasons[i].title);
        hd_json_put_number(json, "contribution", reasons[i].contribution);
        if (reasons[i].when)
            hd_json_put_int(json, "ts", reasons[i].when);
        hd_json_end(json);
    }
    hd_json_end(json);
}

static void put_item(struct hd_json_writer *json, const heed_feed_item *item, bool explain)
{
    hd_json_begin_object(json, NULL);
    hd_json_put_int(json, "rank", item->rank);
    hd_json_put_text(json, "item", item->item);
    hd_json_put_text(json, "title", item->title);
    hd_json_put_text(json, "kind", item->sponsored ? "sponsored" : "organic");
    hd_json_put_number(json, "score", item->score);
    hd_json_put_text(json, "source", item->source);
    hd_json_put_number(json, "propensity", item->propensity);
    if (explain) {
        hd_json_put_text(json, "why", item->why);
        put_reasons(json, item->reasons, item->reason_count);
    }
    hd_json_end(json);
}

void hd_put_feed(struct hd_json_writer *json, const heed_feed *feed, bool explain)
{
    hd_json_begin_object(json, NULL);
    hd_json_put_text(json, "decision", feed->decision);
    hd_json_put_text(json, "user", feed->user);
    hd_json_put_text(json, "policy", feed->policy);
    hd_json_put_text(json, "why_policy", feed->why_policy);
    hd_json_put_int(json, "took_us", feed->took_us);
    hd_json_begin_object(json, "steps_us");
    for (int i = 0; i < feed->step_count; i++)
        hd_put_rounded(json, feed->steps[i].name, feed->steps[i].us, 1);
    hd_json_end(json);
    hd_json_begin_array(json, "items");
    for (int i = 0; i < feed->count; i++)
        put_item(json, &feed->items[i], explain);
    hd_json_end(json);
    hd_json_end(json);
}

void hd_put_explanation(struct hd_json_writer *json, const heed_explanation *e)
{
    hd_json_begin_object(json, NULL);
    hd_json_put_text(json, "user", e->user);
    hd_json_put_text(json, "item", e->item);
    hd_json_put_text(json, "title", e->title);
    hd_json_put_text(json, "method", e->method);
    hd_json_put_number(json, "score", e->score);
    hd_json_put_number(json, "probability", e->probability);
    hd_json_put_int(json, "rank", e->rank);
    hd_json_put_int(json, "counterfactual_rank", e->counterfactual_rank);
    hd_json_put_text(json, "counterfactual_item", e->counterfactual_item);
    put_reasons(json, e->reasons, e->reason_count);
    hd_json_put_number(json, "comprehensiveness", e->comprehensiveness);
    hd_json_put_number(json, "sufficiency", e->sufficiency);
    hd_json_begin_object(json, "random");
    hd_json_put_number(json, "comprehensiveness", e->random_comprehensiveness);
    hd_json_put_number(json, "sufficiency", e->random_sufficiency);
    hd_json_end(json);
    hd_json_end(json);
}
