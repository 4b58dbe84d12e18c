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
#define HD_SESSION_MAX 10000   /* visits of a reader that come with a request: past what any model sees (8,192) */
#define HD_LIST_MAX 1000         /* records of one page; whoever wants all exports */
#define HD_LIST_DEFAULT 100
#define HD_LIST_LOOK_MAX 200000  /* events looked at for a page of some item or kind: a tenth of a second */
#define HD_REPORT_READERS_LEAST 10 /* behind a line of a report: fewer is a story about somebody */
#define HD_REPORT_READERS_MAX 1000000000 /* nobody hides more, and sums of it stay far from overflow */
#define HD_REPORT_GROUPS_MAX 1000 /* lines of a report: whoever wants all exports */
#define HD_REPORT_GROUPS_DEFAULT 50
#define HD_DECISIONS_BYTES_MAX (INT64_C(256) << 20) /* of decisions.ndjson, then a new one begins: a million answers */
#define HD_EXCLUDE_MAX 100000    /* items that one request may exclude by name */
#define HD_FILTER_BYTES_MAX (1 << 18) /* one filter: a list of ten thousand ids of ordinary length */
#define HD_FILTER_LIST_MAX 10000 /* texts of one list: candidates that somebody else has chosen */
#define HD_FILTER_TERMS_MAX 64   /* conditions of a filter: each may be asked of every item */
#define HD_FILTER_DEPTH_MAX 32   /* parentheses in parentheses: parsing and printing go as deep */
#define HD_GORSE_FEEDBACK_MAX 10000 /* of a user or an item in one answer: Gorse's lists have no pages */
#define HD_GORSE_CATEGORIES_MAX 16  /* that a recommendation must have all at once */
#define HD_GORSE_DELAY_MS_MAX INT64_C(31536000000) /* of a write-back: a year */
#define HD_SHOW_WORDS_MAX 256    /* words of a text whose attention is shown: maps grow with the square */
#define HD_HEADER_BYTES_MAX (16 << 20)          /* JSON header of a model file */
#define HD_TENSORS_MAX 65536                    /* tensors in a model file */
#define HD_NAME_BYTES_MAX 255       /* name of a layer's tensor, its prefix included: a path of a few words */
#define HD_DIM_MAX (INT64_C(1) << 40)           /* one dimension of a tensor */
#define HD_USERS_MAX INT64_C(2000000000)        /* indices are int32_t where there are many of them */
#define HD_ITEMS_MAX INT64_C(100000000)
#define HD_LSH_ROUNDS_MAX 64      /* each costs as much as the first; 8 are the most of the paper */
#define HD_LSH_BUCKETS_MAX (1 << 20) /* chunks of 64 of 32 million positions */

/* The server. What opts can set is a default here; times are absolute, not of inactivity. */
#define HD_HTTP_BODY_BYTES (16 << 20)     /* of a request: 100,000 events of 125 bytes, and some */
#define HD_HTTP_BODIES_BYTES (256 << 20)  /* of all bodies being received at once: then 503 */
#define HD_HTTP_HEAD_BYTES 8192           /* request line and header; a key, a cookie, a trace or two */
#define HD_HTTP_URL_BYTES 4096            /* a filter in a query; what is longer belongs into a body */
#define HD_HTTP_HEADERS_MAX 64            /* lines of a header; browsers send about 20 */
#define HD_HTTP_QUERY_MAX 64              /* names in a query */
#define HD_HTTP_CONNECTIONS 12000         /* about 25 KiB each once it has asked, 1 before */
#define HD_HTTP_PER_ADDRESS 512           /* of one address: an office behind one router */
#define HD_HTTP_CROWDED_MS 2000           /* of silence, where seven eighths of the places are taken */
#define HD_HTTP_HEAD_MS 10000             /* from connecting to the end of the head */
#define HD_HTTP_BODY_MS 30000             /* 16 MiB in it need 4.5 Mbit/s */
#define HD_HTTP_ANSWER_MS 30000           /* to take an answer, or each piece of a streamed one */
#define HD_HTTP_IDLE_MS 60000             /* between an answer and the next request */
#define HD_HTTP_THREADS_MAX 256           /* they wait on sockets, and hand long work to others */
#define HD_HTTP_PACK_BYTES 1024           /* shorter answers fit one packet, packed or not */
#define HD_HTTP_STREAM_BYTES (32 << 10)   /* a piece of a streamed answer */
/* What the kernel holds of an answer that a client does not take. Else it is up to 4 MiB each, and the
 * server hears of free room only when a third of it has gone. */
#define HD_HTTP_UNSENT_BYTES (128 << 10)
#define HD_HTTP_DRAINED_MAX 256           /* refused clients whose sending is listened to until it ends */
#define HD_HTTP_DRAIN_MS 5000
#define HD_HTTP_DRAIN_BYTES (256 << 20)
#define HD_HTTP_DESCRIPTORS_MAX (1 << 20) /* a table of 8 MiB */
#define HD_HTTP_DESCRIPTORS_KEPT 256      /* for the store, models, logs */
#define HD_HTTP_PEM_BYTES_MAX (1 << 20)   /* a certificate with its chain */
/* ---- heed serve, above HTTP */
#define HD_INTAKE_WAITING_MAX 4096  /* bodies that wait for the disk: a second's worth of single events */
#define HD_INTAKE_BYTES_MAX (256 << 20) /* of them together: what a machine of 1 GiB can spare */
#define HD_INTAKE_THREADS 2         /* one at the disk, one that reads the next group */
#define HD_INTAKE_AHEAD_BYTES (256 << 10) /* a group worth reading meanwhile: some 5 ms of reading */
#define HD_INTAKE_GROUP_MAX 256     /* bodies that wait for the disk together: more gains nothing */
#define HD_INTAKE_GROUP_BYTES (16 << 20) /* of them together, so that nobody waits long for a neighbour */
#define HD_ERRORS_LISTED_MAX 100    /* bad records that an answer names; all are counted */
#define HD_OPTION_TEXTS_MAX 1000    /* times that one option of the command line is given: files say more */
#define HD_JOBS_WAITING_MAX 16      /* jobs that wait for the one that runs: more is a mistake in a script */
#define HD_JOBS_KEPT_MAX 100        /* jobs that are remembered, so that memory stays where it was */
#define HD_REPORTS_WAITING_MAX 16   /* reports that wait for the one that is made: each is a walk over all events */
#define HD_KEYS_MAX 1024            /* keys in use: each is compared with what a caller shows */
#define HD_KEY_NAME_BYTES_MAX 64    /* a key's name: it stands in each line of the access log */
#define HD_ADDRESSES_MAX 4096       /* addresses whose rate is watched at once; a stranger takes the oldest's place */
#define HD_AUDIT_LINES_MAX 1000     /* lines of the audit log in one answer */
#define HD_AUDIT_TEXT_BYTES_MAX 512 /* who, what or to whom, in one of its lines */

#endif
