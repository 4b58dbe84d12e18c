/* SPDX-License-Identifier: Apache-2.0
 *
 * What the calls of docs/ATTENTION.md stand in. attention_page.sh puts each block of C of the page
 * into a function of its own, with all that is named here, and this draws the weights that it left
 * behind: in `weights`, or where it made a tensor of that name, in that. So the picture beside a call
 * is what the call gave.
 *
 * The vectors are made by hand. A word's key says what it is, its query what it looks for: an
 * article looks for a thing or an animal, a verb for an animal, a preposition for a thing. */
#ifndef ATTENTION_PAGE_H
#define ATTENTION_PAGE_H

#include <heed/attention.h>
#include <heed/engine.h>
#include <heed/nn.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T = 13, D = 8 };

static const char *const words[T] = {"the", "cat", "sat", "on",  "the", "mat", "and",
                                     "the", "dog", "sat", "on",  "the", "rug"};

/* What a word is: article, animal, thing, verb, preposition, conjunction; cat or dog, mat or rug. */
struct meaning {
    const char *word;
    float is[D], wants[D];
};
static const struct meaning meanings[] = {
    {"the", {2, 0, 0, 0, 0, 0, 0, 0}, {0, 3, 3, 0, 0, 0, 0, 0}},
    {"cat", {0, 2, 0, 0, 0, 0, 1, 0}, {0, 1, 0, 3, 0, 0, 1.5f, 0}},
    {"dog", {0, 2, 0, 0, 0, 0, -1, 0}, {0, 1, 0, 3, 0, 0, -1.5f, 0}},
    {"sat", {0, 0, 0, 2, 0, 0, 0, 0}, {0, 4, 0, 0, 1, 0, 0, 0}},
    {"on", {0, 0, 0, 0, 2, 0, 0, 0}, {0, 0, 4, 1, 0, 0, 0, 0}},
    {"mat", {0, 0, 2, 0, 0, 0, 0, 1}, {0, 0, 1, 0, 3, 0, 0, 1.5f}},
    {"rug", {0, 0, 2, 0, 0, 0, 0, -1}, {0, 0, 1, 0, 3, 0, 0, -1.5f}},
    {"and", {0, 0, 0, 0, 0, 2, 0, 0}, {0, 0, 0, 4, 0, 0, 0, 0}},
};

enum { WORDS = sizeof meanings / sizeof *meanings };

static float queries[T][D], keys[T][D], values[T][D], out[T][D], weights[T][T];
static float dictionary[WORDS][D]; /* each word once */
static int32_t word_before[T];     /* its row in the dictionary; -1: there is none */

static inline void fill_words(void)
{
    word_before[0] = -1;
    for (int m = 0; m < WORDS; m++)
        memcpy(dictionary[m], meanings[m].is, sizeof dictionary[m]);
    for (int t = 0; t < T; t++)
        for (int m = 0; m < WORDS; m++)
            if (strcmp(words[t], meanings[m].word) == 0) {
                memcpy(queries[t], meanings[m].wants, sizeof queries[t]);
                memcpy(keys[t], meanings[m].is, sizeof keys[t]);
                memcpy(values[t], meanings[m].is, sizeof values[t]);
                if (t + 1 < T)
                    word_before[t + 1] = m;
            }
    memset(weights, 0, sizeof weights);
}

/* A call of the page that fails is a fault of the page. */
#define OK(call)                                                             \
    do {                                                                     \
        if ((call) != HEED_OK) {                                             \
            fprintf(stderr, "%s: %s\n", __func__, heed_error_message());     \
            exit(1);                                                         \
        }                                                                    \
    } while (0)

/* What the calls on a tape find: queries, keys and values as (1, T, 1, D), and the words as
 * (1, T, D). */
struct stage {
    heed_tape *tape;
    heed_params *params;
    heed_tensor *q, *k, *v, *x;
};

static inline void stage_init(struct stage *s)
{
    const int64_t heads[4] = {1, T, 1, D}, rows[3] = {1, T, D};

    OK(heed_tape_new(NULL, 1, &s->tape));
    OK(heed_params_new(HEED_F32, 1, &s->params));
    OK(heed_tensor_wrap(s->tape, HEED_F32, queries, heads, 4, false, &s->q));
    OK(heed_tensor_wrap(s->tape, HEED_F32, keys, heads, 4, false, &s->k));
    OK(heed_tensor_wrap(s->tape, HEED_F32, values, heads, 4, false, &s->v));
    OK(heed_tensor_wrap(s->tape, HEED_F32, keys, rows, 3, false, &s->x));
}

static inline void stage_clear(struct stage *s)
{
    heed_tape_free(s->tape);
    heed_params_free(s->params);
}

/* Pictures that are not of words looking at words. */
static const struct sides {
    const char *name;
    int rows, columns;
    const char *row_names[T], *column_names[T];
} sides[] = {
    {"cross_modal", T, 5, {0}, {"fur", "ears", "a pattern", "bent legs", "light"}},
    {"pool", 1, T, {"the sentence"}, {0}},
    {"gate", 1, T, {"passes"}, {0}},
    {"target", 4, T, {"cat", "dog", "mat", "rug"}, {0}},
    {"routing", 3, T, {"interest 1", "interest 2", "interest 3"}, {0}},
    {"label", T, 3, {0}, {"animals", "things", "doing"}},
};

static inline void draw(const char *folder, const char *name, const void *w)
{
    char path[4096];
    heed_maps maps = {
        .layers = 1, .heads = 1, .rows = T, .columns = T, .row_names = words, .weights = w};

    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (strcmp(sides[i].name, name) == 0) {
            maps.rows = sides[i].rows, maps.columns = sides[i].columns;
            maps.row_names = sides[i].row_names[0] ? sides[i].row_names : words;
            maps.column_names = sides[i].column_names[0] ? sides[i].column_names : words;
        }
    snprintf(path, sizeof path, "%s/%s.svg", folder, name);
    OK(heed_maps_svg(&maps, path));
}

#endif
