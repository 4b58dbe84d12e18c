/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that a call hands to its caller. */
#ifndef HD_TEXT_H
#define HD_TEXT_H

#include "heed/engine.h"
#include "text/json.h"

/* The finished document becomes the caller's; the writer is empty then, whatever happens. */
HEED_CHECKED heed_status hd_text_take(struct hd_json_writer *json, heed_text **out);

#endif
