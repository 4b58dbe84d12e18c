/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands, one file each. */
#ifndef HD_COMMANDS_H
#define HD_COMMANDS_H

#include "cli/command.h"

extern const struct hd_command hd_command_help;
extern const struct hd_command hd_command_version;

#endif
