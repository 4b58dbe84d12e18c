/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/load: asks an HTTP server over keep-alive connections and says how long it took.
 *
 * Without --rate each connection asks again as soon as it is answered (a closed loop): that finds the
 * throughput, and its latencies are those of a server that is never less than full. With --rate
 * requests fall due at even distances whether the server keeps up or not (an open loop): a latency
 * counts from the moment a request was due, so that a server which stands still for a second is
 * charged for everybody who would have come in that second.
 *
 * One thread. It shares the processors with the server where both are on one machine, and so takes
 * part of what it measures: some 10 us a request. */
#include "load.h"
#include "base/random.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)
#define GRACE_S 60      /* that late answers are waited for at the end */
#define READY_MAX 256   /* connections looked at in one go */
#define STATUS_MAX 600

enum kind { FEED, EVENT, KINDS };
enum mode { MODE_FEED, MODE_EVENT, MODE_BULK, MODE_FRESH, MODE_HOLD, MODE_WALL, MODES };
static const char *const mode_names[MODES] = {"feed", "event", "bulk", "fresh", "hold", "wall"};

/* A request's way: what it asks, from which moment its latency counts, what it will have checked. */
struct asker {
    struct load_client client;
    enum kind kind;
    int step; /* of MODE_FRESH: 0 a feed, 1 an event on its first item, 2 the feed again */
    bool busy;
    int64_t due_ns, first_event, event_count;
    struct load_values values;
};

struct load {
    /* what is asked for */
    enum mode mode;
    const char *host, *port, *path, *method, *type, *body, *key, *acked_path;
    const char *user_prefix, *item_prefix;
    int connections, lines;
    int64_t users, items;
    double rate, seconds, warm_s;
    uint64_t seed;

    /* under way */
    struct load_template body_template, path_template;
    struct asker *askers;
    int *idle, idle_count, epoll;
    char event_prefix[64];
    int64_t start_ns, count_from_ns, end_ns, last_ns, sent, event_next;
    bool refused;
    heed_rng rng;
    FILE *acked;

    /* counted */
    struct load_times times[KINDS];
    int64_t requests, status[STATUS_MAX], closed, unreadable, bytes_out, bytes_in;
    int64_t accepted, duplicate, rejected, checked, stale, empty;
};

static const char feed_body[] = "{\"user\":\"{user}\",\"n\":10}";
static const char event_body[] = "{\"id\":\"{event}\",\"ts\":{now},\"user\":\"{user}\",\"item\":\"{item}\","
                                 "\"kind\":\"view\",\"dwell_ms\":9000}";

/* ---- asking */

static void put_request(struct load *load, struct asker *a, const char *path, const char *type,
                        const struct load_buffer *body)
{
    struct load_buffer *out = &a->client.out;
    char head[512];
    int bytes = snprintf(head, sizeof head, "%s ", load->method);

    load_put(out, head, (size_t)bytes);
    if (path) {
        load_put(out, path, strlen(path));
    } else {
        load_template_write(&load->path_template, &a->values, out);
    }
    bytes = snprintf(head, sizeof head, " HTTP/1.1\r\nHost: %s:%s\r\n%s%s%s", load->host, load->port,
                     load->key ? "Authorization: Bearer " : "", load->key ? load->key : "",
                     load->key ? "\r\n" : "");
    load_put(out, head, (size_t)bytes);
    if (body->bytes) {
        bytes = snprintf(head, sizeof head, "Content-Type: %s\r\nContent-Length: %zu\r\n", type,
                         body->bytes);
        load_put(out, head, (size_t)bytes);
    }
    load_put(out, "\r\n", 2);
    load_put(out, body->at, body->bytes);
}

static void draw_user(struct load *load, struct asker *a)
{
    snprintf(a->values.user, sizeof a->values.user, "%s%" PRIu64, load->user_prefix,
             hd_random_below(&load->rng, (uint64_t)load->users));
}

static void draw_item(struct load *load, struct asker *a)
{
    snprintf(a->values.item, sizeof a->values.item, "%s%" PRIu64, load->item_prefix,
             hd_random_below(&load->rng, (uint64_t)load->items));
}

/* As many lines as the mode wants, each a user, an item and an event of its own. */
static void put_lines(struct load *load, struct asker *a, struct load_buffer *body)
{
    for (int i = 0; i < load->lines; i++) {
        draw_user(load, a);
        draw_item(load, a);
        a->values.event = load->event_next++;
        load_template_write(&load->body_template, &a->values, body);
        if (load->lines > 1)
            load_put(body, "\n", 1);
    }
    a->event_count = load->lines;
}

