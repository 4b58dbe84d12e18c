/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys, the audit log and the list of models: rows of the store, held to their ranges. */
#include "acquire/fields.h"
#include "base/time.h"
#include "engine/state.h"
#include "engine/keep.h"
#include "engine/text.h"
#include "heed/operate.h"
#include "store/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const role_names[HEED_ROLES] = {
    [HEED_ROLE_INGEST] = "ingest",
    [HEED_ROLE_SERVE] = "serve",
    [HEED_ROLE_ADVERTISER] = "advertiser",
    [HEED_ROLE_OPERATOR] = "operator",
};

const char *heed_role_name(heed_role role)
{
    return (unsigned)role < HEED_ROLES ? role_names[role] : NULL;
}

/* One short transaction. */
static heed_status transact(heed_engine *engine, heed_status (*put)(hd_store *store, void *what),
                            void *what)
{
    hd_store *store;

    HD_TRY(hd_write_begin(engine, &store));
    return hd_write_end(engine, store, put(store, what));
}

/* ---- keys */

static heed_status check_key(const heed_key *key)
{
    size_t name = strnlen(key->name, sizeof key->name);
    size_t account = strnlen(key->account, sizeof key->account);

    if (name > HD_KEY_NAME_BYTES_MAX)
        return hd_fail(HEED_E_ARG, "name: longer than %d bytes", HD_KEY_NAME_BYTES_MAX);
    if (hd_check_id("name", key->name, name) != HEED_OK ||
        (account > 0 && hd_check_id("account", key->account, account) != HEED_OK))
        return hd_fail(HEED_E_ARG, "%s", heed_error_message());
    if (!heed_role_name(key->role))
        return hd_fail(HEED_E_ARG, "role: there is no number %d", (int)key->role);
    if ((key->role == HEED_ROLE_ADVERTISER) != (account > 0))
        return hd_fail(HEED_E_ARG, account > 0
                                       ? "account: only the role advertiser has one"
                                       : "account: missing: the role advertiser is of one account");
    if (key->per_second < 0 || key->per_day < 0)
        return hd_fail(HEED_E_ARG, "per_second, per_day: %" PRId64 ", %" PRId64 " are below 0",
                       key->per_second, key->per_day);
    return HEED_OK;
}

static heed_status count_in_use(void *context, const struct hd_key_row *row)
{
    *(int64_t *)context += row->revoked == 0;
    return HEED_OK;
}

static heed_status put_key(hd_store *store, void *what)
{
    const struct hd_key_row *row = what;
    int64_t in_use = 0;

    HD_TRY(hd_store_each_key(store, count_in_use, &in_use));
    if (in_use >= HD_KEYS_MAX)
        return hd_fail(HEED_E_RANGE, "key: %d are in use already", HD_KEYS_MAX);
    return hd_store_put_key(store, row);
}

heed_status heed_engine_key_add(heed_engine *engine, const heed_key *key)
{
    if (!key)
        return hd_fail(HEED_E_ARG, "key: none was given");
    HD_TRY(check_key(key));
    struct hd_key_row row = {
        .name = key->name,
        .role = heed_role_name(key->role),
        .account = *key->account ? key->account : NULL,
        .hash = key->hash,
        .per_second = key->per_second,
        .per_day = key->per_day,
        .made = hd_clock_now(&engine->clock),
    };
    return transact(engine, put_key, &row);
}

struct revocation {
    const char *name;
    heed_time at;
};

static heed_status revoke_key(hd_store *store, void *what)
{
    const struct revocation *revocation = what;
    bool found = false;

    HD_TRY(hd_store_revoke_key(store, revocation->name, revocation->at, &found));
    return found ? HEED_OK
                 : hd_fail(HEED_E_NOTFOUND, "key: none in use is named \"%.64s\"", revocation->name);
}

heed_status heed_engine_key_revoke(heed_engine *engine, const char *name)
{
    if (!name)
        return hd_fail(HEED_E_ARG, "key: no name was given");
    struct revocation revocation = {name, hd_clock_now(&engine->clock)};
    return transact(engine, revoke_key, &revocation);
}

/* Keys while they are read; the array is the caller's in the end. */
struct ring {
    heed_key *key;
    int64_t count, room;
};

