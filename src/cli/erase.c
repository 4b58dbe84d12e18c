/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed erase` and `heed retain`: what is forgotten, and whether it is. */
#include "base/time.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "heed/operate.h"

struct erase_options {
    const char *user, *kind;
    heed_span older;
    bool verify;
};
#define AT(field) offsetof(struct erase_options, field)

static const struct hd_flag erase_arguments[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER", "whom to forget", .required = true},
    {0},
};
static const struct hd_flag erase_flags[] = {
    {"verify", 0, HD_FLAG_SWITCH, AT(verify), NULL,
     "look everywhere for traces afterwards; exit 1 where there are any"},
    {0},
};
static const struct hd_flag retain_flags[] = {
    {"older", 0, HD_FLAG_SPAN, AT(older), "SPAN", "forget what is older than this: 90d, 6h, 30m",
     .required = true},
    {"kind", 0, HD_FLAG_TEXT, AT(kind), "KIND", "only events of this kind, such as impression"},
    {0},
};

static void put_erasure(struct hd_json_writer *json, const heed_erasure *e)
{
    hd_json_put_bool(json, "known", e->known);
    hd_json_put_int(json, "events", e->events);
    hd_json_put_int(json, "marks", e->marks);
    hd_json_put_int(json, "decisions", e->decisions);
}

static bool is_clean(const heed_erasure *e)
{
    return !e->known && e->events == 0 && e->marks == 0 && e->decisions == 0;
}

static void print_erasure(const char *what, const heed_erasure *e)
{
    printf("%s%s, %s, %s\n", what, hd_counted(e->events, "event"), hd_counted(e->marks, "mark"),
           hd_counted(e->decisions, "decision"));
}

/* left: NULL where nobody asked to look. */
static heed_status print_report(const struct hd_cli *cli, const char *user,
                                const heed_erasure *removed, const heed_erasure *left)
{
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "user", user);
        put_erasure(&json, removed);
        if (left) {
            hd_json_begin_object(&json, "left");
            put_erasure(&json, left);
            hd_json_end(&json);
            hd_json_put_bool(&json, "clean", is_clean(left));
        }
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    if (!removed->known)
        printf("%s is not known\n", user);
    if (!is_clean(removed))
        print_erasure(removed->known ? "Removed: the user, " : "Removed: ", removed);
    if (left) {
        printf("Looked at users, events and marks in heed.db, and at the decisions\n");
        if (is_clean(left))
            printf("No trace is left\n");
        else
            print_erasure(left->known ? "Left: the user, " : "Left: ", left);
    }
    return HEED_OK;
}

static heed_status erase_run(struct hd_cli *cli, const void *given)
{
    const struct erase_options *options = given;
    struct hd_session session;
    heed_erasure removed = {0}, left = {0};

    HD_TRY(hd_session_open(&session, cli, "erase", false, 1));
    heed_status status = heed_engine_erase(session.engine, options->user, &removed);
    if (status == HEED_OK && options->verify)
        status = heed_engine_erase_verify(session.engine, options->user, &left);
    hd_session_close(&session);
    HD_TRY(status);
    HD_TRY(print_report(cli, options->user, &removed, options->verify ? &left : NULL));
    if (!is_clean(&left))
        return hd_fail(HEED_E_INVARIANT, "erase: traces of %.80s are left", options->user);
    return HEED_OK;
}

static heed_status retain_run(struct hd_cli *cli, const void *given)
{
    const struct erase_options *options = given;
    heed_time before = hd_clock_now(NULL) - options->older;
    struct hd_session session;
    char until[HD_TIME_TEXT_BYTES];
    int64_t removed = 0;

    HD_TRY(hd_session_open(&session, cli, "retain", false, 1));
    heed_status status = heed_engine_retain(session.engine, options->kind, before, &removed);
    hd_session_close(&session);
    HD_TRY(status);
    hd_time_format(before, until);
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "kind", options->kind);
        hd_json_put_text(&json, "before", until);
        hd_json_put_int(&json, "removed", removed);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s before %s removed\n", hd_counted(removed, "event"), until);
    return HEED_OK;
}

const struct hd_command hd_command_erase = {
    .name = "erase",
    .summary = "forget a user: every event, attribute, mark and decision",
    .about = "What was erased is overwritten on disk. The same id may come back as somebody new.\n"
             "Erasing somebody who is not known is no error, so that it can be asked for again.\n"
             "Backups made before still hold the user: docs/OPERATING.md says what to do.",
    .example = "heed erase u12 --verify",
    .arguments = erase_arguments,
    .flags = erase_flags,
    .options_bytes = sizeof(struct erase_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = erase_run,
};

const struct hd_command hd_command_retain = {
    .name = "retain",
    .summary = "forget events that are older than a span",
    .about = "Some thousands at a time, so that others can write in between. Events whose time is\n"
             "not known stay.",
    .example = "heed retain --kind impression --older 90d",
    .flags = retain_flags,
    .options_bytes = sizeof(struct erase_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = retain_run,
};