/* The steps of MODE_FRESH; the event is about what the feed before it put first. */
static void put_fresh(struct load *load, struct asker *a, struct load_buffer *body)
{
    struct load_template template;

    if (a->step == 0)
        draw_user(load, a);
    if (a->step == 1) {
        a->values.event = load->event_next++;
        a->event_count = 1;
    }
    load_template_read(a->step == 1 ? event_body : feed_body, &template);
    load_template_write(&template, &a->values, body);
    a->kind = a->step == 1 ? EVENT : FEED;
    put_request(load, a, a->step == 1 ? "/v1/events" : "/v1/feed", "application/json", body);
}

static void put_next(struct load *load, struct asker *a)
{
    static struct load_buffer body; /* one thread: its room is kept from request to request */
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    a->values.now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    a->first_event = load->event_next;
    a->event_count = 0;
    a->client.out.bytes = a->client.in.bytes = a->client.sent = 0;
    body.bytes = 0;
    if (load->mode == MODE_FRESH) {
        put_fresh(load, a, &body);
        return;
    }
    put_lines(load, a, &body);
    if (load->mode == MODE_FEED)
        a->event_count = 0;
    put_request(load, a, NULL, load->type, &body);
}

/* ---- answers */

/* Whether what was just viewed is still offered; takes the next view from the first feed. */
static void check_fresh(struct load *load, struct asker *a)
{
    const char *from = a->client.body, *end = from + a->client.body_bytes;
    char item[LOAD_NAME_BYTES];
    bool there = false;

    if (a->step == 0) {
        if (load_find_text(&from, end, "item", a->values.item))
            a->step = 1;
        else
            load->empty++;
        return;
    }
    if (a->step == 1) {
        a->step = 2;
        return;
    }
    while (load_find_text(&from, end, "item", item))
        there |= strcmp(item, a->values.item) == 0;
    load->checked++;
    load->stale += there;
    a->step = 0;
}

static void count_answer(struct load *load, struct asker *a, int64_t now_ns)
{
    struct load_client *c = &a->client;
    bool good = c->status >= 200 && c->status < 300;

    if (a->event_count && good && load->acked)
        fprintf(load->acked, "%" PRId64 " %" PRId64 "\n", a->first_event, a->event_count);
    if (load->mode == MODE_FRESH && good)
        check_fresh(load, a);
    else
        a->step = 0;
    if (a->due_ns < load->count_from_ns)
        return;
    load->requests++;
    load->status[c->status < STATUS_MAX ? c->status : 0]++;
    load->last_ns = now_ns;
    load->bytes_out += (int64_t)c->out.bytes;
    load->bytes_in += (int64_t)c->in.bytes;
    if (good)
        load_times_add(&load->times[a->kind], (now_ns - a->due_ns) / 1000);
    if (good && a->event_count) {
        load->accepted += load_find_number(c->body, c->body_bytes, "accepted");
        load->duplicate += load_find_number(c->body, c->body_bytes, "duplicate");
        load->rejected += load_find_number(c->body, c->body_bytes, "rejected");
    }
}

/* A connection that is lost is made again, but for a server that is gone. */
static void reopen(struct load *load, struct asker *a)
{
    load_client_close(&a->client);
    if (!load_client_open(&a->client, load->host, load->port))
        load->refused = true;
}

static void handle(struct load *load, struct asker *a, enum load_state state)
{
    if (state == LOAD_WAITS)
        return;
    bool was_busy = a->busy;
    a->busy = false;
    if (state == LOAD_ANSWERED && was_busy) {
        count_answer(load, a, load_clock_ns());
    } else if (was_busy) {
        load->closed += state == LOAD_CLOSED;
        load->unreadable += state == LOAD_UNREADABLE;
        a->step = 0;
    }
    if (state != LOAD_ANSWERED || a->client.closing)
        reopen(load, a);
    if (was_busy)
        load->idle[load->idle_count++] = a->client.index;
}

/* When the next request is due; past the end: there is none. */
static int64_t next_due(const struct load *load, int64_t now_ns)
{
    if (load->rate <= 0)
        return now_ns;
    return load->start_ns + (int64_t)((double)load->sent / load->rate * 1e9);
}

