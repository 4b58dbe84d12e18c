/* SPDX-License-Identifier: Apache-2.0
 *
 * The town keeps its laws: time does not go back, a page is looked at from the top, dwell is
 * bounded and longer for what the reader cares about, the day has its hours, the tired look less,
 * and the same seed is the same town. */
#include "simulate/exact.h"
#include "simulate/town.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

static hd_town *town_of(int64_t users, int64_t items, int64_t events, uint64_t seed)
{
    hd_town *town = NULL;
    heed_simulate_opts opts = {.users = users, .items = items, .events = events, .seed = seed};

    assert_int_equal(hd_town_new(&opts, &town), HEED_OK);
    return town;
}

static void test_exact(void **state)
{
    (void)state;
    heed_rng rng = hd_rng(1, 2);
    double sum = 0, squares = 0;

    for (int i = 0; i < 100000; i++) {
        double x = (hd_random_unit(&rng) - 0.5) * 600.0, u = hd_random_unit(&rng);
        assert_true(fabs(hd_exact_exp(x) / exp(x) - 1.0) < 2e-15);
        u = ldexp(1.0 - u, -(int)hd_random_below(&rng, 40));
        assert_true(fabs(hd_exact_log(u) - log(u)) <= 1e-15 * (1.0 + fabs(log(u))));
        double z = hd_exact_normal(&rng);
        sum += z, squares += z * z;
    }
    assert_true(hd_exact_exp(0) == 1.0 && hd_exact_log(1) == 0.0);
    assert_true(fabs(sum / 1e5) < 0.013 && fabs(squares / 1e5 - 1.0) < 0.02); /* 4 sigma */
}

static void test_catalogue(void **state)
{
    (void)state;
    int64_t items = 3000, series = 0;
    hd_town *town = town_of(5, items, 100, 11);
    char text[HD_TOWN_TEXT_BYTES];

    for (int64_t i = 0; i < items; i++) {
        const struct hd_town_item *it = hd_town_item(town, i);
        double sum = 0;
        assert_true(!i || it->created >= it[-1].created);
        for (int k = 0; k < HD_TOWN_TOPICS; k++)
            sum += (double)it->topics[k];
        assert_true(fabs(sum - 1.0) < 1e-5);
        if (it->next >= 0) { /* the next part is of the same series and comes later */
            const struct hd_town_item *next = hd_town_item(town, it->next);
            assert_true(it->next > i && next->part == it->part + 1 && next->series == it->series);
            series++;
        }
        hd_town_text(town, i, text);
        assert_true(strlen(text) > 40 && strlen(text) < HD_TOWN_TEXT_BYTES - 1);
        for (int64_t j = i < 400 ? 0 : i; j < i; j++)
            assert_string_not_equal(it->title, hd_town_item(town, j)->title);
    }
    assert_true(series > items / 4 && series < items * 3 / 4);
    hd_town_free(town);
}

/* Runs a town to its end and holds the laws of one event after the other on the way. */
struct tally {
    int64_t kinds[HD_TOWN_KINDS], hours[24];
    int64_t fatigued[4];   /* impressions on the first, second .. page of a session */
    double attention[4];   /* true probabilities summed on them */
    int64_t near_n, far_n; /* views of what is near to the reader's interests, and far */
    double near_ms, far_ms;
    double expected, looked; /* views as the probabilities promise, and as they came */
};

static void run(hd_town *town, int64_t events, struct tally *tally)
{
    struct hd_town_event event;
    int32_t page[6];
    heed_time last = 0;
    int pages[256]; /* of the reader's session: so many readers at most */
    double aligned[256];

    *tally = (struct tally){0};
    memset(pages, 0, sizeof pages);
    for (int64_t made = 0, decision = 1; made < events; decision++) {
        struct hd_town_visit visit = hd_town_visit(town);
        assert_true(visit.when >= last);
        pages[visit.reader] = visit.page < 3 ? visit.page : 3;
        int n = hd_town_pick(town, &visit, 6, page);
        for (int i = 0; i < n; i++) {
            assert_true(hd_town_item(town, page[i])->created <= visit.when);
            for (int j = 0; j < i; j++)
                assert_int_not_equal(page[i], page[j]);
            double p = hd_town_attention(town, visit.reader, page[i], i + 1, visit.when);
            assert_true(p > 0.0 && p < 1.0);
        }
        assert_int_equal(hd_town_show(town, &visit, page, n, decision), HEED_OK);
        while (made < events && hd_town_next(town, &event)) {
            assert_true(event.when >= last && event.when > 0);
            last = event.when, made++;
            tally->kinds[event.kind]++;
            if (event.kind == HD_TOWN_IMPRESSION) {
                int p = pages[event.reader];
                tally->hours[event.when / 3600000 % 24]++;
                tally->fatigued[p]++, tally->attention[p] += (double)event.attention;
                tally->expected += (double)event.attention;
                aligned[event.reader] = (double)event.aligned;
            }
            assert_true((event.kind == HD_TOWN_VIEW) == (event.dwell_ms > 0));
            if (event.kind != HD_TOWN_VIEW)
                continue;
            assert_in_range(event.dwell_ms, 1000, 180000);
            tally->looked++;
            if (aligned[event.reader] > 0.7)
                tally->near_n++, tally->near_ms += event.dwell_ms;
            else if (aligned[event.reader] < 0.3)
                tally->far_n++, tally->far_ms += event.dwell_ms;
        }
    }
}

