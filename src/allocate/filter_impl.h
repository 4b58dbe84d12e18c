/* SPDX-License-Identifier: Apache-2.0
 *
 * A filter, parsed: a tree for printing, and its terms in the order in which they were written,
 * each with the place to go on at when it is true and when it is false. Places only rise, so
 * walking from term to term ends; `and`, `or` and `not` are nothing but where the walk goes.
 *
 *     a and (b or not c)       0: a  true 1       false REJECT
 *                              1: b  true ACCEPT  false 2
 *                              2: c  true REJECT  false ACCEPT       ACCEPT = 3, REJECT = 4 */
#ifndef HD_FILTER_IMPL_H
#define HD_FILTER_IMPL_H

#include "allocate/filter.h"

enum hd_term_kind {
    HD_TERM_TRUE,
    HD_TERM_HAS,
    HD_TERM_IN,       /* it is one of the values */
    HD_TERM_CONTAINS, /* the one value */
    HD_TERM_TIME,     /* compared with `amount` */
};

enum hd_term_compare { HD_EQUAL, HD_BELOW, HD_UP_TO, HD_ABOVE, HD_FROM };

struct hd_filter_term {
    enum hd_term_kind kind;
    enum hd_filter_field field;
    enum hd_term_compare compare;
    int64_t amount;     /* milliseconds: an instant, or a span */
    const char **value; /* rising and each once; they end in NUL */
    int32_t *number;    /* once bound: of the values that are known, rising */
    int values, numbers;
    int on_true, on_false;
    heed_time low, high; /* while applied: what `created` is held against, both ends included */
    int cursor;          /* while applied, of ids: the first number that is not below the item */
};

enum hd_filter_node_kind { HD_NODE_TERM, HD_NODE_AND, HD_NODE_OR };

struct hd_filter_node {
    enum hd_filter_node_kind kind;
    bool negated;
    int term; /* the first that is part of it */
    struct hd_filter_node *first, *last,
        *next; /* children of and, or: two at least; the next child */
};

struct hd_filter {
    struct hd_filter_node *root;
    struct hd_filter_term *term;
    int terms;
};

/* What a field is called and what may be asked of it. */
struct hd_filter_field_rule {
    const char *name;
    bool numbered;    /* its texts have numbers */
    bool searchable;  /* `contains` */
    size_t bytes_max; /* of a text; 0: it is compared with an amount */
};
extern const struct hd_filter_field_rule hd_filter_rule[HD_FILTER_FIELDS];
extern const char *const hd_filter_sign[]; /* by hd_term_compare */

#endif
