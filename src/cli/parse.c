/* SPDX-License-Identifier: Apache-2.0
 *
 * From words to an options struct, by the table. Every complaint names the word at fault and, where
 * one is near, the name that may have been meant. */
#include "cli/command.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/time.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX HD_COMMAND_BYTES_MAX /* longer words get no suggestion */
#define CHOICES_MAX 16 /* words that one flag chooses from */

/* Edits that make a into b: insert, delete, replace, or swap two neighbours (Damerau 1964, in the
 * restricted form that touches no letter twice). */
static size_t distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    size_t rows[3][WORD_MAX + 1], *above = rows[0], *before = rows[1], *now = rows[2];

    if (m > WORD_MAX || n > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= n; j++)
        before[j] = j;
    for (size_t i = 1; i <= m; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above[j - 2] + 1 < best)
                best = above[j - 2] + 1;
            now[j] = best;
        }
        size_t *oldest = above;
        above = before, before = now, now = oldest;
    }
    return before[n];
}

const char *hd_nearest(const char *word, const char *(*next)(void *context), void *context)
{
    const char *nearest = NULL, *candidate;
    size_t length = strlen(word), best = (length >= 6 ? length / 3 : 1) + 1;

    while ((candidate = next(context))) {
        size_t edits = distance(word, candidate);
        if (edits < best && edits < strlen(candidate))
            nearest = candidate, best = edits;
    }
    return nearest;
}

