/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that a call hands to its caller. */
#include "engine/text.h"
#include "base/memory.h"

heed_status hd_text_take(struct hd_json_writer *json, heed_text **out)
{
    const char *text;
    size_t bytes;
    heed_text *made = NULL;
    heed_status status = hd_json_finish(json, &text, &bytes);

    if (status == HEED_OK && !(made = hd_alloc(1, sizeof *made)))
        status = hd_fail(HEED_E_NOMEM, "json: no memory");
    if (status == HEED_OK) {
        *made = (heed_text){text, bytes};
        *out = made;
        json->text = NULL; /* it is the caller's now */
    }
    hd_json_clear(json);
    return status;
}

void heed_text_free(heed_text *text)
{
    if (!text)
        return;
    hd_free((void *)(uintptr_t)text->text);
    hd_free(text);
}
