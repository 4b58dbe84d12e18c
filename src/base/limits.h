/* SPDX-License-Identifier: Apache-2.0
 *
 * Every limit on what comes from outside, each with its reason. Tests hold each at the limit and one
 * past it. */
#ifndef HD_LIMITS_H
#define HD_LIMITS_H

#define HD_ERROR_BYTES_MAX 512      /* an error message: longer ones are cut, never overrun */
#define HD_THREADS_MAX 1024         /* more is a mistake in an option, not a machine */
#define HD_LINE_BYTES_MAX (1 << 20) /* one line of an imported file: a long text is 100 KB, 1 MiB is a bug */
#define HD_ID_BYTES_MAX 256         /* an id of a user, item or event, in UTF-8 */
#define HD_TITLE_BYTES_MAX 4096     /* a title; longer ones are texts */
#define HD_TEXT_BYTES_MAX (1 << 19) /* an item's text */
#define HD_TAGS_MAX 64              /* tags of one item */
#define HD_URL_BYTES_MAX 8192       /* browsers take more, servers as a rule do not */
#define HD_CONTEXT_BYTES_MAX 65536  /* `context` or `ext` of one event, a user's `attributes`, as compact JSON */
#define HD_MARKS_MAX 10000          /* what one user blocks and follows: each request looks at all of it */
#define HD_POSITION_MAX 1000000     /* a place in a page; a feed that is longer is not a page */
#define HD_FEATURES_MAX 32          /* named vectors of one item */
#define HD_FEATURE_COUNT_MAX 8192   /* numbers in one of them */
#define HD_TIME_MS_MIN INT64_C(-62135596800000) /* 0001-01-01: what RFC 3339 can write */
#define HD_TIME_MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999 */
#define HD_SPAN_DAYS_MAX 36525                  /* how long anything is kept or waited for: a century */
#define HD_DWELL_MS_MAX INT64_C(86400000)       /* a day: nobody looks longer at one thing */
#define HD_FEED_ITEMS_MAX 1000   /* items of one answer: a page, and room to scroll */
#define HD_LIST_MAX 1000         /* records of one page; whoever wants all exports */
#define HD_LIST_DEFAULT 100
#define HD_DECISIONS_BYTES_MAX (INT64_C(256) << 20) /* of decisions.ndjson, then a new one begins: a million answers */
#define HD_EXCLUDE_MAX 100000    /* items that one request may exclude by name */
#define HD_SHOW_WORDS_MAX 256    /* words of a text whose attention is shown: maps grow with the square */
#define HD_HEADER_BYTES_MAX (16 << 20)          /* JSON header of a model file */
#define HD_TENSORS_MAX 65536                    /* tensors in a model file */
#define HD_NAME_BYTES_MAX 255       /* name of a layer's tensor, its prefix included: a path of a few words */
#define HD_DIM_MAX (INT64_C(1) << 40)           /* one dimension of a tensor */
#define HD_USERS_MAX INT64_C(2000000000)        /* indices are int32_t where there are many of them */
#define HD_ITEMS_MAX INT64_C(100000000)
#define HD_LSH_ROUNDS_MAX 64      /* each costs as much as the first; 8 are the most of the paper */
#define HD_LSH_BUCKETS_MAX (1 << 20) /* chunks of 64 of 32 million positions */

#endif
