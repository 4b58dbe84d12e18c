/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers (see reader.h). Every throw comes from the reader's own stream. */
#include "simulate/reader.h"
#include "simulate/exact.h"
#include "simulate/words.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define FATIGUE_HALF_MS (3 * HOUR_MS)
#define LONG_SHARE 0.35     /* of the interests; the rest is the threads' */
#define SESSION_EVENTS 19.0 /* that a session comes to, about; sets how often readers come */
#define GAP_MS_MAX 1e12 /* between two wishes to come: thirty years, so that sums stay in range */

enum { STREAM_READER = UINT64_C(1) << 40, STREAM_HOUSE = UINT64_C(2) << 40 };

static int hour_of(heed_time when)
{
    return (int)(((when % DAY_MS) + DAY_MS) % DAY_MS / HOUR_MS);
}

/* How much a topic is read at this hour, 1 on average. */
double hd_topic_rhythm(int topic, heed_time when)
{
    const char *hours = hd_town_words[topic].hours;
    int sum = 0;

    for (int h = 0; h < 24; h++)
        sum += hours[h] - '0';
    return 24.0 * (hours[hour_of(when)] - '0') / sum;
}

/* logits to shares that sum to 1 */
static void softmax(const float *logits, double *shares)
{
    double top = (double)logits[0], sum = 0;

    for (int k = 1; k < HD_TOWN_TOPICS; k++)
        top = (double)logits[k] > top ? (double)logits[k] : top;
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        sum += shares[k] = hd_exact_exp((double)logits[k] - top);
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        shares[k] /= sum;
}

/* An index with the chances of the weights; count at least 1, some weight above 0. */
int hd_draw_weighted(heed_rng *rng, const double *weights, int count)
{
    double sum = 0;

    for (int i = 0; i < count; i++)
        sum += weights[i];
    double at = hd_random_unit(rng) * sum;
    for (int i = 0; i < count - 1; i++)
        if ((at -= weights[i]) < 0)
            return i;
    return count - 1;
}

static int draw_longterm(heed_rng *rng, const struct hd_reader *reader)
{
    double shares[HD_TOWN_TOPICS];

    softmax(reader->longterm, shares);
    return hd_draw_weighted(rng, shares, HD_TOWN_TOPICS);
}

void hd_reader_interests(const struct hd_reader *reader, double *interests)
{
    double heat = 0;

    softmax(reader->longterm, interests);
    for (int j = 0; j < HD_READER_THREADS; j++)
        heat += (double)reader->threads[j].heat;
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        interests[k] *= LONG_SHARE;
    for (int j = 0; j < HD_READER_THREADS; j++)
        interests[reader->threads[j].topic] +=
            (1.0 - LONG_SHARE) * (double)reader->threads[j].heat / heat;
}

/* Three humps, at breakfast, lunch and after supper, as high as the reader's habits. */
static void init_hours(struct hd_reader *reader)
{
    static const double middle[3] = {7.5, 12.5, 20.5};
    double height[3], top = 0, hours[24];

    for (int i = 0; i < 3; i++)
        height[i] = 0.1 + hd_random_unit(&reader->rng);
    for (int h = 0; h < 24; h++) {
        hours[h] = h >= 1 && h < 6 ? 0.005 : 0.06;
        for (int i = 0; i < 3; i++) {
            double away = fabs(h + 0.5 - middle[i]);
            hours[h] += away < 2.6 ? height[i] * (1.0 - away / 2.6) : 0;
        }
        top = hours[h] > top ? hours[h] : top;
    }
    for (int h = 0; h < 24; h++)
        reader->hours[h] = (float)(hours[h] / top);
}

void hd_reader_init(struct hd_reader *reader, const heed_simulate_opts *opts, int64_t number,
                    const struct hd_catalogue *catalogue)
{
    double mean = 0, sessions = (double)opts->events / SESSION_EVENTS;
    double a_day = sessions / ((double)opts->users * (double)opts->days);

    *reader = (struct hd_reader){.rng = hd_rng(opts->seed, STREAM_READER + (uint64_t)number),
                                 .house = hd_rng(opts->seed, STREAM_HOUSE + (uint64_t)number),
                                 .last = opts->start};
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        reader->longterm[k] = catalogue->popular[k] + (float)(1.5 * hd_exact_normal(&reader->rng));
    for (int j = 0; j < HD_READER_THREADS; j++)
        reader->threads[j] =
            (struct hd_thread){draw_longterm(&reader->rng, reader), -1, 1.0f - 0.25f * (float)j};
    init_hours(reader);
    for (int h = 0; h < 24; h++)
        mean += (double)reader->hours[h] / 24.0;
    /* Some come five times as often as others. */
    double activity = hd_exact_exp(0.6 * hd_exact_normal(&reader->rng) - 0.18);
    reader->rate = (float)((activity < 0.2 ? 0.2 : activity > 5.0 ? 5.0 : activity) * a_day / mean);
    reader->phone = (float)hd_random_unit(&reader->rng);
}

