/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers for machines: one JSON object on stdout. */
#ifndef HD_ANSWER_H
#define HD_ANSWER_H

#include "cli/command.h"
#include "engine/answers.h"
#include "text/json.h"

/* Writes the finished document and a newline to stdout, and clears the writer. */
HEED_CHECKED heed_status hd_print_json(struct hd_json_writer *json);

#endif
