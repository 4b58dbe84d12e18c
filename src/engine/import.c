/* SPDX-License-Identifier: Apache-2.0
 *
 * The import: lines are read (src/text), understood (src/acquire) and put away (src/store),
 * thousands to a transaction. A line that cannot be understood is turned away with its place and
 * its reason and the next one follows; a store that cannot be written ends the import.
 *
 * Importing a file again changes nothing, whole or after it was killed in the middle, because each
 * line has an identity (sql/sqlite/0001_attention.sql, `event`). Of a line whose time is not known,
 * as in an interactions file, that is (user, k, item) for the k-th such line of that user: lines
 * that are added at its end later are new, all before them are known. */
#include "engine/import.h"
#include "acquire/fields.h"
#include "acquire/movielens.h"
#include "base/limits.h"
#include "base/time.h"
#include "engine/put.h"
#include "text/json.h"
#include "text/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Rows in a transaction: enough that its fsync is not felt, few enough to lose nothing worth
 * waiting for when it is stopped. */
#define BATCH_ROWS 20000
#define REPORT_NS INT64_C(100000000)
#define LINES_BETWEEN_LOOKS 256 /* at the clock */

/* What the lines of a file are; the items of a MovieLens set have their own three looks. */
enum content { INTERACTIONS, RATINGS, EVENTS, ITEMS_JSON, MOVIES, USERS };

struct import {
    struct hd_put put;
    const heed_import_opts *opts;
    heed_import_report *report;
    hd_json_reader *json;
    int32_t *nth; /* by user: how many lines of this file were his and had no time */
    size_t nth_room;
    int64_t reported_ns;

    /* of the file that is being read */
    const char *path;
    hd_lines *lines;
    enum content content;
    bool aside;  /* the items that go with another file */
    bool looked; /* the first line has said what the file is */
    struct hd_movielens look;
    int64_t good, rejected, batch;
};

/* ---- one line */

static heed_status grow_nth(struct import *im, int32_t user)
{
    if ((size_t)user < im->nth_room)
        return HEED_OK;
    size_t room = im->nth_room ? im->nth_room : 1024;
    while (room <= (size_t)user)
        room *= 2;
    int32_t *nth = hd_resize(im->nth, room, sizeof *nth);
    if (!nth)
        return hd_fail(HEED_E_NOMEM, "import: no memory for %zu users", room);
    memset(nth + im->nth_room, 0, (room - im->nth_room) * sizeof *nth);
    im->nth = nth;
    im->nth_room = room;
    return HEED_OK;
}

static heed_status put_event(struct import *im, const struct hd_event *e, bool *fresh)
{
    struct hd_event_row row;

    HD_TRY(hd_event_to_row(&im->put, e, &row));
    if (row.ts == 0) {
        HD_TRY(grow_nth(im, row.user));
        row.nth = im->nth[row.user]++;
    }
    return hd_store_put_event(im->put.store, &row, fresh);
}

static heed_status reject(struct import *im, const struct hd_line *line, const char *why)
{
    heed_import_report *r = im->report;
    char reason[320]; /* a copy: the callback may call us and fail */

    snprintf(reason, sizeof reason, "%.319s", why);
    im->rejected++;
    r->rejected++;
    if (!r->has_first || im->rejected == 1) {
        /* The first of the main file says more than one of the items that go with it. */
        r->has_first = true;
        snprintf(r->first_reject, sizeof r->first_reject, "%.160s:%" PRId64 ": %s", im->path,
                 line->number, reason);
    }
    if (im->opts->reject) {
        heed_reject told = {.file = im->path, .reason = reason, .line = line->number};
        im->opts->reject(im->opts->reject_context, &told);
    }
    return HEED_OK;
}

/* The first line that holds something says what the file is. *skip: it is a header. */
static heed_status look_at(struct import *im, const struct hd_line *line, bool *skip)
{
    heed_status status = HEED_OK;
    size_t i = 0;

    *skip = false;
    if (im->content == RATINGS) {
        status = hd_ratings_look(line->text, line->bytes, &im->look);
    } else if (im->content == ITEMS_JSON) {
        while (i < line->bytes && (line->text[i] == ' ' || line->text[i] == '\t'))
            i++;
        if (line->text[i] != '{') {
            im->content = MOVIES;
            status = hd_movies_look(line->text, line->bytes, &im->look);
        }
    }
    if (status != HEED_OK)
        return hd_fail_prefix(status, "%s:%" PRId64 ": ", im->path, line->number);
    *skip = im->look.header;
    im->looked = true;
    return HEED_OK;
}

