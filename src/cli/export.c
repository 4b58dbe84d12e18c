/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed export model`: a copy of what was learned, for another program. */
#include "cli/commands.h"
#include "cli/session.h"

struct export_options {
    const char *name, *output;
};
#define AT(field) offsetof(struct export_options, field)

static const struct hd_flag export_arguments[] = {
    {"model", 0, HD_FLAG_CHOICE, AT(name), "sequence", "which one to copy", .required = true},
    {0},
};

static const struct hd_flag export_flags[] = {
    {"output", 'o', HD_FLAG_FILE, AT(output), "FILE", "where to write it", .required = true},
    {0},
};

static heed_status export_run(struct hd_cli *cli, const void *given)
{
    const struct export_options *options = given;
    struct hd_session session;

    HD_TRY(hd_session_open(&session, cli, "export", false, 1));
    heed_status status = heed_engine_export_model(session.engine, options->name, options->output);
    hd_session_close(&session);
    HD_TRY(status);
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "model", options->name);
        hd_json_put_text(&json, "path", options->output);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("The model `%s` is in %s\n", options->name, options->output);
    return HEED_OK;
}

const struct hd_command hd_command_export_model = {
    .name = "export model",
    .summary = "a copy of the model's file, in safetensors",
    .about =
        "Python reads it with safetensors.numpy.load_file(); its metadata say the recipe, the\n"
        "shape and which row is which item.",
    .example = "heed export model sequence -o model.safetensors",
    .arguments = export_arguments,
    .flags = export_flags,
    .options_bytes = sizeof(struct export_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = export_run,
};