static void send_due(struct load *load)
{
    while (load->idle_count > 0 && !load->refused) {
        int64_t now = load_clock_ns(), due = next_due(load, now);
        if (due > now || due >= load->end_ns)
            return;
        struct asker *a = &load->askers[load->idle[--load->idle_count]];
        a->due_ns = due;
        a->busy = true;
        load->sent++;
        put_next(load, a);
        handle(load, a, load_client_send(&a->client));
    }
}

/* Until something can be read, or the next request is due. */
static void wait_for_news(struct load *load)
{
    struct epoll_event ready[READY_MAX];
    struct pollfd waiting = {.fd = load->epoll, .events = POLLIN};
    int64_t now = load_clock_ns(), until = now + SECOND_NS / 10, due = next_due(load, now);

    if (load->idle_count > 0 && due < load->end_ns && due < until)
        until = due;
    int64_t left = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = left / SECOND_NS, .tv_nsec = left % SECOND_NS};
    ppoll(&waiting, 1, &timeout, NULL); /* an epoll's own timeout is too coarse */
    int n = epoll_wait(load->epoll, ready, READY_MAX, 0);
    for (int i = 0; i < n; i++) {
        struct asker *a = &load->askers[ready[i].data.u32];
        enum load_state state = LOAD_WAITS;
        if (a->client.fd >= 0 && ready[i].events & EPOLLOUT)
            state = load_client_send(&a->client);
        if (a->client.fd >= 0 && state == LOAD_WAITS && ready[i].events & ~(uint32_t)EPOLLOUT)
            state = load_client_read(&a->client);
        handle(load, a, state);
    }
}

/* ---- a run */

static bool open_all(struct load *load)
{
    for (int i = 0; i < load->connections; i++) {
        struct asker *a = &load->askers[i];
        a->kind = load->mode == MODE_FEED ? FEED : EVENT;
        a->values.event_prefix = load->event_prefix;
        a->client.index = i;
        a->client.epoll = load->epoll;
        if (!load_client_open(&a->client, load->host, load->port)) {
            fprintf(stderr, "load: %s:%s: %s\n", load->host, load->port, strerror(errno));
            return false;
        }
        load->idle[load->idle_count++] = i;
    }
    return true;
}

static bool run(struct load *load)
{
    snprintf(load->event_prefix, sizeof load->event_prefix, "load-%" PRIu64 "-", load->seed);
    load->rng = hd_rng(load->seed, 0);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->askers = calloc((size_t)load->connections, sizeof *load->askers);
    load->idle = calloc((size_t)load->connections, sizeof *load->idle);
    if (load->epoll < 0 || !load->askers || !load->idle)
        return false;
    for (int k = 0; k < KINDS; k++)
        load_times_new(&load->times[k]);
    if (!open_all(load))
        return false;
    load->start_ns = load_clock_ns();
    load->count_from_ns = load->last_ns = load->start_ns + (int64_t)(load->warm_s * 1e9);
    load->end_ns = load->count_from_ns + (int64_t)(load->seconds * 1e9);
    for (int64_t now = load->start_ns; now < load->end_ns + GRACE_S * SECOND_NS && !load->refused;
         now = load_clock_ns()) {
        if (next_due(load, now) >= load->end_ns && load->idle_count == load->connections)
            break;
        send_due(load);
        wait_for_news(load);
    }
    return true;
}

static void clear(struct load *load)
{
    for (int i = 0; load->askers && i < load->connections; i++) {
        free(load->askers[i].client.out.at);
        free(load->askers[i].client.in.at);
    }
    free(load->askers);
    free(load->idle);
    for (int k = 0; k < KINDS; k++)
        free(load->times[k].count);
    if (load->acked)
        fclose(load->acked);
}

/* Those that fell due in an open loop and that no connection was free for. */
static int64_t unsent(const struct load *load)
{
    int64_t due = (int64_t)(load->rate * (load->warm_s + load->seconds));

    return due > load->sent ? due - load->sent : 0;
}

