/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed attention show`: attention to be looked at. Of a text, with weights of random projections,
 * and it says so, as there is no trained model of text; or of a user's history, with those of the
 * trained sequence model. */
#include "cli/commands.h"
#include "cli/heatmap.h"
#include "cli/session.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/random.h"
#include "models/untrained.h"
#include "text/utf8.h"
#include "text/words.h"

#include <string.h>

#define HEAD_DIM 16
#define SMALL_SIDE 24 /* maps of more are asked for one by one */

struct show_options {
    const char *text, *user, *form, *html, *svg;
    heed_time at;
    int64_t layers, heads, layer, head, window;
    uint64_t seed;
    bool causal, alibi, rotary;
};
#define AT(field) offsetof(struct show_options, field)

static const struct hd_flag show_arguments[] = {
    {"text", 0, HD_FLAG_TEXT, AT(text), "TEXT", "any text, in quotes"},
    {0},
};

static const struct hd_flag show_flags[] = {
    {"user", 0, HD_FLAG_TEXT, AT(user), "USER",
     "instead of a text: this user's history, through the trained sequence model"},
    {"at", 0, HD_FLAG_TIME, AT(at), "TIME",
     "with --user: the history as it was then; now where not given"},
    {"seed", 0, HD_FLAG_SEED, AT(seed), "N", "of a text's random projections", .fallback = "1"},
    {"layers", 0, HD_FLAG_COUNT, AT(layers), "N", "of a text's attention; 2 where not given",
     .least = 1, .most = HD_UNTRAINED_LAYERS_MAX},
    {"heads", 0, HD_FLAG_COUNT, AT(heads), "N", "in each of them; 4 where not given", .least = 1,
     .most = HD_UNTRAINED_HEADS_MAX},
    {"form", 0, HD_FLAG_CHOICE, AT(form),
     "softmax|sigmoid|silu|cosine|euclid|bilinear|additive|features|linear|lsh",
     "of a text's attention, see docs/ATTENTION.md; softmax where not given"},
    {"causal", 0, HD_FLAG_SWITCH, AT(causal), NULL, "no word sees those after it"},
    {"window", 0, HD_FLAG_COUNT, AT(window), "N", "a word sees N to each side; all where not given",
     .least = 1},
    {"alibi", 0, HD_FLAG_SWITCH, AT(alibi), NULL, "what is farther away counts less"},
    {"rotary", 0, HD_FLAG_SWITCH, AT(rotary), NULL, "queries and keys turn with their position"},
    {"layer", 0, HD_FLAG_COUNT, AT(layer), "N", "print the map of this layer and head alone",
     .least = 1},
    {"head", 0, HD_FLAG_COUNT, AT(head), "N", "see --layer", .least = 1},
    {"html", 0, HD_FLAG_FILE, AT(html), "FILE",
     "write one self-contained page with all maps, by layer and head"},
    {"svg", 0, HD_FLAG_FILE, AT(svg), "FILE", "write the same as one picture"},
    {0},
};

/* The forms by name. Chunks of LSH are small enough that a sentence has several. */
static const struct form {
    const char *name;
    heed_attention_opts opts;
} forms[] = {
    {"softmax", {0}},
    {"sigmoid", {.weight = HEED_WEIGHT_SIGMOID}},
    {"silu", {.weight = HEED_WEIGHT_SILU}},
    {"cosine", {.score = HEED_SCORE_COSINE, .scale = 5}},
    {"euclid", {.score = HEED_SCORE_EUCLID, .scale = 0.1}},
    {"bilinear", {.score = HEED_SCORE_BILINEAR}},
    {"additive", {.score = HEED_SCORE_ADDITIVE}},
    {"features", {.score = HEED_SCORE_FEATURES, .weight = HEED_WEIGHT_SIGMOID}},
    {"linear", {.method = HEED_METHOD_LINEAR}},
    {"lsh", {.method = HEED_METHOD_LSH, .lsh_rounds = 2, .lsh_chunk = 4}},
};

/* slopes: (HD_UNTRAINED_HEADS_MAX), filled where they are needed. */
static heed_attention_opts form_opts(const struct show_options *o, double *slopes)
{
    heed_attention_opts opts = {0};

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, o->form) == 0)
            opts = forms[i].opts;
    opts.causal = o->causal, opts.window = o->window;
    if (o->rotary)
        opts.rotary = HEED_ROTARY_PAIRS;
    if (o->alibi) {
        heed_alibi_slopes(o->heads, slopes);
        opts.alibi = slopes;
    }
    return opts;
}

/* "softmax, causal, window of 2" */
static void form_text(const struct show_options *o, char *out, size_t bytes)
{
    char window[40] = "";

    if (o->window)
        snprintf(window, sizeof window, ", window of %d", (int)o->window);
    snprintf(out, bytes, "%s%s%s%s%s", o->form, o->causal ? ", causal" : "", window,
             o->alibi ? ", alibi" : "", o->rotary ? ", rotary" : "");
}

/* ---- maps of a text */

struct words {
    char **names;
    uint64_t *keys; /* the same for the same word; ASCII case makes no difference */
    int count;
    bool more; /* the text has more than are shown */
};

static uint64_t key_of(const char *word, size_t bytes)
{
    uint64_t key = bytes;

    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)word[i];
        key = hd_mix64(key ^ (c >= 'A' && c <= 'Z' ? c + 32u : c));
    }
    return key;
}

static heed_status cut_words(const char *text, hd_arena *arena, struct words *words)
{
    size_t bytes = strlen(text), valid = hd_utf8_valid(text, bytes), from = 0, length;

    if (valid < bytes)
        return hd_fail(HEED_E_FORMAT, "text: byte %zu is not UTF-8", valid);
    words->names = hd_arena_alloc(arena, HD_SHOW_WORDS_MAX, sizeof *words->names);
    words->keys = hd_arena_alloc(arena, HD_SHOW_WORDS_MAX, sizeof *words->keys);
    if (!words->names || !words->keys)
        return hd_fail(HEED_E_NOMEM, "show: no memory for words");
    for (; (length = hd_word_next(text, bytes, &from)); from += length) {
        if (words->count == HD_SHOW_WORDS_MAX) {
            words->more = true;
            break;
        }
        char *name = hd_arena_alloc(arena, length + 1, 1);
        if (!name)
            return hd_fail(HEED_E_NOMEM, "show: no memory for words");
        memcpy(name, text + from, length);
        name[length] = '\0';
        words->keys[words->count] = key_of(name, length);
        words->names[words->count++] = name;
    }
    return words->count ? HEED_OK : hd_fail(HEED_E_ARG, "text: there is no word in it");
}

static heed_status maps_of_text(const struct show_options *o, hd_arena *arena, heed_maps *maps)
{
    double slopes[HD_UNTRAINED_HEADS_MAX];
    struct hd_untrained_opts opts = {.layers = o->layers,
                                     .heads = o->heads,
                                     .head_dim = HEAD_DIM,
                                     .seed = o->seed,
                                     .attention = form_opts(o, slopes)};
    struct words words = {0};
    char form[128], note[384];

    HD_TRY(cut_words(o->text, arena, &words));
    size_t n = (size_t)words.count, count = (size_t)(o->layers * o->heads) * n;
    float *weights = hd_arena_alloc(arena, count, n * sizeof *weights);
    if (!weights)
        return hd_fail(HEED_E_NOMEM, "show: no memory for maps of %zu words", n);
    HD_TRY(hd_untrained_maps(&opts, words.keys, words.count, weights));
    form_text(o, form, sizeof form);
    snprintf(note, sizeof note,
             "Random projections (seed %llu), not a trained model: this shows how attention is "
             "computed (%s), not what the words mean.%s",
             (unsigned long long)o->seed, form,
             words.more ? " The text goes on; these are its first words." : "");
    *maps = (heed_maps){.title = o->text,
                        .note = hd_arena_strdup(arena, note),
                        .layers = (int)o->layers,
                        .heads = (int)o->heads,
                        .rows = words.count,
                        .columns = words.count,
                        .row_names = (const char *const *)words.names,
                        .weights = weights,
                        .causal = o->causal};
    return maps->note ? HEED_OK : hd_fail(HEED_E_NOMEM, "show: no memory");
}

/* ---- the answer */

static heed_status print_json(const struct show_options *o, const heed_maps *maps)
{
    struct hd_json_writer json = {0};
    const float *weight = maps->weights;

    hd_json_begin_object(&json, NULL);
    hd_json_put_text(&json, "source", o->user ? "sequence" : "random");
    hd_json_put_text(&json, "note", maps->note);
    if (o->user)
        hd_json_put_text(&json, "user", o->user);
    else
        hd_json_put_text(&json, "form", o->form);
    hd_json_put_bool(&json, "causal", maps->causal);
    hd_json_put_int(&json, "layers", maps->layers);
    hd_json_put_int(&json, "heads", maps->heads);
    hd_json_begin_array(&json, "tokens");
    for (int t = 0; t < maps->rows; t++)
        hd_json_put_text(&json, NULL, maps->row_names[t]);
    hd_json_end(&json);
    hd_json_begin_array(&json, "weights");
    for (int layer = 0; layer < maps->layers; layer++) {
        hd_json_begin_array(&json, NULL);
        for (int head = 0; head < maps->heads; head++) {
            hd_json_begin_array(&json, NULL);
            for (int t = 0; t < maps->rows; t++) {
                hd_json_begin_array(&json, NULL);
                for (int s = 0; s < maps->columns; s++)
                    hd_json_put_number(&json, NULL, (double)*weight++);
                hd_json_end(&json);
            }
            hd_json_end(&json);
        }
        hd_json_end(&json);
    }
    hd_json_end(&json);
    hd_json_end(&json);
    return hd_print_json(&json);
}

static void print_words(const struct hd_cli *cli, const struct show_options *o,
                        const heed_maps *maps)
{
    int count = maps->layers * maps->heads, side = hd_heatmap_side(cli, maps);
    int shown = maps->rows < side ? maps->rows : side;

    fputs(hd_style(cli, HD_BOLD), stdout);
    hd_print_fitting(maps->title, cli->columns - 1);
    printf("%s\n%s%s%s\n\n", hd_style(cli, HD_PLAIN), hd_style(cli, HD_FAINT), maps->note,
           hd_style(cli, HD_PLAIN));
    if (o->layer)
        printf("Layer %d, head %d", (int)o->layer, (int)o->head);
    else if (count > 1)
        printf("The mean of %s of %s", hd_counted(maps->layers, "layer"),
               hd_counted(maps->heads, "head"));
    else
        fputs("One layer of one head", stdout);
    printf(": who looks (%s) at what (%s)%s\n\n", maps->causal ? "a row, named at its end" : "rows",
           maps->causal ? "above whose name" : "columns",
           shown < maps->rows ? maps->causal ? "; the latest alone" : "; the first alone" : "");
    hd_print_heatmap(cli, maps, (int)o->layer - 1, (int)o->head - 1);
    if (o->layer || count == 1)
        return;
    if (shown <= SMALL_SIDE)
        hd_print_heatmaps(cli, maps);
    else
        printf("\nOne map of the %d: --layer N --head N; all of them: --html FILE\n", count);
}

static heed_status answer(const struct hd_cli *cli, const struct show_options *o,
                          const heed_maps *maps)
{
    if (o->layer > maps->layers || o->head > maps->heads)
        return hd_fail(HEED_E_ARG, "--layer, --head: there are %d layers of %d heads", maps->layers,
                       maps->heads);
    if (o->html)
        HD_TRY(heed_maps_html(maps, o->html));
    if (o->svg)
        HD_TRY(heed_maps_svg(maps, o->svg));
    if (cli->json)
        return print_json(o, maps);
    print_words(cli, o, maps);
    if (o->html || o->svg)
        putchar('\n');
    if (o->html)
        printf("The page is %s\n", o->html);
    if (o->svg)
        printf("The picture is %s\n", o->svg);
    return HEED_OK;
}

static heed_status show_user(const struct hd_cli *cli, const struct show_options *o)
{
    struct hd_session session;
    heed_maps *maps = NULL;

    HD_TRY(hd_session_open(&session, cli, "show", false, 0));
    heed_status status = heed_engine_maps(session.engine, o->user, o->at, &maps);
    if (status == HEED_OK)
        status = answer(cli, o, maps);
    heed_maps_free(maps);
    hd_session_close(&session);
    return status;
}

static heed_status show_text(const struct hd_cli *cli, const struct show_options *o)
{
    hd_arena *arena = hd_arena_new(0);
    heed_maps maps;
    heed_status status =
        arena ? maps_of_text(o, arena, &maps) : hd_fail(HEED_E_NOMEM, "show: no memory");

    if (status == HEED_OK)
        status = answer(cli, o, &maps);
    hd_arena_free(arena);
    return status;
}

/* A text and a user take different options. */
static heed_status check(const struct show_options *o)
{
    if (!o->text == !o->user)
        return hd_fail(HEED_E_ARG, o->text ? "attention show: a text or --user, not both"
                                           : "attention show: a text is missing, or --user");
    if (!o->layer != !o->head)
        return hd_fail(HEED_E_ARG, "--layer and --head go together");
    if (o->text && o->at)
        return hd_fail(HEED_E_ARG, "--at goes with --user");
    if (o->user && (o->layers || o->heads || o->form))
        return hd_fail(HEED_E_ARG, "--layers, --heads and --form are of a text, not of --user");
    if (o->user && (o->causal || o->window || o->alibi || o->rotary))
        return hd_fail(HEED_E_ARG,
                       "--causal, --window, --alibi and --rotary are of a text, not of --user");
    return HEED_OK;
}

static heed_status show_run(struct hd_cli *cli, const void *given)
{
    struct show_options o = *(const struct show_options *)given;

    HD_TRY(check(&o));
    if (o.user)
        return show_user(cli, &o);
    o.layers = o.layers ? o.layers : 2;
    o.heads = o.heads ? o.heads : 4;
    o.form = o.form ? o.form : "softmax";
    return show_text(cli, &o);
}

const struct hd_command hd_command_attention_show = {
    .name = "attention show",
    .summary = "where attention goes, by layer and head: of any text, or of a user's history",
    .about =
        "A text is cut into words (Chinese and Japanese into characters) and goes through random\n"
        "projections: no model of text has been trained, and the answer says so. It shows how\n"
        "attention is computed, not what words mean. The same word has the same vector\n"
        "everywhere, whatever its case.\n\n"
        "With --user the weights are those of the trained sequence model over what the user\n"
        "read. Weights are a picture; `heed explain` gives reasons.",
    .example = "heed attention show \"The cat sat on the mat\" --html cat.html",
    .arguments = show_arguments,
    .flags = show_flags,
    .options_bytes = sizeof(struct show_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = show_run,
};
