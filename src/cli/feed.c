/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed feed`: what one user would be shown now, and with --explain, why. */
#include "cli/commands.h"
#include "cli/reasons.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct feed_options {
    const char *user;
    int64_t n;
    heed_time at;
    bool explain;
};
#define AT(field) offsetof(struct feed_options, field)

static const struct hd_flag feed_arguments[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER", "whose feed", .required = true},
    {0},
};

static const struct hd_flag feed_flags[] = {
    {"n", 'n', HD_FLAG_COUNT, AT(n), "N", "items to return", .fallback = "10", .least = 1,
     .most = 1000},
    {"at", 0, HD_FLAG_TIME, AT(at), "TIME",
     "as it would have been then: RFC 3339, or milliseconds since 1970; now where not given"},
    {"explain", 0, HD_FLAG_SWITCH, AT(explain), NULL, "with the reasons for each item"},
    {0},
};

static heed_status print_json(const heed_feed *feed, bool explain)
{
    struct hd_json_writer json = {0};

    hd_put_feed(&json, feed, explain);
    return hd_print_json(&json);
}

/* The model's score is the logarithm of a probability, which people rather read as one. */
static const char *score_text(const heed_feed *feed, const heed_feed_item *item, char score[32])
{
    if (strcmp(feed->policy, "sequence") == 0)
        snprintf(score, 32, "%6.2f %%", 100 * exp(item->score));
    else
        snprintf(score, 32, "%8.3f", item->score);
    return score;
}

static void print_items(const struct hd_cli *cli, const heed_feed *feed, bool explain)
{
    int columns = hd_title_columns(cli, 40);
    char name[4 * 200 + 1], score[32];

    for (int i = 0; i < feed->count; i++) {
        const heed_feed_item *item = &feed->items[i];
        double most = 0;
        hd_fit(name, hd_shown_name(item->title, item->item), columns + 4);
        printf("%s%3d  %s%s  %s  %s%s\n", hd_style(cli, HD_BOLD), item->rank, name,
               hd_style(cli, HD_PLAIN), score_text(feed, item, score), item->item,
               item->sponsored ? "  sponsored" : "");
        for (int r = 0; r < item->reason_count; r++)
            most = fmax(most, fabs(item->reasons[r].contribution));
        for (int r = 0; explain && r < item->reason_count; r++) {
            printf("       %s", r == 0 ? "for " : "and ");
            hd_print_reason(cli, &item->reasons[r], most, columns - 2);
        }
    }
}

static heed_status feed_run(struct hd_cli *cli, const void *given)
{
    const struct feed_options *options = given;
    heed_feed_request request = {
        .user = options->user,
        .n = (int)options->n,
        .at = options->at,
        .explain = options->explain,
    };
    struct hd_session session;
    heed_feed *feed = NULL;

    HD_TRY(hd_session_open(&session, cli, "feed", false, 1));
    heed_status status = heed_engine_feed(session.engine, &request, &feed);
    if (status == HEED_OK && cli->json) {
        status = print_json(feed, options->explain);
    } else if (status == HEED_OK) {
        print_items(cli, feed, options->explain);
        printf("%s%s%s: policy %s (%s), %.1f ms, decision %s%s\n", feed->count ? "\n" : "",
               hd_style(cli, HD_FAINT), feed->user, feed->policy, feed->why_policy,
               (double)feed->took_us / 1000, feed->decision, hd_style(cli, HD_PLAIN));
    }
    heed_feed_free(feed);
    hd_session_close(&session);
    return status;
}

const struct hd_command hd_command_feed = {
    .name = "feed",
    .summary = "what one user would be shown now, best first",
    .about = "Nothing that the user has seen comes back. An unknown user, an empty store and an\n"
             "untrained model get an answer too; it says which policy made it, and why that one.",
    .example = "heed feed u12 -n 5 --explain",
    .arguments = feed_arguments,
    .flags = feed_flags,
    .options_bytes = sizeof(struct feed_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = feed_run,
};
