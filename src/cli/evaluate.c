/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed evaluate sequence`: how good the model is, beside the two that everybody has to beat. */
#include "cli/commands.h"
#include "cli/session.h"
#include "base/limits.h"

static void put_quality(struct hd_json_writer *json, const char *key, const heed_ranking_quality *q)
{
    hd_json_begin_object(json, key);
    hd_json_put_number(json, "ndcg@5", q->ndcg5);
    hd_json_put_number(json, "ndcg@10", q->ndcg10);
    hd_json_put_number(json, "ndcg@20", q->ndcg20);
    hd_json_put_number(json, "hr@5", q->hr5);
    hd_json_put_number(json, "hr@10", q->hr10);
    hd_json_put_number(json, "hr@20", q->hr20);
    hd_json_put_number(json, "mrr", q->mrr);
    hd_json_put_number(json, "coverage", q->coverage);
    hd_json_put_number(json, "gini", q->gini);
    hd_json_end(json);
}

static void put_interval(struct hd_json_writer *json, const char *key, const double ends[2])
{
    hd_json_begin_array(json, key);
    hd_json_put_number(json, NULL, ends[0]);
    hd_json_put_number(json, NULL, ends[1]);
    hd_json_end(json);
}

static heed_status print_json(const heed_evaluation *e)
{
    struct hd_json_writer json = {0};

    hd_json_begin_object(&json, NULL);
    hd_json_put_int(&json, "users", e->users);
    hd_json_put_int(&json, "items", e->items);
    hd_json_put_int(&json, "repeats", e->repeats);
    hd_json_put_text(&json, "split_sha256", e->split_sha256);
    hd_json_put_number(&json, "tie_rate", e->tie_rate);
    hd_json_put_number(&json, "time_tie_rate", e->time_tie_rate);
    put_quality(&json, "test", &e->test);
    put_quality(&json, "popularity", &e->popularity);
    put_quality(&json, "markov", &e->markov);
    hd_json_begin_object(&json, "ci95");
    put_interval(&json, "ndcg@10", e->ci95_ndcg10);
    put_interval(&json, "hr@10", e->ci95_hr10);
    hd_json_end(&json);
    hd_put_rounded(&json, "seconds", e->seconds, 3);
    hd_json_end(&json);
    return hd_print_json(&json);
}

static void quality_row(const struct hd_cli *cli, const char *name, enum hd_style style,
                        const heed_ranking_quality *q, double most)
{
    char bar[3 * 16 + 1];

    hd_bar(bar, most > 0 ? q->ndcg10 / most : 0, 16);
    printf("%s%-12s  %7.4f  %s  %7.4f  %7.4f  %7.4f  %6.1f %%  %5.2f%s\n", hd_style(cli, style),
           name, q->ndcg10, bar, q->hr10, q->hr20, q->mrr, 100 * q->coverage, q->gini,
           hd_style(cli, HD_PLAIN));
}

static void print_table(const struct hd_cli *cli, const heed_evaluation *e)
{
    double most = e->test.ndcg10;

    if (e->markov.ndcg10 > most)
        most = e->markov.ndcg10;
    if (e->popularity.ndcg10 > most)
        most = e->popularity.ndcg10;
    printf("The last event of each of %s users, ranked among all of %s items they had not seen\n",
           hd_thousands(e->users), hd_thousands(e->items));
    if (e->repeats > 0)
        printf("(%s users more had seen theirs before, so it cannot be ranked)\n",
               hd_thousands(e->repeats));
    putchar('\n');
    printf("%s%-12s  NDCG@10  %16s    HR@10    HR@20      MRR  coverage   Gini%s\n",
           hd_style(cli, HD_FAINT), "", "", hd_style(cli, HD_PLAIN));
    quality_row(cli, "sequence", HD_BOLD, &e->test, most);
    quality_row(cli, "Markov", HD_PLAIN, &e->markov, most);
    quality_row(cli, "popularity", HD_PLAIN, &e->popularity, most);
    printf("\nsequence, 95 %% interval: NDCG@10 %.4f to %.4f, HR@10 %.4f to %.4f\n",
           e->ci95_ndcg10[0], e->ci95_ndcg10[1], e->ci95_hr10[0], e->ci95_hr10[1]);
    printf("ties with the target %.2f %%, events that share a time %.1f %%, split %.16s, %.1f s\n",
           100 * e->tie_rate, 100 * e->time_tie_rate, e->split_sha256, e->seconds);
}

struct evaluate_options {
    int64_t threads;
};

static const struct hd_flag evaluate_flags[] = {
    {"threads", 0, HD_FLAG_COUNT, offsetof(struct evaluate_options, threads), "N",
     "processors to use; all where not given", .least = 1, .most = HD_THREADS_MAX},
    {0},
};

static heed_status evaluate_run(struct hd_cli *cli, const void *given)
{
    const struct evaluate_options *options = given;
    struct hd_session session;
    heed_evaluation e = {0};

    HD_TRY(hd_session_open(&session, cli, "evaluate", false, (int)options->threads));
    heed_status status = heed_engine_evaluate(session.engine, &session.progress, &e);
    hd_session_close(&session);
    HD_TRY(status);
    if (cli->json)
        return print_json(&e);
    print_table(cli, &e);
    return HEED_OK;
}

const struct hd_command hd_command_evaluate_sequence = {
    .name = "evaluate sequence",
    .summary = "how good the model is, beside popularity and Markov on the same split",
    .about =
        "Leave one out: each user's last event is ranked against the whole catalogue, items the\n"
        "user had before left out, ties counted against the model. NDCG@10 and HR@10 come\n"
        "with 95 % bootstrap intervals over users. coverage is the share of the catalogue that\n"
        "occurs in any top 10; Gini is 0 where items occur evenly and 1 where one has it all.",
    .example = "heed evaluate sequence",
    .flags = evaluate_flags,
    .options_bytes = sizeof(struct evaluate_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = evaluate_run,
};
