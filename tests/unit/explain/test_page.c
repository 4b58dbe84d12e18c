/* SPDX-License-Identifier: Apache-2.0
 *
 * The page and the picture of an explanation, and those of maps alone: whole, well-formed, asking the network for nothing,
 * and with titles that stay titles whatever is in them. Given a path, it writes a page and a
 * picture there to be looked at. */
#include "explain/page.h"
#include "fabricate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
/* cmocka.h needs some of those first */
#include <cmocka.h>

static struct fabricated f;
static char path[] = "/tmp/heed-page-XXXXXX";

typedef heed_status (*writer)(const heed_explanation *e, const char *where);
static const writer writers[2] = {heed_explanation_html, heed_explanation_svg};

static char *read_back(void)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = calloc((size_t)size + 1, 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    assert_int_equal(strlen(text), size); /* no NUL within */
    fclose(file);
    return text;
}

static char *written(writer write, const heed_explanation *e)
{
    assert_int_equal(write(e, path), HEED_OK);
    return read_back();
}

/* Every element is closed in its order, every attribute quoted, every & begins an entity. */
static void assert_well_formed(const char *text)
{
    char stack[64][16];
    int depth = 0;

    for (const char *p = text; *p; p++) {
        if (*p == '&') {
            size_t name = strspn(p + 1, "#abcdefghijklmnopqrstuvwxyz0123456789");
            assert_true(name > 0 && name < 8 && p[1 + name] == ';');
        }
        assert_int_not_equal(*p, '>'); /* of a tag: those are stepped over below */
        if (*p != '<')
            continue;
        bool closing = p[1] == '/', empty;
        char name[16] = "";
        const char *end = p + 1;
        bool quoted = false;
        sscanf(p + 1 + closing, "%15[a-z0-9!A-Z]", name);
        for (; *end && (quoted || *end != '>'); end++) {
            quoted ^= *end == '"';
            assert_int_not_equal(*end, '<');
        }
        assert_int_equal(*end, '>');
        empty = end[-1] == '/' || !strcmp(name, "meta") || !strcmp(name, "!doctype");
        if (closing) {
            assert_true(depth > 0);
            assert_string_equal(stack[--depth], name);
        } else if (!empty) {
            assert_true(depth < 64 && *name);
            memcpy(stack[depth++], name, sizeof name);
        }
        p = end;
        if (!closing && !strcmp(name, "style")) /* its > and & are CSS */
            p = strstr(p, "</style>") - 1;
    }
    assert_int_equal(depth, 0);
}

static void assert_alone(const char *text)
{
    static const char *const never[] = {"src=",    "href", "url(",    "@import",
                                        "<script", "<img", "<iframe", "<object",
                                        "onload=", "nan",  "inf\""};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strstr(text, never[i]))
            fail_msg("the page holds %s", never[i]);
}

static void test_whole(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        int events, layers, heads;
        bool times;
    } rows[] = {
        {"a usual one", 42, 2, 2, true},        {"one event", 1, 1, 1, true},
        {"two, without times", 2, 2, 1, false}, {"a long history", 200, 4, 2, true},
        {"many heads", 60, 8, 8, true},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        print_message("# %s\n", r->name);
        fabricate(&f, r->events, r->layers, r->heads, r->times);
        for (int w = 0; w < 2; w++) {
            char *text = written(writers[w], &f.e);
            assert_well_formed(text);
            assert_alone(text);
            assert_non_null(strstr(text, "<svg"));
            assert_non_null(strstr(text, "part 4"));
            assert_non_null(strstr(text, "place 14"));
            assert_true(strlen(text) < 2500000);
            if (!w) /* a map for each layer and head */
                for (int m = 0; m < r->layers * r->heads; m++) {
                    char label[48];
                    snprintf(label, sizeof label, "Layer %d, head %d ", 1 + m / r->heads,
                             1 + m % r->heads);
                    assert_non_null(strstr(text, label));
                }
            free(text);
        }
        free(f.maps);
    }
}