static void report(const struct load *load)
{
    double seconds = (double)(load->last_ns - load->count_from_ns) / 1e9;
    const char *comma = "";

    seconds = seconds > 0 ? seconds : 1;
    printf("{\"mode\": \"%s\", \"connections\": %d, \"lines\": %d, \"rate_wanted\": %g, "
           "\"seconds\": %.3f, \"requests\": %" PRId64 ", \"rate\": %.1f, \"status\": {",
           mode_names[load->mode], load->connections, load->lines, load->rate, seconds,
           load->requests, (double)load->requests / seconds);
    for (int s = 0; s < STATUS_MAX; s++)
        if (load->status[s]) {
            printf("%s\"%d\": %" PRId64, comma, s, load->status[s]);
            comma = ", ";
        }
    printf("}, \"errors\": {\"closed\": %" PRId64 ", \"unreadable\": %" PRId64
           ", \"unanswered\": %d, \"unsent\": %" PRId64 ", \"refused\": %s}, ",
           load->closed, load->unreadable, load->connections - load->idle_count, unsent(load),
           load->refused ? "true" : "false");
    if (load->mode != MODE_FEED)
        printf("\"events\": {\"accepted\": %" PRId64 ", \"duplicate\": %" PRId64
               ", \"rejected\": %" PRId64 ", \"rate\": %.1f, \"prefix\": \"%s\"}, ",
               load->accepted, load->duplicate, load->rejected, (double)load->accepted / seconds,
               load->event_prefix);
    if (load->mode == MODE_FRESH)
        printf("\"checked\": %" PRId64 ", \"stale\": %" PRId64 ", \"empty\": %" PRId64 ", ",
               load->checked, load->stale, load->empty);
    printf("\"bytes_out\": %" PRId64 ", \"bytes_in\": %" PRId64, load->bytes_out, load->bytes_in);
    if (load->times[FEED].total) {
        printf(", ");
        load_times_print(&load->times[FEED], "feed_ms");
    }
    if (load->times[EVENT].total) {
        printf(", ");
        load_times_print(&load->times[EVENT], "event_ms");
    }
    printf("}\n");
}

/* ---- options */

static const char help[] =
    "load: asks an HTTP server over keep-alive connections and says how long it took\n"
    "\n"
    "Usage\n"
    "  load [options] HOST PORT\n"
    "\n"
    "Modes (--mode)\n"
    "  feed    POST /v1/feed for a user drawn at random\n"
    "  event   POST /v1/events with one event, of a user and an item drawn at random\n"
    "  bulk    POST /v1/events with --lines of them\n"
    "  fresh   a feed, a view of its first item, the feed again: is the item gone?\n"
    "  hold    connections that are a burden: a third says nothing, a third sends a byte a\n"
    "          second, a third has asked once; what is closed is opened again\n"
    "  wall    a server of nothing at HOST PORT, to hold them against for comparison\n"
    "\n"
    "Options\n"
    "  -m, --mode MODE         [feed]\n"
    "  -c, --connections N     [32]\n"
    "  -s, --seconds S         counted [10]\n"
    "  -w, --warm S            before, not counted [1]\n"
    "  -r, --rate R            requests a second that fall due; 0: each connection asks\n"
    "                          again as soon as it is answered [0]\n"
    "  -l, --lines N           events in a body, of mode bulk [1000]\n"
    "  -u, --users N           user numbers are 0 .. N-1 [1000]\n"
    "  -i, --items N           item numbers are 0 .. N-1 [1000]\n"
    "      --user-prefix TEXT  before a user's number [u]\n"
    "      --item-prefix TEXT  [i]\n"
    "      --method, --path, --type, --body TEXT\n"
    "                          another request for the modes feed, event and bulk; path and\n"
    "                          body may hold {user}, {item}, {event} (ids that rise), {uuid}\n"
    "                          (ids that do not) and {now} (ms); an empty body is none\n"
    "      --key KEY           sent as a bearer's\n"
    "      --acked FILE        a line for each acknowledged body: its first event's number and\n"
    "                          how many; ids are the answer's events.prefix and the number\n"
    "      --seed N            of all that is drawn, and of event ids [from the clock]\n"
    "  -h, --help\n"
    "\n"
    "Answers with one JSON object; latencies in milliseconds, exact to the microsecond, of 2xx\n"
    "answers alone. With --rate a latency counts from the moment the request was due, also where\n"
    "no connection was free; without, from sending, which says little of what a client of a less\n"
    "busy server would see. All is one thread, with what that costs the server beside it. Lost\n"
    "connections are made again; the run ends early where the server refuses one.\n";

