/* SPDX-License-Identifier: Apache-2.0
 *
 * Users' rows and marks, and the counters of what has changed. */
#include "shop.h"

#include "store/records.h"

static struct hd_store_changes changes(hd_store *store)
{
    struct hd_store_changes c;

    must(hd_store_changes(store, &c));
    return c;
}

static bool put(hd_store *store, int32_t user, const char *attributes, unsigned consent)
{
    bool changed;

    must(hd_store_put_user(store, user, &(struct hd_user_row){attributes, consent}, &changed));
    return changed;
}

static void test_rows(void **state)
{
    hd_store *store = opened();
    hd_arena *arena = hd_arena_new(0);
    struct hd_user_row row;
    bool changed;

    (void)state;
    must(hd_store_begin(store));
    int32_t u = user_of(store, "ann");
    must(hd_store_get_user(store, u, arena, &row));
    assert_null(row.attributes);
    assert_int_equal(row.consent, 3); /* of somebody who has not said anything */
    assert_true(put(store, u, "{\"a\":1}", 7));
    assert_false(put(store, u, "{\"a\":1}", 7));
    must(hd_store_commit(store));
    must(hd_store_get_user(store, u, arena, &row));
    assert_string_equal(row.attributes, "{\"a\":1}");
    assert_int_equal(row.consent, 7);
    unsigned consent = 0;
    must(hd_store_get_consent(store, u, &consent));
    assert_int_equal(consent, 7);
    assert_int_equal(hd_store_get_consent(store, 9, &consent), HEED_E_NOTFOUND);
    assert_int_equal(hd_store_get_user(store, 9, arena, &row), HEED_E_NOTFOUND);
    assert_int_equal(hd_store_put_user(store, u, &row, &changed), HEED_E_STATE);
    hd_arena_free(arena);
    hd_store_close(store);
}

static void test_marks(void **state)
{
    hd_store *store = opened();
    hd_arena *arena = hd_arena_new(0);
    struct hd_mark_row some[] = {{"follow", "tag", "chess"}, {"block", "item", "z"},
                                 {"block", "item", "a"},     {"follow", "tag", "chess"},
                                 {"block", "author", "bo"}},
                       others[] = {{"block", "item", "a"}}, *back;
    bool changed;
    int64_t count;

    (void)state;
    must(hd_store_begin(store));
    int32_t u = user_of(store, "ann"), v = user_of(store, "bob");
    must(hd_store_put_marks(store, v, others, 1, &changed));
    must(hd_store_put_marks(store, u, some, 5, &changed));
    assert_true(changed);
    must(hd_store_put_marks(store, u, some, 5, &changed));
    assert_false(changed);
    must(hd_store_commit(store));
    must(hd_store_get_marks(store, u, arena, &back, &count));
    assert_int_equal(count, 4); /* the twin counts once */
    assert_string_equal(back[0].name, "bo");
    assert_string_equal(back[1].name, "a");
    assert_string_equal(back[2].name, "z");
    assert_string_equal(back[3].mark, "follow");
    assert_string_equal(back[3].what, "tag");
    must(hd_store_begin(store));
    must(hd_store_put_marks(store, u, some, 3, &changed)); /* they are in order by now */
    assert_true(changed);
    must(hd_store_put_marks(store, u, NULL, 0, &changed));
    assert_true(changed);
    must(hd_store_put_marks(store, u, NULL, 0, &changed));
    assert_false(changed);
    must(hd_store_commit(store));
    must(hd_store_get_marks(store, u, arena, &back, &count));
    assert_int_equal(count, 0);
    must(hd_store_get_marks(store, v, arena, &back, &count));
    assert_int_equal(count, 1);
    hd_arena_free(arena);
    hd_store_close(store);
}

static heed_status note(void *context, int32_t user, const char *id, const struct hd_user_row *row)
{
    char *at = (char *)context + strlen(context);

    sprintf(at, "%d=%s:%u ", (int)user, id, row->consent);
    return user == 3 ? HEED_E_CANCELLED : HEED_OK;
}

