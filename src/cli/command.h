/* SPDX-License-Identifier: Apache-2.0
 *
 * What a command is: a row of a table. The table makes the parsing, `--help`, the manual page and
 * shell completion, so that none of them can tell of an option that is not there.
 *
 * A command decides nothing. It fills an options struct of the engine, calls it, and writes down
 * the answer: for people on a terminal, or as one JSON object. */
#ifndef HD_COMMAND_H
#define HD_COMMAND_H

#include "base/limits.h"
#include "base/status.h"

#include <stdio.h>

enum hd_flag_kind {
    HD_FLAG_SWITCH, /* bool: takes no value */
    HD_FLAG_TEXT,   /* const char * */
    HD_FLAG_FILE,   /* const char *, completed with file names */
    HD_FLAG_FOLDER, /* const char *, completed with folder names */
    HD_FLAG_CHOICE, /* const char *, one of the words in `value`, which `|` separates */
    HD_FLAG_COUNT,  /* int64_t, least to most */
    HD_FLAG_SEED,   /* uint64_t, also in hexadecimal */
    HD_FLAG_NUMBER, /* double, finite */
    HD_FLAG_TIME,   /* heed_time: RFC 3339, or milliseconds since 1970 */
    HD_FLAG_SPAN,   /* heed_span, above 0: a whole number and s, m, h, d, w or y: 90d, 6h, 30m */
    HD_FLAG_TEXTS,  /* struct hd_texts: may be given more than once; options only */
    HD_FLAG_WORDS,  /* struct hd_words: all that is left; arguments only, the last of them */
};

/* An option, or (in `arguments`) a word that stands by its place. Ends with a row whose name is
 * NULL. `at` is where the value goes in the command's options struct, which starts all zero. */
struct hd_flag {
    const char *name; /* `epochs` is given as --epochs */
    char letter;      /* 'n' is given as -n; 0: none */
    enum hd_flag_kind kind;
    size_t at;
    const char *value;    /* how help writes what it takes: "N", "FILE", "sasrec|hstu" */
    const char *help;     /* one line, no full stop */
    const char *fallback; /* parsed where the option is not given; shown by help */
    bool required;
    int64_t least, most; /* of a HD_FLAG_COUNT; most 0: no bound */
};

struct hd_words {
    const char *const *word;
    int count;
};

struct hd_texts {
    int count;
    const char *text[HD_OPTION_TEXTS_MAX];
};

/* What the program itself understands and hands to each command. */
struct hd_cli {
    const char *data; /* the data folder */
    bool json;        /* one object on stdout instead of words */
    bool color;       /* stdout is a terminal that wants it */
    int columns;      /* its width */
};

enum { HD_USES_DATA = 1 << 0, HD_USES_JSON = 1 << 1 };

struct hd_command {
    const char *name;    /* may be several words: "train sequence" */
    const char *summary; /* one line, no full stop */
    const char *about;   /* paragraphs, or NULL */
    const char *example; /* shell lines that work as pasted, in the order of the table */
    const struct hd_flag *arguments, *flags; /* or NULL */
    size_t options_bytes;
    unsigned uses; /* HD_USES_... */
    heed_status (*run)(struct hd_cli *cli, const void *options);
};

/* Every command, in the order in which help lists them; ends with NULL. */
extern const struct hd_command *const hd_commands[];
/* --data, --json, --help: fields of struct hd_globals. */
extern const struct hd_flag hd_global_flags[];
struct hd_globals {
    const char *data;
    bool json, help;
};

#define HD_COMMAND_BYTES_MAX 64 /* a command's name, all its words */

/* A command line, understood. */
struct hd_call {
    const struct hd_command *command;     /* NULL: only help is asked for, of `topic` */
    char topic[HD_COMMAND_BYTES_MAX + 1]; /* "": the program; "train": the commands that start so */
    void *options;                        /* hd_free() it */
    struct hd_globals globals;
};

/**
 * Reads a command line. words[0] is the first word after the program's name.
 * Errors   HEED_E_ARG  with a message that names the word at fault and, where one is near, what may
 *                      have been meant; call->command is then set where the command was known
 */
HEED_CHECKED heed_status hd_parse(const char *const *words, int count, struct hd_call *call);

/* Sets call->command to the command that the words spell, or call->topic to the beginning of some.
 */
HEED_CHECKED heed_status hd_find_command(const char *const *words, int count, struct hd_call *call);
/* Does the command understand this option of the program? NULL: every one. */
bool hd_flag_used(const struct hd_command *command, const struct hd_flag *global);
/* What a HD_FLAG_SPAN takes, where it is part of a value. shown begins the complaint. */
HEED_CHECKED heed_status hd_parse_span(const char *shown, const char *text, size_t bytes,
                                       heed_span *out);
/* The command of that name, or NULL. */
const struct hd_command *hd_command_find(const char *name);
/* Is name the first words of some command's, such as "train" of "train sequence"? */
bool hd_command_group(const char *name);
/* Of the words that `next` gives (until NULL), the nearest to `word` within a third of its length;
 * NULL where none is. */
const char *hd_nearest(const char *word, const char *(*next)(void *context), void *context);

void hd_help_program(FILE *out);
void hd_help_group(FILE *out, const char *group);
void hd_help_command(FILE *out, const struct hd_command *command);
void hd_manual_page(FILE *out);
void hd_completion_bash(FILE *out);

#endif
