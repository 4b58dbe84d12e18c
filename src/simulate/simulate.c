/* SPDX-License-Identifier: Apache-2.0
 *
 * The town written down: items.ndjson, events.ndjson, truth.ndjson, README.txt. Numbers are
 * formatted here, not by printf, so that no locale puts a comma in them and a million events take
 * little time. The files grow under other names and are renamed together at the end. */
#include "heed/simulate.h"
#include "base/memory.h"
#include "base/time.h"
#include "simulate/town.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE_ITEMS 5          /* on a page of the town's own paper */
#define PROGRESS_EVENTS 20000 /* between two reports */
#define BUFFER_BYTES (1 << 16)
#define PUT_BYTES_MAX 2048 /* one put_text: longer than any title or text of the town */

enum { ITEMS, EVENTS, TRUTH, README, FILES };
static const char *const file_names[FILES] = {"items.ndjson", "events.ndjson", "truth.ndjson",
                                              "README.txt"};

/* ---- a buffered file; the first failure is kept in `failed` */
struct sink {
    FILE *file;
    char *part, *path; /* written to, renamed to */
    size_t used;
    int failed; /* errno */
    char buffer[BUFFER_BYTES];
};

static void flush(struct sink *s)
{
    if (s->used && !s->failed && fwrite(s->buffer, 1, s->used, s->file) != s->used)
        s->failed = errno ? errno : EIO;
    s->used = 0;
}

static void put_text(struct sink *s, const char *text)
{
    size_t length = strlen(text);

    if (s->used + length > BUFFER_BYTES)
        flush(s);
    length = length < PUT_BYTES_MAX ? length : PUT_BYTES_MAX;
    memcpy(s->buffer + s->used, text, length);
    s->used += length;
}

static void put_number(struct sink *s, int64_t value)
{
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    *at = 0;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--at = '-';
    put_text(s, at);
}

/* A number of 0 .. 1 or a little more, with four decimals. */
static void put_share(struct sink *s, double value)
{
    int64_t parts = (int64_t)(value * 10000.0 + 0.5);
    char digits[6] = {'.',
                      (char)('0' + parts / 1000 % 10),
                      (char)('0' + parts / 100 % 10),
                      (char)('0' + parts / 10 % 10),
                      (char)('0' + parts % 10),
                      0};

    put_number(s, parts / 10000);
    put_text(s, digits);
}

/* The town's own words hold no control character; quotes and backslashes are escaped all the same.
 */
static void put_string(struct sink *s, const char *text)
{
    char escaped[2 * HD_TOWN_TEXT_BYTES + 3];
    size_t n = 0;

    escaped[n++] = '"';
    for (; *text && n + 4 < sizeof escaped; text++) {
        if (*text == '"' || *text == '\\')
            escaped[n++] = '\\';
        escaped[n++] = *text;
    }
    escaped[n++] = '"', escaped[n] = 0;
    put_text(s, escaped);
}

static void put_time(struct sink *s, heed_time when)
{
    char text[HD_TIME_TEXT_BYTES];

    hd_time_format(when, text);
    put_text(s, "\""), put_text(s, text), put_text(s, "\"");
}

static void put_id(struct sink *s, char letter, int64_t number)
{
    char head[3] = {'"', letter, 0};

    put_text(s, head);
    put_number(s, number);
    put_text(s, "\"");
}

static void put_shares(struct sink *s, const double *shares)
{
    put_text(s, "[");
    for (int k = 0; k < HD_TOWN_TOPICS; k++) {
        put_text(s, k ? "," : "");
        put_share(s, shares[k]);
    }
    put_text(s, "]");
}

