/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed import ...`: files into the data folder, with an exact account of every line. */
#include "cli/commands.h"
#include "cli/session.h"

#include <inttypes.h>
#include <string.h>

#define SHOWN_REJECTS 10 /* the first tell what is wrong; the rest are counted */

struct import_options {
    const char *path, *items, *encoding;
};
#define AT(field) offsetof(struct import_options, field)

static const struct hd_flag file_argument[] = {
    {"file", 0, HD_FLAG_FILE, AT(path), "FILE", "what to read; .gz and .zst are unpacked",
     .required = true},
    {0},
};

#define ENCODING_FLAG                                                                           \
    {                                                                                           \
        "encoding", 0, HD_FLAG_CHOICE, AT(encoding), "utf-8|latin-1", "how titles are written", \
            .fallback = "utf-8"                                                                 \
    }

static const struct hd_flag interactions_flags[] = {
    {"items", 0, HD_FLAG_FILE, AT(items), "FILE",
     "titles and tags: NDJSON, movies.dat, movies.csv or u.item"},
    ENCODING_FLAG,
    {0},
};
static const struct hd_flag movielens_flags[] = {
    {"movies", 0, HD_FLAG_FILE, AT(items), "FILE", "titles: movies.dat, movies.csv or u.item"},
    ENCODING_FLAG,
    {0},
};
static const struct hd_flag plain_flags[] = {ENCODING_FLAG, {0}};

struct rejects {
    int64_t count;
    struct hd_meter *meter;
};

static void on_reject(void *context, const heed_reject *reject)
{
    struct rejects *rejects = context;

    if (++rejects->count > SHOWN_REJECTS)
        return;
    hd_meter_clear(rejects->meter);
    fprintf(stderr, "%s:%" PRId64 ": %s\n", reject->file, reject->line, reject->reason);
}

static heed_status print_report(const struct hd_cli *cli, const heed_import_report *r)
{
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_int(&json, "accepted", r->accepted);
        hd_json_put_int(&json, "duplicate", r->duplicate);
        hd_json_put_int(&json, "rejected", r->rejected);
        hd_json_put_int(&json, "users", r->users);
        hd_json_put_int(&json, "items", r->items);
        hd_json_put_int(&json, "items_accepted", r->items_accepted);
        hd_put_rounded(&json, "seconds", r->seconds, 6);
        hd_put_rounded(&json, "per_second", r->per_second, 0);
        hd_json_put_text(&json, "first_reject", r->has_first ? r->first_reject : NULL);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s accepted, %s duplicate, %s rejected in %.2f s (%s lines/s)\n",
           hd_thousands(r->accepted), hd_thousands(r->duplicate), hd_thousands(r->rejected),
           r->seconds, hd_thousands((int64_t)r->per_second));
    if (r->items_accepted > 0)
        printf("%s described\n", hd_counted(r->items_accepted, "item"));
    printf("%s now holds %s and %s\n", cli->data, hd_counted(r->users, "user"),
           hd_counted(r->items, "item"));
    return HEED_OK;
}

static heed_status import_file(struct hd_cli *cli, const struct import_options *options,
                               heed_import_kind kind)
{
    struct hd_session session;
    heed_import_report report = {0};

    HD_TRY(hd_check_readable(options->path));
    if (options->items)
        HD_TRY(hd_check_readable(options->items));
    HD_TRY(hd_session_open(&session, cli, "import", true, 1));

    struct rejects rejects = {.meter = &session.meter};
    heed_import_opts opts = {
        .items_path = options->items,
        .encoding = options->encoding,
        .progress = session.progress,
        .reject = on_reject,
        .reject_context = &rejects,
    };
    heed_status status = heed_engine_import(session.engine, kind, options->path, &opts, &report);
    hd_session_close(&session);
    if (rejects.count > SHOWN_REJECTS)
        fprintf(stderr, "... and %s lines more\n", hd_thousands(rejects.count - SHOWN_REJECTS));
    return status == HEED_OK ? print_report(cli, &report) : status;
}

static heed_status interactions_run(struct hd_cli *cli, const void *options)
{
    return import_file(cli, options, HEED_IMPORT_INTERACTIONS);
}

static heed_status movielens_run(struct hd_cli *cli, const void *options)
{
    return import_file(cli, options, HEED_IMPORT_MOVIELENS);
}

static heed_status events_run(struct hd_cli *cli, const void *options)
{
    return import_file(cli, options, HEED_IMPORT_EVENTS);
}

static heed_status items_run(struct hd_cli *cli, const void *options)
{
    return import_file(cli, options, HEED_IMPORT_ITEMS);
}

static heed_status users_run(struct hd_cli *cli, const void *options)
{
    return import_file(cli, options, HEED_IMPORT_USERS);
}

const struct hd_command hd_command_import_events = {
    .name = "import events",
    .summary = "what people looked at, one JSON object a line",
    .about =
        "A line is {\"id\",\"ts\",\"user\",\"item\",\"kind\",\"dwell_ms\",...}. Lines that are\n"
        "there already are counted as duplicates and change nothing; a bad line is named with\n"
        "its number and reason, and the good ones are kept. `\"ts\":null` says that the time is\n"
        "not known: such lines of a user stand in the order of time.",
    .example = "heed import events town/events.ndjson",
    .arguments = file_argument,
    .flags = plain_flags,
    .options_bytes = sizeof(struct import_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = events_run,
};

const struct hd_command hd_command_import_items = {
    .name = "import items",
    .summary = "what can be shown: ids, titles, tags",
    .about = "NDJSON, or MovieLens' movies.dat, movies.csv and u.item, told apart by their look.",
    .example = "heed import items town/items.ndjson",
    .arguments = file_argument,
    .flags = plain_flags,
    .options_bytes = sizeof(struct import_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = items_run,
};

const struct hd_command hd_command_import_users = {
    .name = "import users",
    .summary = "what users said of themselves: consent, whom they follow and block",
    .about =
        "A line is {\"id\",\"attributes\",\"consent\",\"follow\",\"block\"}, as heed export users\n"
        "writes it and PUT /v1/users/ID takes it; it stands in place of what was said before.",
    .example = "printf '{\"id\":\"u12\",\"follow\":{\"authors\":[\"ann\"]}}\\n' >users.ndjson\n"
               "heed import users users.ndjson",
    .arguments = file_argument,
    .flags = plain_flags,
    .options_bytes = sizeof(struct import_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = users_run,
};

const struct hd_command hd_command_import_interactions = {
    .name = "import interactions",
    .summary = "`user item` a line, each user's lines in the order of time",
    .example = "printf 'ann apple\\nann pear\\nbob pear\\n' >fruit.txt\n"
               "heed import interactions fruit.txt --data ./fruit",
    .arguments = file_argument,
    .flags = interactions_flags,
    .options_bytes = sizeof(struct import_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = interactions_run,
};

const struct hd_command hd_command_import_movielens = {
    .name = "import movielens",
    .summary = "MovieLens ratings: ratings.dat, u.data or ratings.csv",
    .about =
        "Every rating counts as attention, whatever its stars. The three formats are told apart\n"
        "by their look. Movie files older than 2015 are in Latin-1: --encoding latin-1.",
    .example = "printf '1::10::5::978300760\\n1::20::3::978302109\\n' >ratings.dat\n"
               "printf '10::Jumanji (1995)::Adventure\\n20::Heat (1995)::Crime\\n' >movies.dat\n"
               "heed import movielens ratings.dat --movies movies.dat --data ./films",
    .arguments = file_argument,
    .flags = movielens_flags,
    .options_bytes = sizeof(struct import_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = movielens_run,
};