const struct hd_command *hd_command_find(const char *name)
{
    for (const struct hd_command *const *c = hd_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

bool hd_command_group(const char *name)
{
    size_t length = strlen(name);

    for (const struct hd_command *const *c = hd_commands; *c; c++)
        if (strncmp((*c)->name, name, length) == 0 && (*c)->name[length] == ' ')
            return true;
    return false;
}

/* Gives the commands' names one by one. */
static const char *next_command(void *context)
{
    const struct hd_command *const **at = context;
    return **at ? (*(*at)++)->name : NULL;
}

static heed_status unknown_command(const char *name, const char *group)
{
    const struct hd_command *const *at = hd_commands;
    const char *near = hd_nearest(name, next_command, &at);

    if (near)
        return hd_fail(HEED_E_ARG, "there is no command `%s`; did you mean `%s`?", name, near);
    return hd_fail(HEED_E_ARG, "there is no command `%s`; `heed help%s%s` lists them", name,
                   *group ? " " : "", group);
}

/* The longest command that the first words spell; *used tells how many they are. Where they spell
 * only the beginning of some, call->topic holds it and call->command stays NULL. */
static heed_status find_command(const char *const *words, int count, struct hd_call *call,
                                int *used)
{
    char name[WORD_MAX + 1] = "";

    for (int i = 0; i < count && words[i][0] != '-'; i++) {
        size_t length = strlen(name);
        if ((size_t)snprintf(name + length, sizeof name - length, "%s%s", i ? " " : "", words[i]) >=
            sizeof name - length)
            break;
        const struct hd_command *found = hd_command_find(name);
        bool group = hd_command_group(name);
        if (found)
            call->command = found, *used = i + 1;
        if (group)
            memcpy(call->topic, name, sizeof name);
        else if (!found)
            break;
    }
    if (call->command || strcmp(call->topic, name) == 0)
        return HEED_OK;
    return unknown_command(name, call->topic);
}

heed_status hd_find_command(const char *const *words, int count, struct hd_call *call)
{
    int used = 0;

    HD_TRY(find_command(words, count, call, &used));
    if (call->command && used < count)
        return hd_fail(HEED_E_ARG, "%s: `%.80s` is one word too many", call->command->name,
                       words[used]);
    return HEED_OK;
}

/* ---- values */

static heed_status bad_value(const char *shown, const char *text, const char *wanted)
{
    return hd_fail(HEED_E_ARG, "%s: `%.80s` is not %s", shown, text, wanted);
}

static heed_status set_count(const struct hd_flag *flag, const char *shown, const char *text,
                             int64_t *out)
{
    char *end;

    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text == '\0' || *end || errno)
        return bad_value(shown, text, "a whole number");
    if (value < flag->least)
        return hd_fail(HEED_E_ARG, "%s: %lld is less than %lld", shown, value,
                       (long long)flag->least);
    if (flag->most && value > flag->most)
        return hd_fail(HEED_E_ARG, "%s: %lld is more than %lld", shown, value,
                       (long long)flag->most);
    *out = value;
    return HEED_OK;
}

/* The choices of a flag, one at a time, in a buffer. */
struct choices {
    const char *rest;
    char word[CHOICES_MAX][WORD_MAX + 1]; /* they live on, so that one can be suggested */
    int count;
};

static const char *next_choice(void *context)
{
    struct choices *c = context;
    size_t length = strcspn(c->rest, "|");

    if (length == 0 || length > WORD_MAX || c->count == CHOICES_MAX)
        return NULL;
    char *word = c->word[c->count++];
    memcpy(word, c->rest, length);
    word[length] = '\0';
    c->rest += length + (c->rest[length] == '|');
    return word;
}

static heed_status set_choice(const struct hd_flag *flag, const char *shown, const char *text,
                              const char **out)
{
    struct choices all = {.rest = flag->value};
    const char *word;

    while ((word = next_choice(&all)))
        if (strcmp(word, text) == 0) {
            *out = text;
            return HEED_OK;
        }
    all = (struct choices){.rest = flag->value};
    word = hd_nearest(text, next_choice, &all);
    if (word)
        return hd_fail(HEED_E_ARG, "%s: `%.80s` is not one of %s; did you mean `%s`?", shown, text,
                       flag->value, word);
    return hd_fail(HEED_E_ARG, "%s: `%.80s` is not one of %s", shown, text, flag->value);
}

static heed_status set_time(const char *shown, const char *text, heed_time *out)
{
    char *end;

    errno = 0;
    long long ms = strtoll(text, &end, 10);
    if (*text && !*end) { /* a whole number; a date has more in it */
        if (errno || ms < HD_TIME_MS_MIN || ms > HD_TIME_MS_MAX)
            return bad_value(shown, text, "a time between the years 1 and 9999");
        *out = ms;
        return HEED_OK;
    }
    if (hd_time_parse(text, strlen(text), out) != HEED_OK)
        return hd_fail(HEED_E_ARG, "%s: `%.80s`: %s", shown, text, heed_error_message());
    return HEED_OK;
}

heed_status hd_parse_span(const char *shown, const char *text, size_t bytes, heed_span *out)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1},     {'m', 60},     {'h', 3600},
                 {'d', 86400}, {'w', 604800}, {'y', 31557600}}; /* 365.25 days */
    int64_t count = 0, seconds_max = INT64_C(86400) * HD_SPAN_DAYS_MAX;
    size_t i = 0, u = 0, units_count = sizeof units / sizeof *units;
    int length = bytes < 80 ? (int)bytes : 80;

    for (; i < bytes && text[i] >= '0' && text[i] <= '9'; i++)
        if (count <= seconds_max)
            count = count * 10 + (text[i] - '0');
    while (i < bytes && u < units_count && units[u].letter != text[i])
        u++;
    if (i == 0 || i + 1 != bytes || u == units_count)
        return hd_fail(HEED_E_ARG, "%s: `%.*s` is not a span such as 90d, 6h, 30m or 10s", shown,
                       length, text);
    if (count == 0 || count > seconds_max / units[u].seconds)
        return hd_fail(HEED_E_ARG, "%s: %.*s is not above 0 and up to %dd", shown, length, text,
                       HD_SPAN_DAYS_MAX);
    *out = count * units[u].seconds * 1000;
    return HEED_OK;
}

static heed_status add_text(const char *shown, const char *text, struct hd_texts *texts)
{
    if (texts->count == HD_OPTION_TEXTS_MAX)
        return hd_fail(HEED_E_ARG, "%s: was given more than %d times", shown, HD_OPTION_TEXTS_MAX);
    texts->text[texts->count++] = text;
    return HEED_OK;
}

