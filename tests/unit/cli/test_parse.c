/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of commands: what is understood, and what is said where it is not. The table here is
 * the test's own, so that it can hold every kind of option. */
#include "base/memory.h"
#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct options {
    const char *user, *recipe, *output;
    int64_t n, epochs;
    uint64_t seed;
    double rate;
    heed_time at;
    heed_span older;
    bool resume;
    struct hd_texts exclude;
};
#define AT(field) offsetof(struct options, field)

static const struct hd_flag arguments[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER", "whose", .required = true},
    {0},
};
static const struct hd_flag flags[] = {
    {"n", 'n', HD_FLAG_COUNT, AT(n), "N", "how many", .fallback = "10", .least = 1, .most = 100},
    {"epochs", 'e', HD_FLAG_COUNT, AT(epochs), "N", "how often", .least = 1},
    {"recipe", 0, HD_FLAG_CHOICE, AT(recipe), "sasrec|hstu", "which"},
    {"output", 'o', HD_FLAG_FILE, AT(output), "FILE", "where"},
    {"seed", 0, HD_FLAG_SEED, AT(seed), "N", "luck", .fallback = "1"},
    {"rate", 0, HD_FLAG_NUMBER, AT(rate), "X", "speed"},
    {"at", 0, HD_FLAG_TIME, AT(at), "TIME", "when"},
    {"older", 0, HD_FLAG_SPAN, AT(older), "SPAN", "how old"},
    {"resume", 0, HD_FLAG_SWITCH, AT(resume), NULL, "go on"},
    {"exclude", 0, HD_FLAG_TEXTS, AT(exclude), "ITEM", "not this one"},
    {0},
};

static heed_status run(struct hd_cli *cli, const void *given)
{
    (void)cli, (void)given;
    return HEED_OK;
}

static const struct hd_command feed = {.name = "feed",
                                       .summary = "a feed",
                                       .example = "heed feed ann",
                                       .arguments = arguments,
                                       .flags = flags,
                                       .options_bytes = sizeof(struct options),
                                       .uses = HD_USES_DATA | HD_USES_JSON,
                                       .run = run};
static const struct hd_flag save_flags[] = {
    {"output", 'o', HD_FLAG_FILE, AT(output), "FILE", "where", .required = true}, {0}};
static const struct hd_command train_sequence = {.name = "train sequence",
                                                 .summary = "learn",
                                                 .example = "heed train sequence -o x",
                                                 .flags = save_flags,
                                                 .options_bytes = sizeof(struct options),
                                                 .run = run};
static const struct hd_command train_text = {
    .name = "train text", .summary = "read", .example = "heed train text", .run = run};
static const struct hd_flag keep_flags[] = {
    {"older", 0, HD_FLAG_SPAN, AT(older), "SPAN", "how old", .required = true}, {0}};
static const struct hd_command keep = {.name = "keep",
                                       .summary = "forget",
                                       .example = "heed keep --older 9d",
                                       .flags = keep_flags,
                                       .options_bytes = sizeof(struct options),
                                       .run = run};
const struct hd_flag hd_global_flags[] = {
    {"data", 0, HD_FLAG_FOLDER, offsetof(struct hd_globals, data), "DIR", "the folder"},
    {"json", 0, HD_FLAG_SWITCH, offsetof(struct hd_globals, json), NULL, "as JSON"},
    {"help", 'h', HD_FLAG_SWITCH, offsetof(struct hd_globals, help), NULL, "help"},
    {0},
};
const struct hd_command *const hd_commands[] = {&feed, &train_sequence, &train_text, &keep, NULL};

/* The words of a line, parted by blanks; `''` is the empty word. */
static int split(char *line, const char *words[16])
{
    int count = 0;

    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        words[count++] = strcmp(word, "''") == 0 ? "" : word;
    return count;
}