/* What a cell says, to the digit. */
static void test_numbers(void **state)
{
    (void)state;
    fabricate(&f, 3, 1, 1, true);
    f.maps[1 * 3 + 0] = 0.25f, f.maps[1 * 3 + 1] = -0.75f;
    f.history[1].title = "second", f.history[0].title = "first";
    f.reasons[0].contribution = 1.25;
    char *text = written(heed_explanation_html, &f.e);
    assert_non_null(strstr(text, "second looks at first: 0.250"));
    assert_non_null(strstr(text, "second looks at second: -0.750"));
    assert_non_null(strstr(text, "warm squares are negative"));
    assert_non_null(strstr(text, "+1.250"));
    assert_non_null(strstr(text, "14 March 2026, 14:53")); /* when, of the first event */
    assert_non_null(strstr(text, "15.38&#8239;%"));
    free(text), free(f.maps);
}

/* What is said about the control is what the numbers say. */
static void test_honest(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        double comp, suff, random_comp, random_suff;
        const char *says;
    } rows[] = {
        {"better at both", 0.2, 0.01, 0.1, 0.1, "Both tests say yes"},
        {"better at one", 0.2, 0.2, 0.1, 0.1, "one of the two tests"},
        {"better at none", 0.1, 0.2, 0.1, 0.1, "<b>No.</b>"},
        {"no numbers", 0, 0, 0, 0, "<b>No.</b>"},
    };
    fabricate(&f, 5, 1, 1, true);
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        print_message("# %s\n", r->name);
        f.e.comprehensiveness = r->comp, f.e.sufficiency = r->suff;
        f.e.random_comprehensiveness = r->random_comp, f.e.random_sufficiency = r->random_suff;
        char *text = written(heed_explanation_html, &f.e);
        assert_non_null(strstr(text, r->says));
        free(text);
    }
    free(f.maps);
}

static void test_hostile(void **state)
{
    (void)state;
    static char endless[20001];
    static const char *const titles[] = {
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='alert(1)",
        "</title></svg></style><svg/onload=alert(1)>",
        "&lt;b&gt; &amp; ]]> <!-- --> <![CDATA[",
        "\xE2\x80\xAEgnp.exe",
        "\xC0\xBCscript\xC0\xBE \xED\xA0\x80 \xF5\x80\x80\x80 \xFF \xE2\x82",
        "bell \x07 tab\tline\nend",
        "\xE6\xB2\xB3\xE8\xBE\xB9\xE7\x9A\x84\xE5\xA4\x9C\xE5\xB8\x82",
        "",
        NULL,
        "%s%n%d",
        endless,
    };
    memset(endless, 'w', sizeof endless - 1);
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) {
        fabricate(&f, 6, 1, 1, true);
        f.e.title = titles[i];
        if (titles[i])
            f.e.user = f.e.method = titles[i];
        for (int k = 0; k < 6; k++)
            f.history[k].title = f.reasons[k].title = titles[i];
        for (int w = 0; w < 2; w++) {
            char *text = written(writers[w], &f.e);
            assert_well_formed(text);
            assert_null(strstr(text, "<script"));
            assert_null(strstr(text, "<img"));
            assert_null(strstr(text, "<svg/"));
            assert_null(strstr(text, "'alert"));
            assert_null(strstr(text, "\xE2\x80\xAE"));
            assert_null(strstr(text, "\xC0\xBC"));
            assert_null(strchr(text, 7));
            free(text);
        }
        free(f.maps);
    }
}

/* Nothing but what must be there, and numbers that are none. */
static void test_bare(void **state)
{
    (void)state;
    heed_explanation bare = {.user = "u", .item = "i", .rank = 1};

    for (int w = 0; w < 2; w++) {
        char *text = written(writers[w], &bare);
        assert_well_formed(text);
        assert_alone(text);
        free(text);
        fabricate(&f, 4, 2, 1, true);
        f.e.score = f.e.probability = f.e.comprehensiveness = (double)NAN;
        f.reasons[2].contribution = f.history[1].contribution = (double)INFINITY;
        f.maps[4] = NAN;
        text = written(writers[w], &f.e);
        assert_well_formed(text);
        assert_alone(text);
        free(text), free(f.maps);

        assert_int_equal(writers[w](NULL, path), HEED_E_ARG);
        assert_int_equal(writers[w](&bare, NULL), HEED_E_ARG);
        assert_int_equal(writers[w](&bare, "/nowhere/at/all.html"), HEED_E_IO);
        assert_non_null(strstr(heed_error_message(), "/nowhere/at/all.html"));
        assert_int_equal(writers[w](&bare, "/tmp"), HEED_E_IO); /* a folder is no page */
        assert_int_equal(access("/tmp.part", F_OK), -1);
    }
}

