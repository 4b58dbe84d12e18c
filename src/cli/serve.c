/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed serve`: the engine behind HTTP, until it is told to stop. */
#include "base/limits.h"
#include "cli/commands.h"
#include "server/log.h"
#include "server/server.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_S 1

struct serve_options {
    const char *listen, *memory, *train, *retain, *cors, *tls_certificate, *tls_key, *access_log;
    double explore;
    int64_t threads, rate;
};
#define AT(field) offsetof(struct serve_options, field)

static const struct hd_flag serve_flags[] = {
    {"listen", 0, HD_FLAG_TEXT, AT(listen), "HOST:PORT",
     "where to listen; without a key only on this machine", .fallback = "127.0.0.1:8080"},
    {"threads", 0, HD_FLAG_COUNT, AT(threads), "N",
     "that answer; as many as processors where not given", .least = 1, .most = HD_THREADS_MAX},
    {"memory", 0, HD_FLAG_TEXT, AT(memory), "SIZE",
     "that the process is held to, such as 512M: what is kept at hand of users shrinks to fit"},
    {"train", 0, HD_FLAG_TEXT, AT(train), "every=AGE",
     "train beside serving, such as every=6h; a worse model is kept out"},
    {"explore", 0, HD_FLAG_NUMBER, AT(explore), "P",
     "the probability that a place of a feed's lower half goes to chance", .fallback = "0.05"},
    {"retain", 0, HD_FLAG_TEXT, AT(retain), "KIND=AGE,...",
     "forget events of a kind past an age, such as impression=30d,all=2y"},
    {"cors", 0, HD_FLAG_TEXT, AT(cors), "ORIGIN", "whose pages may ask: an origin, or *"},
    {"tls-cert", 0, HD_FLAG_FILE, AT(tls_certificate), "FILE", "certificates, in PEM"},
    {"tls-key", 0, HD_FLAG_FILE, AT(tls_key), "FILE", "their key, in PEM"},
    {"rate", 0, HD_FLAG_COUNT, AT(rate), "N",
     "requests a second of a key without a limit of its own; any number where not given",
     .least = 1},
    {"access-log", 0, HD_FLAG_FILE, AT(access_log), "FILE",
     "a line for each request; stderr where not given, opened again at SIGHUP"},
    {0},
};

/* ---- values with units */

/* A whole number and K, M or G, of 2^10, 2^20, 2^30 bytes. */
static heed_status parse_size(const char *shown, const char *text, int64_t *out)
{
    static const char units[] = "KMG";
    int64_t value = 0;
    size_t i = 0;

    for (; text[i] >= '0' && text[i] <= '9' && value < INT64_C(1000000000); i++)
        value = value * 10 + (text[i] - '0');
    const char *unit = i > 0 && text[i] && !text[i + 1] ? strchr(units, text[i]) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (!unit || value == 0 || value > INT64_MAX >> shift)
        return hd_fail(HEED_E_ARG, "%s: `%.80s` is not a number and one of %s", shown, text, units);
    *out = value << shift;
    return HEED_OK;
}

static heed_status parse_train(const char *text, heed_span *every)
{
    static const char prefix[] = "every=";

    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return hd_fail(HEED_E_ARG, "--train: `%.80s` is not every=AGE, such as every=6h", text);
    text += sizeof prefix - 1;
    HD_TRY(hd_parse_span("--train", text, strlen(text), every));
    if (*every < 60000)
        return hd_fail(HEED_E_ARG, "--train: less than a minute");
    return HEED_OK;
}

/* "impression=30d,all=2y" */
static heed_status parse_retain(const char *text, struct hd_jobs_opts *jobs)
{
    while (*text) {
        size_t bytes = strcspn(text, ","), kind = strcspn(text, "=");
        if (jobs->retain_count == HD_RETAIN_RULES_MAX)
            return hd_fail(HEED_E_ARG, "--retain: more than %d kinds", HD_RETAIN_RULES_MAX);
        struct hd_retain_rule *rule = &jobs->retain[jobs->retain_count++];
        if (kind >= bytes || kind == 0 || kind >= sizeof rule->kind)
            return hd_fail(HEED_E_ARG, "--retain: `%.80s` is not KIND=AGE, such as view=1y", text);
        memcpy(rule->kind, text, kind);
        if (strcmp(rule->kind, "all") == 0)
            rule->kind[0] = '\0';
        HD_TRY(hd_parse_span("--retain", text + kind + 1, bytes - kind - 1, &rule->age));
        text += bytes + (text[bytes] == ',');
    }
    return HEED_OK;
}

static heed_status fill_opts(const struct hd_cli *cli, const struct serve_options *options,
                             struct hd_server_opts *opts)
{
    *opts = (struct hd_server_opts){
        .data = cli->data,
        .listen = options->listen,
        .threads = (int)options->threads,
        .explore = options->explore,
        .rate = options->rate,
        .cors_origin = options->cors,
        .tls_certificate = options->tls_certificate,
        .tls_key = options->tls_key,
        .access_log = options->access_log,
    };
    if (!(options->explore >= 0 && options->explore <= 1))
        return hd_fail(HEED_E_ARG, "--explore: %g is not 0 to 1", options->explore);
    if (!options->tls_certificate != !options->tls_key)
        return hd_fail(HEED_E_ARG, "--tls-cert, --tls-key: one without the other");
    if (options->memory)
        HD_TRY(parse_size("--memory", options->memory, &opts->memory_bytes));
    if (options->train)
        HD_TRY(parse_train(options->train, &opts->jobs.train_every));
    if (options->retain)
        HD_TRY(parse_retain(options->retain, &opts->jobs));
    return HEED_OK;
}

/* ---- running */

/* Ticks each second until a signal asks for the end. The signals are blocked in every thread, this one
 * takes them one by one. */
static void run_until_told(struct hd_server *server, const sigset_t *signals)
{
    const struct timespec tick = {.tv_sec = TICK_S};

    hd_server_tick(server); /* what the first questions need is read before they come, if they let it */
    for (;;) {
        int got = sigtimedwait(signals, NULL, &tick);
        if (got == SIGTERM || got == SIGINT)
            return;
        if (got == SIGHUP)
            hd_server_reload(server);
        else if (got < 0 && errno == EAGAIN)
            hd_server_tick(server);
    }
}

static heed_status serve_run(struct hd_cli *cli, const void *given)
{
    struct hd_server *server = NULL;
    struct hd_server_opts opts;
    sigset_t signals;

    HD_TRY(fill_opts(cli, given, &opts));
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread is made: they inherit it */
    signal(SIGPIPE, SIG_IGN);                   /* a reader that is gone is an error of that write */
    HD_TRY(hd_server_start(&opts, &server));
    run_until_told(server, &signals);
    hd_server_stop(server);
    hd_log_say(HD_LOG_FILE, HEED_LOG_INFO, "stopped", NULL, NULL);
    return HEED_OK;
}

const struct hd_command hd_command_serve = {
    .name = "serve",
    .summary = "answer over HTTP: events in, feeds out",
    .about =
        "What can be asked is at /openapi.json, and told with examples in docs/API.md. Without a\n"
        "key in the store only this machine is served; `heed key add` makes one. SIGTERM lets\n"
        "answers under way finish, SIGHUP opens the access log again. TLS where a certificate is\n"
        "given; HTTP/2 by a proxy (packaging/nginx.conf).",
    .example = "heed serve --listen 127.0.0.1:8080 --memory 512M --train every=6h",
    .flags = serve_flags,
    .options_bytes = sizeof(struct serve_options),
    .uses = HD_USES_DATA,
    .run = serve_run,
};