/* ---- what stands in the files */
static void write_item(struct sink *items, struct sink *truth, const hd_town *town, int64_t i)
{
    const struct hd_town_item *it = hd_town_item(town, i);
    char text[HD_TOWN_TEXT_BYTES], author[HD_TOWN_AUTHOR_BYTES];
    double topics[HD_TOWN_TOPICS];

    hd_town_text(town, i, text);
    hd_town_author(it->author, author);
    put_text(items, "{\"id\":"), put_id(items, 'i', i + 1);
    put_text(items, ",\"title\":"), put_string(items, it->title);
    put_text(items, ",\"text\":"), put_string(items, text);
    put_text(items, ",\"tags\":["), put_string(items, hd_town_topic_names[it->topic]);
    if (strcmp(hd_town_subject(town, i), hd_town_topic_names[it->topic]))
        put_text(items, ","), put_string(items, hd_town_subject(town, i));
    put_text(items, it->series ? ",\"series\"]" : "]");
    put_text(items, ",\"author\":"), put_string(items, author);
    put_text(items, ",\"created\":"), put_time(items, it->created);
    put_text(items, "}\n");

    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        topics[k] = (double)it->topics[k];
    put_text(truth, "{\"truth\":\"item\",\"item\":"), put_id(truth, 'i', i + 1);
    put_text(truth, ",\"topics\":"), put_shares(truth, topics);
    put_text(truth, ",\"quality\":"), put_share(truth, (double)it->quality);
    put_text(truth, ",\"length_s\":"), put_number(truth, it->length_s);
    if (it->series) {
        put_text(truth, ",\"series\":"), put_number(truth, it->series);
        put_text(truth, ",\"part\":"), put_number(truth, it->part);
    }
    if (it->next >= 0)
        put_text(truth, ",\"next\":"), put_id(truth, 'i', it->next + 1);
    put_text(truth, "}\n");
}

/* What the reader cares about as a session begins. */
static void write_reader(struct sink *truth, const hd_town *town, const struct hd_town_visit *visit)
{
    double interests[HD_TOWN_TOPICS];

    hd_town_interests(town, visit->reader, interests);
    put_text(truth, "{\"truth\":\"reader\",\"user\":"), put_id(truth, 'u', visit->reader + 1);
    put_text(truth, ",\"ts\":"), put_time(truth, visit->when);
    put_text(truth, ",\"interests\":"), put_shares(truth, interests);
    put_text(truth, "}\n");
}

static void write_event(struct sink *events, struct sink *truth, const struct hd_town_event *event,
                        int64_t number)
{
    put_text(events, "{\"id\":"), put_id(events, 'e', number);
    put_text(events, ",\"ts\":"), put_time(events, event->when);
    put_text(events, ",\"user\":"), put_id(events, 'u', event->reader + 1);
    put_text(events, ",\"item\":"), put_id(events, 'i', event->item + 1);
    put_text(events, ",\"kind\":\""), put_text(events, hd_town_kind_names[event->kind]);
    put_text(events, "\"");
    if (event->kind == HD_TOWN_VIEW)
        put_text(events, ",\"dwell_ms\":"), put_number(events, event->dwell_ms);
    put_text(events, ",\"decision\":"), put_id(events, 'd', event->decision);
    put_text(events, ",\"position\":"), put_number(events, event->position);
    put_text(events, event->phone ? ",\"context\":{\"device\":\"phone\"}}\n"
                                  : ",\"context\":{\"device\":\"desk\"}}\n");
    if (event->kind == HD_TOWN_IMPRESSION) {
        put_text(truth, "{\"truth\":\"attention\",\"event\":"), put_id(truth, 'e', number);
        put_text(truth, ",\"probability\":"), put_share(truth, (double)event->attention);
        put_text(truth, ",\"aligned\":"), put_share(truth, (double)event->aligned);
        put_text(truth, "}\n");
    }
}

