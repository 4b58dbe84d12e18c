/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed export events|items|users|user`: records as `heed import` and the API take them in again. */
#include "cli/commands.h"
#include "cli/session.h"
#include "heed/operate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct export_options {
    const char *user, *output;
};
#define AT(field) offsetof(struct export_options, field)

static const struct hd_flag output_flags[] = {
    {"output", 'o', HD_FLAG_FILE, AT(output), "FILE", "where to write them instead of stdout"},
    {0},
};
static const struct hd_flag user_argument[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER", "whose", .required = true},
    {0},
};

/* stdout, or a file beside the one that is wanted until it is whole. */
struct output {
    const char *path; /* NULL: stdout */
    char *part;
    FILE *file;
    int64_t records, bytes;
};

static heed_status output_open(struct output *out, const char *path)
{
    *out = (struct output){.path = path, .file = stdout};
    if (!path)
        return HEED_OK;
    size_t bytes = strlen(path) + sizeof ".part";
    out->part = malloc(bytes);
    if (!out->part)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", path);
    snprintf(out->part, bytes, "%s.part", path);
    out->file = fopen(out->part, "w");
    if (!out->file) {
        heed_status status = hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
        free(out->part);
        return status;
    }
    return HEED_OK;
}

static bool output_write(void *context, const char *text, size_t bytes)
{
    struct output *out = context;

    out->records++;
    out->bytes += (int64_t)bytes;
    return fwrite(text, 1, bytes, out->file) == bytes && !hd_interrupted();
}

/* Closes, and gives the file its name where all went well. */
static heed_status output_close(struct output *out, heed_status status)
{
    bool failed;

    if (!out->path) {
        failed = fflush(stdout) != 0 || ferror(stdout);
        /* What stopped the export was the pipe or the disk behind stdout. */
        if (failed && (status == HEED_OK || status == HEED_E_CANCELLED))
            status = hd_fail_errno(HEED_E_IO, "standard output");
        return status;
    }
    failed = fflush(out->file) != 0 || fsync(fileno(out->file)) != 0;
    failed = fclose(out->file) != 0 || failed;
    if (failed && (status == HEED_OK || status == HEED_E_CANCELLED))
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", out->path);
    if (status == HEED_OK && rename(out->part, out->path) != 0)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", out->path);
    if (status != HEED_OK)
        unlink(out->part);
    free(out->part);
    return status;
}

static heed_status print_report(const struct hd_cli *cli, const struct output *out,
                                const char *noun)
{
    if (!out->path)
        return HEED_OK;
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "path", out->path);
        hd_json_put_int(&json, "records", out->records);
        hd_json_put_int(&json, "bytes", out->bytes);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s in %s\n", hd_counted(out->records, noun), out->path);
    return HEED_OK;
}

static heed_status export_all(struct hd_cli *cli, const struct export_options *options,
                              heed_record what, const char *noun)
{
    struct hd_session session;
    struct output out;

    if (cli->json && !options->output)
        return hd_fail(HEED_E_ARG, "--json: tells of the file that -o names; the records are JSON "
                                   "without it");
    HD_TRY(hd_session_open(&session, cli, "export", false, 1));
    heed_status status = output_open(&out, options->output);
    if (status == HEED_OK) {
        status = heed_engine_export(session.engine, what, &(heed_sink){output_write, &out});
        status = output_close(&out, status);
    }
    hd_session_close(&session);
    return status == HEED_OK ? print_report(cli, &out, noun) : status;
}

static heed_status events_run(struct hd_cli *cli, const void *options)
{
    return export_all(cli, options, HEED_RECORD_EVENT, "event");
}

static heed_status items_run(struct hd_cli *cli, const void *options)
{
    return export_all(cli, options, HEED_RECORD_ITEM, "item");
}

static heed_status users_run(struct hd_cli *cli, const void *options)
{
    return export_all(cli, options, HEED_RECORD_USER, "user");
}

static heed_status user_run(struct hd_cli *cli, const void *given)
{
    const struct export_options *options = given;
    struct hd_session session;
    heed_text *text = NULL;
    struct output out;

    HD_TRY(hd_session_open(&session, cli, "export", false, 1));
    heed_status status = heed_engine_export_user(session.engine, options->user, &text);
    if (status == HEED_OK)
        status = output_open(&out, options->output);
    if (status == HEED_OK) {
        if (!output_write(&out, text->text, text->bytes) || fputc('\n', out.file) == EOF)
            status = hd_fail(HEED_E_CANCELLED, "export: stopped");
        status = output_close(&out, status);
    }
    heed_text_free(text);
    hd_session_close(&session);
    return status == HEED_OK ? print_report(cli, &out, "user") : status;
}

const struct hd_command hd_command_export_events = {
    .name = "export events",
    .summary = "all events, as heed import events takes them",
    .about = "One JSON object a line, by user and in the order of time, as of one moment: others may\n"
             "go on writing. Where the time is not known, `ts` is null, and the order tells.",
    .example = "heed export events -o events.ndjson",
    .flags = output_flags,
    .options_bytes = sizeof(struct export_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = events_run,
};

const struct hd_command hd_command_export_items = {
    .name = "export items",
    .summary = "all items, as heed import items takes them",
    .example = "heed export items -o items.ndjson",
    .flags = output_flags,
    .options_bytes = sizeof(struct export_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = items_run,
};

const struct hd_command hd_command_export_users = {
    .name = "export users",
    .summary = "all users, as heed import users takes them",
    .about = "What each said: attributes, consent, whom they follow and block.",
    .example = "heed export users -o users.ndjson",
    .flags = output_flags,
    .options_bytes = sizeof(struct export_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = users_run,
};

const struct hd_command hd_command_export_user = {
    .name = "export user",
    .summary = "everything that is held about one user",
    .about = "One JSON object: what the user said of themselves, every event, and every decision\n"
             "that was kept. It is what a user who asks is given.",
    .example = "heed export user u12 -o u12.json",
    .arguments = user_argument,
    .flags = output_flags,
    .options_bytes = sizeof(struct export_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = user_run,
};