static void test_refused(void **state)
{
    static const struct row {
        const char *line, *message;
    } rows[] = {
        {"frobnicate", "there is no command `frobnicate`; `heed help` lists them"},
        {"fed ann", "there is no command `fed`; did you mean `feed`?"},
        {"fede ann", "there is no command `fede`; did you mean `feed`?"},
        {"train", "train: which one? `heed help train` lists them"},
        {"train sequnce", "there is no command `train sequnce`; did you mean `train sequence`?"},
        {"train rocket", "there is no command `train rocket`; `heed help train` lists them"},
        {"train --json", "train: which one? `heed help train` lists them"},
        {"feed", "feed: USER is missing: whose"},
        {"feed ''", "USER: is empty"},
        {"feed ann bob", "feed: `bob` is one word too many"},
        {"feed ann --no-such", "feed: there is no option --no-such"},
        {"feed ann --epohcs 3", "feed: there is no option --epohcs; did you mean --epochs?"},
        {"feed ann --jsno", "feed: there is no option --jsno; did you mean --json?"},
        {"feed ann --epoch=3", "feed: there is no option --epoch; did you mean --epochs?"},
        {"feed ann -x", "feed: there is no option -x"},
        {"feed ann --epochs", "--epochs: needs a value, N"},
        {"feed ann -e", "-e: needs a value, N"},
        {"feed ann -n 0", "-n: 0 is less than 1"},
        {"feed ann -n 101", "-n: 101 is more than 100"},
        {"feed ann -n ten", "-n: `ten` is not a whole number"},
        {"feed ann -n 3x", "-n: `3x` is not a whole number"},
        {"feed ann -n ''", "-n: `` is not a whole number"},
        {"feed ann -n 99999999999999999999", "-n: `99999999999999999999` is not a whole number"},
        {"feed ann --recipe hst",
         "--recipe: `hst` is not one of sasrec|hstu; did you mean `hstu`?"},
        {"feed ann --recipe bert", "--recipe: `bert` is not one of sasrec|hstu"},
        {"feed ann --recipe ''", "--recipe: `` is not one of sasrec|hstu"},
        {"feed ann --seed -1", "--seed: `-1` is not a whole number from 0 to 2^64 - 1"},
        {"feed ann --seed 18446744073709551616",
         "--seed: `18446744073709551616` is not a whole number from 0 to 2^64 - 1"},
        {"feed ann --rate nan", "--rate: `nan` is not a number"},
        {"feed ann --rate 1e999", "--rate: `1e999` is not a number"},
        {"feed ann --exclude x --exclude ''", "--exclude: is empty"},
        {"feed ann --resume=yes", "--resume: takes no value, `yes` was given"},
        {"feed ann --at 9999999999999999",
         "--at: `9999999999999999` is not a time between the years 1 and 9999"},
        {"feed ann --older 90", "--older: `90` is not a span such as 90d, 6h, 30m or 10s"},
        {"feed ann --older d", "--older: `d` is not a span such as 90d, 6h, 30m or 10s"},
        {"feed ann --older 9dd", "--older: `9dd` is not a span such as 90d, 6h, 30m or 10s"},
        {"feed ann --older -9d", "--older: `-9d` is not a span such as 90d, 6h, 30m or 10s"},
        {"feed ann --older 1.5h", "--older: `1.5h` is not a span such as 90d, 6h, 30m or 10s"},
        {"feed ann --older ''", "--older: `` is not a span such as 90d, 6h, 30m or 10s"},
        {"feed ann --older 0d", "--older: 0d is not above 0 and up to 36525d"},
        {"feed ann --older 36526d", "--older: 36526d is not above 0 and up to 36525d"},
        {"feed ann --older 5218w", "--older: 5218w is not above 0 and up to 36525d"},
        {"feed ann --older 99999999999999999999s",
         "--older: 99999999999999999999s is not above 0 and up to 36525d"},
        {"keep", "keep: --older is missing: how old"},
        {"train sequence", "train sequence: --output is missing: where"},
        {"train text --data x", "train text: there is no option --data"},
        {"--data", "--data: needs a value, DIR"},
        {"--dta x feed ann", "there is no option --dta; did you mean --data?"},
    };

    (void)state;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_call call = {0};
        char line[128];
        const char *words[16];
        snprintf(line, sizeof line, "%s", r->line);
        print_message("# %s\n", r->line);
        assert_int_equal(hd_parse(words, split(line, words), &call), HEED_E_ARG);
        assert_string_equal(heed_error_message(), r->message);
        hd_free(call.options);
    }
}

static void test_bad_time_says_why(void **state)
{
    const char *words[] = {"feed", "ann", "--at", "2026-13-01T00:00:00Z"};
    struct hd_call call = {0};

    (void)state;
    assert_int_equal(hd_parse(words, 4, &call), HEED_E_ARG);
    assert_non_null(strstr(heed_error_message(), "--at: `2026-13-01T00:00:00Z`: "));
    hd_free(call.options);
}

static const struct options *parse(const char *text, struct hd_call *call)
{
    static char line[128];
    static const char *words[16];

    *call = (struct hd_call){0};
    snprintf(line, sizeof line, "%s", text);
    print_message("# %s\n", text);
    if (hd_parse(words, split(line, words), call) != HEED_OK)
        fail_msg("%s", heed_error_message());
    return call->options;
}

