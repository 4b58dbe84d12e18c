/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports: what is counted, and that no line tells of fewer than k readers, whatever the world. */
#include "world.h"
#include "base/limits.h"
#include "base/random.h"
#include "heed/operate.h"
#include "text/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K HD_REPORT_READERS_LEAST
#define MONDAY INT64_C(1768176000000) /* 2026-01-12T00:00:00Z */
#define HOUR INT64_C(3600000)

/* ---- worlds as text */

struct lines {
    char text[1 << 20];
    size_t bytes;
};

static void add_line(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct lines *l, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    l->bytes += (size_t)vsnprintf(l->text + l->bytes, sizeof l->text - l->bytes, fmt, args);
    va_end(args);
    assert_true(l->bytes < sizeof l->text);
}

static void put_in(struct world *w, heed_record what, struct lines *l)
{
    heed_ingest piece = {.what = what, .text = l->text, .bytes = l->bytes};

    assert_status(heed_engine_ingest(w->engine, &piece, 1), HEED_OK);
    assert_int_equal(piece.rejected, 0);
    l->bytes = 0;
}

/* Readers first .. first + count - 1 view an item once, at the same time. */
static void add_views(struct lines *l, const char *item, int first, int count)
{
    for (int u = first; u < first + count; u++)
        add_line(l, "{\"user\":\"u%d\",\"item\":\"%s\",\"kind\":\"view\",\"ts\":%" PRId64
                    ",\"dwell_ms\":100}\n", u, item, MONDAY);
}

/* ---- reports read back */

struct told {
    heed_text *text;
    hd_json_reader *reader;
    hd_json *root;
    const hd_json *groups, *other;
};

static void tell(struct told *t, struct world *w, heed_report_opts opts)
{
    assert_status(heed_engine_report(w->engine, &opts, &t->text), HEED_OK);
    assert_status(hd_json_reader_new(&t->reader), HEED_OK);
    assert_status(hd_json_read(t->reader, t->text->text, t->text->bytes, &t->root), HEED_OK);
    t->groups = hd_json_get(t->root, "groups");
    t->other = hd_json_get(t->root, "other");
}

static void told_clear(struct told *t)
{
    hd_json_reader_free(t->reader);
    heed_text_free(t->text);
}

static int64_t number(const hd_json *line, const char *key)
{
    return hd_json_int(hd_json_get(line, key));
}

/* "name:readers:events name:readers:events | readers:events withheld" */
static void write_told(const struct told *t, char out[512])
{
    size_t at = 0;

    *out = 0;
    for (size_t i = 0; i < hd_json_length(t->groups); i++) {
        const hd_json *line = hd_json_at(t->groups, i), *name = hd_json_get(line, "group");
        at += (size_t)snprintf(out + at, 512 - at, "%s%s:%" PRId64 ":%" PRId64, i ? " " : "",
                               hd_json_kind(name) == HD_JSON_TEXT ? hd_json_text(name, NULL) : "-",
                               number(line, "readers"), number(line, "events"));
    }
    if (t->other)
        at += (size_t)snprintf(out + at, 512 - at, " | %" PRId64 ":%" PRId64,
                               number(t->other, "readers"), number(t->other, "events"));
    if (hd_json_bool(hd_json_get(t->root, "withheld")))
        snprintf(out + at, 512 - at, " withheld");
}

