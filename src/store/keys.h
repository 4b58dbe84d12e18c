/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys, the audit log and the list of models, as rows. */
#ifndef HD_STORE_KEYS_H
#define HD_STORE_KEYS_H

#include "store/store.h"

struct hd_key_row {
    int64_t number;
    const char *name, *role, *account; /* account: NULL: none */
    const uint8_t *hash;               /* 32 bytes */
    int64_t per_second, per_day;
    heed_time made, revoked;
};
/* In a transaction. HEED_E_EXISTS: one of that name or hash is there. */
HEED_CHECKED heed_status hd_store_put_key(hd_store *store, const struct hd_key_row *row);
/* In a transaction. *found: whether a key of that name was in use. */
HEED_CHECKED heed_status hd_store_revoke_key(hd_store *store, const char *name, heed_time at,
                                             bool *found);
/* All, by number; the row's texts are good during the call only. */
typedef heed_status (*hd_key_fn)(void *context, const struct hd_key_row *row);
HEED_CHECKED heed_status hd_store_each_key(hd_store *store, hd_key_fn fn, void *context);

struct hd_audit_row {
    heed_time at;
    const char *who, *action, *subject;
};
/* In a transaction. */
HEED_CHECKED heed_status hd_store_put_audit(hd_store *store, const struct hd_audit_row *row);
/* The latest n, newest first. */
typedef heed_status (*hd_audit_fn)(void *context, const struct hd_audit_row *row);
HEED_CHECKED heed_status hd_store_each_audit(hd_store *store, int64_t n, hd_audit_fn fn,
                                             void *context);

/* All current models, by name. */
typedef heed_status (*hd_model_fn)(void *context, const struct hd_model_row *row);
HEED_CHECKED heed_status hd_store_each_model(hd_store *store, hd_model_fn fn, void *context);

#endif