static void test_understood(void **state)
{
    struct hd_call call;
    const struct options *o;

    (void)state;
    o = parse("feed ann", &call);
    assert_ptr_equal(call.command, &feed);
    assert_string_equal(o->user, "ann");
    assert_int_equal(o->n, 10); /* its fallback */
    assert_int_equal(o->seed, 1);
    assert_null(o->recipe);
    assert_false(call.globals.json);
    hd_free(call.options);

    o = parse("--data x feed --json -n3 ann --epochs=7 -o y --resume --recipe hstu", &call);
    assert_string_equal(call.globals.data, "x");
    assert_true(call.globals.json && o->resume);
    assert_int_equal(o->n, 3);
    assert_int_equal(o->epochs, 7);
    assert_string_equal(o->output, "y");
    assert_string_equal(o->recipe, "hstu");
    hd_free(call.options);

    o = parse("feed --seed 18446744073709551615 --rate -1.5e-3 --at 1970-01-01T00:00:01Z -- -ann",
              &call);
    assert_string_equal(o->user, "-ann"); /* after --, nothing is an option */
    assert_true(o->seed == UINT64_MAX);
    assert_true(o->rate == -1.5e-3);
    assert_int_equal(o->at, 1000);
    hd_free(call.options);

    o = parse("feed - --at 1234 --seed 0xff", &call); /* a lone hyphen is a word */
    assert_string_equal(o->user, "-");
    assert_int_equal(o->at, 1234);
    assert_int_equal(o->seed, 255);
    hd_free(call.options);
}

static void test_spans(void **state)
{
    static const struct {
        const char *line;
        heed_span ms;
    } rows[] = {
        {"keep --older 1s", 1000},
        {"keep --older 30m", 1800000},
        {"keep --older 6h", 21600000},
        {"keep --older=90d", INT64_C(7776000000)},
        {"keep --older 2w", INT64_C(1209600000)},
        {"keep --older 100y", INT64_C(3155760000000)},
        {"keep --older 36525d", INT64_C(3155760000000)},
    };
    struct hd_call call;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(parse(rows[i].line, &call)->older == rows[i].ms);
        hd_free(call.options);
    }
}

/* An option that may be given more than once, up to its limit and one past it. */
static void test_texts_of_an_option(void **state)
{
    const char *words[2 + 2 * (HD_OPTION_TEXTS_MAX + 1)] = {"feed", "ann"};
    struct hd_call call = {0};
    const struct options *o = parse("feed --exclude a ann --exclude=b", &call);

    (void)state;
    assert_int_equal(o->exclude.count, 2);
    assert_string_equal(o->exclude.text[0], "a");
    assert_string_equal(o->exclude.text[1], "b");
    hd_free(call.options);
    for (int i = 0; i <= HD_OPTION_TEXTS_MAX; i++)
        words[2 + 2 * i] = "--exclude", words[3 + 2 * i] = "x";
    call = (struct hd_call){0};
    assert_int_equal(hd_parse(words, 2 + 2 * HD_OPTION_TEXTS_MAX, &call), HEED_OK);
    o = call.options;
    assert_int_equal(o->exclude.count, HD_OPTION_TEXTS_MAX);
    hd_free(call.options);
    call = (struct hd_call){0};
    assert_int_equal(hd_parse(words, 2 + 2 * (HD_OPTION_TEXTS_MAX + 1), &call), HEED_E_ARG);
    assert_string_equal(heed_error_message(), "--exclude: was given more than 1000 times");
    hd_free(call.options);
}

/* Asking for help is never refused for what is missing beside it. */
static void test_help(void **state)
{
    struct hd_call call;

    (void)state;
    parse("feed --help", &call);
    assert_true(call.globals.help && call.command == &feed);
    hd_free(call.options);
    parse("train --help", &call);
    assert_true(call.globals.help && !call.command);
    assert_string_equal(call.topic, "train");
    parse("train sequence -h", &call);
    assert_true(call.globals.help && call.command == &train_sequence);
    hd_free(call.options);
    parse("--help", &call);
    assert_true(call.globals.help && !call.command);
    assert_string_equal(call.topic, "");
}

/* Everything the table holds is in every text that is made from it. */
static void test_texts(void **state)
{
    void (*const makers[])(FILE *) = {hd_manual_page, hd_completion_bash};

    (void)state;
    for (int i = 0; i < 2; i++) {
        char *text = NULL, plain[1 << 16];
        size_t bytes, o = 0;
        FILE *f = open_memstream(&text, &bytes);
        assert_non_null(f);
        makers[i](f);
        fclose(f);
        for (size_t j = 0; j < bytes; j++) /* roff writes \- for a hyphen */
            if (text[j] != '\\' && o < sizeof plain - 1)
                plain[o++] = text[j];
        plain[o] = '\0';
        for (const struct hd_command *const *c = hd_commands; *c; c++) {
            assert_non_null(strstr(plain, (*c)->name));
            for (const struct hd_flag *flag = (*c)->flags; flag && flag->name; flag++) {
                char shown[64];
                snprintf(shown, sizeof shown, "%s%s", flag->name[1] ? "--" : "-", flag->name);
                print_message("# %s %s\n", (*c)->name, shown);
                assert_non_null(strstr(plain, shown));
            }
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_bad_time_says_why),
        cmocka_unit_test(test_understood), cmocka_unit_test(test_help),
        cmocka_unit_test(test_texts),      cmocka_unit_test(test_spans),
        cmocka_unit_test(test_texts_of_an_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