static void assert_told(struct world *w, const char *words, heed_report_opts opts, const char *want)
{
    struct told t;
    char got[512];

    tell(&t, w, opts);
    write_told(&t, got);
    told_clear(&t);
    if (strcmp(got, want) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", words, got, want);
}

/* ---- what is told */

/* Items a, b, c, d are viewed by readers of these numbers, each once. */
struct item_readers {
    int first, count;
};

static void test_cut(void **state)
{
    static const struct {
        const char *words;
        struct item_readers item[4];
        int64_t k;
        int n;
        const char *want;
    } rows[] = {
        {"nothing", {{0, 0}}, 0, 0, ""},
        {"k readers", {{0, K}}, 0, 0, "a:10:10"},
        {"k - 1 readers, and nobody to hide among", {{0, K - 1}}, 0, 0, " withheld"},
        {"k + 1 readers, k raised to it", {{0, K + 1}}, K + 1, 0, "a:11:11"},
        {"k readers, k raised past it", {{0, K}}, K + 1, 0, " withheld"},
        {"one small group hides behind the next", {{0, 30}, {0, 20}, {0, 1}}, 0, 0,
         "a:30:30 | 20:21 withheld"},
        {"it hides behind the only one", {{0, 30}, {0, 1}}, 0, 0, " | 30:31 withheld"},
        {"small groups of other people are enough together", {{0, 30}, {0, 6}, {6, 4}}, 0, 0,
         "a:30:30 | 10:10 withheld"},
        {"of k - 1 people together they are not", {{0, 30}, {0, 6}, {6, 3}}, 0, 0,
         " | 30:39 withheld"},
        {"of the same people they are not", {{0, 30}, {0, 9}, {0, 9}}, 0, 0, " | 30:48 withheld"},
        {"nobody is shown, but all together", {{0, 9}, {9, 9}}, 0, 0, " | 18:18 withheld"},
        {"nobody is shown at all", {{0, 9}, {0, 9}, {0, 8}}, 0, 0, " withheld"},
        {"past the n-th", {{0, 30}, {0, 20}, {0, 10}}, 0, 2, "a:30:30 b:20:20 | 10:10"},
        {"n is enough", {{0, 30}, {0, 20}, {0, 10}}, 0, 3, "a:30:30 b:20:20 c:10:10"},
        {"past the n-th, and small", {{0, 30}, {0, 20}, {0, 10}, {0, 2}}, 0, 2,
         "a:30:30 b:20:20 | 10:12 withheld"},
        {"who hides does not depend on n", {{0, 30}, {0, 20}, {0, 10}, {0, 2}}, 0, 3,
         "a:30:30 b:20:20 | 10:12 withheld"},
    };
    struct lines *l = calloc(1, sizeof *l);

    (void)state;
    assert_non_null(l);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void *w;
        world_setup(&w);
        for (int item = 0; item < 4; item++)
            add_views(l, (const char[2]){(char)('a' + item), 0}, rows[i].item[item].first,
                      rows[i].item[item].count);
        put_in(w, HEED_RECORD_EVENT, l);
        assert_told(w, rows[i].words,
                    (heed_report_opts){.by = "item", .k = rows[i].k, .n = rows[i].n}, rows[i].want);
        world_teardown(&w);
    }
    free(l);
}

/* Ten readers view a sport and a music item, have impressions of one, and hide another. */
static void fill_counted(struct world *w, struct lines *l)
{
    add_line(l, "{\"id\":\"cup\",\"tags\":[\"sport\",\"news\",\"sport\"],\"author\":\"ann\"}\n"
                "{\"id\":\"song\",\"tags\":[\"music\"],\"author\":\"ann\"}\n"
                "{\"id\":\"mud\"}\n");
    put_in(w, HEED_RECORD_ITEM, l);
    for (int u = 0; u < K; u++) {
        add_line(l, "{\"user\":\"u%d\",\"item\":\"cup\",\"kind\":\"view\",\"ts\":%" PRId64
                    ",\"dwell_ms\":500}\n", u, MONDAY);
        add_line(l, "{\"user\":\"u%d\",\"item\":\"cup\",\"kind\":\"click\",\"ts\":%" PRId64 "}\n", u,
                 MONDAY + 23 * HOUR);
        add_line(l, "{\"user\":\"u%d\",\"item\":\"cup\",\"kind\":\"impression\",\"ts\":%" PRId64
                    ",\"dwell_ms\":7}\n", u, MONDAY);
        add_line(l, "{\"user\":\"u%d\",\"item\":\"mud\",\"kind\":\"hide\",\"ts\":%" PRId64 "}\n", u,
                 MONDAY);
        add_line(l, "{\"user\":\"u%d\",\"item\":\"song\",\"kind\":\"like\",\"ts\":%" PRId64 "}\n", u,
                 MONDAY + 24 * HOUR);
    }
    put_in(w, HEED_RECORD_EVENT, l);
}

