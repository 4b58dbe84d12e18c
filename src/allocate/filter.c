/* SPDX-License-Identifier: Apache-2.0
 *
 * A filter at work: names become numbers, spans become instants, and each item walks over the terms
 * until it is in or out. */
#include "allocate/filter_impl.h"
#include "base/order.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

/* ---- names */

heed_status hd_filter_bind(hd_filter *filter, hd_filter_find find, void *context)
{
    for (struct hd_filter_term *t = filter->term; t < filter->term + filter->terms; t++) {
        t->numbers = 0;
        if (t->kind != HD_TERM_IN || !hd_filter_rule[t->field].numbered)
            continue;
        for (int i = 0; i < t->values; i++) {
            int32_t number = -1;
            HD_TRY(find(context, t->field, t->value[i], strlen(t->value[i]), &number));
            if (number >= 0)
                t->number[t->numbers++] = number;
        }
        if (t->numbers > 1)
            qsort(t->number, (size_t)t->numbers, sizeof *t->number, hd_order_i32);
    }
    return HEED_OK;
}

/* ---- one term of one item */

static bool holds_number(const int32_t *rising, int count, int32_t number)
{
    while (count > 1) { /* the half in which it is, if it is anywhere */
        int half = count / 2;
        rising += rising[half] <= number ? half : 0;
        count -= half;
    }
    return count == 1 && *rising == number;
}

static bool any_topic(const struct hd_filter_term *t, const struct hd_filter_view *view, int64_t i)
{
    const int32_t *row = view->topic[i];

    for (int32_t k = 0; k < view->topic_count[i]; k++)
        if (holds_number(t->number, t->numbers, row[k]))
            return true;
    return false;
}

/* Items are asked in rising order, so the list of ids is read along with them. */
static bool is_listed(struct hd_filter_term *t, int64_t i)
{
    while (t->cursor < t->numbers && t->number[t->cursor] < i)
        t->cursor++;
    return t->cursor < t->numbers && t->number[t->cursor] == i;
}

static bool is_one_of(const struct hd_filter_term *t, const char *text)
{
    int low = 0, high = t->values;

    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(text, t->value[middle]);
        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

/* NULL where there is none; an empty text is none. */
static const char *text_of(enum hd_filter_field field, const struct hd_filter_view *view, int64_t i)
{
    const char *text = field == HD_FILTER_ID       ? view->id[i]
                       : field == HD_FILTER_AUTHOR ? view->author[i]
                       : field == HD_FILTER_TITLE  ? view->title[i]
                                                   : view->url[i];
    return text && *text ? text : NULL;
}

static bool has(enum hd_filter_field field, const struct hd_filter_view *view, int64_t i)
{
    if (field == HD_FILTER_CREATED || field == HD_FILTER_AGE)
        return view->created[i] != 0;
    if (field == HD_FILTER_TAG) /* the author, where there is one, is among the topics */
        return view->topic_count[i] > (text_of(HD_FILTER_AUTHOR, view, i) != NULL);
    return text_of(field, view, i) != NULL;
}

static bool ask(struct hd_filter_term *t, const struct hd_filter_view *view, int64_t i)
{
    const char *text;

    switch (t->kind) {
    case HD_TERM_HAS:
        return has(t->field, view, i);
    case HD_TERM_TIME:
        return view->created[i] != 0 && t->low <= view->created[i] && view->created[i] <= t->high;
    case HD_TERM_IN:
        if (t->field == HD_FILTER_ID)
            return is_listed(t, i);
        if (t->field == HD_FILTER_TAG || t->field == HD_FILTER_AUTHOR)
            return any_topic(t, view, i);
        text = text_of(t->field, view, i);
        return text && is_one_of(t, text);
    case HD_TERM_CONTAINS:
        text = text_of(t->field, view, i);
        return text && strstr(text, t->value[0]);
    case HD_TERM_TRUE:
        break;
    }
    return true;
}

/* ---- all items */

/* Whatever is asked of `created` or of the age is a range of `created`: the older, the earlier, so
 * an age turns the comparison round. Nothing overflows: instants and spans are those of 10,000
 * years. */
static void set_range(struct hd_filter_term *t, heed_time now)
{
    static const enum hd_term_compare turned[] = {[HD_EQUAL] = HD_EQUAL,
                                                  [HD_BELOW] = HD_ABOVE,
                                                  [HD_UP_TO] = HD_FROM,
                                                  [HD_ABOVE] = HD_BELOW,
                                                  [HD_FROM] = HD_UP_TO};
    bool age = t->field == HD_FILTER_AGE;
    enum hd_term_compare compare = age ? turned[t->compare] : t->compare;
    heed_time at = age ? now - t->amount : t->amount;

    t->low = compare == HD_ABOVE                          ? at + 1
             : compare == HD_BELOW || compare == HD_UP_TO ? INT64_MIN
                                                          : at;
    t->high = compare == HD_BELOW                         ? at - 1
              : compare == HD_ABOVE || compare == HD_FROM ? INT64_MAX
                                                          : at;
}

void hd_filter_apply(hd_filter *filter, const struct hd_filter_view *view, heed_time now,
                     uint8_t *out)
{
    struct hd_filter_term *term = filter->term;
    const int terms = filter->terms;

    now = now < HD_TIME_MS_MIN ? HD_TIME_MS_MIN : now > HD_TIME_MS_MAX ? HD_TIME_MS_MAX : now;
    for (int k = 0; k < terms; k++) {
        term[k].cursor = 0;
        set_range(&term[k], now);
    }
    for (int64_t i = 0; i < view->items; i++) {
        int k = 0;
        if (out[i])
            continue;
        while (k < terms)
            k = ask(&term[k], view, i) ? term[k].on_true : term[k].on_false;
        out[i] = k > terms;
    }
}
