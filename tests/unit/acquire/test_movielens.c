/* SPDX-License-Identifier: Apache-2.0
 *
 * MovieLens files: which of them a first line belongs to, and what each line says. */
#include "acquire/movielens.h"
#include "base/limits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static hd_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = hd_arena_new(0);
    return arena ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    hd_arena_free(arena);
    return 0;
}

/* first: the file's first line, by which it is told; line NULL: the same. want is
 * `user|item|rating|ts`, or the refusal where it begins with `!`. */
static const struct row {
    const char *name, *first, *line, *want;
} ratings[] = {
    {"ratings.dat", "1::1193::5::978300760", NULL, "1|1193|5|978300760000"},
    {"u.data", "196\t242\t3\t881250949", NULL, "196|242|3|881250949000"},
    {"ratings.csv", "userId,movieId,rating,timestamp", "1,296,5.0,1147880044",
     "1|296|5|1147880044000"},
    {"half a star", "userId,movieId,rating,timestamp", "1,306,3.5,1147868817",
     "1|306|3.5|1147868817000"},
    {"columns in another order", "timestamp,rating,item_id,user_id", "1147868817,4,9,8",
     "8|9|4|1147868817000"},
    {"no ratings", "user,item,timestamp", "a,b,1", "a|b|nan|1000"},
    {"no header", "u1,i1,5,1000", NULL, "u1|i1|5|1000000"},
    {"quotes", "userId,movieId,rating,timestamp", "\"a,b\",\"say \"\"hi\"\"\",1,2",
     "a,b|say \"hi\"|1|2000"},
    {"a last second", "1::1::1::253402300799", NULL, "1|1|1|253402300799000"},
    {"blanks", "1 2 3 4", NULL, "!neither `::` nor tabs nor commas"},
    {"a header without times", "userId,movieId,rating", NULL, "!header: no column named timestamp"},
    {"letters", "1::2::x::y", NULL, "!rating: \"x\" is not a number"},
    {"letters for a time", "1::2::3::y", NULL, "!timestamp: \"y\" is not a whole number"},
    {"three columns", "1::2::3", NULL, "!line: 3 columns, not 4"},
    {"five columns", "1::2::3::4::5", NULL, "!line: 5 columns, not 4"},
    {"no user", "::2::3::4", NULL, "!user: empty"},
    {"no item", "1\t\t3\t4", NULL, "!item: empty"},
    {"no rating", "1::2::::4", NULL, "!rating: \"\" is not a number"},
    {"an exponent", "1::2::1e3::4", NULL, "!rating: \"1e3\" is not a number"},
    {"two points", "1::2::1.2.3::4", NULL, "!rating: \"1.2.3\""},
    {"before 1970", "1::2::3::-5", NULL, "!timestamp: -5 is not after 1970"},
    {"time zero", "1::2::3::0", NULL, "!timestamp: 0 is not after 1970"},
    {"milliseconds", "1::2::3::978300760000", NULL, "!are past the year 9999"},
    {"past 64 bits", "1::2::3::99999999999999999999999", NULL, "!are past the year 9999"},
    {"another line's look", "1::2::3::4", "1\t2\t3\t4", "!line: 1 column, not 4"},
    {"an open quote", "userId,movieId,rating,timestamp", "\"1,2,3,4", "!opened and not closed"},
    {"text after a quote", "userId,movieId,rating,timestamp", "\"1\"x,2,3,4", "!no comma after"},
};

static void expect(heed_status status, const char *got, const char *want)
{
    if (want[0] == '!') {
        assert_true(status == HEED_E_FORMAT || status == HEED_E_RANGE);
        if (!strstr(heed_error_message(), want + 1))
            fail_msg("said: %s", heed_error_message());
    } else {
        if (status != HEED_OK)
            fail_msg("said: %s", heed_error_message());
        assert_string_equal(got, want);
    }
}

static void test_ratings(void **state)
{
    (void)state;
    for (const struct row *r = ratings; r < ratings + sizeof ratings / sizeof *ratings; r++) {
        const char *line = r->line ? r->line : r->first;
        struct hd_movielens look;
        struct hd_event e = {0};
        char got[256] = "";
        print_message("# %s\n", r->name);
        heed_status status = hd_ratings_look(r->first, strlen(r->first), &look);
        if (status == HEED_OK) {
            assert_int_equal(look.header, strstr(r->first, "timestamp") != NULL);
            status = hd_parse_rating(&look, line, strlen(line), arena, &e);
        }
        if (status == HEED_OK) {
            snprintf(got, sizeof got, "%.*s|%.*s|%g|%lld", (int)e.user.bytes, e.user.at,
                     (int)e.item.bytes, e.item.at, e.value, (long long)e.ts);
            assert_int_equal(e.kind, HD_EVENT_VIEW);
        }
        expect(status, got, r->want);
    }
}

