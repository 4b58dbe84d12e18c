/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed explain`: why one item stands where it does for one user, and how far that account can be
 * trusted. */
#include "cli/commands.h"
#include "cli/reasons.h"

#include <inttypes.h>
#include <math.h>

#define SHOWN_REASONS 12 /* on a terminal; JSON and the page have all */

struct explain_options {
    const char *user, *item, *html, *svg;
    heed_time at;
    bool exact;
};
#define AT(field) offsetof(struct explain_options, field)

static const struct hd_flag explain_arguments[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER", "for whom", .required = true},
    {"item", 0, HD_FLAG_TEXT, AT(item), "ITEM", "why this item", .required = true},
    {0},
};

static const struct hd_flag explain_flags[] = {
    {"exact", 0, HD_FLAG_SWITCH, AT(exact), NULL,
     "leave each event out and score again, instead of gradient x attention"},
    {"at", 0, HD_FLAG_TIME, AT(at), "TIME",
     "as it would have been then: RFC 3339, or milliseconds since 1970; now where not given"},
    {"html", 0, HD_FLAG_FILE, AT(html), "FILE",
     "write one self-contained page with the attention maps"},
    {"svg", 0, HD_FLAG_FILE, AT(svg), "FILE", "write the same as one picture"},
    {0},
};

static heed_status print_json(const heed_explanation *e)
{
    struct hd_json_writer json = {0};

    hd_put_explanation(&json, e);
    return hd_print_json(&json);
}

static void print_words(const struct hd_cli *cli, const heed_explanation *e)
{
    int shown = e->reason_count < SHOWN_REASONS ? e->reason_count : SHOWN_REASONS;
    int columns = hd_title_columns(cli, 34);
    double most = 0;
    const char *strongest =
        e->reason_count ? hd_shown_name(e->reasons[0].title, e->reasons[0].item) : NULL;

    printf("%s%s%s is number %" PRId64 " for %s: score %.3f, probability %.2f %%\n\n",
           hd_style(cli, HD_BOLD), hd_shown_name(e->title, e->item), hd_style(cli, HD_PLAIN),
           e->rank, e->user, e->score, 100 * e->probability);
    for (int i = 0; i < shown; i++)
        most = fmax(most, fabs(e->reasons[i].contribution));
    for (int i = 0; i < shown; i++) {
        fputs("  ", stdout);
        hd_print_reason(cli, &e->reasons[i], most, columns);
    }
    if (shown < e->reason_count)
        printf("  %sand %d events more with less%s\n", hd_style(cli, HD_FAINT),
               e->reason_count - shown, hd_style(cli, HD_PLAIN));
    if (strongest && e->counterfactual_rank != e->rank)
        printf("\nWithout %s it would be number %" PRId64 ".\n", strongest, e->counterfactual_rank);
    else if (strongest)
        printf("\nWithout %s it would still be number %" PRId64 ".\n", strongest, e->rank);
    printf("%s%s. Comprehensiveness %.4f (random order %.4f; higher is better), sufficiency %.4f "
           "(random order %.4f; lower is better).%s\n",
           hd_style(cli, HD_FAINT), e->method, e->comprehensiveness, e->random_comprehensiveness,
           e->sufficiency, e->random_sufficiency, hd_style(cli, HD_PLAIN));
}

static heed_status explain_run(struct hd_cli *cli, const void *given)
{
    const struct explain_options *options = given;
    heed_explain_opts opts = {
        .exact = options->exact, .maps = options->html || options->svg, .at = options->at};
    struct hd_session session;
    heed_explanation *e = NULL;

    HD_TRY(hd_session_open(&session, cli, "explain", false, 0));
    heed_status status =
        heed_engine_explain(session.engine, options->user, options->item, &opts, &e);
    if (status == HEED_OK && options->html)
        status = heed_explanation_html(e, options->html);
    if (status == HEED_OK && options->svg)
        status = heed_explanation_svg(e, options->svg);
    if (status == HEED_OK && cli->json) {
        status = print_json(e);
    } else if (status == HEED_OK) {
        print_words(cli, e);
        if (options->html)
            printf("The attention maps are in %s\n", options->html);
        if (options->svg)
            printf("The picture is %s\n", options->svg);
    }
    heed_explanation_free(e);
    hd_session_close(&session);
    return status;
}

const struct hd_command hd_command_explain = {
    .name = "explain",
    .summary = "why one item stands where it does for one user",
    .about =
        "Reasons are signed contributions of the user's own events to the item's score. Each\n"
        "account carries its faithfulness: how much the probability falls when the strongest\n"
        "reasons are removed (comprehensiveness) or kept alone (sufficiency), beside the same\n"
        "for a random order (DeYoung et al. 2020).",
    .example = "heed explain u12 i1 --exact --html why.html",
    .arguments = explain_arguments,
    .flags = explain_flags,
    .options_bytes = sizeof(struct explain_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = explain_run,
};