/* shown is the option as it was written, `--epochs`, or an argument's name, `USER`. */
static heed_status set_value(const struct hd_flag *flag, const char *shown, const char *text,
                             void *options)
{
    void *at = (char *)options + flag->at;
    char *end;

    switch (flag->kind) {
    case HD_FLAG_SWITCH:
        *(bool *)at = true;
        return HEED_OK;
    case HD_FLAG_TEXT:
    case HD_FLAG_FILE:
    case HD_FLAG_FOLDER:
    case HD_FLAG_TEXTS:
        if (*text == '\0')
            return hd_fail(HEED_E_ARG, "%s: is empty", shown);
        if (flag->kind == HD_FLAG_TEXTS)
            return add_text(shown, text, at);
        *(const char **)at = text;
        return HEED_OK;
    case HD_FLAG_CHOICE:
        return set_choice(flag, shown, text, at);
    case HD_FLAG_COUNT:
        return set_count(flag, shown, text, at);
    case HD_FLAG_SEED:
        errno = 0;
        *(uint64_t *)at = strtoull(text, &end, 0);
        if (*text == '\0' || *text == '-' || *end || errno)
            return bad_value(shown, text, "a whole number from 0 to 2^64 - 1");
        return HEED_OK;
    case HD_FLAG_NUMBER:
        *(double *)at = strtod(text, &end);
        if (*text == '\0' || *end || !isfinite(*(double *)at))
            return bad_value(shown, text, "a number");
        return HEED_OK;
    case HD_FLAG_TIME:
        return set_time(shown, text, at);
    case HD_FLAG_SPAN:
        return hd_parse_span(shown, text, strlen(text), at);
    case HD_FLAG_WORDS:
        break; /* taken by the caller */
    }
    return HEED_OK;
}

/* ---- options */

bool hd_flag_used(const struct hd_command *command, const struct hd_flag *global)
{
    if (!command)
        return true;
    if (global->at == offsetof(struct hd_globals, data))
        return command->uses & HD_USES_DATA;
    if (global->at == offsetof(struct hd_globals, json))
        return command->uses & HD_USES_JSON;
    return true;
}

/* The options a command understands: its own, then those of the program that it uses. */
struct flag_walk {
    const struct hd_command *command;
    const struct hd_flag *own, *global;
    bool is_global; /* of the flag given last */
};

static struct flag_walk flags_of(const struct hd_command *command)
{
    return (struct flag_walk){command, command ? command->flags : NULL, hd_global_flags, false};
}

static const struct hd_flag *walk_flags(struct flag_walk *walk)
{
    if (walk->own && walk->own->name)
        return walk->own++;
    walk->is_global = true;
    while (walk->global->name && !hd_flag_used(walk->command, walk->global))
        walk->global++;
    return walk->global->name ? walk->global++ : NULL;
}

static const char *next_flag_name(void *context)
{
    const struct hd_flag *flag = walk_flags(context);
    return flag ? flag->name : NULL;
}

static heed_status unknown_option(const struct hd_command *command, const char *word)
{
    struct flag_walk walk = flags_of(command);
    char name[WORD_MAX + 1];
    size_t length = strcspn(word, "=");
    const char *near = NULL;

    snprintf(name, sizeof name, "%.*s", (int)(length > WORD_MAX ? WORD_MAX : length), word);
    if (strncmp(name, "--", 2) == 0)
        near = hd_nearest(name + 2, next_flag_name, &walk);
    const char *of = command ? command->name : "", *colon = command ? ": " : "";
    if (near)
        return hd_fail(HEED_E_ARG, "%s%sthere is no option %s; did you mean --%s?", of, colon, name,
                       near);
    return hd_fail(HEED_E_ARG, "%s%sthere is no option %s", of, colon, name);
}

/* One option at words[*i], which starts with '-'; moves *i past what it takes. */
static heed_status parse_option(const char *const *words, int count, int *i, struct hd_call *call)
{
    const char *word = words[*i], *value = NULL;
    struct flag_walk walk = flags_of(call->command);
    const struct hd_flag *flag;
    char shown[WORD_MAX + 3];

    while ((flag = walk_flags(&walk))) {
        size_t length = strlen(flag->name);
        if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, flag->name, length) == 0 &&
            (word[2 + length] == '\0' || word[2 + length] == '=')) {
            value = word[2 + length] == '=' ? word + 3 + length : NULL;
            snprintf(shown, sizeof shown, "--%s", flag->name);
            break;
        }
        if (flag->letter && word[1] == flag->letter) {
            value = word[2] ? word + 2 : NULL;
            snprintf(shown, sizeof shown, "-%c", flag->letter);
            break;
        }
    }
    if (!flag)
        return unknown_option(call->command, word);
    if (flag->kind == HD_FLAG_SWITCH) {
        if (value)
            return hd_fail(HEED_E_ARG, "%s: takes no value, `%.80s` was given", shown, value);
    } else if (!value) {
        if (*i + 1 >= count)
            return hd_fail(HEED_E_ARG, "%s: needs a value, %s", shown, flag->value);
        value = words[++*i];
    }
    ++*i;
    return set_value(flag, shown, value, walk.is_global ? (void *)&call->globals : call->options);
}

