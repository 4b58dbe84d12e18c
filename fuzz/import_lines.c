/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of imported files, as strangers write them. The first byte says which format the rest is:
 *
 *     I interactions   R ratings   E events   J items in JSON   U users   M lists of films
 *     L whatever a file may hold, packed or not, through the line reader
 *
 * Laws, beside surviving: what a parser takes keeps every limit; an event, an item or a user written as
 * JSON reads back as the same one; lines are numbered without a gap and are clean UTF-8 or say why
 * not. */
#define _GNU_SOURCE /* memfd_create */
#include "acquire/fields.h"
#include "acquire/movielens.h"
#include "acquire/user.h"
#include "base/limits.h"
#include "text/lines.h"
#include "text/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define LAW(holds)                                                                      \
    do {                                                                                \
        if (!(holds)) {                                                                 \
            fprintf(stderr, "import_lines: broken at line %d: %s\n", __LINE__, #holds); \
            abort();                                                                    \
        }                                                                               \
    } while (0)

static hd_json_reader *reader, *second;
static hd_arena *arena;

static bool same_span(struct hd_span a, struct hd_span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void put_span(struct hd_json_writer *w, const char *key, struct hd_span span)
{
    if (span.at)
        hd_json_put_text_bytes(w, key, span.at, span.bytes);
}

/* ---- events */

static void check_event(const struct hd_event *e)
{
    struct hd_json_writer w = {0};
    struct hd_event back;
    const char *text;
    size_t bytes;

    LAW(hd_check_id("user", e->user.at, e->user.bytes) == HEED_OK);
    LAW(hd_check_id("item", e->item.at, e->item.bytes) == HEED_OK);
    LAW(e->ts >= 0 && e->ts <= HD_TIME_MS_MAX);
    LAW(e->dwell_ms >= -1 && e->dwell_ms <= HD_DWELL_MS_MAX);
    LAW(e->position >= -1 && e->position <= HD_POSITION_MAX);
    LAW((unsigned)e->kind < HD_EVENT_KINDS);
    hd_json_begin_object(&w, NULL);
    put_span(&w, "user", e->user);
    put_span(&w, "item", e->item);
    hd_json_put_text(&w, "kind", hd_event_kind_name(e->kind));
    if (e->ts)
        hd_json_put_int(&w, "ts", e->ts);
    if (e->dwell_ms >= 0)
        hd_json_put_int(&w, "dwell_ms", e->dwell_ms);
    if (!isnan(e->value))
        hd_json_put_number(&w, "value", e->value);
    if (e->position >= 0)
        hd_json_put_int(&w, "position", e->position);
    hd_json_put_text(&w, "id", e->id);
    hd_json_put_text(&w, "decision", e->decision);
    if (e->context)
        hd_json_put_raw(&w, "context", e->context);
    if (e->ext)
        hd_json_put_raw(&w, "ext", e->ext);
    hd_json_end(&w);
    LAW(hd_json_finish(&w, &text, &bytes) == HEED_OK);
    LAW(hd_parse_event(second, text, bytes, arena, &back) == HEED_OK);
    LAW(same_span(e->user, back.user) && same_span(e->item, back.item));
    LAW(e->kind == back.kind && e->ts == back.ts && e->dwell_ms == back.dwell_ms);
    LAW(e->position == back.position);
    LAW(e->value == back.value || (isnan(e->value) && isnan(back.value)));
    LAW(same_text(e->id, back.id) && same_text(e->decision, back.decision));
    LAW(same_text(e->context, back.context) && same_text(e->ext, back.ext));
    hd_json_clear(&w);
}

/* ---- items */

static void check_item(const struct hd_item *item)
{
    struct hd_json_writer w = {0};
    struct hd_item back;
    const char *text;
    size_t bytes;

    LAW(hd_check_id("id", item->id.at, item->id.bytes) == HEED_OK);
    LAW(item->title.bytes <= HD_TITLE_BYTES_MAX && item->text.bytes <= HD_TEXT_BYTES_MAX);
    LAW(item->url.bytes <= HD_URL_BYTES_MAX && item->author.bytes <= HD_ID_BYTES_MAX);
    LAW(item->tags >= 0 && item->tags <= HD_TAGS_MAX);
    LAW(item->features >= 0 && item->features <= HD_FEATURES_MAX);
    hd_json_begin_object(&w, NULL);
    put_span(&w, "id", item->id);
    put_span(&w, "title", item->title);
    put_span(&w, "text", item->text);
    put_span(&w, "author", item->author);
    put_span(&w, "url", item->url);
    hd_json_begin_array(&w, "tags");
    for (int i = 0; i < item->tags; i++)
        put_span(&w, NULL, item->tag[i]);
    hd_json_end(&w);
    hd_json_put_int(&w, "created", item->created);
    hd_json_put_int(&w, "expires", item->expires);
    hd_json_put_bool(&w, "hidden", item->hidden);
    hd_json_begin_object(&w, "features");
    for (int i = 0; i < item->features; i++) {
        hd_json_begin_array(&w, item->feature[i].name);
        for (int64_t k = 0; k < item->feature[i].count; k++)
            hd_json_put_float(&w, NULL, item->feature[i].value[k]);
        hd_json_end(&w);
    }
    hd_json_end(&w);
    hd_json_end(&w);
    LAW(hd_json_finish(&w, &text, &bytes) == HEED_OK);
    LAW(hd_parse_item(second, text, bytes, arena, &back) == HEED_OK);
    LAW(same_span(item->id, back.id) && same_span(item->title, back.title));
    LAW(same_span(item->text, back.text) && same_span(item->author, back.author));
    LAW(same_span(item->url, back.url) && item->tags == back.tags);
    for (int i = 0; i < item->tags; i++)
        LAW(same_span(item->tag[i], back.tag[i]));
    LAW(item->created == back.created && item->expires == back.expires);
    LAW(item->hidden == back.hidden && item->features == back.features);
    for (int i = 0; i < item->features; i++) {
        LAW(item->feature[i].count == back.feature[i].count);
        for (int64_t k = 0; k < item->feature[i].count; k++)
            LAW(item->feature[i].value[k] == back.feature[i].value[k]);
    }
    hd_json_clear(&w);
}

/* ---- users */

/* The lists' names in the order of their bits. */
static const struct list {
    unsigned bit;
    const char *mark, *plural;
} lists[] = {
    {HD_USER_BLOCK_ITEMS, "block", "items"},       {HD_USER_BLOCK_AUTHORS, "block", "authors"},
    {HD_USER_BLOCK_TAGS, "block", "tags"},         {HD_USER_FOLLOW_AUTHORS, "follow", "authors"},
    {HD_USER_FOLLOW_TAGS, "follow", "tags"},
};

static void put_list(struct hd_json_writer *w, const struct hd_user *user, const struct list *list)
{
    hd_json_begin_array(w, list->plural);
    for (int64_t i = 0; i < user->marks; i++)
        if (user->mark[i].list == list->bit)
            hd_json_put_text(w, NULL, user->mark[i].name);
    hd_json_end(w);
}

static void check_user(const struct hd_user *user)
{
    struct hd_json_writer w = {0};
    struct hd_user back;
    const char *text;
    size_t bytes;

    LAW(hd_check_id("id", user->id.at, user->id.bytes) == HEED_OK);
    LAW(user->consent <= HD_CONSENT_ALL && user->marks >= 0 && user->marks <= HD_MARKS_MAX);
    LAW(!user->attributes || strlen(user->attributes) <= HD_CONTEXT_BYTES_MAX);
    hd_json_begin_object(&w, NULL);
    put_span(&w, "id", user->id);
    if (user->attributes)
        hd_json_put_raw(&w, "attributes", user->attributes);
    hd_json_begin_object(&w, "consent");
    hd_json_put_bool(&w, "learn", (user->consent & HD_CONSENT_LEARN) != 0);
    hd_json_put_bool(&w, "personalise", (user->consent & HD_CONSENT_PERSONALISE) != 0);
    hd_json_put_bool(&w, "sell", (user->consent & HD_CONSENT_SELL) != 0);
    hd_json_end(&w);
    for (int i = 0; i < 5; i++) {
        if (i == 0 || i == 3)
            hd_json_begin_object(&w, lists[i].mark);
        put_list(&w, user, &lists[i]);
        if (i == 2 || i == 4)
            hd_json_end(&w);
    }
    hd_json_end(&w);
    LAW(hd_json_finish(&w, &text, &bytes) == HEED_OK);
    LAW(hd_parse_user(second, text, bytes, arena, &back) == HEED_OK);
    LAW(same_span(user->id, back.id) && same_text(user->attributes, back.attributes));
    LAW(user->consent == back.consent && user->marks == back.marks);
    LAW((user->given & ~back.given) == 0);
    for (int i = 0; i < 5; i++) /* the lists may come in another order, each keeps its own */
        for (int64_t m = 0, n = 0; m < user->marks; m++) {
            if (user->mark[m].list != lists[i].bit)
                continue;
            while (n < back.marks && back.mark[n].list != lists[i].bit)
                n++;
            LAW(n < back.marks && same_text(user->mark[m].name, back.mark[n].name));
            n++;
        }
    hd_json_clear(&w);
}

/* ---- lines */

static void one_line(char format, const char *line, size_t bytes, bool first)
{
    static struct hd_movielens look;
    static struct hd_item item;
    struct hd_event event;
    struct hd_user user;

    hd_arena_reset(arena);
    switch (format) {
    case 'I':
        if (hd_parse_interaction(line, bytes, &event) == HEED_OK)
            check_event(&event);
        break;
    case 'R':
        if (first && hd_ratings_look(line, bytes, &look) != HEED_OK)
            look = (struct hd_movielens){0};
        if (look.look && hd_parse_rating(&look, line, bytes, arena, &event) == HEED_OK)
            check_event(&event);
        break;
    case 'E':
        if (hd_parse_event(reader, line, bytes, arena, &event) == HEED_OK)
            check_event(&event);
        break;
    case 'J':
        if (hd_parse_item(reader, line, bytes, arena, &item) == HEED_OK)
            check_item(&item);
        break;
    case 'U':
        if (hd_parse_user(reader, line, bytes, arena, &user) == HEED_OK)
            check_user(&user);
        break;
    case 'M':
        if (first && hd_movies_look(line, bytes, &look) != HEED_OK)
            look = (struct hd_movielens){0};
        if (look.look && hd_parse_movie(&look, line, bytes, arena, &item) == HEED_OK)
            check_item(&item);
        break;
    default:
        break;
    }
}

static void read_lines(const uint8_t *data, size_t bytes, bool latin1)
{
    char path[64];
    hd_lines *lines;
    struct hd_line line;
    int64_t number = 0, done, total;
    bool more = true;
    int file = memfd_create("lines", 0);

    if (file < 0 || write(file, data, bytes) != (ssize_t)bytes)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (hd_lines_open(path, latin1, &lines) == HEED_OK) {
        while (hd_lines_next(lines, &line, &more) == HEED_OK && more) {
            LAW(line.number == ++number);
            if (!line.problem) {
                LAW(line.bytes <= 2 * (size_t)HD_LINE_BYTES_MAX);
                LAW(hd_utf8_valid(line.text, line.bytes) == line.bytes);
                LAW(!memchr(line.text, 0, line.bytes) && !memchr(line.text, '\n', line.bytes));
            }
        }
        hd_lines_progress(lines, &done, &total);
        LAW(done <= total && total == (int64_t)bytes);
        hd_lines_close(lines);
    }
    close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *at = (const char *)data + 1, *end = (const char *)data + bytes;
    bool first = true;

    if (!reader && (hd_json_reader_new(&reader) != HEED_OK ||
                    hd_json_reader_new(&second) != HEED_OK || !(arena = hd_arena_new(0))))
        abort();
    if (bytes == 0)
        return 0;
    if (data[0] == 'L' || data[0] == 'l') {
        read_lines(data + 1, bytes - 1, data[0] == 'l');
        return 0;
    }
    while (at < end) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((feed ? feed : end) - at);
        /* The line reader hands nothing else to the parsers. */
        if (hd_utf8_valid(at, length) == length && !memchr(at, 0, length)) {
            /* A copy of the line alone and no more, so that reading past it shows. */
            char *line = malloc(length ? length : 1);
            if (!line)
                abort();
            memcpy(line, at, length);
            one_line((char)data[0], line, length, first);
            free(line);
            first = false;
        }
        at += length + 1;
    }
    return 0;
}