static void test_format(void **state)
{
    (void)state;
    static const struct row {
        const char *fmt;
        double value;
        const char *says;
    } rows[] = {
        {"%.0f", 2.5, "3"},
        {"%.0f", 0.0, "0"},
        {"%.3f", -0.0004, "0.000"},
        {"%.3f", -12.5, "-12.500"},
        {"%f", 1.006, "1.01"},
        {"%f", 1.5, "1.5"},
        {"%f", -20.001, "-20"},
        {"%f", 100.0, "100"},
        {"%f", 0.0, "0"},
        {"%.1f", 1234567.25, "1234567.3"},
        {"%+.2f", 0.0, "+0.00"},
        {"%+.2f", -1.5,
         "\xE2\x88\x92"
         "1.50"},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        struct hd_page page = {0};
        print_message("# %s of %g\n", r->fmt, r->value);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        hd_page_add(&page, r->fmt, r->value);
#pragma GCC diagnostic pop
        assert_string_equal(page.text, r->says);
        hd_page_clear(&page);
    }
    struct hd_page page = {0};
    hd_page_add(&page, "%d|%lld|%.5s|%.4s|%.4s|%%", -7, (long long)1 << 40, "abcdef", "abcd",
                "\xE6\xB2\xB3\xE8\xBE\xB9\xE7\x9A\x84");
    assert_string_equal(page.text,
                        "-7|1099511627776|abcd\xE2\x80\xA6|abcd|\xE6\xB2\xB3\xE2\x80\xA6|%");
    hd_page_clear(&page);
    assert_int_equal(hd_text_columns("a\xCC\x81\xE6\xB2\xB3"), 3); /* a mark sits on its letter */
}

/* ---- maps that stand for themselves */

typedef heed_status (*maps_writer)(const heed_maps *maps, const char *where);
static const maps_writer maps_writers[2] = {heed_maps_html, heed_maps_svg};

static char *maps_written(maps_writer write, const heed_maps *maps)
{
    assert_int_equal(write(maps, path), HEED_OK);
    return read_back();
}

#define MAPS_SIDE 200
static float weights[4 * 4 * MAPS_SIDE * MAPS_SIDE];
static const char *names[MAPS_SIDE];
static char name_text[MAPS_SIDE][16];

static heed_maps make_maps(int layers, int heads, int rows, int columns, bool causal)
{
    heed_rng rng = hd_rng(7, (uint64_t)rows);

    for (int i = 0; i < MAPS_SIDE; i++) {
        snprintf(name_text[i], sizeof name_text[i], "word%d", i + 1);
        names[i] = name_text[i];
    }
    for (int i = 0; i < layers * heads * rows * columns; i++)
        weights[i] = (float)(hd_random_unit(&rng) / columns);
    return (heed_maps){.title = "A title <of> \"its\" own",
                       .note = "Made up & written down in a sentence that is too long for one line "
                               "of a picture, so that it must be cut into several of them.",
                       .layers = layers,
                       .heads = heads,
                       .rows = rows,
                       .columns = columns,
                       .row_names = names,
                       .column_names = names,
                       .weights = weights,
                       .causal = causal};
}