static heed_status parse_event(struct import *im, const struct hd_line *line,
                               struct hd_event *event)
{
    HD_TRY(hd_parse_event(im->json, line->text, line->bytes, im->put.arena, event));
    if (event->ts == 0 && !event->ts_null)
        return hd_fail(HEED_E_FORMAT, "ts: missing; null where it is not known");
    return HEED_OK;
}

static heed_status parse_and_put(struct import *im, const struct hd_line *line, bool *away,
                                 bool *fresh)
{
    struct hd_event event;
    struct hd_item item;
    struct hd_user user;
    int32_t number;
    heed_status status = HEED_OK;

    hd_arena_reset(im->put.arena);
    switch (im->content) {
    case INTERACTIONS:
        status = hd_parse_interaction(line->text, line->bytes, &event);
        break;
    case RATINGS:
        status = hd_parse_rating(&im->look, line->text, line->bytes, im->put.arena, &event);
        break;
    case EVENTS:
        status = parse_event(im, line, &event);
        break;
    case ITEMS_JSON:
        status = hd_parse_item(im->json, line->text, line->bytes, im->put.arena, &item);
        break;
    case MOVIES:
        status = hd_parse_movie(&im->look, line->text, line->bytes, im->put.arena, &item);
        break;
    case USERS:
        status = hd_parse_user(im->json, line->text, line->bytes, im->put.arena, &user);
        break;
    }
    *away = hd_is_refusal(status);
    HD_TRY(status);
    if (im->content == ITEMS_JSON || im->content == MOVIES)
        return hd_put_item(&im->put, &item, false, &number, fresh);
    if (im->content == USERS)
        return hd_put_user(&im->put, &user, false, &number, fresh);
    return put_event(im, &event, fresh);
}

static heed_status take_line(struct import *im, const struct hd_line *line)
{
    heed_import_report *r = im->report;
    bool away = false, fresh = false, skip = false;

    if (line->problem)
        return reject(im, line, line->problem);
    if (hd_line_is_blank(line->text, line->bytes))
        return HEED_OK;
    if (!im->looked) {
        HD_TRY(look_at(im, line, &skip));
        if (skip)
            return HEED_OK;
    }
    heed_status status = parse_and_put(im, line, &away, &fresh);
    if (away)
        return reject(im, line, heed_error_message());
    HD_TRY(status);
    im->good++;
    im->batch++;
    if (im->content == ITEMS_JSON || im->content == MOVIES)
        r->items_accepted += fresh;
    if (!im->aside) {
        r->accepted += fresh;
        r->duplicate += !fresh;
    }
    return HEED_OK;
}

/* ---- one file */

static heed_status tell_progress(struct import *im, bool now)
{
    const heed_progress *p = &im->opts->progress;
    int64_t ns = hd_monotonic_ns(), done, total;

    if (!p->report || (!now && ns - im->reported_ns < REPORT_NS))
        return HEED_OK;
    im->reported_ns = ns;
    hd_lines_progress(im->lines, &done, &total);
    if (p->report(p->context, "bytes read", done, total))
        return HEED_OK;
    return hd_fail(HEED_E_CANCELLED,
                   "%s: stopped at line %" PRId64 "; what came before is in the store, importing "
                   "it again adds the rest",
                   im->path, im->good + im->rejected);
}

static heed_status read_lines(struct import *im)
{
    struct hd_line line;
    bool more;

    for (int64_t n = 1;; n++) {
        HD_TRY(hd_lines_next(im->lines, &line, &more));
        if (!more)
            return HEED_OK;
        HD_TRY(take_line(im, &line));
        if (im->batch >= BATCH_ROWS) {
            im->batch = 0;
            HD_TRY(hd_store_commit(im->put.store));
            HD_TRY(hd_store_begin(im->put.store));
        }
        if (n % LINES_BETWEEN_LOOKS == 0)
            HD_TRY(tell_progress(im, false));
    }
}