enum { USER_PREFIX = 256, ITEM_PREFIX, METHOD, PATH, TYPE, BODY, KEY, ACKED, SEED };
static const struct option options[] = {{"mode", 1, 0, 'm'},
                                        {"connections", 1, 0, 'c'},
                                        {"seconds", 1, 0, 's'},
                                        {"warm", 1, 0, 'w'},
                                        {"rate", 1, 0, 'r'},
                                        {"lines", 1, 0, 'l'},
                                        {"users", 1, 0, 'u'},
                                        {"items", 1, 0, 'i'},
                                        {"user-prefix", 1, 0, USER_PREFIX},
                                        {"item-prefix", 1, 0, ITEM_PREFIX},
                                        {"method", 1, 0, METHOD},
                                        {"path", 1, 0, PATH},
                                        {"type", 1, 0, TYPE},
                                        {"body", 1, 0, BODY},
                                        {"key", 1, 0, KEY},
                                        {"acked", 1, 0, ACKED},
                                        {"seed", 1, 0, SEED},
                                        {"help", 0, 0, 'h'},
                                        {0}};

static _Noreturn void misused(const char *what)
{
    fprintf(stderr, "load: %s; load --help says what can be asked\n", what);
    exit(2);
}

static double number(const char *text, double least)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= least && value <= 1e15))
        misused("a number is missing or out of its range");
    return value;
}

static enum mode find_mode(const char *name)
{
    for (int m = 0; m < MODES; m++)
        if (strcmp(mode_names[m], name) == 0)
            return (enum mode)m;
    misused("there is no such mode");
}

static void read_option(struct load *load, int option)
{
    switch (option) {
    case 'm': load->mode = find_mode(optarg); break;
    case 'c': load->connections = (int)number(optarg, 1); break;
    case 's': load->seconds = number(optarg, 0); break;
    case 'w': load->warm_s = number(optarg, 0); break;
    case 'r': load->rate = number(optarg, 0); break;
    case 'l': load->lines = (int)number(optarg, 1); break;
    case 'u': load->users = (int64_t)number(optarg, 1); break;
    case 'i': load->items = (int64_t)number(optarg, 1); break;
    case USER_PREFIX: load->user_prefix = optarg; break;
    case ITEM_PREFIX: load->item_prefix = optarg; break;
    case METHOD: load->method = optarg; break;
    case PATH: load->path = optarg; break;
    case TYPE: load->type = optarg; break;
    case BODY: load->body = optarg; break;
    case KEY: load->key = optarg; break;
    case ACKED: load->acked_path = optarg; break;
    case SEED: load->seed = (uint64_t)number(optarg, 0); break;
    case 'h': fputs(help, stdout); exit(0);
    default: misused("an option is not known");
    }
}

/* What was not given, by the mode. */
static void complete(struct load *load)
{
    bool feed = load->mode == MODE_FEED;

    if (load->mode != MODE_BULK)
        load->lines = 1;
    if (!load->path)
        load->path = feed ? "/v1/feed" : "/v1/events";
    if (!load->body)
        load->body = feed ? feed_body : event_body;
    if (!load->type)
        load->type = load->mode == MODE_BULK ? "application/x-ndjson" : "application/json";
    if (!load_template_read(load->path, &load->path_template) ||
        !load_template_read(load->body, &load->body_template))
        misused("a template has too many pieces");
    if (strlen(load->user_prefix) > 64 || strlen(load->item_prefix) > 64)
        misused("a prefix is too long");
    if (load->acked_path && !(load->acked = fopen(load->acked_path, "w")))
        misused("the file of --acked cannot be written");
}

int main(int argc, char **argv)
{
    struct load load = {.connections = 32, .seconds = 10, .warm_s = 1, .lines = 1000,
                        .users = 1000, .items = 1000, .user_prefix = "u", .item_prefix = "i",
                        .method = "POST"};
    struct timespec now;
    int option;

    clock_gettime(CLOCK_REALTIME, &now);
    load.seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    while ((option = getopt_long(argc, argv, "m:c:s:w:r:l:u:i:h", options, NULL)) >= 0)
        read_option(&load, option);
    if (argc - optind != 2)
        misused("HOST and PORT are missing");
    load.host = argv[optind];
    load.port = argv[optind + 1];
    complete(&load);
    if (load.mode == MODE_HOLD)
        return load_hold(load.host, load.port, load.connections, load.seconds);
    if (load.mode == MODE_WALL)
        return load_wall(load.host, load.port, load.connections, load.seconds);
    bool ran = run(&load);
    if (ran)
        report(&load);
    clear(&load);
    return ran ? 0 : 1;
}