static heed_status set_fallbacks(const struct hd_flag *flags, void *options)
{
    for (const struct hd_flag *flag = flags; flag && flag->name; flag++)
        if (flag->fallback)
            HD_TRY(set_value(flag, flag->name, flag->fallback, options));
    return HEED_OK;
}

/* What an argument is called: its value says so, but where it is a choice. */
static const char *shown_argument(const struct hd_flag *argument)
{
    return argument->kind == HD_FLAG_CHOICE ? argument->name : argument->value;
}

/* Only what is held as text or a span can be required: NULL and 0 tell that it was not given. */
static bool was_given(const struct hd_flag *flag, const void *options)
{
    const void *at = (const char *)options + flag->at;
    const char *text;
    heed_span span;

    if (flag->kind == HD_FLAG_SPAN)
        return memcpy(&span, at, sizeof span), span != 0;
    return memcpy(&text, at, sizeof text), text != NULL;
}

static heed_status check_required(const struct hd_command *command, const struct hd_flag *argument,
                                  const void *options)
{
    if (argument && argument->name && argument->required)
        return hd_fail(HEED_E_ARG, "%s: %s is missing: %s", command->name, shown_argument(argument),
                       argument->help);
    for (const struct hd_flag *flag = command->flags; flag && flag->name; flag++) {
        if (flag->required && !was_given(flag, options))
            return hd_fail(HEED_E_ARG, "%s: --%s is missing: %s", command->name, flag->name,
                           flag->help);
    }
    return HEED_OK;
}

/* What follows the command's name. */
static heed_status parse_rest(const char *const *words, int count, struct hd_call *call)
{
    const struct hd_command *command = call->command;
    const struct hd_flag *argument = command->arguments;
    bool only_arguments = false;

    HD_TRY(set_fallbacks(command->arguments, call->options));
    HD_TRY(set_fallbacks(command->flags, call->options));
    for (int i = 0; i < count;) {
        const char *word = words[i];
        if (!only_arguments && strcmp(word, "--") == 0) {
            only_arguments = true, i++;
            continue;
        }
        if (!only_arguments && word[0] == '-' && word[1]) {
            HD_TRY(parse_option(words, count, &i, call));
            continue;
        }
        if (!argument || !argument->name)
            return hd_fail(HEED_E_ARG, "%s: `%.80s` is one word too many", command->name, word);
        if (argument->kind == HD_FLAG_WORDS) {
            struct hd_words *rest = (void *)((char *)call->options + argument->at);
            if (rest->count == 0)
                rest->word = words + i;
            else if (rest->word + rest->count != words + i)
                return hd_fail(HEED_E_ARG, "%s: options stand before or after %s, not inside",
                               command->name, argument->value);
            rest->count++, i++;
            continue;
        }
        HD_TRY(set_value(argument, shown_argument(argument), word, call->options));
        argument++, i++;
    }
    return call->globals.help ? HEED_OK : check_required(command, argument, call->options);
}

/* The command itself, after the options that stand before it. */
static heed_status parse_command(const char *const *words, int count, int *i, struct hd_call *call)
{
    int used = 0;

    while (*i < count && words[*i][0] == '-') {
        if (strcmp(words[*i], "--version") == 0) {
            call->command = hd_command_find("version");
            ++*i;
            return HEED_OK;
        }
        HD_TRY(parse_option(words, count, i, call));
    }
    if (*i == count)
        return call->globals.help ? HEED_OK
                                  : hd_fail(HEED_E_ARG, "which command? `heed help` lists them");
    HD_TRY(find_command(words + *i, count - *i, call, &used));
    *i += used;
    if (call->command)
        return HEED_OK;
    for (; *i < count; ++*i)
        if (strcmp(words[*i], "--help") == 0 || strcmp(words[*i], "-h") == 0)
            call->globals.help = true;
    if (call->globals.help)
        return HEED_OK;
    return hd_fail(HEED_E_ARG, "%s: which one? `heed help %s` lists them", call->topic,
                   call->topic);
}

heed_status hd_parse(const char *const *words, int count, struct hd_call *call)
{
    int i = 0;

    HD_TRY(parse_command(words, count, &i, call));
    if (!call->command)
        return HEED_OK;
    call->options = hd_alloc(1, call->command->options_bytes ? call->command->options_bytes : 1);
    if (!call->options)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for its options", call->command->name);
    return parse_rest(words + i, count - i, call);
}
