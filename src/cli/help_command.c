/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed help`: what the table says, as help, as the manual page, as shell completion. */
#include "cli/commands.h"

#include <string.h>

struct help_options {
    struct hd_words topic;
    bool man;
    const char *completion;
};
#define AT(field) offsetof(struct help_options, field)

static const struct hd_flag help_arguments[] = {
    {"topic", 0, HD_FLAG_WORDS, AT(topic), "COMMAND", "the command to tell about"},
    {0},
};

static const struct hd_flag help_flags[] = {
    {"man", 0, HD_FLAG_SWITCH, AT(man), NULL, "print the manual page, for man -l or an installer"},
    {"completion", 0, HD_FLAG_CHOICE, AT(completion), "bash", "print completion for this shell"},
    {0},
};

static heed_status help_run(struct hd_cli *cli, const void *given)
{
    const struct help_options *options = given;
    struct hd_call call = {0};

    (void)cli;
    if (options->man) {
        hd_manual_page(stdout);
    } else if (options->completion) {
        hd_completion_bash(stdout);
    } else if (options->topic.count == 0) {
        hd_help_program(stdout);
    } else {
        HD_TRY(hd_find_command(options->topic.word, options->topic.count, &call));
        if (call.command)
            hd_help_command(stdout, call.command);
        else
            hd_help_group(stdout, call.topic);
    }
    return HEED_OK;
}

const struct hd_command hd_command_help = {
    .name = "help",
    .summary = "what heed can do, or what one command does, with an example",
    .example = "heed help train sequence",
    .arguments = help_arguments,
    .flags = help_flags,
    .options_bytes = sizeof(struct help_options),
    .run = help_run,
};