static void test_laws(void **state)
{
    (void)state;
    hd_town *town = town_of(200, 300, 60000, 5);
    struct tally t;

    run(town, 60000, &t);
    hd_town_free(town);
    for (int k = 0; k < HD_TOWN_KINDS; k++)
        assert_true(t.kinds[k] > 20); /* each kind of event occurs */
    assert_true(t.kinds[HD_TOWN_IMPRESSION] > t.kinds[HD_TOWN_VIEW]);
    assert_true(t.kinds[HD_TOWN_VIEW] > t.kinds[HD_TOWN_CLICK]);
    /* The truth is the truth: views come as often as their probabilities say, within 4 sigma. */
    assert_true(fabs(t.looked - t.expected) < 4.0 * sqrt(t.expected));
    /* Who cares looks more than three times as long. */
    assert_true(t.near_n > 500 && t.far_n > 500);
    assert_true(t.near_ms / (double)t.near_n > 3.0 * t.far_ms / (double)t.far_n);
    /* The evening is at least five times as busy as the dead of night. */
    assert_true(t.hours[20] + t.hours[21] > 5 * (t.hours[2] + t.hours[3]));
    /* Page by page the session tires. */
    for (int p = 1; p < 4; p++)
        assert_true(t.attention[p] / (double)t.fatigued[p] <
                    t.attention[p - 1] / (double)t.fatigued[p - 1]);
}

/* Attention to all that was not on the page, summed: what a page leaves behind in the reader. */
static double attention_left(const hd_town *town, const struct hd_town_visit *visit,
                             const int32_t *page, int n)
{
    double sum = 0;

    for (int32_t i = 0; i < hd_town_items(town); i++) {
        bool shown = false;
        for (int j = 0; j < n; j++)
            shown |= page[j] == i;
        if (!shown)
            sum += hd_town_attention(town, visit->reader, i, 1, visit->when);
    }
    return sum;
}

/* Looking tires: less attention is left for everything else. Being shown in vain, or having been
 * read, takes an item's own attention; so does a lower place. */
static void test_attention(void **state)
{
    (void)state;
    hd_town *town = town_of(20, 100, 5000, 3);
    int pages = 0, tired = 0;

    for (int round = 0; round < 400; round++) {
        struct hd_town_visit visit = hd_town_visit(town);
        struct hd_town_event event;
        int32_t page[5];
        int n = hd_town_pick(town, &visit, 5, page), looks = 0;
        double left = attention_left(town, &visit, page, n), first[5];

        for (int i = 0; i < n; i++) {
            first[i] = hd_town_attention(town, visit.reader, page[i], 1, visit.when);
            double below = hd_town_attention(town, visit.reader, page[i], 9, visit.when);
            assert_true(below < first[i]);
        }
        assert_int_equal(hd_town_show(town, &visit, page, n, round), HEED_OK);
        while (hd_town_next(town, &event))
            looks += event.kind == HD_TOWN_VIEW && event.decision == round;
        if (looks >= 2) {
            pages++;
            tired += attention_left(town, &visit, page, n) < left;
            assert_true(hd_town_attention(town, visit.reader, page[0], 1, visit.when) < first[0]);
        }
    }
    assert_true(pages > 50);
    /* Not each time: a look may also turn the reader to another topic. */
    assert_true(tired > pages * 4 / 5);
    hd_town_free(town);
}

static void test_streams(void **state)
{
    (void)state;
    /* Another paper for reader 0 changes nothing in when the others come. */
    hd_town *a = town_of(8, 60, 2000, 9), *b = town_of(8, 60, 2000, 9);
    heed_time seen[2][8][16] = {{{0}}};
    int count[2][8] = {{0}};

    for (int which = 0; which < 2; which++) {
        hd_town *town = which ? b : a;
        for (int i = 0; i < 300; i++) {
            struct hd_town_visit visit = hd_town_visit(town);
            int32_t page[5];
            for (int j = 0; j < 5; j++) /* a paper that does not look at others */
                page[j] = (visit.reader * 7 + count[which][visit.reader] * 3 + j) % 60;
            assert_int_equal(hd_town_show(town, &visit, page, which && !visit.reader ? 2 : 5, i),
                             HEED_OK);
            if (count[which][visit.reader] < 16)
                seen[which][visit.reader][count[which][visit.reader]++] = visit.when;
        }
    }
    for (int r = 1; r < 8; r++)
        for (int i = 0; i < 4; i++)
            assert_true(seen[0][r][i] == seen[1][r][i]);
    assert_true(memcmp(seen[0][0], seen[1][0], sizeof seen[0][0]) != 0);
    hd_town_free(a), hd_town_free(b);
}

