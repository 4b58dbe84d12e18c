/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed key`: who may ask a server. A running one notices within a second. */
#include "base/time.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "server/keys.h"

#include <inttypes.h>
#include <string.h>

struct key_options {
    const char *name, *role, *account;
    int64_t per_second, per_day;
};
#define AT(field) offsetof(struct key_options, field)

static const struct hd_flag key_arguments[] = {
    {"name", 0, HD_FLAG_TEXT, AT(name), "NAME", "what the log calls it", .required = true},
    {0},
};

static const struct hd_flag key_add_flags[] = {
    {"role", 0, HD_FLAG_CHOICE, AT(role), "ingest|serve|advertiser|operator",
     "what it may do: put things in; ask for feeds; see one account; everything", .required = true},
    {"account", 0, HD_FLAG_TEXT, AT(account), "ACCOUNT", "of an advertiser"},
    {"per-second", 0, HD_FLAG_COUNT, AT(per_second), "N",
     "requests a second; the server's own limit where not given", .least = 1},
    {"per-day", 0, HD_FLAG_COUNT, AT(per_day), "N", "requests a day (UTC), over restarts too",
     .least = 1},
    {0},
};

/* Who does what with keys, at the command line, is "local". */
static heed_status audit(heed_engine *engine, const char *action, const char *name)
{
    return heed_engine_audit(engine, "local", action, name);
}

/* ---- add */

static heed_status fill_key(const struct key_options *options, const struct hd_secret *secret,
                            heed_key *key)
{
    if (strlen(options->name) >= sizeof key->name)
        return hd_fail(HEED_E_ARG, "NAME: longer than %zu bytes", sizeof key->name - 1);
    if (options->account && strlen(options->account) >= sizeof key->account)
        return hd_fail(HEED_E_ARG, "--account: longer than %zu bytes", sizeof key->account - 1);
    *key = (heed_key){.per_second = options->per_second, .per_day = options->per_day};
    snprintf(key->name, sizeof key->name, "%s", options->name);
    snprintf(key->account, sizeof key->account, "%s", options->account ? options->account : "");
    memcpy(key->hash, secret->hash, sizeof key->hash);
    while (strcmp(heed_role_name(key->role), options->role) != 0)
        key->role++;
    return HEED_OK;
}

static heed_status print_secret(const struct hd_cli *cli, const heed_key *key,
                                const struct hd_secret *secret)
{
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "name", key->name);
        hd_json_put_text(&json, "role", heed_role_name(key->role));
        hd_json_put_text(&json, "key", secret->text);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("%s\n", secret->text);
    fprintf(stderr, "This is the only time it is shown; the store keeps a hash of it.\n"
                    "Send it as `Authorization: Bearer KEY`.\n");
    return HEED_OK;
}

static heed_status key_add_run(struct hd_cli *cli, const void *given)
{
    const struct key_options *options = given;
    struct hd_session session;
    struct hd_secret secret;
    heed_key key;

    HD_TRY(hd_secret_new(&secret));
    HD_TRY(fill_key(options, &secret, &key));
    HD_TRY(hd_session_open(&session, cli, "key", true, 1));
    heed_status status = heed_engine_key_add(session.engine, &key);
    if (status == HEED_OK)
        status = audit(session.engine, "key add", key.name);
    hd_session_close(&session);
    HD_TRY(status);
    return print_secret(cli, &key, &secret);
}

const struct hd_command hd_command_key_add = {
    .name = "key add",
    .summary = "make a key and print it, once",
    .about = "Once a key is in use, `heed serve` answers nobody without one, but for /healthz,\n"
             "/readyz and /openapi.json.",
    .example = "heed key add website --role serve --per-second 100",
    .arguments = key_arguments,
    .flags = key_add_flags,
    .options_bytes = sizeof(struct key_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = key_add_run,
};

/* ---- list */

static void put_time(struct hd_json_writer *json, const char *key, heed_time time)
{
    char text[HD_TIME_TEXT_BYTES];

    hd_time_format(time, text);
    hd_json_put_text(json, key, time ? text : NULL);
}

static heed_status print_keys_json(const heed_key *keys, int64_t count)
{
    struct hd_json_writer json = {0};

    hd_json_begin_object(&json, NULL);
    hd_json_begin_array(&json, "keys");
    for (int64_t i = 0; i < count; i++) {
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "name", keys[i].name);
        hd_json_put_text(&json, "role", heed_role_name(keys[i].role));
        hd_json_put_text(&json, "account", *keys[i].account ? keys[i].account : NULL);
        hd_json_put_int(&json, "per_second", keys[i].per_second);
        hd_json_put_int(&json, "per_day", keys[i].per_day);
        put_time(&json, "made", keys[i].made);
        put_time(&json, "revoked", keys[i].revoked);
        hd_json_end(&json);
    }
    hd_json_end(&json);
    hd_json_end(&json);
    return hd_print_json(&json);
}

static void print_limit(int64_t limit, const char *unit)
{
    if (limit)
        printf("  %s%s", hd_thousands(limit), unit);
}

static void print_keys(const heed_key *keys, int64_t count)
{
    char made[HD_TIME_TEXT_BYTES], revoked[HD_TIME_TEXT_BYTES], name[4 * 24 + 1];

    for (int64_t i = 0; i < count; i++) {
        hd_fit(name, keys[i].name, 24);
        hd_time_format(keys[i].made, made);
        hd_time_format(keys[i].revoked, revoked);
        printf("%s  %-10s  made %.10s", name, heed_role_name(keys[i].role), made);
        if (keys[i].revoked)
            printf("  revoked %.10s", revoked);
        if (*keys[i].account)
            printf("  account %s", keys[i].account);
        print_limit(keys[i].per_second, "/s");
        print_limit(keys[i].per_day, " a day");
        printf("\n");
    }
    if (count == 0)
        printf("There is no key: `heed serve` serves this machine alone.\n");
}

static heed_status key_list_run(struct hd_cli *cli, const void *given)
{
    struct hd_session session;
    heed_key *keys = NULL;
    int64_t count = 0;

    (void)given;
    HD_TRY(hd_session_open(&session, cli, "key", false, 1));
    heed_status status = heed_engine_keys(session.engine, &keys, &count);
    if (status == HEED_OK && cli->json)
        status = print_keys_json(keys, count);
    else if (status == HEED_OK)
        print_keys(keys, count);
    heed_keys_free(keys);
    hd_session_close(&session);
    return status;
}

const struct hd_command hd_command_key_list = {
    .name = "key list",
    .summary = "the keys there are, and those that were revoked",
    .example = "heed key list",
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = key_list_run,
};

/* ---- revoke */

static heed_status key_revoke_run(struct hd_cli *cli, const void *given)
{
    const struct key_options *options = given;
    struct hd_session session;

    HD_TRY(hd_session_open(&session, cli, "key", false, 1));
    heed_status status = heed_engine_key_revoke(session.engine, options->name);
    if (status == HEED_OK)
        status = audit(session.engine, "key revoke", options->name);
    hd_session_close(&session);
    HD_TRY(status);
    if (cli->json) {
        struct hd_json_writer json = {0};
        hd_json_begin_object(&json, NULL);
        hd_json_put_text(&json, "revoked", options->name);
        hd_json_end(&json);
        return hd_print_json(&json);
    }
    printf("The key `%s` is not in use any more.\n", options->name);
    return HEED_OK;
}

const struct hd_command hd_command_key_revoke = {
    .name = "key revoke",
    .summary = "take a key out of use, for good",
    .about = "A running server notices within a second.",
    .example = "heed key revoke website",
    .arguments = key_arguments,
    .options_bytes = sizeof(struct key_options),
    .uses = HD_USES_DATA | HD_USES_JSON,
    .run = key_revoke_run,
};
