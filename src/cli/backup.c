/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed backup`, `heed restore`, `heed check`, `heed compact`: keeping a data folder. All but restore
 * work beside a server on the same folder. */
#include "cli/commands.h"
#include "cli/session.h"
#include "heed/operate.h"

#include <inttypes.h>

struct backup_options {
    const char *folder;
};
#define AT(field) offsetof(struct backup_options, field)

static const struct hd_flag backup_arguments[] = {
    {"folder", 0, HD_FLAG_FOLDER, AT(folder), "DIR", "a folder that is not there yet",
     .required = true},
    {0},
};
static const struct hd_flag restore_arguments[] = {
    {"backup", 0, HD_FLAG_FOLDER, AT(folder), "BACKUP", "what heed backup has made",
     .required = true},
    {0},
};

static heed_status print_folder(const struct hd_cli *cli, const char *folder, const char *words)
{
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "backup", folder);
        hd_json_put_text(&json, "data", cli->data);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s%s%s\n", folder, words, cli->data);
    return HEED_OK;
}

static heed_status backup_run(struct hd_cli *cli, const void *given)
{
    const struct backup_options *options = given;
    struct hd_session session;

    HD_TRY(hd_session_open(&session, cli, "backup", false, 1));
    heed_status status =
        heed_engine_backup(session.engine, options->folder, &session.progress);
    hd_session_close(&session);
    HD_TRY(status);
    return print_folder(cli, options->folder, " is a backup of ");
}

static heed_status restore_run(struct hd_cli *cli, const void *given)
{
    const struct backup_options *options = given;

    HD_TRY(heed_restore(options->folder, cli->data));
    return print_folder(cli, options->folder, " is whole, and restored to ");
}

/* ---- check */

struct findings {
    bool json;
    struct hd_json_writer writer;
};

static void on_finding(void *context, const char *what)
{
    struct findings *f = context;

    if (f->json)
        hd_json_put_text(&f->writer, NULL, what);
    else
        printf("%s\n", what);
}

static heed_status print_check(struct findings *f, const heed_check_report *report)
{
    if (f->json) {
        hd_json_end(&f->writer);
        hd_json_put_int(&f->writer, "checked", report->checked);
        hd_json_end(&f->writer);
        return hd_print_json(&f->writer);
    }
    printf("%s looked at, %s broken\n", hd_counted(report->checked, "invariant"),
           report->findings ? hd_thousands(report->findings) : "none");
    return HEED_OK;
}

static heed_status check_run(struct hd_cli *cli, const void *given)
{
    struct findings f = {.json = cli->json};
    heed_check_report report = {0};
    struct hd_session session;

    (void)given;
    HD_TRY(hd_session_open(&session, cli, "check", false, 1));
    hd_json_begin_object(&f.writer, NULL);
    hd_json_begin_array(&f.writer, "findings");
    heed_status status = heed_engine_check(session.engine, on_finding, &f, &report);
    hd_session_close(&session);
    if (status == HEED_OK)
        status = print_check(&f, &report);
    hd_json_clear(&f.writer);
    HD_TRY(status);
    if (report.findings > 0)
        return hd_fail(HEED_E_INVARIANT, "check: %s is damaged: restore a backup", cli->data);
    return HEED_OK;
}

/* ---- compact */

static heed_status compact_run(struct hd_cli *cli, const void *given)
{
    struct hd_session session;
    int64_t before = 0, after = 0;

    (void)given;
    HD_TRY(hd_session_open(&session, cli, "compact", false, 1));
    heed_status status = heed_engine_compact(session.engine, &before, &after);
    hd_session_close(&session);
    HD_TRY(status);
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_int(&json, "before_bytes", before);
        hd_json_put_int(&json, "after_bytes", after);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s: %s bytes before, %s after\n", cli->data, hd_thousands(before),
           hd_thousands(after));
    return HEED_OK;
}

const struct hd_command hd_command_backup = {
    .name = "backup",
    .summary = "a consistent copy of the data folder, while others read and write",
    .about = "The folder is there, whole, when the command has ended well, and not at all where it\n"
             "has not. Decisions are not in it.",
    .example = "heed backup monday",
    .arguments = backup_arguments,
    .options_bytes = sizeof(struct backup_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = backup_run,
};

const struct hd_command hd_command_restore = {
    .name = "restore",
    .summary = "a data folder out of a backup",
    .about = "The backup is checked first, to the last page. A folder that holds a store already is\n"
             "left alone.",
    .example = "heed restore monday --data ./restored",
    .arguments = restore_arguments,
    .options_bytes = sizeof(struct backup_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = restore_run,
};

const struct hd_command hd_command_check = {
    .name = "check",
    .summary = "look at every invariant of the data folder",
    .about = "A line for each that is broken, and exit 1. It reads all of the store once.",
    .example = "heed check",
    .options_bytes = 0,
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = check_run,
};

const struct hd_command hd_command_compact = {
    .name = "compact",
    .summary = "give the disk back what was erased and forgotten",
    .about = "Writers wait while it works. It needs as much room again as the store takes.",
    .example = "heed compact",
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = compact_run,
};
