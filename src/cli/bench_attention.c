/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed bench attention`: every form of attention, forward, and forward with backward. Operations
 * are counted as the formula needs them, so peak_share says how far from the machine's best a form
 * is, not how busy it keeps the machine. */
#include "cli/bench_lengths.h"
#include "cli/commands.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define LEAST_RUNS 3 /* of a row that takes seconds */
#define PEERS "bench/attention_vs_torch.py"

struct attention_options {
    const char *forms, *chart;
    int64_t threads;
    double seconds;
    bool lengths, peers;
};
#define AT(field) offsetof(struct attention_options, field)

static const struct hd_flag attention_flags[] = {
    {"forms", 0, HD_FLAG_TEXT, AT(forms), "LIST", "names with commas between; all where not given"},
    {"threads", 0, HD_FLAG_COUNT, AT(threads), "N", "processors to use; all where not given",
     .least = 1, .most = HD_THREADS_MAX},
    {"seconds", 0, HD_FLAG_NUMBER, AT(seconds), "S", "to spend on each row", .fallback = "0.2"},
    {"lengths", 0, HD_FLAG_SWITCH, AT(lengths), NULL,
     "instead: time and memory from 64 to 65,536 positions on one thread, and where forms cross"},
    {"chart", 0, HD_FLAG_FILE, AT(chart), "FILE", "with --lengths: draw them, as SVG"},
    {"peers", 0, HD_FLAG_SWITCH, AT(peers), NULL,
     "instead: beside PyTorch, by " PEERS " of heed's source folder"},
    {0},
};

/* What dense attention is timed with: histories, texts, long texts. */
static const struct hd_form_shape dense_shapes[] = {
    {128, 2, 200, 32, 0}, {128, 1, 200, 64, 0}, {64, 4, 50, 32, 0},
    {32, 8, 512, 64, 0},  {8, 8, 2048, 64, 0},  {1, 8, 8192, 64, 0},
};

struct bench {
    const struct hd_cli *cli;
    struct hd_json_writer *json;
    const struct attention_options *options;
    heed_pool *pool;
    double peak;
};

/* ---- a row */

static const char *dtype_name(heed_dtype dtype)
{
    return dtype == HEED_BF16 ? "bfloat16" : "float32";
}

static void report(const struct bench *b, const struct hd_form_job *job,
                   const struct hd_timing *timing)
{
    const struct hd_form_shape *s = &job->shape;
    const char *pass = job->backward ? "forward_backward" : "forward";
    double operations = hd_form_operations(job), mib = (double)job->bytes / (1 << 20);

    if (!b->cli->json) {
        printf("%-8s %-8s (%3lld, %lld, %5lld, %2lld) %-6s %-16s %9.3f ms %7.1f GF/s %3.0f %% of "
               "peak %8.2f MiB\n",
               job->form->name, dtype_name(job->dtype), (long long)s->B, (long long)s->H,
               (long long)s->L, (long long)s->D, job->causal ? "causal" : "", pass, timing->ms,
               operations / timing->ms * 1e-6, 100 * operations / timing->ms * 1e-6 / b->peak, mib);
        return;
    }
    hd_json_begin_object(b->json, NULL);
    hd_json_put_text(b->json, "form", job->form->name);
    hd_json_put_text(b->json, "dtype", dtype_name(job->dtype));
    hd_json_put_int(b->json, "B", s->B);
    hd_json_put_int(b->json, "H", s->H);
    hd_json_put_int(b->json, "L", s->L);
    hd_json_put_int(b->json, "S", s->S);
    hd_json_put_int(b->json, "D", s->D);
    hd_json_put_bool(b->json, "causal", job->causal);
    hd_json_put_text(b->json, "pass", pass);
    hd_put_timing(b->json, timing);
    hd_put_speed(b->json, operations, timing, b->peak);
    hd_put_rounded(b->json, "memory_mib", mib, 3);
    hd_json_end(b->json);
}

static heed_status time_row(const struct bench *b, struct hd_form_job job)
{
    struct hd_timing timing;
    heed_status status = hd_form_prepare(&job);

    if (status == HEED_OK)
        status = hd_bench_few_runs(hd_form_run, &job, b->options->seconds, LEAST_RUNS, &timing);
    if (status == HEED_OK)
        report(b, &job, &timing);
    hd_form_clear(&job);
    return status;
}

/* A form with one shape: both passes, and with a causal mask and bfloat16 where it has the trait.
 * bfloat16 goes forward alone, since its backward is float32's. */
static heed_status time_shape(const struct bench *b, const struct hd_form *form,
                              const struct hd_form_shape *shape)
{
    int masks = form->traits & HD_FORM_CAUSAL ? 2 : 1;

    for (int kind = 0; kind < 3; kind++) {
        struct hd_form_job job = {.form = form,
                                  .pool = b->pool,
                                  .shape = *shape,
                                  .dtype = kind == 2 ? HEED_BF16 : HEED_F32,
                                  .backward = kind == 1};
        if ((kind == 1 && !(form->traits & HD_FORM_BACKWARD)) ||
            (kind == 2 && !(form->traits & HD_FORM_BFLOAT16)))
            continue;
        for (int causal = 0; causal < masks; causal++) {
            job.causal = causal;
            HD_TRY(time_row(b, job));
        }
    }
    return HEED_OK;
}

/* ---- which forms */

static const char *next_form(void *context)
{
    const struct hd_form **at = context;
    return (*at)->name ? (*at)++->name : NULL;
}

/* Is the form on the list? */
static bool listed(const char *list, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || !at[length]))
            return true;
    return false;
}

static heed_status check_list(const char *list)
{
    const struct hd_form *at = hd_forms;
    char name[32];

    while (list) {
        size_t length = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", (int)(length < 31 ? length : 31), list);
        if (!hd_form_find(name)) {
            const char *near = hd_nearest(name, next_form, &at);
            return hd_fail(HEED_E_ARG, near ? "--forms: there is no form `%s`; did you mean `%s`?"
                                            : "--forms: there is no form `%s`",
                           name, near);
        }
        list = list[length] ? list + length + 1 : NULL;
    }
    return HEED_OK;
}

static heed_status time_forms(const struct bench *b)
{
    for (const struct hd_form *form = hd_forms; form->name; form++) {
        if (b->options->forms && !listed(b->options->forms, form->name))
            continue;
        if (form->shape.B) {
            HD_TRY(time_shape(b, form, &form->shape));
            continue;
        }
        for (size_t i = 0; i < sizeof dense_shapes / sizeof *dense_shapes; i++)
            HD_TRY(time_shape(b, form, &dense_shapes[i]));
    }
    return HEED_OK;
}

/* ---- lengths */

static void report_length(const struct bench *b, const struct hd_lengths *l, int f, int i)
{
    struct hd_form_job job = {.form = l->form[f],
                              .shape = {1, 1, l->L[i], HD_LENGTHS_D, l->L[i]},
                              .causal = true,
                              .bytes = (uint64_t)(l->mib[f][i] * (1 << 20))};
    report(b, &job, &l->timing[f][i]);
}

static heed_status time_lengths(const struct bench *b)
{
    static struct hd_lengths lengths;
    struct bench one = *b; /* thread */
    char sentence[200];

    HD_TRY(hd_bench_peak(NULL, &one.peak));
    HD_TRY(hd_lengths_measure(b->options->seconds, &lengths));
    for (int f = 0; f < HD_LENGTH_FORMS; f++)
        for (int i = 0; i < HD_LENGTHS; i++)
            report_length(&one, &lengths, f, i);
    for (int f = 1; f < HD_LENGTH_FORMS - 1 && !b->cli->json; f++) {
        hd_lengths_sentence(&lengths, f, sentence, sizeof sentence);
        printf("%s%s\n", f == 1 ? "\n" : "", sentence);
    }
    return b->options->chart ? hd_lengths_chart(&lengths, b->options->chart) : HEED_OK;
}

static heed_status time_rows(const struct hd_cli *cli, struct hd_json_writer *json, heed_pool *pool,
                             double peak, const void *given)
{
    struct bench b = {.cli = cli, .json = json, .options = given, .pool = pool, .peak = peak};

    return b.options->lengths ? time_lengths(&b) : time_forms(&b);
}

/* ---- beside PyTorch: a script of the source folder, in whose place this program puts itself */

static heed_status run_peers(const struct hd_cli *cli, const struct attention_options *o)
{
    const char *python = access(".venv/bin/python", X_OK) == 0 ? ".venv/bin/python" : "python3";
    char threads[16];
    const char *words[6] = {python, PEERS};
    int count = 2;

    if (access(PEERS, R_OK) != 0)
        return hd_fail(HEED_E_NOTFOUND,
                       "--peers: there is no " PEERS " here; in heed's source folder "
                       "`make bench-peers` runs it and fetches PyTorch where it is missing");
    if (o->threads) {
        snprintf(threads, sizeof threads, "%d", (int)o->threads);
        words[count++] = "--threads", words[count++] = threads;
    }
    if (cli->json)
        words[count++] = "--json";
    fflush(stdout);
    execvp(python, (char *const *)words);
    return hd_fail_errno(HEED_E_IO, "--peers: %s cannot be run", python);
}

/* --lengths and --peers measure what they measure; what cannot change it is refused. */
static heed_status check_options(const struct attention_options *o)
{
    if (o->peers && (o->forms || o->lengths || o->chart))
        return hd_fail(HEED_E_ARG, "--peers goes without --forms, --lengths and --chart");
    if (o->lengths && (o->forms || o->threads))
        return hd_fail(HEED_E_ARG, "--lengths goes without --forms and --threads");
    if (o->chart && !o->lengths)
        return hd_fail(HEED_E_ARG, "--chart goes with --lengths");
    return check_list(o->forms);
}

static heed_status attention_run(struct hd_cli *cli, const void *given)
{
    const struct attention_options *options = given;

    HD_TRY(check_options(options));
    return options->peers ? run_peers(cli, options)
                          : hd_bench_answer(cli, options->threads, time_rows, options);
}

const struct hd_command hd_command_bench_attention = {
    .name = "bench attention",
    .summary = "every form of attention, forward and backward, by shape or by length",
    .about =
        "A row gives the median time of a call, the operations that its formula needs in a\n"
        "second, their share of the machine's measured peak, and the memory of inputs, results\n"
        "and scratch. Shapes are (sequences, heads, positions, width of a head).",
    .example = "heed bench attention --forms dense,window --seconds 0.05",
    .flags = attention_flags,
    .options_bytes = sizeof(struct attention_options),
    .uses = HD_USES_JSON,
    .run = attention_run,
};