/* A Poisson stream of wishes to come, thinned by the hours. */
void hd_reader_plan(struct hd_reader *reader)
{
    double gap_ms = (double)DAY_MS / (double)reader->rate;
    heed_time when = reader->last;

    gap_ms = gap_ms < GAP_MS_MAX ? gap_ms : GAP_MS_MAX;
    do
        when += 1 + (heed_time)(-hd_exact_log(1.0 - hd_random_unit(&reader->rng)) * gap_ms);
    while (hd_random_unit(&reader->rng) >= (double)reader->hours[hour_of(when)] &&
           when < reader->last + 3650 * DAY_MS);
    reader->next = when, reader->page = 0;
}

void hd_reader_begin(struct hd_reader *reader, const struct hd_catalogue *catalogue)
{
    double days = (double)(reader->next - reader->last) / (double)DAY_MS;
    double keep = hd_exact_exp(-days / 20.0), spread = 1.5 * sqrt(1.0 - keep * keep);
    struct hd_thread *coldest = reader->threads, *hottest = reader->threads;

    for (int k = 0; k < HD_TOWN_TOPICS; k++) {
        float mean = catalogue->popular[k];
        reader->longterm[k] = mean + (float)(keep * (double)(reader->longterm[k] - mean) +
                                             spread * hd_exact_normal(&reader->rng));
    }
    double hours = -0.69314718055994531 * (double)(reader->next - reader->last) / FATIGUE_HALF_MS;
    reader->fatigue *= (float)hd_exact_exp(hours < -60.0 ? -60.0 : hours);
    reader->on_phone = hd_random_unit(&reader->rng) < (double)reader->phone;
    for (int j = 1; j < HD_READER_THREADS; j++) {
        coldest = reader->threads[j].heat < coldest->heat ? &reader->threads[j] : coldest;
        hottest = reader->threads[j].heat > hottest->heat ? &reader->threads[j] : hottest;
    }
    if (hd_random_unit(&reader->rng) < 0.25) {
        int near = hd_town_words[hottest->topic].near[hd_random_below(&reader->rng, 2)];
        int any = draw_longterm(&reader->rng, reader);
        *coldest = (struct hd_thread){hd_random_unit(&reader->rng) < 0.6 ? near : any, -1, 0.8f};
    }
}

double hd_reader_aligned(const struct hd_reader *reader, const struct hd_town_item *item)
{
    double interests[HD_TOWN_TOPICS], top = 0, sum = 0;

    hd_reader_interests(reader, interests);
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        top = interests[k] > top ? interests[k] : top;
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        sum += (double)item->topics[k] * interests[k] / top;
    return sum;
}

bool hd_reader_goes_on(const struct hd_reader *reader, int32_t item,
                       const struct hd_catalogue *catalogue)
{
    for (int j = 0; j < HD_READER_THREADS; j++)
        if (reader->threads[j].item >= 0 && catalogue->items[reader->threads[j].item].next == item)
            return true;
    return false;
}

/* Reading feeds the item's thread and cools the others; what held the reader and belongs to none
 * may become a thread of its own. */
void hd_reader_follow(struct hd_reader *reader, const struct hd_town_item *it, int32_t item,
                      double share)
{
    struct hd_thread *own = NULL, *coldest = reader->threads;

    for (int j = 0; j < HD_READER_THREADS; j++) {
        struct hd_thread *thread = &reader->threads[j];
        if (thread->topic == it->topic && !own)
            own = thread;
        else
            thread->heat = thread->heat > 0.2f ? thread->heat * 0.95f : 0.2f;
        coldest = thread->heat < coldest->heat ? thread : coldest;
    }
    if (own) {
        own->heat += (float)(0.3 * share);
        own->heat = own->heat < 1.5f ? own->heat : 1.5f;
        own->item = item;
    } else if (share > 0.35 && hd_random_unit(&reader->rng) < 0.5) {
        *coldest = (struct hd_thread){it->topic, item, 0.7f};
    }
}

/* Milliseconds looked: a share of a full read that grows with the square of alignment, with a wide
 * spread, shorter for the tired; from 1 s (what counts as a view) to 3 min. */
int32_t hd_reader_dwell(struct hd_reader *reader, const struct hd_town_item *it, double aligned)
{
    double share = 0.04 + 0.9 * aligned * aligned;
    double tired = 1.0 / (1.0 + 0.25 * (double)reader->fatigue);
    double ms =
        1000.0 * it->length_s * share * tired * hd_exact_exp(0.5 * hd_exact_normal(&reader->rng));

    return (int32_t)(ms < 1000.0 ? 1000.0 : ms > 180000.0 ? 180000.0 : ms);
}