static void test_counted(void **state)
{
    static const struct {
        const char *words;
        heed_report_opts opts;
        const char *want;
    } rows[] = {
        {"an event counts once in each tag", {.by = "tag"}, "sport:10:20 news:10:20 music:10:10"},
        {"authors", {.by = "author"}, "ann:10:30"},
        {"items", {.by = "item"}, "cup:10:20 song:10:10"},
        {"kinds that are attention", {.by = "kind"}, "view:10:10 click:10:10 like:10:10"},
        {"days, as they come", {.by = "day"}, "2026-01-12:10:20 2026-01-13:10:10"},
        {"hours of the week", {.by = "hour"}, "0:10:10 23:10:10 24:10:10"},
        {"one kind", {.by = "item", .kind = "click"}, "cup:10:10"},
        {"a kind that is no attention", {.by = "item", .kind = "hide"}, "mud:10:10"},
        {"items without a tag", {.by = "tag", .kind = "hide"}, "-:10:10"},
        {"impressions", {.by = "kind", .kind = "impression"}, "impression:10:10"},
        {"from is in it", {.by = "item", .from = MONDAY + 24 * HOUR}, "song:10:10"},
        {"to is not", {.by = "item", .to = MONDAY + 24 * HOUR}, "cup:10:20"},
        {"from and to", {.by = "item", .from = MONDAY + 1, .to = MONDAY + 24 * HOUR}, "cup:10:10"},
        {"an empty span", {.by = "item", .from = 1, .to = 2}, ""},
        {"before 1970", {.by = "item", .from = -5}, "cup:10:20 song:10:10"},
    };
    struct world *w = *state;
    struct lines *l = calloc(1, sizeof *l);
    struct told t;

    assert_non_null(l);
    fill_counted(w, l);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_told(w, rows[i].words, rows[i].opts, rows[i].want);
    tell(&t, w, (heed_report_opts){.by = "item", .from = MONDAY, .kind = "view", .n = 7, .k = 10});
    assert_string_equal(t.text->text,
                        "{\"by\":\"item\",\"from\":\"2026-01-12T00:00:00Z\",\"to\":null,"
                        "\"kind\":\"view\",\"k\":10,\"groups\":[{\"group\":\"cup\",\"readers\":10,"
                        "\"events\":10,\"impressions\":10,\"dwell_ms\":5000,\"share\":1}],"
                        "\"withheld\":false}");
    told_clear(&t);
    free(l);
}

/* Only the order of these is known: they are in no report that asks when. */
static void test_untimed(void **state)
{
    struct world *w = *state;
    struct lines *l = calloc(1, sizeof *l);

    assert_non_null(l);
    for (int u = 0; u < K; u++)
        add_line(l, "u%d fig\n", u);
    world_import(w, HEED_IMPORT_INTERACTIONS, l->text);
    assert_told(w, "no range", (heed_report_opts){.by = "item"}, "fig:10:10");
    assert_told(w, "from", (heed_report_opts){.by = "item", .from = 1}, "");
    assert_told(w, "to", (heed_report_opts){.by = "item", .to = MONDAY}, "");
    assert_told(w, "day", (heed_report_opts){.by = "day"}, "");
    assert_told(w, "hour", (heed_report_opts){.by = "hour"}, "");
    free(l);
}

/* Who does not want to be learned from, or was erased, is in no report from then on. */
static void test_silent(void **state)
{
    struct world *w = *state;
    struct lines *l = calloc(1, sizeof *l);
    heed_erasure erased;

    assert_non_null(l);
    add_views(l, "a", 0, K + 1);
    put_in(w, HEED_RECORD_EVENT, l);
    assert_told(w, "all", (heed_report_opts){.by = "item"}, "a:11:11");
    add_line(l, "{\"id\":\"u3\",\"consent\":{\"learn\":false}}\n");
    put_in(w, HEED_RECORD_USER, l);
    assert_told(w, "one is silent", (heed_report_opts){.by = "item"}, "a:10:10");
    assert_status(heed_engine_erase(w->engine, "u4", &erased), HEED_OK);
    assert_told(w, "one is erased", (heed_report_opts){.by = "item"}, " withheld");
    add_line(l, "{\"id\":\"u3\",\"consent\":{\"learn\":true}}\n");
    put_in(w, HEED_RECORD_USER, l);
    assert_told(w, "one is back", (heed_report_opts){.by = "item"}, "a:10:10");
    free(l);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *words;
        heed_report_opts opts;
    } rows[] = {
        {"by: \"\" is not tag", {0}},
        {"by: \"user\" is not tag", {.by = "user"}},
        {"kind: there is no \"stare\"", {.by = "tag", .kind = "stare"}},
        {"k: 9 is not 10 to", {.by = "tag", .k = K - 1}},
        {"k: -1 is not 10 to", {.by = "tag", .k = -1}},
        {"k: 1000000001 is not", {.by = "tag", .k = HD_REPORT_READERS_MAX + 1}},
        {"n: 1001 is not 1 to 1000", {.by = "tag", .n = HD_REPORT_GROUPS_MAX + 1}},
        {"n: -1 is not", {.by = "tag", .n = -1}},
        {"to: is not after from", {.by = "tag", .from = 5, .to = 5}},
        {"reserved", {.by = "tag", .reserved = {0, 1}}},
    };
    struct world *w = *state;
    heed_text *text = NULL;
    heed_report_opts most = {.by = "tag", .k = HD_REPORT_READERS_MAX, .n = HD_REPORT_GROUPS_MAX};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_status(heed_engine_report(w->engine, &rows[i].opts, &text), HEED_E_ARG);
        assert_says(rows[i].words);
    }
    assert_status(heed_engine_report(w->engine, NULL, &text), HEED_E_ARG);
    assert_status(heed_engine_report(w->engine, &most, &text), HEED_OK);
    heed_text_free(text);
}

