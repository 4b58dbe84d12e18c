/* SPDX-License-Identifier: Apache-2.0
 *
 * The program: reads the command line, runs the command, turns its status into an exit code. The
 * only place that reads the environment. */
#include "cli/command.h"
#include "cli/terminal.h"
#include "base/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *data_folder(const struct hd_globals *globals)
{
    const char *set = getenv("HEED_DATA");

    if (globals->data)
        return globals->data;
    return set && *set ? set : "./heed-data";
}

static int complain(const struct hd_call *call, heed_status status)
{
    const char *message = heed_error_message();

    fprintf(stderr, "heed: %s\n", *message ? message : heed_status_text(status));
    if (hd_interrupted() && status == HEED_E_CANCELLED)
        return 128 + hd_interrupted();
    if (status == HEED_E_ARG && call->command && strcmp(call->command->name, "help") != 0)
        fprintf(stderr, "See `heed help %s`.\n", call->command->name);
    return heed_status_exit_code(status);
}

/* Help on what the line spells; false where it asked for none. */
static bool help(const struct hd_call *call)
{
    if (!call->globals.help)
        return false;
    if (call->command)
        hd_help_command(stdout, call->command);
    else if (*call->topic)
        hd_help_group(stdout, call->topic);
    else
        hd_help_program(stdout);
    return true;
}

int main(int argc, char **argv)
{
    struct hd_call call = {0};
    int code = 0;

    if (argc <= 1) { /* somebody who looks around, not a mistake in a script */
        hd_help_program(stderr);
        return 2;
    }
    heed_status status = hd_parse((const char *const *)argv + 1, argc - 1, &call);
    if (status != HEED_OK) {
        code = complain(&call, status);
    } else if (!help(&call)) {
        struct hd_cli cli = {
            .data = data_folder(&call.globals),
            .json = call.globals.json,
            .color = hd_terminal_color(stdout),
            .columns = hd_terminal_columns(stdout),
        };
        hd_interrupt_catch();
        status = call.command->run(&cli, call.options);
        if (status != HEED_OK)
            code = complain(&call, status);
    }
    hd_free(call.options);
    /* A full disk shows only here. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "heed: standard output: %s\n", strerror(errno));
        code = code ? code : 1;
    }
    return code;
}
