/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeping a store: forgetting people, retention, backups, checks, keys and the audit log. What heed
 * serve, its operator and the commands of the same names do goes through this header. */
#ifndef HEED_OPERATE_H
#define HEED_OPERATE_H

#include "heed/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- privacy */

typedef struct heed_erasure {
    bool known;        /* the user was there */
    int64_t events, marks, decisions; /* what was removed; by verify: what is still there */
} heed_erasure;
/**
 * Removes every trace of a user: events, attributes, consent, marks, decisions, what is kept at hand.
 * The user's number stays taken, under an id that nobody can have. A user that is not known is no
 * error: there is nothing to erase. The same id may come back later, as somebody new.
 * Values   on HEED_OK it is on disk, and freed pages are overwritten
 */
HEED_API HEED_CHECKED heed_status heed_engine_erase(heed_engine *engine, const char *user,
                                                    heed_erasure *report);
/** Looks for traces of a user everywhere heed keeps anything. HEED_OK, with counts that are all 0 where
 *  there are none. */
HEED_API HEED_CHECKED heed_status heed_engine_erase_verify(heed_engine *engine, const char *user,
                                                           heed_erasure *report);
/** Everything held about a user, as one JSON object. HEED_E_NOTFOUND: not known. */
HEED_API HEED_CHECKED heed_status heed_engine_export_user(heed_engine *engine, const char *user,
                                                          heed_text **out);
/**
 * Forgets events of a kind (NULL: of every kind) that are older than `before`. Events whose time is
 * not known stay. *removed may be NULL.
 * Errors   HEED_E_ARG  there is no such kind
 */
HEED_API HEED_CHECKED heed_status heed_engine_retain(heed_engine *engine, const char *kind,
                                                     heed_time before, int64_t *removed);

/* ---- reports */

typedef struct heed_report_opts {
    const char *by; /* "tag", "author", "item", "kind", "day" (UTC), "hour" (of the week, UTC, 0 to 167,
                       from Monday) */
    heed_time from, to; /* events from `from` on, before `to`; 0: open. With one of them, or by day or
                           hour, events whose time is not known are left out */
    const char *kind; /* events of this kind; NULL: of every kind that is attention */
    int64_t k; /* no line is of fewer readers; 0: 10, and never less */
    int n;     /* groups, 1 to 1,000, those of the most readers; 0: 50 */
    heed_progress progress;
    uint64_t reserved[4];
} heed_report_opts;
/**
 * Attention taken, by group, as JSON: {"by", "from", "to", "kind", "k", "groups": [{"group", "readers",
 * "events", "impressions", "dwell_ms", "share"}], "other": {"readers", ...}, "withheld"}. `other` is
 * every other group in one: those of fewer than k readers, and those past the n-th. It is not there
 * where it would be empty, or of fewer than k readers. Users who do not want to be learned from are in
 * no report.
 *
 * Values   group     null: items without an author, or without a tag. An event counts in each of its
 *                    item's tags
 *          readers   users with one of the events or more; who only was shown something is none
 *          impressions  how often a group was shown; one that was only shown is no group
 *          share     of the events of all lines that are there
 *          withheld  some groups have fewer than k readers, and are in `other` or in no line
 * Errors   HEED_E_ARG  by, kind, k, n or a range that makes no sense; the message says which
 *          HEED_E_CANCELLED
 * Threads  reads through a handle of its own, so that nobody waits
 * Cost     two walks over the events; 40 bytes a group
 * Source   src/acquire/report.h: why no line tells of fewer than k readers, and what that does not
 *          protect from
 */
HEED_API HEED_CHECKED heed_status heed_engine_report(heed_engine *engine,
                                                     const heed_report_opts *opts, heed_text **out);

/* ---- operation */

/** A consistent copy of the store and its models in a new folder, while others read and write.
 *  HEED_E_EXISTS: there is something at `folder` already. */
HEED_API HEED_CHECKED heed_status heed_engine_backup(heed_engine *engine, const char *folder,
                                                     const heed_progress *progress);
/** Makes a data folder of a backup, after checking it. HEED_E_EXISTS: `folder` holds a store. */
HEED_API HEED_CHECKED heed_status heed_restore(const char *backup, const char *folder);

typedef struct heed_check_report {
    int64_t checked;  /* invariants looked at */
    int64_t findings; /* of them broken */
} heed_check_report;
/** Every invariant of the store. `found` is called with a sentence for each that is broken. */
HEED_API HEED_CHECKED heed_status heed_engine_check(heed_engine *engine,
                                                    void (*found)(void *context, const char *what),
                                                    void *context, heed_check_report *report);
/** Gives pages that are not used any more back to the disk. Sizes in bytes; both may be NULL. */
HEED_API HEED_CHECKED heed_status heed_engine_compact(heed_engine *engine, int64_t *before,
                                                      int64_t *after);

/* ---- keys. The secret is the caller's; the store keeps a hash of it, which the caller makes. */

typedef enum heed_role {
    HEED_ROLE_INGEST,     /* may put events, items and users in */
    HEED_ROLE_SERVE,      /* may ask for feeds and explanations, and put events in */
    HEED_ROLE_ADVERTISER, /* may see and steer one account */
    HEED_ROLE_OPERATOR,   /* may do everything */
    HEED_ROLES
} heed_role;
/** "ingest", "serve", "advertiser", "operator"; NULL for a value that is none. */
HEED_API const char *heed_role_name(heed_role role);

typedef struct heed_key {
    int64_t number;            /* given by the store */
    char name[65];             /* unique among keys; up to 64 bytes */
    heed_role role;
    char account[257];         /* the advertiser's; else "" */
    uint8_t hash[32];
    int64_t per_second, per_day; /* requests; 0: the server's own limit, no quota */
    heed_time made, revoked;   /* revoked 0: in use */
} heed_key;
/** HEED_E_EXISTS: a key of that name or hash is there. HEED_E_ARG names what is out of its range. */
HEED_API HEED_CHECKED heed_status heed_engine_key_add(heed_engine *engine, const heed_key *key);
/** HEED_E_NOTFOUND: no key in use of that name. */
HEED_API HEED_CHECKED heed_status heed_engine_key_revoke(heed_engine *engine, const char *name);
/** All keys, revoked ones too; heed_keys_free(*keys). */
HEED_API HEED_CHECKED heed_status heed_engine_keys(heed_engine *engine, heed_key **keys,
                                                   int64_t *count);
HEED_API void heed_keys_free(heed_key *keys);

/** Adds a line to the audit log: who did what to what. No secrets. */
HEED_API HEED_CHECKED heed_status heed_engine_audit(heed_engine *engine, const char *who,
                                                    const char *action, const char *subject);
/** The latest n lines as JSON, newest first: {"audit": [{"at","who","action","subject"}]}. */
HEED_API HEED_CHECKED heed_status heed_engine_audit_list(heed_engine *engine, int n,
                                                         heed_text **out);

/** The models that are served, as JSON: {"models": [{"name", "file", "made", "description": {}}]}. */
HEED_API HEED_CHECKED heed_status heed_engine_models(heed_engine *engine, heed_text **out);

#ifdef __cplusplus
}
#endif
#endif