static void test_each(void **state)
{
    hd_store *store = opened();
    char text[128] = "";

    (void)state;
    must(hd_store_begin(store));
    for (int i = 0; i < 5; i++)
        put(store, user_of(store, (const char *[]){"e", "d", "c", "b", "a"}[i]), NULL, (unsigned)i);
    must(hd_store_commit(store));
    assert_int_equal(hd_store_each_user(store, 1, note, text), HEED_E_CANCELLED);
    assert_string_equal(text, "1=d:1 2=c:2 3=b:3 ");
    *text = 0;
    must(hd_store_each_user(store, 4, note, text));
    assert_string_equal(text, "4=a:4 ");
    hd_store_close(store);
}

/* What moves the counters, and what does not; another handle sees it. */
static void test_changes(void **state)
{
    hd_store *store = opened(), *other = opened();
    struct hd_store_changes before, now;
    struct hd_item_row item = {.title = "T"};
    bool changed;

    (void)state;
    before = changes(other);
    assert_true(before.items == 0 && before.users == 0);
    must(hd_store_begin(store));
    int32_t u = user_of(store, "u"), i = item_of(store, "i");
    assert_int_equal(changes(store).items, 1);
    put(store, u, "{}", 7); /* gives a consent */
    put(store, u, "{}", 6);
    put(store, u, "{}", 7);
    must(hd_store_commit(store));
    now = changes(other);
    assert_true(now.items == 1 && now.users == 3 && now.seq == 0); /* has no events to count again */

    must(hd_store_begin(store));
    item_of(store, "i"); /* is there */
    struct hd_event_row event = {.user = u, .item = i, .ts = 5, .kind = 1, .position = -1,
                                 .dwell_ms = -1, .value = (double)NAN};
    must(hd_store_put_event(store, &event, &changed));
    must(hd_store_commit(store));
    now = changes(other);
    assert_true(now.items == 1 && now.users == 3 && now.seq == 1);

    must(hd_store_begin(store));
    must(hd_store_put_item(store, i, &item, NULL, &changed));
    put(store, u, "{}", 6); /* learning is not allowed any more */
    must(hd_store_commit(store));
    now = changes(other);
    assert_true(now.items == 2 && now.users == 4 && now.seq == 2); /* what was counted is not true any more */

    must(hd_store_begin(store));
    must(hd_store_put_item(store, i, &item, NULL, &changed)); /* as it is */
    put(store, u, "{}", 6);
    must(hd_store_commit(store));
    now = changes(other);
    assert_true(now.items == 2 && now.users == 4 && now.seq == 2);

    must(hd_store_begin(store));
    hd_store_touch_users(store);
    hd_store_rollback(store);
    assert_int_equal(changes(store).users, 4);
    hd_store_close(other);
    hd_store_close(store);
}

static void consent(hd_store *store, int32_t user, unsigned consent)
{
    must(hd_store_begin(store));
    put(store, user, NULL, consent);
    must(hd_store_commit(store));
}

static void erase(hd_store *store, int32_t user)
{
    struct hd_store_trace gone;

    must(hd_store_begin(store));
    must(hd_store_erase_user(store, user, &gone));
}

/* A handle that knows the names follows who was erased through another one, and only looks again where somebody
 * was: consents, and erasures that were rolled back, change nobody's name. */
static void test_erased_names(void **state)
{
    hd_store *store = opened(), *other = opened();

    (void)state;
    must(hd_store_begin(store));
    int32_t a = user_of(store, "a"), b = user_of(store, "b"), c = user_of(store, "c");
    must(hd_store_commit(store));
    assert_true(found(other, "a") == a && found(other, "c") == c);
    erase(store, a);
    hd_store_rollback(store);
    consent(store, b, 2);
    assert_true(found(store, "a") == a && found(other, "a") == a);
    erase(store, a);
    must(hd_store_commit(store));
    assert_true(found(store, "a") == -1 && found(other, "a") == -1 && found(other, "b") == b);
    consent(store, b, 3);
    erase(other, b); /* each through the other's */
    must(hd_store_commit(other));
    erase(store, c);
    must(hd_store_commit(store));
    must(hd_store_begin(store));
    int32_t again = user_of(store, "b");
    must(hd_store_commit(store));
    assert_true(again == 3 && found(store, "b") == 3 && found(other, "b") == 3);
    assert_true(found(store, "c") == -1 && found(other, "c") == -1);
    hd_store_close(other);
    hd_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rows),
        TEST(test_marks),
        TEST(test_each),
        TEST(test_changes),
        TEST(test_erased_names),
    };
    return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
