/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers for machines. */
#include "cli/answer.h"

heed_status hd_print_json(struct hd_json_writer *json)
{
    const char *text;
    size_t bytes;
    heed_status status = hd_json_finish(json, &text, &bytes);

    if (status == HEED_OK) {
        fwrite(text, 1, bytes, stdout);
        fputc('\n', stdout); /* a failure is seen when the program flushes stdout at its end */
    }
    hd_json_clear(json);
    return status;
}
