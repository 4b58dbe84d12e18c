/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys as the server has them at hand, and the rates of those who ask. */
#include "server/keys.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/time.h"
#include "server/rate.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WAYS 4 /* places an address may have in the table */

struct held_key {
    heed_key key;
    struct hd_rate rate;
};

struct address {
    uint64_t hash; /* 0: empty */
    int64_t seen_ns;
    struct hd_rate rate;
};

struct hd_keys {
    bool loopback;
    int64_t rate;
    const char *cors_origin;
    uint8_t seed[crypto_shorthash_KEYBYTES]; /* so that nobody can choose addresses that collide */

    pthread_mutex_t lock; /* guards what follows */
    struct held_key *held;
    int64_t count;
    bool unsaved; /* something was used of a quota */
    struct address address[HD_ADDRESSES_MAX];
};

void hd_secret_hash(const char *text, size_t bytes, uint8_t hash[32])
{
    crypto_generichash(hash, 32, (const unsigned char *)text, bytes, NULL, 0);
}

heed_status hd_secret_new(struct hd_secret *secret)
{
    unsigned char bytes[32];

    if (sodium_init() < 0)
        return hd_fail(HEED_E_STATE, "key: this machine gives no random numbers");
    randombytes_buf(bytes, sizeof bytes);
    memcpy(secret->text, "heed_", 5);
    sodium_bin2base64(secret->text + 5, sizeof secret->text - 5, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof bytes);
    hd_secret_hash(secret->text, strlen(secret->text), secret->hash);
    return HEED_OK;
}

heed_status hd_keys_new(bool loopback, int64_t rate, const char *cors_origin, hd_keys **out)
{
    if (sodium_init() < 0)
        return hd_fail(HEED_E_STATE, "serve: this machine gives no random numbers");
    hd_keys *keys = hd_alloc(1, sizeof *keys);
    if (!keys)
        return hd_fail(HEED_E_NOMEM, "serve: no memory");
    keys->loopback = loopback;
    keys->rate = rate;
    keys->cors_origin = cors_origin;
    crypto_shorthash_keygen(keys->seed);
    pthread_mutex_init(&keys->lock, NULL);
    *out = keys;
    return HEED_OK;
}

void hd_keys_free(hd_keys *keys)
{
    if (!keys)
        return;
    pthread_mutex_destroy(&keys->lock);
    hd_free(keys->held);
    hd_free(keys);
}

/* ---- loading */

static struct held_key *find_number(const hd_keys *keys, int64_t number)
{
    for (int64_t i = 0; i < keys->count; i++)
        if (keys->held[i].key.number == number)
            return &keys->held[i];
    return NULL;
}

heed_status hd_keys_load(hd_keys *keys, heed_engine *engine)
{
    heed_key *all = NULL;
    int64_t total = 0, count = 0;

    HD_TRY(heed_engine_keys(engine, &all, &total));
    struct held_key *held = hd_alloc((size_t)total + 1, sizeof *held);
    if (!held) {
        heed_keys_free(all);
        return hd_fail(HEED_E_NOMEM, "keys: no memory");
    }
    pthread_mutex_lock(&keys->lock);
    for (int64_t i = 0; i < total; i++) {
        if (all[i].revoked)
            continue;
        const struct held_key *before = find_number(keys, all[i].number);
        held[count].key = all[i];
        held[count++].rate = before ? before->rate : (struct hd_rate){0};
    }
    struct held_key *old = keys->held;
    keys->held = held;
    keys->count = count;
    pthread_mutex_unlock(&keys->lock);
    hd_free(old);
    heed_keys_free(all);
    return HEED_OK;
}

bool hd_keys_any(hd_keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    bool any = keys->count > 0;
    pthread_mutex_unlock(&keys->lock);
    return any;
}

/* ---- quotas over a restart: a line `KEY DAY USED` for each key that has one and used of it, the key by
 * its number, the day counted from 1970 */

struct quota {
    int64_t key, day, used;
};

