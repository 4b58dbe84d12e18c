/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed simulate`: a town of readers whose truth is known, as files to import. */
#include "cli/commands.h"
#include "cli/answer.h"
#include "cli/terminal.h"
#include "heed/simulate.h"

#include <inttypes.h>

struct simulate_options {
    int64_t users, items, events, days;
    uint64_t seed;
    const char *output;
};
#define AT(field) offsetof(struct simulate_options, field)

static const struct hd_flag simulate_flags[] = {
    {"users", 0, HD_FLAG_COUNT, AT(users), "N", "readers", .fallback = "300", .least = 1},
    {"items", 0, HD_FLAG_COUNT, AT(items), "N", "articles", .fallback = "200", .least = 1},
    {"events", 0, HD_FLAG_COUNT, AT(events), "N", "events, impressions counted",
     .fallback = "20000", .least = 1},
    {"days", 0, HD_FLAG_COUNT, AT(days), "N", "about how long they take", .fallback = "30",
     .least = 1},
    {"seed", 0, HD_FLAG_SEED, AT(seed), "N", "same seed and sizes, same bytes", .fallback = "1"},
    {"output", 'o', HD_FLAG_FOLDER, AT(output), "DIR", "the folder to write into",
     .required = true},
    {0},
};

static heed_status print_report(const struct hd_cli *cli, const heed_simulate_report *r,
                                const char *folder)
{
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_int(&json, "users", r->users);
        hd_json_put_int(&json, "items", r->items);
        hd_json_put_int(&json, "events", r->events);
        hd_json_put_int(&json, "readers", r->readers);
        hd_json_put_int(&json, "impressions", r->impressions);
        hd_json_put_int(&json, "views", r->views);
        hd_json_put_int(&json, "clicks", r->clicks);
        hd_json_put_int(&json, "likes", r->likes);
        hd_json_put_int(&json, "dislikes", r->dislikes);
        hd_json_put_int(&json, "shares", r->shares);
        hd_json_put_int(&json, "saves", r->saves);
        hd_json_put_int(&json, "hides", r->hides);
        hd_json_put_int(&json, "first_ms", r->first);
        hd_json_put_int(&json, "last_ms", r->last);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s events of %s readers and %s articles over %.0f days: %s impressions, %s views, %s "
           "clicks\n",
           hd_thousands(r->events), hd_thousands(r->users), hd_thousands(r->items),
           (double)(r->last - r->first) / 86400000.0, hd_thousands(r->impressions),
           hd_thousands(r->views), hd_thousands(r->clicks));
    printf("%s holds items.ndjson and events.ndjson to import, and truth.ndjson to judge by\n",
           folder);
    return HEED_OK;
}

static heed_status simulate_run(struct hd_cli *cli, const void *given)
{
    const struct simulate_options *options = given;
    struct hd_meter meter;
    heed_simulate_report report = {0};

    hd_meter_init(&meter, "simulate");
    heed_simulate_opts opts = {
        .users = options->users,
        .items = options->items,
        .events = options->events,
        .days = options->days,
        .seed = options->seed,
        .progress = {hd_meter_report, &meter},
    };
    heed_status status = heed_simulate(&opts, options->output, &report);
    hd_meter_clear(&meter);
    return status == HEED_OK ? print_report(cli, &report, options->output) : status;
}

const struct hd_command hd_command_simulate = {
    .name = "simulate",
    .summary = "a town of readers whose truth is known, as files to import",
    .about = "Readers have several interests that drift, hours of the day, series they follow and\n"
             "fatigue. It is not a model of any real population: it has the structure that real\n"
             "logs show, so that a method which cannot use it is seen to fail.",
    .example = "heed simulate --users 300 --items 200 --events 20000 --seed 3 -o town",
    .flags = simulate_flags,
    .options_bytes = sizeof(struct simulate_options),
    .uses = HD_USES_JSON,
    .run = simulate_run,
};