static heed_status keep_key(void *context, const struct hd_key_row *row)
{
    struct ring *ring = context;

    if (ring->count == ring->room) {
        int64_t room = 2 * ring->room + 16;
        heed_key *key = hd_resize(ring->key, (size_t)room, sizeof *key);
        if (!key)
            return hd_fail(HEED_E_NOMEM, "keys: no memory");
        ring->key = key;
        ring->room = room;
    }
    heed_key *key = &ring->key[ring->count++];
    *key = (heed_key){.number = row->number,
                      .per_second = row->per_second,
                      .per_day = row->per_day,
                      .made = row->made,
                      .revoked = row->revoked};
    while (key->role < HEED_ROLES && strcmp(role_names[key->role], row->role) != 0)
        key->role++;
    snprintf(key->name, sizeof key->name, "%s", row->name);
    snprintf(key->account, sizeof key->account, "%s", row->account ? row->account : "");
    memcpy(key->hash, row->hash, sizeof key->hash);
    return HEED_OK;
}

heed_status heed_engine_keys(heed_engine *engine, heed_key **keys, int64_t *count)
{
    struct ring ring = {0};

    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_store_each_key(engine->store, keep_key, &ring);
    pthread_mutex_unlock(&engine->lock);
    if (status != HEED_OK) {
        hd_free(ring.key);
        return status;
    }
    *keys = ring.key;
    *count = ring.count;
    return HEED_OK;
}

void heed_keys_free(heed_key *keys)
{
    hd_free(keys);
}

/* ---- lists for who operates the server */

/* {"NAME": [...]}, where write puts the elements, at most n. */
static heed_status give_list(heed_engine *engine, const char *name,
                             heed_status (*write)(hd_store *store, int n,
                                                  struct hd_json_writer *json),
                             int n, heed_text **out)
{
    struct hd_json_writer json = {0};

    hd_json_begin_object(&json, NULL);
    hd_json_begin_array(&json, name);
    pthread_mutex_lock(&engine->lock);
    heed_status status = write(engine->store, n, &json);
    pthread_mutex_unlock(&engine->lock);
    hd_json_end(&json);
    hd_json_end(&json);
    if (status == HEED_OK)
        return hd_text_take(&json, out);
    hd_json_clear(&json);
    return status;
}

/* ---- the audit log */

static heed_status check_audit(const char *field, const char *text)
{
    if (!text || !*text)
        return hd_fail(HEED_E_ARG, "audit: %s is empty", field);
    if (strlen(text) > HD_AUDIT_TEXT_BYTES_MAX)
        return hd_fail(HEED_E_ARG, "audit: %s is longer than %d bytes", field,
                       HD_AUDIT_TEXT_BYTES_MAX);
    return HEED_OK;
}

static heed_status put_audit(hd_store *store, void *what)
{
    return hd_store_put_audit(store, what);
}

heed_status heed_engine_audit(heed_engine *engine, const char *who, const char *action,
                              const char *subject)
{
    HD_TRY(check_audit("who", who));
    HD_TRY(check_audit("action", action));
    HD_TRY(check_audit("subject", subject));
    struct hd_audit_row row = {hd_clock_now(&engine->clock), who, action, subject};
    return transact(engine, put_audit, &row);
}

static void put_time(struct hd_json_writer *json, const char *key, heed_time time)
{
    char text[HD_TIME_TEXT_BYTES];

    hd_time_format(time, text);
    hd_json_put_text(json, key, text);
}

static heed_status write_audit(void *context, const struct hd_audit_row *row)
{
    struct hd_json_writer *json = context;

    hd_json_begin_object(json, NULL);
    put_time(json, "at", row->at);
    hd_json_put_text(json, "who", row->who);
    hd_json_put_text(json, "action", row->action);
    hd_json_put_text(json, "subject", row->subject);
    hd_json_end(json);
    return HEED_OK;
}

static heed_status write_audits(hd_store *store, int n, struct hd_json_writer *json)
{
    return hd_store_each_audit(store, n, write_audit, json);
}

heed_status heed_engine_audit_list(heed_engine *engine, int n, heed_text **out)
{
    if (n < 1 || n > HD_AUDIT_LINES_MAX)
        return hd_fail(HEED_E_ARG, "audit: %d lines, not 1 to %d", n, HD_AUDIT_LINES_MAX);
    return give_list(engine, "audit", write_audits, n, out);
}

/* ---- models */

static heed_status write_model(void *context, const struct hd_model_row *row)
{
    struct hd_json_writer *json = context;

    hd_json_begin_object(json, NULL);
    hd_json_put_text(json, "name", row->name);
    hd_json_put_text(json, "file", row->file);
    put_time(json, "made", row->made);
    hd_json_put_raw(json, "description", row->description);
    hd_json_end(json);
    return HEED_OK;
}

static heed_status write_models(hd_store *store, int n, struct hd_json_writer *json)
{
    (void)n;
    return hd_store_each_model(store, write_model, json);
}

heed_status heed_engine_models(heed_engine *engine, heed_text **out)
{
    return give_list(engine, "models", write_models, 0, out);
}