static void write_heads(struct sink *truth, struct sink *readme, const heed_simulate_opts *opts,
                        const hd_town *town)
{
    put_text(truth, "{\"truth\":\"town\",\"version\":1,\"seed\":");
    /* A seed may be any 64 bits, a JSON number holds 53: it goes as a string. */
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)opts->seed);
    put_string(truth, seed);
    put_text(truth, ",\"users\":"), put_number(truth, hd_town_readers(town));
    put_text(truth, ",\"items\":"), put_number(truth, hd_town_items(town));
    put_text(truth, ",\"topics\":[");
    for (int k = 0; k < HD_TOWN_TOPICS; k++)
        put_text(truth, k ? "," : ""), put_string(truth, hd_town_topic_names[k]);
    put_text(truth, "]}\n");

    put_text(
        readme,
        "A simulated town of readers. Nobody here exists.\n\n"
        "items.ndjson   one item a line, for `heed import items`\n"
        "events.ndjson  one event a line in the order of time, for `heed import events`.\n"
        "               ts is when it began; a view's dwell_ms follows it. position is the place\n"
        "               on the page, from 1; decision names the page.\n"
        "truth.ndjson   what no real log holds, one object a line, told apart by `truth`:\n"
        "  town         the seed, and the topics, in the order of every vector below\n"
        "  item         what the item is about (sums to 1), its quality, the seconds a full\n"
        "               read takes; of a series also its number, part, and the next part\n"
        "  reader       what the reader cared about as a session began (sums to 1)\n"
        "  attention    of each impression: the probability with which it was looked at, and\n"
        "               how near the item was to the reader's interests\n\n"
        "Made by heed " HEED_VERSION_TEXT ", seed ");
    put_text(readme, seed);
    put_text(readme, ": ");
    put_number(readme, hd_town_readers(town)), put_text(readme, " readers, ");
    put_number(readme, hd_town_items(town)), put_text(readme, " items, ");
    put_number(readme, opts->events),
        put_text(readme, " events. The same options, the same bytes.\n");
}

/* ---- files */
static char *join(const char *folder, const char *name, const char *ending)
{
    size_t length = strlen(folder) + strlen(name) + strlen(ending) + 2;
    char *path = hd_alloc(length, 1);

    if (path)
        snprintf(path, length, "%s/%s%s", folder, name, ending);
    return path;
}

/* The folder and those above it that are missing. */
static heed_status make_folder(const char *folder)
{
    char *path = join(folder, "", "");
    heed_status status = HEED_OK;

    if (!path)
        return hd_fail(HEED_E_NOMEM, "simulate: no memory for a name");
    for (char *at = path + 1; status == HEED_OK && (at = strchr(at, '/')); at++) {
        *at = 0; /* the last one is the slash that join() put there */
        if (mkdir(path, 0777) && errno != EEXIST)
            status = hd_fail_errno(HEED_E_IO, "%s: cannot make the folder", path);
        *at = '/';
    }
    hd_free(path);
    return status;
}

static heed_status open_sinks(struct sink **sinks, const char *folder)
{
    HD_TRY(make_folder(folder));
    for (int i = 0; i < FILES; i++) {
        if (!(sinks[i] = hd_alloc(1, sizeof *sinks[i])) ||
            !(sinks[i]->part = join(folder, file_names[i], ".part")) ||
            !(sinks[i]->path = join(folder, file_names[i], "")))
            return hd_fail(HEED_E_NOMEM, "simulate: no memory for the files");
        if (!(sinks[i]->file = fopen(sinks[i]->part, "wb")))
            return hd_fail_errno(HEED_E_IO, "%s: cannot be written", sinks[i]->part);
    }
    return HEED_OK;
}

/* All complete, or none: the last buffer is written and the file closed before any is renamed. */
static heed_status finish_sinks(struct sink **sinks)
{
    for (int i = 0; i < FILES; i++) {
        FILE *file = sinks[i]->file;

        flush(sinks[i]);
        sinks[i]->file = NULL;
        if (fclose(file) && !sinks[i]->failed)
            sinks[i]->failed = errno;
        if (sinks[i]->failed) {
            errno = sinks[i]->failed;
            return hd_fail_errno(HEED_E_IO, "%s: cannot be written", sinks[i]->path);
        }
    }
    for (int i = 0; i < FILES; i++)
        if (rename(sinks[i]->part, sinks[i]->path))
            return hd_fail_errno(HEED_E_IO, "%s: cannot be put in place", sinks[i]->path);
    return HEED_OK;
}

