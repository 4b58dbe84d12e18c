/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of one reader between two questions, so that a new event costs its own row and not the
 * whole history again: the keys and values of every layer, for the rows of the model's window.
 *
 * A row looks only backwards, so its keys and values are made of its place in the window, the events up
 * to its own, and the times at which their states are asked: for a row before the last, when the next
 * event was; for the last, now. Rows of which all that is the same are taken as they are. So a later
 * question makes the last row anew, a new event makes two; a window that has moved on, an event that
 * came in late, or another history altogether make all. Nothing has to be told: the rows are
 * compared. */
#ifndef HD_SEQUENCE_STATE_H
#define HD_SEQUENCE_STATE_H

#include "models/sequence.h"

/* Of one model, which it borrows; confined. */
typedef struct hd_sequence_state hd_sequence_state;

HEED_CHECKED heed_status hd_sequence_state_new(const hd_sequence *model, hd_sequence_state **state);
void hd_sequence_state_free(hd_sequence_state *state);
/* What it takes on the heap now: it grows with the history, 8 layers dim bytes a row and 20 more, up
 * to the model's length (twice as many rows are made room for as there are, at most). */
uint64_t hd_sequence_state_bytes(const hd_sequence_state *state);

/* The vector (dim) that an answer is made of, as the whole pass in hd_sequence_score() would have it
 * but for the order of additions, and how many events counted. It lives in the reader until its next
 * call. *fresh (may be NULL): rows that were passed through the layers.
 * Errors   as hd_sequence_score(), and HEED_E_ARG for a state of another model; the state stays
 *          good for another try */
HEED_CHECKED heed_status hd_sequence_state_ask(hd_sequence_reader *reader, hd_sequence_state *state,
                                               const int32_t *items, const heed_time *times,
                                               int64_t count, heed_time now, const float **vector,
                                               int64_t *seen, int64_t *fresh);

#endif
