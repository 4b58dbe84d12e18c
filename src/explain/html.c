/* SPDX-License-Identifier: Apache-2.0
 *
 * An explanation as one page that needs nothing but itself. Everything that came from outside goes
 * through %s (page.h). */
#include "explain/picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FOR_MAX 9      /* reasons listed that speak for the item */
#define AGAINST_MAX 4  /* and against it */

static const char *target_name(const heed_explanation *e)
{
    return e->title && *e->title ? e->title : e->item;
}

static bool is_exact(const heed_explanation *e)
{
    return e->method && !strcmp(e->method, "leave-one-out");
}

/* ---- what it says first */
static const heed_reason *find_item(const heed_explanation *e, const char *item)
{
    for (int i = 0; item && i < e->reason_count; i++)
        if (e->reasons[i].item && !strcmp(e->reasons[i].item, item))
            return &e->reasons[i];
    return NULL;
}

static void add_head(struct hd_page *page, const heed_explanation *e)
{
    int likely = 0;
    char title[512];

    snprintf(title, sizeof title, "Why %s", target_name(e));
    hd_page_begin(page, title);
    hd_page_add(page,
                "<div class=\"kick\">Why this item, for reader "
                "<bdi>%.60s</bdi></div><h1>&ldquo;<bdi>%s</bdi>&rdquo; stands at place %lld</h1>",
                e->user, target_name(e), (long long)e->rank);

    while (likely < 3 && likely < e->reason_count &&
           e->reasons[likely].contribution > 0.15 * hd_reason_top(e))
        likely++;
    hd_page_raw(page, "<p class=\"lead\">");
    if (!likely)
        hd_page_raw(page, "Nothing in the history speaks for it: it stands there for what it is, "
                          "not for what was read.");
    for (int i = 0; i < likely; i++)
        hd_page_add(page, "%s<em>&ldquo;<bdi>%.90s</bdi>&rdquo;</em>%s",
                    i == 0            ? "Mostly because of "
                    : i + 1 == likely ? " and "
                                      : ", ",
                    hd_reason_name(&e->reasons[i]), i + 1 == likely ? "." : "");
    hd_page_raw(page, "</p>");
}

/* Places on a logarithmic line, from the first to the lower of the two or the hundredth. */
static double place_x(int64_t rank, double last, double width)
{
    return 14.0 + (width - 28.0) * log((double)(rank < 1 ? 1 : rank)) / log(last);
}

static void add_counterfactual(struct hd_page *page, const heed_explanation *e)
{
    const heed_reason *reason = find_item(e, e->counterfactual_item);
    double width = 860,
           last = fmax(100.0, (double)(e->rank > e->counterfactual_rank ? e->rank
                                                                        : e->counterfactual_rank));
    double here = place_x(e->rank, last, width), there;

    if (!e->counterfactual_item || e->counterfactual_rank < 1)
        return;
    there = place_x(e->counterfactual_rank, last, width);
    hd_page_add(page,
                "<div class=\"card\"><p class=\"lead\" style=\"margin-top:0\">Without "
                "<em>&ldquo;<bdi>%s</bdi>&rdquo;</em> it would ",
                reason ? hd_reason_name(reason) : e->counterfactual_item);
    if (e->counterfactual_rank == e->rank)
        hd_page_add(page, "still stand at place %lld.</p>", (long long)e->rank);
    else
        hd_page_add(page, "%s from place %lld to <b>place %lld</b>.</p>",
                    e->counterfactual_rank > e->rank ? "fall" : "rise", (long long)e->rank,
                    (long long)e->counterfactual_rank);
    hd_page_add(page,
                "<svg class=\"wide\" viewBox=\"0 0 860 56\" role=\"img\" aria-label=\"place "
                "%lld with it, place %lld without it\"><path class=\"a\" d=\"M14 26H846\"/>",
                (long long)e->rank, (long long)e->counterfactual_rank);
    for (double tick = 1; tick <= last; tick *= 10) {
        double x = place_x((int64_t)tick, last, width);
        hd_page_add(page,
                    "<path class=\"a\" d=\"M%f 22v8\"/><text class=\"s\" x=\"%f\" y=\"48\" "
                    "font-size=\"12\" text-anchor=\"middle\">%lld</text>",
                    x, x, (long long)tick);
    }
    hd_page_add(page,
                "<path d=\"M%f 26H%f\" stroke=\"var(--for)\" stroke-width=\"2\" "
                "stroke-dasharray=\"2 5\" stroke-linecap=\"round\"/>",
                here, there);
    hd_page_add(page,
                "<circle class=\"p\" cx=\"%f\" cy=\"26\" r=\"8\"><title>with it: place "
                "%lld</title></circle>",
                here, (long long)e->rank);
    hd_page_add(page,
                "<circle cx=\"%f\" cy=\"26\" r=\"7\" fill=\"var(--card)\" "
                "stroke=\"var(--for)\" stroke-width=\"2\"><title>without it: place "
                "%lld</title></circle></svg></div>",
                there, (long long)e->counterfactual_rank);
}

