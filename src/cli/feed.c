/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed feed`: what one reader would be shown now, and with --explain, why. What can be asked for is
 * called as in POST /v1/feed. */
#include "cli/commands.h"
#include "cli/reasons.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct feed_options {
    const char *user, *kind, *item, *filter, *placement;
    int64_t n;
    heed_time at;
    double explore;
    bool explain;
    struct hd_texts exclude, session;
};
#define AT(field) offsetof(struct feed_options, field)

static const struct hd_flag feed_arguments[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER", "whose feed; or --session, or both"},
    {0},
};

static const struct hd_flag feed_flags[] = {
    {"n", 'n', HD_FLAG_COUNT, AT(n), "N", "items to return", .fallback = "10", .least = 1,
     .most = 1000},
    {"kind", 0, HD_FLAG_CHOICE, AT(kind), HD_FEED_KIND_WORDS, "of list", .fallback = "best"},
    {"item", 0, HD_FLAG_TEXT, AT(item), "ITEM", "of --kind similar: like which"},
    {"filter", 0, HD_FLAG_TEXT, AT(filter), "EXPR",
     "which items may be shown, such as 'tag = \"tea\" and age < 30d': docs/FILTERS.md"},
    {"exclude", 0, HD_FLAG_TEXTS, AT(exclude), "ITEM", "not this one; once for each"},
    {"session", 0, HD_FLAG_TEXTS, AT(session), "ITEM",
     "what a reader without a name looked at; once for each, oldest first"},
    {"placement", 0, HD_FLAG_TEXT, AT(placement), "PLACE", "where it will be shown"},
    {"explore", 0, HD_FLAG_NUMBER, AT(explore), "P",
     "the probability that a place of the lower half goes to chance", .fallback = "0"},
    {"at", 0, HD_FLAG_TIME, AT(at), "TIME",
     "as it would have been then: RFC 3339, or milliseconds since 1970; not for popular, trending"},
    {"explain", 0, HD_FLAG_SWITCH, AT(explain), NULL, "with why each item is there, and reasons"},
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
        if (explain && (item->reason_count == 0 || strcmp(item->source, "model") != 0))
            printf("       %s\n", item->why);
        for (int r = 0; explain && r < item->reason_count; r++) {
            printf("       %s", r == 0 ? "for " : "and ");
            hd_print_reason(cli, &item->reasons[r], most, columns - 2);
        }
    }
}

/* What is asked of nobody is refused before the data folder is made. */
static heed_status check_options(const struct feed_options *options, heed_feed_kind kind)
{
    if (kind == HEED_FEED_BEST && !options->user && options->session.count == 0)
        return hd_fail(HEED_E_ARG, "feed: USER is missing, and there is no --session either");
    if (kind == HEED_FEED_SIMILAR && !options->item)
        return hd_fail(HEED_E_ARG, "feed: --item is missing: similar to which?");
    if (options->at != 0 && (kind == HEED_FEED_POPULAR || kind == HEED_FEED_TRENDING))
        return hd_fail(HEED_E_ARG, "--at: what was popular or trending at another moment is not kept");
    if (!(options->explore >= 0 && options->explore <= 1))
        return hd_fail(HEED_E_ARG, "--explore: %g is not 0 to 1", options->explore);
    return HEED_OK;
}

static const char *reader(const struct feed_options *options)
{
    if (options->user)
        return options->user;
    return options->session.count > 0 ? "a reader without a name" : "everybody";
}

static heed_status feed_run(struct hd_cli *cli, const void *given)
{
    const struct feed_options *options = given;
    heed_feed_visit visits[HD_OPTION_TEXTS_MAX];
    heed_feed_request request = {
        .user = options->user,
        .n = (int)options->n,
        .at = options->at,
        .explain = options->explain,
        .exclude = options->exclude.text,
        .exclude_count = options->exclude.count,
        .kind = hd_feed_kind(options->kind),
        .item = options->item,
        .filter = options->filter,
        .placement = options->placement,
        .session = visits,
        .session_count = options->session.count,
        .explore = options->explore,
    };
    struct hd_session session;
    heed_feed *feed = NULL;

    HD_TRY(check_options(options, request.kind));
    for (int i = 0; i < options->session.count; i++)
        visits[i] = (heed_feed_visit){.item = options->session.text[i]};
    HD_TRY(hd_session_open(&session, cli, "feed", false, 1));
    heed_status status = heed_engine_feed(session.engine, &request, &feed);
    if (status == HEED_OK && cli->json) {
        status = print_json(feed, options->explain);
    } else if (status == HEED_OK) {
        print_items(cli, feed, options->explain);
        printf("%s%s%s: policy %s (%s), %.1f ms, decision %s%s\n", feed->count ? "\n" : "",
               hd_style(cli, HD_FAINT), reader(options), feed->policy, feed->why_policy,
               (double)feed->took_us / 1000, feed->decision, hd_style(cli, HD_PLAIN));
    }
    heed_feed_free(feed);
    hd_session_close(&session);
    return status;
}

const struct hd_command hd_command_feed = {
    .name = "feed",
    .summary = "what one reader would be shown now, best first",
    .about = "Nothing that the user has seen comes back. An unknown user, an empty store and an\n"
             "untrained model get an answer too; it says which policy made it, and why that one.\n"
             "A reader without a name is known by --session alone, of which nothing is kept.",
    .example = "heed feed u12 -n 5 --explain\n"
               "heed feed --session i7 --session i12 --filter 'age < 3650d'\n"
               "heed feed --kind similar --item i7",
    .arguments = feed_arguments,
    .flags = feed_flags,
    .options_bytes = sizeof(struct feed_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = feed_run,
};