static heed_status import_file(struct import *im, const char *path, enum content content,
                               bool aside)
{
    const char *encoding = im->opts->encoding;
    heed_status status;

    im->path = path;
    im->content = content;
    im->aside = aside;
    im->looked = im->look.header = false;
    im->good = im->rejected = im->batch = 0;
    HD_TRY(hd_lines_open(path, encoding && strcasecmp(encoding, "latin-1") == 0, &im->lines));
    status = hd_store_begin(im->put.store);
    if (status == HEED_OK)
        status = read_lines(im);
    if (status == HEED_OK)
        status = tell_progress(im, true);
    if (status == HEED_OK && im->good == 0)
        status = im->rejected ? hd_fail(HEED_E_FORMAT, "%s", im->report->first_reject)
                              : hd_fail(HEED_E_FORMAT, "%s: the file is empty", path);
    if (status == HEED_OK) {
        status = hd_store_commit(im->put.store);
    } else if (status == HEED_E_CANCELLED) {
        /* The lines were good ones: they stay. A commit that succeeds leaves the message alone. */
        heed_status committed = hd_store_commit(im->put.store);
        status = committed == HEED_OK ? status : committed;
    }
    hd_store_rollback(im->put.store);
    hd_lines_close(im->lines);
    im->lines = NULL;
    return status;
}

static heed_status check_opts(const char *path, const heed_import_opts *opts)
{
    if (!path || !*path)
        return hd_fail(HEED_E_ARG, "import: no file named");
    for (size_t i = 0; i < sizeof opts->reserved / sizeof *opts->reserved; i++)
        if (opts->reserved[i])
            return hd_fail(HEED_E_ARG, "import: a reserved option is set");
    if (opts->encoding && strcasecmp(opts->encoding, "utf-8") != 0 &&
        strcasecmp(opts->encoding, "latin-1") != 0)
        return hd_fail(HEED_E_ARG, "import: encoding \"%.40s\" is neither utf-8 nor latin-1",
                       opts->encoding);
    return HEED_OK;
}

static enum content content_of(heed_import_kind kind)
{
    switch (kind) {
    case HEED_IMPORT_INTERACTIONS:
        return INTERACTIONS;
    case HEED_IMPORT_MOVIELENS:
        return RATINGS;
    case HEED_IMPORT_EVENTS:
        return EVENTS;
    case HEED_IMPORT_USERS:
        return USERS;
    case HEED_IMPORT_ITEMS:
        break;
    }
    return ITEMS_JSON;
}

/* Items first: a slip in their name is seen before the long part of the work. */
static heed_status import_files(struct import *im, heed_import_kind kind, const char *path)
{
    if (im->opts->items_path)
        HD_TRY(import_file(im, im->opts->items_path, ITEMS_JSON, true));
    return import_file(im, path, content_of(kind), false);
}

heed_status hd_import(hd_store *store, heed_import_kind kind, const char *path,
                      const heed_import_opts *opts, heed_import_report *out)
{
    static const heed_import_opts none;
    heed_import_report report = {0};
    struct import im = {.put = {.store = store}, .opts = opts ? opts : &none, .report = &report};
    struct hd_store_counts counts = {0};
    int64_t started = hd_monotonic_ns();

    HD_TRY(check_opts(path, im.opts));
    if ((unsigned)kind > HEED_IMPORT_USERS)
        return hd_fail(HEED_E_ARG, "import: there is no kind %d", (int)kind);
    HD_TRY(hd_store_lock(store));
    heed_status status = hd_json_reader_new(&im.json);
    if (status == HEED_OK && !(im.put.arena = hd_arena_new(0)))
        status = hd_fail(HEED_E_NOMEM, "import: no memory");
    if (status == HEED_OK)
        status = import_files(&im, kind, path);
    if (status == HEED_OK)
        status = hd_store_count(store, &counts);
    if (status == HEED_OK)
        status = hd_store_count_living(store, &report.users);
    hd_store_unlock(store);
    hd_json_clear(&im.put.tags);
    hd_json_reader_free(im.json);
    hd_arena_free(im.put.arena);
    hd_free(im.nth);
    HD_TRY(status);

    report.items = counts.items;
    report.seconds = (double)(hd_monotonic_ns() - started) / 1e9;
    if (report.seconds > 0)
        report.per_second = (double)(report.accepted + report.duplicate) / report.seconds;
    if (out)
        *out = report;
    return HEED_OK;
}
