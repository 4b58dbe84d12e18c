/* SPDX-License-Identifier: Apache-2.0
 *
 * Long answers, a page of the store at a time. */
#ifndef HD_STREAM_H
#define HD_STREAM_H

#include "server/request.h"

/* Answers with all events that opts ask for as NDJSON, from opts' cursor on. */
HEED_CHECKED heed_status hd_stream_events(struct hd_request *r, const heed_list_opts *opts);

#endif