/* On the heap; *quota NULL: there is nothing to save. */
static heed_status copy_quotas(hd_keys *keys, struct quota **quota, int64_t *count)
{
    struct quota *copy = NULL;
    heed_status status = HEED_OK;

    *count = 0;
    pthread_mutex_lock(&keys->lock);
    if (keys->unsaved && !(copy = hd_alloc((size_t)keys->count + 1, sizeof *copy)))
        status = hd_fail(HEED_E_NOMEM, "quotas: no memory");
    for (int64_t i = 0; copy && i < keys->count; i++) {
        const struct held_key *held = &keys->held[i];
        if (held->key.per_day > 0 && held->rate.used > 0)
            copy[(*count)++] = (struct quota){held->key.number, held->rate.day, held->rate.used};
    }
    keys->unsaved = keys->unsaved && !copy;
    pthread_mutex_unlock(&keys->lock);
    *quota = copy;
    return status;
}

static heed_status write_quotas(const char *path, const struct quota *quota, int64_t count)
{
    char part[PATH_MAX];

    if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
        return hd_fail(HEED_E_RANGE, "quotas: the data folder's path is too long");
    FILE *file = fopen(part, "we");
    if (!file)
        return hd_fail_errno(HEED_E_IO, "%s: cannot write", part);
    for (int64_t i = 0; i < count; i++)
        fprintf(file, "%" PRId64 " %" PRId64 " %" PRId64 "\n", quota[i].key, quota[i].day,
                quota[i].used);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed || rename(part, path) != 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot write", path);
    return HEED_OK;
}

heed_status hd_keys_save(hd_keys *keys, const char *path)
{
    struct quota *quota;
    int64_t count;

    HD_TRY(copy_quotas(keys, &quota, &count));
    if (!quota)
        return HEED_OK;
    heed_status status = write_quotas(path, quota, count);
    hd_free(quota);
    return status;
}

static void recall(hd_keys *keys, const struct quota *quota)
{
    pthread_mutex_lock(&keys->lock);
    struct held_key *held = find_number(keys, quota->key);
    if (held) {
        held->rate.day = quota->day;
        held->rate.used = quota->used;
    }
    pthread_mutex_unlock(&keys->lock);
}

heed_status hd_keys_recall(hd_keys *keys, const char *path)
{
    heed_status status = HEED_OK;
    char line[128], end;
    FILE *file = fopen(path, "re");

    if (!file)
        return errno == ENOENT ? HEED_OK : hd_fail_errno(HEED_E_IO, "%s: cannot be read", path);
    for (int64_t number = 1; status == HEED_OK && fgets(line, sizeof line, file); number++) {
        struct quota quota;
        if (sscanf(line, "%" SCNd64 " %" SCNd64 " %" SCNd64 "%c", &quota.key, &quota.day,
                   &quota.used, &end) == 4 &&
            end == '\n' && quota.used >= 0)
            recall(keys, &quota);
        else
            status = hd_fail(HEED_E_FORMAT, "%s:%" PRId64 ": is not KEY DAY USED", path, number);
    }
    if (status == HEED_OK && ferror(file))
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be read", path);
    fclose(file);
    return status;
}

/* ---- addresses */

/* The address's own place, or that of the one in its set which has been silent longest. */
static struct hd_rate *rate_of_address(hd_keys *keys, const char *peer, int64_t now_ns)
{
    uint64_t hash;
    unsigned char short_hash[crypto_shorthash_BYTES];

    crypto_shorthash(short_hash, (const unsigned char *)peer, strlen(peer), keys->seed);
    memcpy(&hash, short_hash, sizeof hash);
    hash += hash == 0;
    struct address *set = &keys->address[hash % (HD_ADDRESSES_MAX / WAYS) * WAYS], *oldest = set;
    for (struct address *a = set; a < set + WAYS; a++) {
        if (a->hash == hash) {
            a->seen_ns = now_ns;
            return &a->rate;
        }
        if (a->seen_ns < oldest->seen_ns)
            oldest = a;
    }
    *oldest = (struct address){.hash = hash, .seen_ns = now_ns};
    return &oldest->rate;
}

/* ---- checking */

