/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed version`: what this is and how it was built, for a report of a fault. */
#include "cli/commands.h"
#include "heed/base.h"

static heed_status version_run(struct hd_cli *cli, const void *options)
{
    (void)options;
    if (cli->json)
        printf("{\"version\": \"%s\"}\n", heed_version());
    else
        printf("heed %s\n", heed_version());
    return HEED_OK;
}

const struct hd_command hd_command_version = {
    .name = "version",
    .summary = "which heed this is",
    .example = "heed version",
    .uses = HD_USES_JSON,
    .run = version_run,
};
