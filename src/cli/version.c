/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed version`: what this is and how it was built, for a report of a fault. */
#include "build.h"
#include "cli/commands.h"
#include "cli/answer.h"
#include "kernel/kernel.h"

static heed_status print_json(void)
{
    struct hd_json_writer json = {0};

    hd_json_begin_object(&json, NULL);
    hd_json_put_text(&json, "version", heed_version());
    hd_json_put_text(&json, "commit", HD_BUILD_COMMIT);
    hd_json_put_text(&json, "compiler", HD_BUILD_COMPILER);
    hd_json_put_text(&json, "build", HD_BUILD_TYPE);
    hd_json_put_text(&json, "instructions", hd_kernels()->name);
    hd_json_end(&json);
    return hd_print_json(&json);
}

static heed_status version_run(struct hd_cli *cli, const void *options)
{
    (void)options;
    if (cli->json)
        return print_json();
    printf("heed %s\n", heed_version());
    printf("commit %s, %s, %s, instructions %s\n", HD_BUILD_COMMIT, HD_BUILD_COMPILER,
           HD_BUILD_TYPE, hd_kernels()->name);
    return HEED_OK;
}

const struct hd_command hd_command_version = {
    .name = "version",
    .summary = "which heed this is",
    .example = "heed version",
    .uses = HD_USES_JSON,
    .run = version_run,
};