static void add_facts(struct hd_page *page, const heed_explanation *e)
{
    hd_page_add(page, "<div class=\"facts\"><div><span>place</span><strong>%lld</strong></div>",
                (long long)e->rank);
    hd_page_add(page,
                "<div><span>probability of being next</span><strong>%.2f&#8239;%%</strong>"
                "</div>",
                100.0 * e->probability);
    hd_page_add(page, "<div><span>score</span><strong>%+.3f</strong></div>", e->score);
    hd_page_add(page, "<div><span>events the model saw</span><strong>%d</strong></div></div>",
                e->reason_count);
}

/* ---- the reasons */
/* low and high: the bounds of all contributions, 0 among them. */
static void add_reason(struct hd_page *page, const heed_reason *r, double low, double high)
{
    double scale = 100.0 / fmax(high - low, 1e-12), zero = -low * scale;
    double wide = fmax(fabs(r->contribution) * scale, 0.3);
    char when[HD_WHEN_BYTES];

    hd_when_text(r->when, when);
    hd_page_add(page, "<tr><td class=\"t\"><bdi>%s</bdi>", hd_reason_name(r));
    if (*when)
        hd_page_add(page, "<span>%s</span>", when);
    hd_page_add(page,
                "</td><td><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" "
                "aria-hidden=\"true\"><rect class=\"%s\" x=\"%f\" y=\"0\" width=\"%f\" "
                "height=\"10\"/><path class=\"a\" d=\"M%f -5V15\" "
                "vector-effect=\"non-scaling-stroke\"/></svg></td><td class=\"v\">%+.3f</td></tr>",
                r->contribution < 0 ? "n" : "p", r->contribution < 0 ? zero - wide : zero, wide,
                zero, r->contribution);
}

static void add_reasons(struct hd_page *page, const heed_explanation *e)
{
    int n = e->reason_count, up = 0, down = 0, against = 0;
    double low = 0, high = 0, rest = 0;

    while (up < n && up < FOR_MAX &&
           e->reasons[up].contribution > HD_REASON_LEAST * hd_reason_top(e))
        up++;
    for (int i = 0; i < n; i++) {
        low = fmin(low, e->reasons[i].contribution), high = fmax(high, e->reasons[i].contribution);
        against += e->reasons[i].contribution < -HD_REASON_LEAST * hd_reason_top(e);
    }
    down = against < AGAINST_MAX ? against : AGAINST_MAX;
    for (int i = up; i < n - down; i++)
        rest += e->reasons[i].contribution;

    hd_page_raw(page, "<h2>What speaks for it, and what against</h2><p class=\"soft small\">");
    hd_page_raw(page, is_exact(e)
                          ? "Each number is what the score loses when that one event is taken out "
                            "of the history and the model is asked again."
                          : "Each number is an event&rsquo;s share in the score: the attention it "
                            "was given times what that attention did to the score. An estimate; "
                            "leaving events out one by one is exact.");
    hd_page_raw(page, "</p><table>");
    for (int i = 0; i < up; i++)
        add_reason(page, &e->reasons[i], low, high);
    if (n - up - down > 0)
        hd_page_add(page,
                    "<tr class=\"rest\"><td class=\"t\">%d others, together</td><td></td>"
                    "<td class=\"v\">%+.3f</td></tr>",
                    n - up - down, rest);
    for (int i = n - down; i < n; i++)
        add_reason(page, &e->reasons[i], low, high);
    hd_page_raw(page, "</table>");
}

static void add_history(struct hd_page *page, const heed_explanation *e)
{
    char first[HD_WHEN_BYTES], last[HD_WHEN_BYTES];

    if (e->history_count < 2)
        return;
    hd_when_text(e->history[0].when, first);
    hd_when_text(e->history[e->history_count - 1].when, last);
    hd_page_raw(page, "<h2>When it was read</h2><p class=\"soft small\">The same numbers in the "
                      "order of the history. Point at a bar for its title.</p>"
                      "<svg class=\"wide\" viewBox=\"0 -4 860 150\" role=\"img\" "
                      "aria-label=\"contribution of each event, oldest first\">");
    hd_draw_history(page, e, 860, 120);
    hd_page_add(page, "<text class=\"s\" x=\"0\" y=\"142\" font-size=\"12\">%s%s%s</text>",
                "oldest", *first ? ": " : "", first);
    hd_page_add(page,
                "<text class=\"s\" x=\"860\" y=\"142\" font-size=\"12\" "
                "text-anchor=\"end\">%s%s%s</text></svg>",
                "latest", *last ? ": " : "", last);
}