static void test_maps(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        int layers, heads, rows, columns;
        bool causal;
    } rows[] = {
        {"one weight", 1, 1, 1, 1, false},    {"a text", 2, 4, 6, 6, false},
        {"a causal text", 2, 4, 9, 9, true},  {"one query", 1, 2, 1, 40, false},
        {"one key", 3, 1, 40, 1, false},      {"more than is drawn", 2, 2, 200, 200, false},
        {"a long history", 4, 4, 60, 60, true},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        heed_maps maps = make_maps(r->layers, r->heads, r->rows, r->columns, r->causal);
        print_message("# %s\n", r->name);
        for (int w = 0; w < 2; w++) {
            char *text = maps_written(maps_writers[w], &maps), label[48];
            assert_well_formed(text);
            assert_alone(text);
            assert_non_null(strstr(text, "<svg"));
            assert_non_null(strstr(text, "A title &lt;of&gt;"));
            assert_non_null(strstr(text, "Made up &amp; written"));
            assert_true(strlen(text) < 2500000);
            /* The latest of a history, else the first. */
            snprintf(label, sizeof label, ">word%d</text>", r->causal ? r->rows : 1);
            assert_non_null(strstr(text, label));
            assert_true(r->rows < 50 || !strstr(text, r->causal ? ">word1</text>" : ">word200<"));
            snprintf(label, sizeof label, "ayer %d, head %d", r->layers, r->heads);
            assert_true(r->layers * r->heads == 1 || strstr(text, label));
            free(text);
        }
    }
}

/* A weight is where it belongs, and one that is no number is none. */
static void test_maps_numbers(void **state)
{
    (void)state;
    heed_maps maps = make_maps(1, 1, 3, 3, false);

    maps.column_names = NULL; /* the rows' */
    weights[5] = 0.625f, weights[6] = NAN, weights[7] = -0.25f;
    char *text = maps_written(heed_maps_svg, &maps);
    assert_non_null(strstr(text, "word2 looks at word3: 0.625"));
    assert_non_null(strstr(text, "word3 looks at word2: -0.250"));
    assert_null(strstr(text, "word3 looks at word1"));
    assert_non_null(strstr(text, ">0.63<")); /* a small map has its numbers in its squares */
    free(text);
    text = maps_written(heed_maps_html, &maps);
    assert_non_null(strstr(text, "warm squares are negative"));
    free(text);
}

static void test_maps_refused(void **state)
{
    (void)state;
    heed_maps good = make_maps(1, 1, 2, 2, false);
    static const struct row {
        const char *says;
        int layers, rows, columns;
        bool causal, no_weights, no_names, no_columns, reserved;
    } rows[] = {
        {"0 layers", 0, 2, 2, false, false, false, false, false},
        {"(0, 2)", 1, 0, 2, false, false, false, false, false},
        {"causal, but (2, 3)", 1, 2, 3, true, false, false, false, false},
        {"(2, 3) needs names", 1, 2, 3, false, false, false, true, false},
        {"nothing to draw", 1, 2, 2, false, true, false, false, false},
        {"nothing to draw", 1, 2, 2, false, false, true, false, false},
        {"reserved[1]", 1, 2, 2, false, false, false, false, true},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        for (int w = 0; w < 2; w++) {
            heed_maps maps = good;
            print_message("# %s\n", r->says);
            maps.layers = r->layers, maps.rows = r->rows, maps.columns = r->columns;
            maps.causal = r->causal;
            if (r->no_weights)
                maps.weights = NULL;
            if (r->no_names)
                maps.row_names = NULL;
            if (r->no_columns)
                maps.column_names = NULL;
            maps.reserved[1] = r->reserved;
            assert_int_equal(maps_writers[w](&maps, path), HEED_E_ARG);
            assert_non_null(strstr(heed_error_message(), r->says));
            assert_int_equal(maps_writers[w](&good, NULL), HEED_E_ARG);
            assert_int_equal(maps_writers[w](&good, "/nowhere/at/all.svg"), HEED_E_IO);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_honest), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_bare),   cmocka_unit_test(test_format),
        cmocka_unit_test(test_maps),   cmocka_unit_test(test_maps_numbers),
        cmocka_unit_test(test_maps_refused),
    };
    if (argc == 3) {
        fabricate(&f, 42, 2, 2, true);
        return heed_explanation_html(&f.e, argv[1]) || heed_explanation_svg(&f.e, argv[2]);
    }
    int file = mkstemp(path);
    if (file < 0)
        return 1;
    close(file);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(path);
    return failed;
}