static void close_sinks(struct sink **sinks, bool keep)
{
    for (int i = 0; i < FILES; i++) {
        if (!sinks[i])
            continue;
        if (sinks[i]->file)
            fclose(sinks[i]->file);
        if (!keep && sinks[i]->part)
            remove(sinks[i]->part); /* a renamed one is not there any more, and that is fine */
        hd_free(sinks[i]->part), hd_free(sinks[i]->path);
        hd_free(sinks[i]);
    }
}

/* ---- the run */
static void count_event(heed_simulate_report *report, const struct hd_town_event *event)
{
    int64_t *counters[HD_TOWN_KINDS] = {&report->impressions, &report->views,    &report->clicks,
                                        &report->likes,       &report->dislikes, &report->shares,
                                        &report->saves,       &report->hides};

    if (!report->events++)
        report->first = event->when;
    report->last = event->when;
    ++*counters[event->kind];
}

static heed_status run_town(hd_town *town, const heed_simulate_opts *opts, struct sink **sinks,
                            uint8_t *viewed, heed_simulate_report *report)
{
    const heed_progress *progress = &opts->progress;
    struct hd_town_event event;
    int32_t page[PAGE_ITEMS];

    for (int64_t decision = 1; report->events < opts->events; decision++) {
        struct hd_town_visit visit = hd_town_visit(town);
        if (!visit.page)
            write_reader(sinks[TRUTH], town, &visit);
        int n = hd_town_pick(town, &visit, PAGE_ITEMS, page);
        HD_TRY(hd_town_show(town, &visit, page, n, decision));
        while (report->events < opts->events && hd_town_next(town, &event)) {
            count_event(report, &event);
            write_event(sinks[EVENTS], sinks[TRUTH], &event, report->events);
            if (event.kind == HD_TOWN_VIEW)
                viewed[event.reader] = 1;
            if (report->events % PROGRESS_EVENTS == 0 && progress->report &&
                !progress->report(progress->context, "events", report->events, opts->events))
                return hd_fail(HEED_E_CANCELLED, "simulate: stopped at event %lld",
                               (long long)report->events);
        }
        /* A full disk is said early, not after the last of a million events. */
        if (sinks[EVENTS]->failed || sinks[TRUTH]->failed)
            break;
    }
    for (int64_t i = 0; i < hd_town_readers(town); i++)
        report->readers += viewed[i];
    return HEED_OK;
}

heed_status heed_simulate(const heed_simulate_opts *given, const char *folder,
                          heed_simulate_report *out)
{
    heed_simulate_opts opts = given ? *given : (heed_simulate_opts){0};
    heed_simulate_report report = {0};
    struct sink *sinks[FILES] = {0};
    uint8_t *viewed = NULL;
    hd_town *town = NULL;
    heed_status status;

    if (!folder || !*folder)
        return hd_fail(HEED_E_ARG, "simulate: no folder is named");
    opts.events = opts.events ? opts.events : 20000;
    status = hd_town_new(&opts, &town);
    if (status == HEED_OK && !(viewed = hd_alloc((size_t)hd_town_readers(town), 1)))
        status = hd_fail(HEED_E_NOMEM, "simulate: no memory for the readers");
    if (status == HEED_OK)
        status = open_sinks(sinks, folder);
    if (status != HEED_OK)
        goto done;
    report.users = hd_town_readers(town), report.items = hd_town_items(town);
    write_heads(sinks[TRUTH], sinks[README], &opts, town);
    for (int64_t i = 0; i < report.items; i++)
        write_item(sinks[ITEMS], sinks[TRUTH], town, i);
    status = run_town(town, &opts, sinks, viewed, &report);
    if (status == HEED_OK)
        status = finish_sinks(sinks);
    if (status == HEED_OK && out)
        *out = report;
done:
    close_sinks(sinks, status == HEED_OK);
    hd_free(viewed);
    hd_town_free(town);
    return status;
}