/* ---- how far to trust it */
static void add_pair(struct hd_page *page, double own, double random)
{
    double low = fmin(0.0, fmin(own, random)), high = fmax(0.0, fmax(own, random));
    double scale = 300.0 / fmax(high - low, 1e-9);
    const double value[2] = {own, random};
    static const char *const label[2] = {"these reasons", "as many at random"};

    hd_page_raw(page, "<svg class=\"wide\" viewBox=\"0 0 400 84\">");
    for (int i = 0; i < 2; i++) {
        double y = 16 + 42 * i, wide = fabs(value[i]) * scale;
        hd_page_add(page, "<text class=\"s\" x=\"0\" y=\"%f\" font-size=\"12\">%s</text>", y - 4,
                    label[i]);
        hd_page_add(page, "<rect class=\"%s\" x=\"%f\" y=\"%f\" width=\"%f\" height=\"14\"/>",
                    i ? "c" : "p", (fmin(value[i], 0.0) - low) * scale, y + 1, fmax(wide, 1.0));
        hd_page_add(page,
                    "<text class=\"i\" x=\"400\" y=\"%f\" font-size=\"14\" "
                    "text-anchor=\"end\">%+.2f&#8239;%%</text>",
                    y + 13, 100.0 * value[i]);
    }
    hd_page_raw(page, "</svg>");
}

static void add_faithfulness(struct hd_page *page, const heed_explanation *e)
{
    bool takes = e->comprehensiveness > e->random_comprehensiveness;
    bool keeps = e->sufficiency < e->random_sufficiency;

    hd_page_raw(page, "<h2>Can these reasons be trusted?</h2><p>");
    if (takes && keeps)
        hd_page_raw(page, "Both tests say yes: the model leans on these events more than on others "
                          "picked at random.");
    else if (takes || keeps)
        hd_page_raw(page,
                    "Half: one of the two tests does no better than events picked at random.");
    else
        hd_page_raw(page, "<b>No.</b> Events picked at random do as well; read the list above as a "
                          "guess.");
    hd_page_raw(page, "</p><div class=\"two\"><div class=\"card\"><h3>Take the strongest away</h3>"
                      "<p class=\"soft small\">How much of the item&rsquo;s probability goes. More "
                      "is better.</p>");
    add_pair(page, e->comprehensiveness, e->random_comprehensiveness);
    hd_page_raw(page, "</div><div class=\"card\"><h3>Keep the strongest alone</h3>"
                      "<p class=\"soft small\">How much is missing then. Less is better.</p>");
    add_pair(page, e->sufficiency, e->random_sufficiency);
    hd_page_raw(
        page, "</div></div><p class=\"soft small\">Percentage points of the softmax probability, "
              "averaged over the strongest 1, 5, 10, 20 and 50&#8239;% of the events "
              "(comprehensiveness and sufficiency; DeYoung et al. 2020). The random control takes "
              "as many events without looking, and is averaged over several draws. A shortened "
              "history is one that the model may never have met.</p>");
}

/* ---- the maps */
static void add_maps(struct hd_page *page, const heed_explanation *e)
{
    struct hd_maps maps;
    struct hd_heat heat;

    if (!hd_has_maps(e))
        return;
    hd_explanation_maps(e, &maps);
    hd_heat_mean(&maps, &heat);
    int n = maps.row_count;
    double cell = n > 12 ? 17 : 24;
    hd_page_add(
        page,
        "<h2>Where the model looked</h2><p class=\"soft small\">Attention weights: each row "
        "is a step of the history, and each square along it says how much that step drew "
        "on the event below whose name it stands. %s %d of %d events, oldest at the top; "
        "the name at the end of a row is also that of the column beneath it. Weights are a "
        "picture of how the model computes, not reasons: what counts is what they did, "
        "above.</p>",
        n < e->history_count ? "The latest" : "All", n, e->history_count);
    hd_page_add(page,
                "<svg class=\"wide\" style=\"max-width:%.0fpx\" viewBox=\"-2 -2 %.0f %.0f\" "
                "role=\"img\" aria-label=\"attention, averaged over layers and heads\">",
                n * cell + 330.0, n * cell + 330.0, n * cell + 4.0);
    hd_draw_heat(page, &maps, &heat, 0, 0, cell, HD_HEAT_TIPS);
    hd_draw_names(page, &maps, 0, 0, cell);
    hd_page_raw(page, "</svg>");
    hd_add_scale(page, &maps, &heat);
    hd_add_small_maps(page, &maps);
}

heed_status heed_explanation_html(const heed_explanation *e, const char *path)
{
    struct hd_page page = {0};
    heed_status status;

    if (!e || !path || !e->user || !e->item)
        return hd_fail(HEED_E_ARG, "explanation: there is nothing to write, or nowhere");
    add_head(&page, e);
    add_facts(&page, e);
    add_counterfactual(&page, e);
    add_reasons(&page, e);
    add_history(&page, e);
    add_faithfulness(&page, e);
    add_maps(&page, e);
    hd_page_add(&page,
                "<footer>Item <bdi>%.80s</bdi>, method %s. Made by heed %s; this page asks "
                "the network for nothing.</footer></main></body></html>\n",
                e->item, e->method ? e->method : "not said", HEED_VERSION_TEXT);
    status = hd_page_write(&page, path);
    hd_page_clear(&page);
    return status;
}
