/* SPDX-License-Identifier: Apache-2.0
 *
 * What the calls that read and keep records share. */
#ifndef HD_KEEP_H
#define HD_KEEP_H

#include "engine/state.h"
#include "store/records.h"
#include "text/json.h"

/* A transaction on the engine's store for writers. Between the two no other call writes. */
HEED_CHECKED heed_status hd_write_begin(heed_engine *engine, hd_store **store);
/* Commits where status is HEED_OK, else rolls back and passes it on. */
HEED_CHECKED heed_status hd_write_end(heed_engine *engine, hd_store *store, heed_status status);

/* A store handle of a call's own, for what takes long: nobody waits for it. */
HEED_CHECKED heed_status hd_open_beside(const heed_engine *engine, hd_store **store);

/* Records as they are taken in again: only what is there. */
void hd_put_event_json(struct hd_json_writer *w, const char *key,
                       const struct hd_event_record *event);
HEED_CHECKED heed_status hd_put_item_json(struct hd_json_writer *w, const char *key,
                                          hd_store *store, hd_arena *arena, int32_t item,
                                          const char *id, const struct hd_item_row *row);
HEED_CHECKED heed_status hd_put_user_json(struct hd_json_writer *w, const char *key,
                                          hd_store *store, hd_arena *arena, int32_t user,
                                          const char *id, const struct hd_user_row *row);

/* ---- cursors: where a list goes on, as a text that says nothing to others */

#define HD_CURSOR_BYTES 40 /* with the NUL */

/* number: of the last item or user of a page; events: key. */
void hd_cursor_write(heed_record what, int32_t number, const struct hd_event_key *key,
                     char out[HD_CURSOR_BYTES]);
/* HEED_E_ARG where the text is no cursor of such a list. */
HEED_CHECKED heed_status hd_cursor_read(heed_record what, const char *text, int32_t *number,
                                        struct hd_event_key *key);

#endif
