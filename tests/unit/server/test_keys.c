/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys: what a secret looks like, who is let in, how often; and keys as the store keeps them. */
#include "server/keys.h"
#include "base/limits.h"
#include "base/memory.h"
#include "server/rate.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define DAY INT64_C(86400000)

/* ---- secrets */

static void test_secret(void **state)
{
    struct hd_secret a, b;
    uint8_t hash[32];

    (void)state;
    assert_int_equal(hd_secret_new(&a), HEED_OK);
    assert_int_equal(hd_secret_new(&b), HEED_OK);
    assert_int_equal(strlen(a.text), HD_SECRET_CHARACTERS);
    assert_memory_equal(a.text, "heed_", 5);
    assert_int_equal(strspn(a.text + 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789-_"),
                     43);
    assert_string_not_equal(a.text, b.text);
    hd_secret_hash(a.text, strlen(a.text), hash);
    assert_memory_equal(hash, a.hash, 32);
    assert_memory_not_equal(hash, b.hash, 32);
    /* BLAKE2b-256 of "abc", from `b2sum -l 256`: the store's hashes must stay readable. */
    static const uint8_t abc[4] = {0xbd, 0xdd, 0x81, 0x3c};
    hd_secret_hash("abc", 3, hash);
    assert_memory_equal(hash, abc, sizeof abc);
}

/* ---- rates */

static void test_rate(void **state)
{
    struct hd_rate rate = {0};
    int wait = 0, taken = 0;

    (void)state;
    for (int i = 0; i < 10; i++) /* one second's worth at once */
        taken += hd_rate_take(&rate, 5, 0, SECOND, DAY, &wait);
    assert_int_equal(taken, 5);
    assert_int_equal(wait, 1);
    assert_false(hd_rate_take(&rate, 5, 0, SECOND + SECOND / 10, DAY, &wait));
    assert_true(hd_rate_take(&rate, 5, 0, SECOND + SECOND / 5 + 1000, DAY, &wait));
    assert_false(hd_rate_take(&rate, 5, 0, SECOND + SECOND / 5 + 2000, DAY, &wait));
    /* A long silence fills the bucket and no more. */
    taken = 0;
    for (int i = 0; i < 10; i++)
        taken += hd_rate_take(&rate, 5, 0, 1000 * SECOND, DAY, &wait);
    assert_int_equal(taken, 5);
    /* No limit. */
    for (int i = 0; i < 1000; i++)
        assert_true(hd_rate_take(&rate, 0, 0, 1001 * SECOND, DAY, &wait));
}

static void test_quota(void **state)
{
    struct hd_rate rate = {0};
    heed_time noon = 20000 * DAY + DAY / 2;
    int wait = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(hd_rate_take(&rate, 0, 3, i, noon, &wait));
    assert_false(hd_rate_take(&rate, 0, 3, 4, noon, &wait));
    assert_int_equal(wait, 43200); /* until midnight UTC */
    assert_false(hd_rate_take(&rate, 0, 3, 4, 20001 * DAY - 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(hd_rate_take(&rate, 0, 3, 4, 20001 * DAY, &wait));
}

/* ---- the store's side */

struct shop {
    char folder[64];
    heed_engine *engine;
};

static int open_shop(void **state)
{
    struct shop *shop = hd_alloc(1, sizeof *shop);

    scratch_make(shop->folder);
    *state = shop;
    return heed_engine_open(shop->folder, NULL, &shop->engine);
}

static int close_shop(void **state)
{
    struct shop *shop = *state;

    heed_engine_close(shop->engine);
    scratch_drop(shop->folder);
    hd_free(shop);
    return 0;
}

static heed_key key_of(const char *name, heed_role role, const char *secret)
{
    heed_key key = {.role = role};

    snprintf(key.name, sizeof key.name, "%s", name);
    hd_secret_hash(secret, strlen(secret), key.hash);
    return key;
}

static void test_store(void **state)
{
    heed_engine *engine = ((struct shop *)*state)->engine;
    heed_key key = key_of("web", HEED_ROLE_SERVE, "s1"), *keys = NULL;
    int64_t count;

    key.per_second = 7;
    assert_int_equal(heed_engine_key_add(engine, &key), HEED_OK);
    heed_key same_name = key_of("web", HEED_ROLE_INGEST, "s2");
    assert_int_equal(heed_engine_key_add(engine, &same_name), HEED_E_EXISTS);
    heed_key same_hash = key_of("web2", HEED_ROLE_INGEST, "s1");
    assert_int_equal(heed_engine_key_add(engine, &same_hash), HEED_E_EXISTS);
    heed_key advertiser = key_of("ad", HEED_ROLE_ADVERTISER, "s3");
    assert_int_equal(heed_engine_key_add(engine, &advertiser), HEED_E_ARG);
    strcpy(advertiser.account, "acme");
    assert_int_equal(heed_engine_key_add(engine, &advertiser), HEED_OK);
    key.per_day = -1;
    assert_int_equal(heed_engine_key_add(engine, &key), HEED_E_ARG);
    heed_key nobody = key_of("", HEED_ROLE_SERVE, "s4"), odd = key_of("x", HEED_ROLES, "s5");
    assert_int_equal(heed_engine_key_add(engine, &nobody), HEED_E_ARG);
    assert_int_equal(heed_engine_key_add(engine, &odd), HEED_E_ARG);
    /* A name of 64 bytes is one, of 65 none. */
    heed_key longest = key_of("", HEED_ROLE_OPERATOR, "s6");
    memset(longest.name, 'n', 64);
    assert_int_equal(heed_engine_key_add(engine, &longest), HEED_OK);
    memset(longest.name, 'n', 65);
    assert_int_equal(heed_engine_key_add(engine, &longest), HEED_E_ARG);

    assert_int_equal(heed_engine_key_revoke(engine, "web"), HEED_OK);
    assert_int_equal(heed_engine_key_revoke(engine, "web"), HEED_E_NOTFOUND);
    assert_int_equal(heed_engine_keys(engine, &keys, &count), HEED_OK);
    assert_int_equal(count, 3);
    assert_string_equal(keys[0].name, "web");
    assert_true(keys[0].revoked > 0 && keys[0].revoked >= keys[0].made);
    assert_int_equal(keys[0].per_second, 7);
    assert_int_equal(keys[1].role, HEED_ROLE_ADVERTISER);
    assert_string_equal(keys[1].account, "acme");
    assert_int_equal(keys[1].revoked, 0);
    assert_memory_equal(keys[1].hash, advertiser.hash, 32);
    heed_keys_free(keys);
}

/* Of revoked keys there may be any number. */
static void test_too_many(void **state)
{
    heed_engine *engine = ((struct shop *)*state)->engine;
    char name[32] = "";

    for (int i = 0; i < HD_KEYS_MAX; i++) {
        snprintf(name, sizeof name, "k%d", i);
        heed_key key = key_of(name, HEED_ROLE_SERVE, name);
        assert_int_equal(heed_engine_key_add(engine, &key), HEED_OK);
    }
    heed_key more = key_of("more", HEED_ROLE_SERVE, "more");
    assert_int_equal(heed_engine_key_add(engine, &more), HEED_E_RANGE);
    assert_int_equal(heed_engine_key_revoke(engine, name), HEED_OK);
    assert_int_equal(heed_engine_key_add(engine, &more), HEED_OK);
}

static void test_audit(void **state)
{
    heed_engine *engine = ((struct shop *)*state)->engine;
    char longest[HD_AUDIT_TEXT_BYTES_MAX + 2];
    heed_text *text;

    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(heed_engine_audit(engine, "ann", "erase user", longest), HEED_E_ARG);
    longest[sizeof longest - 2] = '\0';
    assert_int_equal(heed_engine_audit(engine, "ann", "erase user", longest), HEED_OK);
    assert_int_equal(heed_engine_audit(engine, "bob", "job", "train"), HEED_OK);
    assert_int_equal(heed_engine_audit(engine, "", "job", "train"), HEED_E_ARG);
    assert_int_equal(heed_engine_audit_list(engine, 0, &text), HEED_E_ARG);
    assert_int_equal(heed_engine_audit_list(engine, HD_AUDIT_LINES_MAX + 1, &text), HEED_E_ARG);
    assert_int_equal(heed_engine_audit_list(engine, HD_AUDIT_LINES_MAX, &text), HEED_OK);
    heed_text_free(text);
    assert_int_equal(heed_engine_audit_list(engine, 1, &text), HEED_OK);
    assert_non_null(strstr(text->text, "\"who\":\"bob\",\"action\":\"job\",\"subject\":\"train\""));
    assert_null(strstr(text->text, "ann"));
    assert_int_equal(text->bytes, strlen(text->text));
    heed_text_free(text);
}

/* ---- who is let in */

struct claim_row {
    const char *name;
    struct hd_claim claim;
    enum hd_verdict verdict;
    const char *who;
};

static void check_claims(hd_keys *keys, const struct claim_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct hd_caller caller;
        int wait;
        enum hd_verdict verdict = hd_keys_check(keys, &rows[i].claim, false, &caller, &wait);
        if (verdict != rows[i].verdict || strcmp(caller.name, rows[i].who) != 0)
            fail_msg("%s: verdict %d, who \"%s\"", rows[i].name, (int)verdict, caller.name);
    }
}

/* Without keys: this machine is trusted, and no page that a browser on it happens to show. */
static void test_open(void **state)
{
    static const struct claim_row rows[] = {
        {"a program", {.host = "127.0.0.1:8080", .peer = "127.0.0.1"}, HD_WELCOME, "local"},
        {"by name", {.host = "localhost"}, HD_WELCOME, "local"},
        {"IPv6", {.host = "[::1]:8080"}, HD_WELCOME, "local"},
        {"a page of this machine", {.host = "localhost:1", .origin = "http://localhost:3000"},
         HD_WELCOME, "local"},
        {"a page from elsewhere", {.host = "localhost:1", .origin = "https://evil.example"},
         HD_FOREIGN, ""},
        {"a page that hides where it is from", {.host = "localhost:1", .origin = "null"}, HD_FOREIGN, ""},
        {"a page that begins like this machine",
         {.host = "localhost:1", .origin = "http://localhost.evil.example"}, HD_FOREIGN, ""},
        {"a name that points here", {.host = "evil.example:8080"}, HD_FOREIGN, ""},
        {"a name that begins like this machine", {.host = "127.0.0.1.evil.example"}, HD_FOREIGN, ""},
        {"a port that is none", {.host = "localhost:80.evil.example"}, HD_FOREIGN, ""},
        {"the origin that may ask", {.host = "localhost", .origin = "https://shop.example"},
         HD_WELCOME, "local"},
    };
    heed_engine *engine = ((struct shop *)*state)->engine;
    hd_keys *keys;

    assert_int_equal(hd_keys_new(true, 0, "https://shop.example", &keys), HEED_OK);
    assert_int_equal(hd_keys_load(keys, engine), HEED_OK);
    assert_false(hd_keys_any(keys));
    check_claims(keys, rows, sizeof rows / sizeof *rows);
    hd_keys_free(keys);
    /* Reached from elsewhere, and all keys revoked: nobody. */
    static const struct claim_row far[] = {
        {"no key", {.host = "localhost"}, HD_NO_KEY, ""},
        {"some key", {.authorization = "Bearer x"}, HD_BAD_KEY, ""},
    };
    assert_int_equal(hd_keys_new(false, 0, NULL, &keys), HEED_OK);
    check_claims(keys, far, 2);
    hd_keys_free(keys);
}

static void test_locked(void **state)
{
    static const struct claim_row rows[] = {
        {"no key", {.host = "localhost"}, HD_NO_KEY, ""},
        {"an empty one", {.authorization = "Bearer "}, HD_NO_KEY, ""},
        {"a bearer", {.authorization = "Bearer s1"}, HD_WELCOME, "web"},
        {"in any case, with blanks", {.authorization = "bearer   s1"}, HD_WELCOME, "web"},
        {"in the other header", {.api_key = "s2"}, HD_WELCOME, "ops"},
        {"another's beginning", {.authorization = "Bearer s"}, HD_BAD_KEY, ""},
        {"more than the key", {.authorization = "Bearer s1 "}, HD_BAD_KEY, ""},
        {"a revoked one", {.authorization = "Bearer old"}, HD_BAD_KEY, ""},
        {"another scheme", {.authorization = "Basic czE6"}, HD_BAD_KEY, ""},
        {"foreign pages need the key alone", {.api_key = "s1", .host = "a.example", .origin = "https://b"},
         HD_WELCOME, "web"},
    };
    heed_engine *engine = ((struct shop *)*state)->engine;
    heed_key web = key_of("web", HEED_ROLE_SERVE, "s1"), ops = key_of("ops", HEED_ROLE_OPERATOR, "s2"),
             old = key_of("old", HEED_ROLE_OPERATOR, "old");
    struct hd_caller caller;
    hd_keys *keys;
    int wait = 0;

    assert_int_equal(heed_engine_key_add(engine, &web), HEED_OK);
    assert_int_equal(heed_engine_key_add(engine, &ops), HEED_OK);
    assert_int_equal(heed_engine_key_add(engine, &old), HEED_OK);
    assert_int_equal(heed_engine_key_revoke(engine, "old"), HEED_OK);
    assert_int_equal(hd_keys_new(true, 0, NULL, &keys), HEED_OK);
    assert_int_equal(hd_keys_load(keys, engine), HEED_OK);
    check_claims(keys, rows, sizeof rows / sizeof *rows);
    struct hd_claim none = {0};
    assert_int_equal(hd_keys_check(keys, &none, true, &caller, &wait), HD_WELCOME);
    assert_false(caller.known);
    /* A key that is revoked while the server runs. */
    assert_int_equal(heed_engine_key_revoke(engine, "web"), HEED_OK);
    assert_int_equal(hd_keys_load(keys, engine), HEED_OK);
    assert_int_equal(hd_keys_check(keys, &rows[2].claim, false, &caller, &wait), HD_BAD_KEY);
    hd_keys_free(keys);
}

/* A rate is the key's own, else the server's; loading again forgets nothing of what was used. */
static void test_limits(void **state)
{
    heed_engine *engine = ((struct shop *)*state)->engine;
    heed_key slow = key_of("slow", HEED_ROLE_SERVE, "s1"), other = key_of("other", HEED_ROLE_SERVE, "s2");
    struct hd_claim by_slow = {.api_key = "s1"}, by_other = {.api_key = "s2"};
    struct hd_caller caller;
    hd_keys *keys;
    int wait = 0;

    slow.per_day = 2;
    assert_int_equal(heed_engine_key_add(engine, &slow), HEED_OK);
    assert_int_equal(heed_engine_key_add(engine, &other), HEED_OK);
    assert_int_equal(hd_keys_new(true, 3, NULL, &keys), HEED_OK);
    assert_int_equal(hd_keys_load(keys, engine), HEED_OK);
    assert_int_equal(hd_keys_check(keys, &by_slow, false, &caller, &wait), HD_WELCOME);
    assert_int_equal(hd_keys_load(keys, engine), HEED_OK);
    assert_int_equal(hd_keys_check(keys, &by_slow, false, &caller, &wait), HD_WELCOME);
    assert_int_equal(hd_keys_check(keys, &by_slow, false, &caller, &wait), HD_TOO_FAST);
    assert_true(wait >= 1);
    int taken = 0;
    for (int i = 0; i < 100; i++)
        taken += hd_keys_check(keys, &by_other, false, &caller, &wait) == HD_WELCOME;
    assert_in_range(taken, 3, 10); /* a burst, and what fills up meanwhile */
    hd_keys_free(keys);
}

/* Quotas outlive a restart, their file is read with care, and nothing is written for nothing. */
static void test_quotas_kept(void **state)
{
    struct shop *shop = *state;
    heed_key daily = key_of("daily", HEED_ROLE_SERVE, "s1"), plain = key_of("plain", HEED_ROLE_SERVE, "s2");
    struct hd_claim by_daily = {.api_key = "s1"}, by_plain = {.api_key = "s2"};
    struct hd_caller caller;
    hd_keys *keys;
    char path[128], line[128];
    int wait = 0;

    snprintf(path, sizeof path, "%s/quotas", shop->folder);
    daily.per_day = 3;
    assert_int_equal(heed_engine_key_add(shop->engine, &daily), HEED_OK);
    assert_int_equal(heed_engine_key_add(shop->engine, &plain), HEED_OK);
    for (int restart = 0; restart < 5; restart++) {
        assert_int_equal(hd_keys_new(true, 0, NULL, &keys), HEED_OK);
        assert_int_equal(hd_keys_load(keys, shop->engine), HEED_OK);
        assert_int_equal(hd_keys_recall(keys, path), HEED_OK);
        assert_int_equal(hd_keys_check(keys, &by_plain, false, &caller, &wait), HD_WELCOME);
        assert_int_equal(hd_keys_check(keys, &by_daily, false, &caller, &wait),
                         restart < 3 ? HD_WELCOME : HD_TOO_FAST);
        assert_int_equal(hd_keys_save(keys, path), HEED_OK);
        hd_keys_free(keys);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_memory_equal(line, "1 ", 2);
    assert_string_equal(strrchr(line, ' '), " 3\n");
    assert_null(fgets(line, sizeof line, file)); /* the plain key has no quota */
    fclose(file);
    /* What was written down of another day, or is nonsense, takes nothing away. */
    file = fopen(path, "w");
    fputs("1 20000 3\n77 20000 3\n1 x\n1 20000 9\n", file);
    fclose(file);
    assert_int_equal(hd_keys_new(true, 0, NULL, &keys), HEED_OK);
    assert_int_equal(hd_keys_load(keys, shop->engine), HEED_OK);
    assert_int_equal(hd_keys_recall(keys, path), HEED_E_FORMAT);
    assert_non_null(strstr(heed_error_message(), "quotas:3: is not KEY DAY USED"));
    remove(path);
    assert_int_equal(hd_keys_save(keys, path), HEED_OK);
    assert_null(fopen(path, "r")); /* nothing was used since */
    assert_int_equal(hd_keys_check(keys, &by_daily, false, &caller, &wait), HD_WELCOME);
    assert_int_equal(hd_keys_save(keys, "/nowhere/quotas"), HEED_E_IO);
    hd_keys_free(keys);
}

/* Addresses without a key share nothing, and more of them than there are places do no harm. */
static void test_addresses(void **state)
{
    heed_engine *engine = ((struct shop *)*state)->engine;
    struct hd_caller caller;
    char peer[32];
    hd_keys *keys;
    int wait = 0;

    assert_int_equal(hd_keys_new(true, 1, NULL, &keys), HEED_OK);
    assert_int_equal(hd_keys_load(keys, engine), HEED_OK);
    struct hd_claim claim = {.host = "localhost", .peer = "127.0.0.1"};
    assert_int_equal(hd_keys_check(keys, &claim, false, &caller, &wait), HD_WELCOME);
    assert_int_equal(hd_keys_check(keys, &claim, false, &caller, &wait), HD_TOO_FAST);
    for (int i = 0; i < 3 * HD_ADDRESSES_MAX; i++) {
        snprintf(peer, sizeof peer, "127.1.%d.%d", i / 256, i % 256);
        claim.peer = peer;
        assert_int_equal(hd_keys_check(keys, &claim, false, &caller, &wait), HD_WELCOME);
    }
    hd_keys_free(keys);
}

int main(void)
{
#define WITH_SHOP(test) cmocka_unit_test_setup_teardown(test, open_shop, close_shop)
    const struct CMUnitTest tests[] = {
        WITH_SHOP(test_open),       cmocka_unit_test(test_secret), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_quota), WITH_SHOP(test_store),       WITH_SHOP(test_audit),        WITH_SHOP(test_too_many),
        WITH_SHOP(test_locked),     WITH_SHOP(test_limits),        WITH_SHOP(test_quotas_kept),
        WITH_SHOP(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