/* ---- laws over random worlds */

enum { USERS_MAX = 60, ITEMS_MAX = 24, TAGS = 9 };

/* What a naive program would count: who viewed what, by tag. */
struct naive {
    int items, tags[ITEMS_MAX]; /* bits; TAGS stands for none */
    int64_t views[USERS_MAX][ITEMS_MAX];
    bool silent[USERS_MAX];
};

/* Few readers of many groups: the edge is where k is. */
static void make_world(struct naive *v, heed_rng *rng, struct world *w, struct lines *l)
{
    int users = 1 + (int)hd_random_below(rng, USERS_MAX), per = 1 + (int)hd_random_below(rng, 6);

    memset(v, 0, sizeof *v);
    v->items = 1 + (int)hd_random_below(rng, ITEMS_MAX);
    for (int i = 0; i < v->items; i++) {
        v->tags[i] = (int)(hd_random_below(rng, 1 << TAGS) & hd_random_below(rng, 1 << TAGS));
        add_line(l, "{\"id\":\"i%d\",\"tags\":[", i);
        for (int t = 0, any = 0; t < TAGS; t++)
            if (v->tags[i] >> t & 1)
                add_line(l, "%s\"t%d\"", any++ ? "," : "", t);
        add_line(l, "]}\n");
        v->tags[i] = v->tags[i] ? v->tags[i] : 1 << TAGS;
    }
    put_in(w, HEED_RECORD_ITEM, l);
    for (int u = 0; u < users; u++) {
        v->silent[u] = hd_random_below(rng, 8) == 0;
        add_line(l, "{\"id\":\"u%d\",\"consent\":{\"learn\":%s}}\n", u,
                 v->silent[u] ? "false" : "true");
    }
    put_in(w, HEED_RECORD_USER, l);
    for (int u = 0; u < users; u++)
        for (int e = 0; e < per; e++) { /* the square leans to the first items */
            double at = hd_random_unit(rng) * hd_random_unit(rng);
            int item = (int)(at * v->items);
            v->views[u][item]++;
            add_line(l, "{\"user\":\"u%d\",\"item\":\"i%d\",\"kind\":\"view\",\"ts\":%" PRId64 "}\n",
                     u, item, MONDAY + e * HOUR);
        }
    put_in(w, HEED_RECORD_EVENT, l);
}

static bool in_group(const struct naive *v, bool by_tag, int item, int group)
{
    return by_tag ? v->tags[item] >> group & 1 : item == group;
}

/* Events and readers of a set of groups; an event counts in each of its groups, a reader once. */
static void count_set(const struct naive *v, bool by_tag, const bool *in, int64_t *events,
                      int64_t *readers)
{
    *events = *readers = 0;
    for (int u = 0; u < USERS_MAX; u++) {
        int64_t mine = 0;
        for (int i = 0; i < v->items && !v->silent[u]; i++)
            for (int g = 0; g < ITEMS_MAX; g++)
                mine += in[g] && in_group(v, by_tag, i, g) ? v->views[u][i] : 0;
        *events += mine;
        *readers += mine > 0;
    }
}

static int group_of(const hd_json *line)
{
    const hd_json *name = hd_json_get(line, "group");

    return hd_json_kind(name) == HD_JSON_TEXT ? atoi(hd_json_text(name, NULL) + 1) : TAGS;
}

