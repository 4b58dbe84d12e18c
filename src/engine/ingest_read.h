/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of text, taken apart into records. Nothing here needs a store or a lock: what one caller
 * reads while another waits for the disk costs nobody a wait. */
#ifndef HD_INGEST_READ_H
#define HD_INGEST_READ_H

#include "acquire/event.h"
#include "heed/engine.h"

/* Each record of a piece, with its line (of a document: which element). A status of the record's own
 * fault (hd_is_refusal) turns it away and the next one follows; another ends the call. */
typedef heed_status (*hd_record_fn)(void *context, const hd_json *root, int64_t line);
HEED_CHECKED heed_status hd_ingest_each(hd_json_reader *json, heed_ingest *piece, hd_record_fn take,
                                        void *context);

/* Counts it and tells whoever asked to be told. */
void hd_ingest_refuse(heed_ingest *piece, int64_t line, const char *why);

/* An event that was understood. Its texts are in the arena. */
struct hd_read_event {
    struct hd_event event;
    heed_ingest *piece;
    int64_t line;
};

/* All zero but the arena is empty; hd_free() `event` at the end. */
struct hd_read_events {
    hd_arena *arena;
    struct hd_read_event *event;
    int64_t count, room;
};

/* Adds the events of a piece. What makes no sense is turned away here. */
HEED_CHECKED heed_status hd_ingest_read_events(hd_json_reader *json, heed_ingest *piece,
                                               struct hd_read_events *out);

/* Room for one more in an array on the heap. */
HEED_CHECKED heed_status hd_ingest_grow(void **array, int64_t count, int64_t *room, size_t size);

#endif
