/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed report`: attention taken, by group. */
#include "base/limits.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "heed/operate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BAR_CELLS 12
#define HOUR_MS 3600000.0

struct report_options {
    const char *by, *kind;
    heed_time from, to;
    int64_t k, n;
};
#define AT(field) offsetof(struct report_options, field)

static const struct hd_flag report_flags[] = {
    {"by", 0, HD_FLAG_CHOICE, AT(by), "tag|author|item|kind|day|hour",
     "what makes a group; hour: of the week, from Monday, UTC", .fallback = "tag"},
    {"from", 0, HD_FLAG_TIME, AT(from), "TIME", "events from then on"},
    {"to", 0, HD_FLAG_TIME, AT(to), "TIME", "events before"},
    {"kind", 0, HD_FLAG_TEXT, AT(kind), "KIND",
     "only events of this kind; every kind that is attention where not given"},
    {"k", 'k', HD_FLAG_COUNT, AT(k), "K", "no line is of fewer readers", .fallback = "10",
     .least = HD_REPORT_READERS_LEAST, .most = HD_REPORT_READERS_MAX},
    {"n", 'n', HD_FLAG_COUNT, AT(n), "N", "groups, those of the most readers", .fallback = "20",
     .least = 1, .most = HD_REPORT_GROUPS_MAX},
    {0},
};

/* ---- for people */

static const char *group_name(const hd_json *report, const hd_json *line, char hour[32])
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    const hd_json *group = hd_json_get(line, "group");

    if (hd_json_kind(group) != HD_JSON_TEXT)
        return "(none)";
    const char *name = hd_json_text(group, NULL);
    if (strcmp(hd_json_text(hd_json_get(report, "by"), NULL), "hour") != 0)
        return name;
    int at = (int)strtol(name, NULL, 10);
    snprintf(hour, 32, "%s %02d:00", days[at / 24 % 7], at % 24);
    return hour;
}

static void print_line(const struct hd_cli *cli, const char *name, int columns, const hd_json *line,
                       double most)
{
    char bar[3 * BAR_CELLS + 1], cut[4 * 64 + 1];
    double share = hd_json_number(hd_json_get(line, "share"));

    hd_fit(cut, name, columns);
    hd_bar(bar, most > 0 ? share / most : 0, BAR_CELLS);
    printf("%s  %s%s%s %5.1f %%  %12s  %10s  %11s  %10.1f\n", cut, hd_style(cli, HD_BLUE), bar,
           hd_style(cli, HD_PLAIN), 100 * share,
           hd_thousands(hd_json_int(hd_json_get(line, "events"))),
           hd_thousands(hd_json_int(hd_json_get(line, "readers"))),
           hd_thousands(hd_json_int(hd_json_get(line, "impressions"))),
           (double)hd_json_int(hd_json_get(line, "dwell_ms")) / HOUR_MS);
}

/* All others are no group to be compared with: their bar may be full and short. */
static double highest_share(const hd_json *groups)
{
    double most = 0;

    for (size_t i = 0; i < hd_json_length(groups); i++) {
        double share = hd_json_number(hd_json_get(hd_json_at(groups, i), "share"));
        most = share > most ? share : most;
    }
    return most;
}

static void print_lines(const struct hd_cli *cli, const hd_json *report)
{
    const hd_json *groups = hd_json_get(report, "groups"), *other = hd_json_get(report, "other");
    int columns = cli->columns - 76 < 12 ? 12 : cli->columns - 76 > 40 ? 40 : cli->columns - 76;
    double most = highest_share(groups);
    char head[4 * 64 + 1], hour[32];

    hd_fit(head, hd_json_text(hd_json_get(report, "by"), NULL), columns);
    printf("%s%s  %*s   share        events     readers  impressions  dwell, hours%s\n",
           hd_style(cli, HD_FAINT), head, BAR_CELLS, "", hd_style(cli, HD_PLAIN));
    for (size_t i = 0; i < hd_json_length(groups); i++) {
        const hd_json *line = hd_json_at(groups, i);
        print_line(cli, group_name(report, line, hour), columns, line, most);
    }
    if (other)
        print_line(cli, "(all others)", columns, other, most);
}

static heed_status print_words(const struct hd_cli *cli, const heed_text *text)
{
    hd_json_reader *reader = NULL;
    hd_json *report = NULL;

    HD_TRY(hd_json_reader_new(&reader));
    heed_status status = hd_json_read(reader, text->text, text->bytes, &report);
    if (status == HEED_OK) {
        bool any = hd_json_length(hd_json_get(report, "groups")) > 0 || hd_json_get(report, "other");
        bool withheld = hd_json_bool(hd_json_get(report, "withheld"));
        int64_t k = hd_json_int(hd_json_get(report, "k"));
        if (any)
            print_lines(cli, report);
        else
            printf(withheld ? "Nothing that can be shown\n" : "No such events\n");
        if (withheld)
            printf("%sGroups of fewer than %s are not shown by themselves%s\n", any ? "\n" : "",
                   hd_counted(k, "reader"), any ? ", but among all others" : "");
    }
    hd_json_reader_free(reader);
    return status;
}

static heed_status report_run(struct hd_cli *cli, const void *given)
{
    const struct report_options *options = given;
    heed_report_opts opts = {
        .by = options->by,
        .from = options->from,
        .to = options->to,
        .kind = options->kind,
        .k = options->k,
        .n = (int)options->n,
    };
    struct hd_session session;
    heed_text *text = NULL;

    HD_TRY(hd_session_open(&session, cli, "report", false, 1));
    opts.progress = session.progress;
    heed_status status = heed_engine_report(session.engine, &opts, &text);
    hd_session_close(&session);
    if (status == HEED_OK && cli->json)
        printf("%s\n", text->text);
    else if (status == HEED_OK)
        status = print_words(cli, text);
    heed_text_free(text);
    return status;
}

const struct hd_command hd_command_report = {
    .name = "report",
    .summary = "attention taken, by tag, author, item, kind, day or hour of the week",
    .about = "No line stands for fewer than K readers. Smaller groups are one line together with those\n"
             "past the N of the most readers, or are left out. Shares are of what is shown. An event\n"
             "counts in each tag of its item; users who do not want to be learned from are not counted.",
    .example = "heed report --by tag -n 10",
    .flags = report_flags,
    .options_bytes = sizeof(struct report_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = report_run,
};
