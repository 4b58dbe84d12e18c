/* SPDX-License-Identifier: Apache-2.0
 *
 * Records that were understood, into the store: what an import and heed_engine_ingest() share. Each of
 * these runs inside a transaction. */
#ifndef HD_PUT_H
#define HD_PUT_H

#include "acquire/item.h"
#include "acquire/user.h"
#include "store/store.h"

struct hd_put {
    hd_store *store;
    hd_arena *arena;            /* of one record: the caller resets it */
    struct hd_json_writer tags; /* scratch; cleared by the caller at the end */
};

/* The row of an event, its user and item with numbers, new ones where need be; its texts are the
 * event's. It is put by hd_store_put_event(). */
HEED_CHECKED heed_status hd_event_to_row(struct hd_put *put, const struct hd_event *event,
                                         struct hd_event_row *row);
/* merge: what the item does not speak of stays. *fresh: something is new. */
HEED_CHECKED heed_status hd_put_item(struct hd_put *put, const struct hd_item *item, bool merge,
                                     int32_t *number, bool *fresh);
HEED_CHECKED heed_status hd_put_user(struct hd_put *put, const struct hd_user *user, bool merge,
                                     int32_t *number, bool *fresh);

#endif