/* want: `id|title|tag,tag|created|url`. */
static const struct row movies[] = {
    {"movies.dat", "1::Toy Story (1995)::Animation|Children's|Comedy", NULL,
     "1|Toy Story (1995)|Animation,Children's,Comedy|0|"},
    {"movies.csv", "movieId,title,genres", "11,\"American President, The (1995)\",Drama|Romance",
     "11|American President, The (1995)|Drama,Romance|0|"},
    {"no genres", "movieId,title,genres", "9,Nine,(no genres listed)", "9|Nine||0|"},
    {"quotes in a title", "movieId,title,genres", "5,\"\"\"Great Performances\"\" (2010)\",Drama",
     "5|\"Great Performances\" (2010)|Drama|0|"},
    {"titles alone", "item,title", "a,b", "a|b||0|"},
    {"u.item", "1|Toy Story (1995)|01-Jan-1995||http://x/1|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0",
     NULL, "1|Toy Story (1995)|Animation,Children's,Comedy|788918400000|http://x/1"},
    {"u.item of an unknown genre", "2|B|||u|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0", NULL,
     "2|B||0|u"},
    {"u.item with a day that is none", "2|B|31-Feb-1995||u|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1",
     NULL, "2|B|Western|0|u"},
    {"another look", "just a line", NULL, "!neither an object nor a line of movies.dat"},
    {"no id", "::Title::Drama", NULL, "!item: empty"},
    {"no genres column", "1::Title", NULL, "!line: 2 columns, not 3"},
    {"a flag short", "1|T|||u|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0", NULL,
     "!line: 23 columns, not 24"},
    {"a flag that is none", "1|T|||u|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|2", NULL,
     "!genres: a flag in column 24"},
};

static void test_movies(void **state)
{
    (void)state;
    for (const struct row *r = movies; r < movies + sizeof movies / sizeof *movies; r++) {
        const char *line = r->line ? r->line : r->first;
        struct hd_movielens look;
        struct hd_item item = {0};
        char got[512] = "", tags[256] = "";
        print_message("# %s\n", r->name);
        heed_status status = hd_movies_look(r->first, strlen(r->first), &look);
        if (status == HEED_OK) {
            assert_int_equal(look.header, r->line != NULL);
            status = hd_parse_movie(&look, line, strlen(line), arena, &item);
        }
        for (int i = 0; i < item.tags; i++)
            snprintf(tags + strlen(tags), sizeof tags - strlen(tags), "%s%.*s", i ? "," : "",
                     (int)item.tag[i].bytes, item.tag[i].at);
        if (status == HEED_OK)
            snprintf(got, sizeof got, "%.*s|%.*s|%s|%lld|%.*s", (int)item.id.bytes, item.id.at,
                     (int)item.title.bytes, item.title.at, tags, (long long)item.created,
                     (int)item.url.bytes, item.url.at ? item.url.at : "");
        expect(status, got, r->want);
    }
}

static void test_limits(void **state)
{
    static char line[HD_TITLE_BYTES_MAX + 64];
    struct hd_movielens look;
    struct hd_item item;

    (void)state;
    assert_int_equal(hd_movies_look("1::a::b", 7, &look), HEED_OK);
    for (int over = 0; over < 2; over++) {
        snprintf(line, sizeof line, "1::%0*d::Drama", HD_TITLE_BYTES_MAX + over, 1);
        assert_int_equal(hd_parse_movie(&look, line, strlen(line), arena, &item),
                         over ? HEED_E_RANGE : HEED_OK);
        size_t at = (size_t)sprintf(line, "1::t::g");
        for (int i = 1; i < HD_COLUMNS_MAX + over; i++)
            at += (size_t)sprintf(line + at, "|g");
        heed_status status = hd_parse_movie(&look, line, at, arena, &item);
        assert_true((status == HEED_OK) == (over == 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ratings),
        cmocka_unit_test(test_movies),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("movielens", tests, set_up, tear_down);
}