/* The secret in what was sent, or NULL. */
static const char *shown_secret(const struct hd_claim *claim)
{
    if (claim->authorization && strncasecmp(claim->authorization, "Bearer ", 7) == 0) {
        const char *secret = claim->authorization + 7;
        return secret + strspn(secret, " ");
    }
    return claim->authorization ? claim->authorization : claim->api_key;
}

/* Every key is looked at, whether or not one has matched. */
static struct held_key *find_secret(hd_keys *keys, const char *secret)
{
    struct held_key *found = NULL;
    uint8_t hash[32];

    hd_secret_hash(secret, strlen(secret), hash);
    for (int64_t i = 0; i < keys->count; i++)
        if (sodium_memcmp(hash, keys->held[i].key.hash, sizeof hash) == 0)
            found = &keys->held[i];
    sodium_memzero(hash, sizeof hash);
    return found;
}

/* "localhost", "127.0.0.1" or "[::1]", with or without a port. */
static bool is_this_machine(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (strncasecmp(host, names[i], length) == 0 &&
            (host[length] == '\0' ||
             (host[length] == ':' && !host[length + 1 + strspn(host + length + 1, "0123456789")])))
            return true;
    }
    return false;
}

/* Without keys, whoever reaches the socket is trusted: so another site's page must not reach it through
 * the browser of somebody who sits here (a form, a script, or a name that points at 127.0.0.1). */
static bool is_foreign(const hd_keys *keys, const struct hd_claim *claim)
{
    const char *origin = claim->origin;

    if (claim->host && !is_this_machine(claim->host))
        return true;
    if (!origin || (keys->cors_origin && (strcmp(keys->cors_origin, "*") == 0 ||
                                          strcmp(keys->cors_origin, origin) == 0)))
        return false;
    const char *host = strstr(origin, "://");
    return !host || !is_this_machine(host + 3);
}

static enum hd_verdict check_open(hd_keys *keys, const struct hd_claim *claim,
                                  struct hd_caller *caller, int *wait_s)
{
    int64_t now_ns = hd_monotonic_ns();

    if (!keys->loopback)
        return shown_secret(claim) ? HD_BAD_KEY : HD_NO_KEY;
    if (is_foreign(keys, claim))
        return HD_FOREIGN;
    *caller = (struct hd_caller){.name = "local", .known = true, .role = HEED_ROLE_OPERATOR};
    if (!hd_rate_take(rate_of_address(keys, claim->peer ? claim->peer : "", now_ns), keys->rate, 0,
                      now_ns, hd_clock_now(NULL), wait_s))
        return HD_TOO_FAST;
    return HD_WELCOME;
}

static enum hd_verdict check_locked(hd_keys *keys, const struct hd_claim *claim,
                                    struct hd_caller *caller, int *wait_s)
{
    const char *secret = shown_secret(claim);

    if (keys->count == 0)
        return check_open(keys, claim, caller, wait_s);
    if (!secret || !*secret)
        return HD_NO_KEY;
    struct held_key *held = find_secret(keys, secret);
    if (!held)
        return HD_BAD_KEY;
    *caller = (struct hd_caller){.known = true, .role = held->key.role};
    snprintf(caller->name, sizeof caller->name, "%s", held->key.name);
    snprintf(caller->account, sizeof caller->account, "%s", held->key.account);
    int64_t per_second = held->key.per_second ? held->key.per_second : keys->rate;
    if (!hd_rate_take(&held->rate, per_second, held->key.per_day, hd_monotonic_ns(),
                      hd_clock_now(NULL), wait_s))
        return HD_TOO_FAST;
    keys->unsaved = keys->unsaved || held->key.per_day > 0;
    return HD_WELCOME;
}

enum hd_verdict hd_keys_check(hd_keys *keys, const struct hd_claim *claim, bool free_pass,
                              struct hd_caller *caller, int *wait_s)
{
    *caller = (struct hd_caller){0};
    if (free_pass)
        return HD_WELCOME;
    pthread_mutex_lock(&keys->lock);
    enum hd_verdict verdict = check_locked(keys, claim, caller, wait_s);
    pthread_mutex_unlock(&keys->lock);
    return verdict;
}