/* A page that is asked for and never filled, an empty page, and pages that are wrong. */
static void test_misuse(void **state)
{
    (void)state;
    hd_town *town = town_of(3, 4, 100, 1);
    struct hd_town_visit first = hd_town_visit(town), second = hd_town_visit(town);
    struct hd_town_event event;
    int32_t page[2] = {0, 4};

    assert_true(second.when >= first.when);
    assert_int_equal(hd_town_show(town, &second, page, 2, 1), HEED_E_ARG);
    assert_int_equal(hd_town_show(town, &second, page, HD_TOWN_PAGE_MAX + 1, 1), HEED_E_ARG);
    assert_int_equal(hd_town_show(town, &second, page, 0, 1), HEED_OK);
    assert_int_equal(hd_town_show(town, &second, page, 0, 1), HEED_E_ARG); /* shown already */
    assert_false(hd_town_next(town, &event));
    hd_town_free(town);
}

/* Readers who come once in a million years still come at some time. */
static void test_seldom(void **state)
{
    (void)state;
    heed_simulate_opts opts = {.users = 10000, .items = 3, .events = 1, .days = 36500};
    hd_town *town = NULL;

    assert_int_equal(hd_town_new(&opts, &town), HEED_OK);
    for (int i = 0; i < 2000; i++) {
        struct hd_town_visit visit = hd_town_visit(town);
        assert_true(visit.when > 0 && visit.when < INT64_C(1) << 50);
    }
    hd_town_free(town);
}

static void test_options(void **state)
{
    (void)state;
    static const struct row {
        const char *name;
        heed_simulate_opts opts;
        heed_status status;
    } rows[] = {
        {"all zero is a town", {0}, HEED_OK},
        {"one reader, one item, one event", {.users = 1, .items = 1, .events = 1}, HEED_OK},
        {"fewer than no users", {.users = -1}, HEED_E_ARG},
        {"one user too many", {.users = 1000001}, HEED_E_ARG},
        {"one item too many", {.items = 1000001}, HEED_E_ARG},
        {"too many events", {.events = (INT64_C(1) << 40) + 1}, HEED_E_ARG},
        {"a century and more", {.days = 36501}, HEED_E_ARG},
        {"before 1970", {.start = -1}, HEED_E_ARG},
        {"a reserved field", {.reserved = {0, 1}}, HEED_E_ARG},
    };
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++) {
        hd_town *town = NULL;
        print_message("# %s\n", r->name);
        assert_int_equal(hd_town_new(&r->opts, &town), r->status);
        assert_int_equal(town != NULL, r->status == HEED_OK);
        hd_town_free(town);
    }
}

/* The n-th allocation fails, for every n until all of a small town's life goes well: a status each
 * time, and nothing kept. */
static struct {
    int64_t left, held;
} heap;

static void *failing_resize(void *context, void *pointer, size_t bytes)
{
    (void)context;
    if (!bytes) {
        heap.held -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (heap.left-- <= 0)
        return NULL;
    heap.held += pointer == NULL;
    return realloc(pointer, bytes);
}

static heed_status live(void)
{
    heed_simulate_opts opts = {.users = 30, .items = 200, .events = 1000, .seed = 2};
    struct hd_town_event event;
    hd_town *town = NULL;
    int32_t page[6];
    heed_status status = hd_town_new(&opts, &town);

    for (int i = 0; status == HEED_OK && i < 300; i++) {
        struct hd_town_visit visit = hd_town_visit(town);
        int n = hd_town_pick(town, &visit, 6, page);
        status = hd_town_show(town, &visit, page, n, i);
        while (status == HEED_OK && i % 50 == 49 && hd_town_next(town, &event))
            ;
    }
    hd_town_free(town);
    return status;
}

static void test_memory(void **state)
{
    (void)state;
    heed_allocator failing = {failing_resize, NULL};
    int64_t n = 0;

    heed_set_allocator(&failing);
    for (;; n++) {
        heap.left = n, heap.held = 0;
        heed_status status = live();
        assert_int_equal(heap.held, 0);
        if (status == HEED_OK)
            break;
        assert_int_equal(status, HEED_E_NOMEM);
    }
    heed_set_allocator(NULL);
    assert_true(n > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),   cmocka_unit_test(test_catalogue),
        cmocka_unit_test(test_laws),    cmocka_unit_test(test_attention),
        cmocka_unit_test(test_streams), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_seldom),  cmocka_unit_test(test_options),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