/* Each line is what the naive program counts, and of k readers or more; shown is set to who is. */
static void check_told(const struct naive *v, const struct told *t, bool by_tag, int64_t k,
                       bool shown[ITEMS_MAX])
{
    bool rest[ITEMS_MAX], one[ITEMS_MAX];
    int64_t events, readers, last = INT64_MAX;
    double shares = 0;
    size_t lines = hd_json_length(t->groups);

    for (int g = 0; g < ITEMS_MAX; g++)
        rest[g] = true, shown[g] = false;
    for (size_t i = 0; i < lines; i++) {
        const hd_json *line = hd_json_at(t->groups, i);
        int g = group_of(line);
        memset(one, 0, sizeof one);
        one[g] = shown[g] = true, rest[g] = false;
        count_set(v, by_tag, one, &events, &readers);
        assert_true(readers >= k && readers <= last);
        assert_int_equal(number(line, "readers"), readers);
        assert_int_equal(number(line, "events"), events);
        last = readers;
        shares += hd_json_number(hd_json_get(line, "share"));
    }
    count_set(v, by_tag, rest, &events, &readers);
    assert_true((t->other != NULL) == (readers >= k));
    if (t->other) {
        assert_int_equal(number(t->other, "readers"), readers);
        assert_int_equal(number(t->other, "events"), events);
        shares += hd_json_number(hd_json_get(t->other, "share"));
    } else {
        assert_true(lines == 0 || events == 0); /* else a sum from elsewhere would tell of them */
    }
    if (lines > 0 || t->other)
        assert_true(shares > 0.99999 && shares < 1.00001);
}

/* What reports of one world show alone, for whichever k and n, and the least that any `other` holds:
 * of what is in it and never shown, there are k readers. So no subtraction leaves fewer. */
static void check_world(const struct naive *v, struct world *w, bool by_tag, heed_rng *rng)
{
    bool ever[ITEMS_MAX] = {false}, shown[ITEMS_MAX], hidden[ITEMS_MAX];
    int64_t events, readers;

    for (int round = 0; round < 12; round++) {
        int64_t k = K + (round < 6 ? 0 : (int64_t)hd_random_below(rng, 12));
        int n = 1 + (int)hd_random_below(rng, ITEMS_MAX);
        struct told t;
        tell(&t, w, (heed_report_opts){.by = by_tag ? "tag" : "item", .k = k, .n = n});
        check_told(v, &t, by_tag, k, shown);
        assert_true(hd_json_length(t.groups) <= (size_t)n);
        told_clear(&t);
        for (int g = 0; g < ITEMS_MAX; g++)
            ever[g] = ever[g] || shown[g];
    }
    for (int g = 0; g < ITEMS_MAX; g++)
        hidden[g] = !ever[g];
    count_set(v, by_tag, hidden, &events, &readers);
    bool none_shown = true;
    for (int g = 0; g < ITEMS_MAX; g++)
        none_shown = none_shown && !ever[g];
    assert_true(events == 0 || readers >= K || none_shown);
}

static void test_laws(void **state)
{
    const char *given = getenv("HEED_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 1;
    struct naive *v = malloc(sizeof *v);
    struct lines *l = calloc(1, sizeof *l);

    (void)state;
    assert_non_null(v);
    assert_non_null(l);
    print_message("HEED_SEED=%" PRIu64 "\n", seed);
    for (uint64_t i = 0; i < 40; i++) {
        heed_rng rng = hd_rng(seed, i);
        void *w;
        world_setup(&w);
        make_world(v, &rng, w, l);
        check_world(v, w, false, &rng);
        check_world(v, w, true, &rng);
        world_teardown(&w);
    }
    free(l);
    free(v);
}

static bool stop(void *context, const char *what, int64_t done, int64_t total)
{
    (void)context, (void)what, (void)done, (void)total;
    return false;
}

/* Whoever stops a long walk is heard; a short one is through before it asks. */
static void test_stopped(void **state)
{
    struct world *w = *state;
    struct lines *l = calloc(1, sizeof *l);
    heed_text *text = NULL;
    heed_report_opts opts = {.by = "item", .progress = {stop, NULL}};

    assert_non_null(l);
    assert_status(heed_engine_report(w->engine, &opts, &text), HEED_OK);
    heed_text_free(text);
    for (int i = 0; i < 66000; i++)
        add_line(l, "u%d i%d\n", i / 500, i % 500);
    world_import(w, HEED_IMPORT_INTERACTIONS, l->text);
    assert_status(heed_engine_report(w->engine, &opts, &text), HEED_E_CANCELLED);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test_setup_teardown(test_counted, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_untimed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_silent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, world_setup, world_teardown),
        cmocka_unit_test(test_laws),
        cmocka_unit_test_setup_teardown(test_stopped, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
