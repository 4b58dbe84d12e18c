/* SPDX-License-Identifier: Apache-2.0
 *
 * What the load generator sends, made from templates, and what it looks for in answers. */
#include "load.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[LOAD_WORDS] = {
    [LOAD_USER] = "{user}", [LOAD_ITEM] = "{item}", [LOAD_EVENT] = "{event}", [LOAD_UUID] = "{uuid}",
    [LOAD_NOW] = "{now}"};

/* The first word in `text`: where it stands, or NULL. */
static const char *find_word(const char *text, enum load_word *word)
{
    const char *first = NULL;

    for (enum load_word w = LOAD_USER; w < LOAD_WORDS; w++) {
        const char *at = strstr(text, words[w]);
        if (at && (!first || at < first)) {
            first = at;
            *word = w;
        }
    }
    return first;
}

bool load_template_read(const char *text, struct load_template *out)
{
    enum load_word word = LOAD_LITERAL;

    out->count = 0;
    while (*text && out->count + 2 <= LOAD_PIECES_MAX) {
        const char *at = find_word(text, &word);
        size_t bytes = at ? (size_t)(at - text) : strlen(text);
        out->piece[out->count].word = LOAD_LITERAL;
        out->piece[out->count].text = text;
        out->piece[out->count++].bytes = bytes;
        text += bytes;
        if (at) {
            out->piece[out->count++].word = word;
            text += strlen(words[word]);
        }
    }
    return !*text;
}

void load_room(struct load_buffer *to, size_t bytes)
{
    if (to->room - to->bytes >= bytes)
        return;
    while (to->room - to->bytes < bytes)
        to->room = to->room ? 2 * to->room : 4096;
    to->at = realloc(to->at, to->room);
    if (!to->at) {
        fprintf(stderr, "load: no memory for %zu bytes\n", to->room);
        exit(1);
    }
}

void load_put(struct load_buffer *to, const char *text, size_t bytes)
{
    load_room(to, bytes);
    memcpy(to->at + to->bytes, text, bytes);
    to->bytes += bytes;
}

static void put_number(struct load_buffer *to, int64_t number)
{
    char digits[24];

    load_put(to, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, number));
}

/* Of the event, drawn as those of version 4 are: ids that do not rise. */
static void put_uuid(struct load_buffer *to, const struct load_values *values)
{
    uint64_t seed = 0;
    char text[40];

    for (const char *c = values->event_prefix; *c; c++)
        seed = hd_mix64(seed ^ (unsigned char)*c);
    heed_rng rng = hd_rng(seed, (uint64_t)values->event);
    uint64_t a = hd_random_u64(&rng), b = hd_random_u64(&rng);
    int bytes = snprintf(text, sizeof text, "%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(a >> 32),
                         (unsigned)(a >> 16 & 0xFFFF), (unsigned)(a & 0xFFF), (unsigned)(b >> 52),
                         b & 0xFFFFFFFFFFFF);
    load_put(to, text, (size_t)bytes);
}

void load_template_write(const struct load_template *t, const struct load_values *values,
                         struct load_buffer *to)
{
    for (int i = 0; i < t->count; i++)
        switch (t->piece[i].word) {
        case LOAD_USER:
            load_put(to, values->user, strlen(values->user));
            break;
        case LOAD_ITEM:
            load_put(to, values->item, strlen(values->item));
            break;
        case LOAD_EVENT:
            load_put(to, values->event_prefix, strlen(values->event_prefix));
            put_number(to, values->event);
            break;
        case LOAD_UUID:
            put_uuid(to, values);
            break;
        case LOAD_NOW:
            put_number(to, values->now_ms);
            break;
        default:
            load_put(to, t->piece[i].text, t->piece[i].bytes);
        }
}

/* Behind `"name":` and blanks; NULL: it is not there. */
static const char *find_value(const char *from, const char *end, const char *name)
{
    char key[64];
    int bytes = snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = memmem(from, (size_t)(end - from), key, (size_t)bytes);

    if (!at)
        return NULL;
    for (at += bytes; at < end && *at == ' '; at++)
        ;
    return at;
}

bool load_find_text(const char **from, const char *end, const char *name,
                    char out[LOAD_NAME_BYTES])
{
    const char *at = find_value(*from, end, name), *stop;

    if (!at || at == end || *at != '"')
        return false;
    at++;
    stop = memchr(at, '"', (size_t)(end - at));
    if (!stop || stop - at >= LOAD_NAME_BYTES)
        return false;
    memcpy(out, at, (size_t)(stop - at));
    out[stop - at] = '\0';
    *from = stop;
    return true;
}

int64_t load_find_number(const char *body, size_t bytes, const char *name)
{
    const char *end = body + bytes, *at = find_value(body, end, name);
    int64_t number = 0;

    for (; at && at < end && *at >= '0' && *at <= '9'; at++)
        number = 10 * number + (*at - '0');
    return number;
}
