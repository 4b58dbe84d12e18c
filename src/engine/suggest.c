/* SPDX-License-Identifier: Apache-2.0
 *
 * What somebody may have meant: ids a slip or two away, and for items titles that contain the
 * words. It runs only when a name was not found, over a bounded number of names. */
#include "base/slips.h"
#include "engine/asking.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NEAREST 3
#define NAMES_MAX 1000000 /* looked at: a second at the most */

struct nearest {
    int count;
    int64_t number[NEAREST];
    int slips[NEAREST];
};

static void keep(struct nearest *n, int64_t number, int slips)
{
    int at = n->count;

    if (at == NEAREST && slips >= n->slips[at - 1])
        return;
    if (at == NEAREST)
        at--;
    else
        n->count++;
    for (; at > 0 && slips < n->slips[at - 1]; at--) {
        n->number[at] = n->number[at - 1];
        n->slips[at] = n->slips[at - 1];
    }
    n->number[at] = number;
    n->slips[at] = slips;
}

static bool contains(const char *text, const char *words)
{
    for (; *text; text++) {
        size_t i = 0;
        while (words[i] && hd_lower(text[i]) == hd_lower(words[i]))
            i++;
        if (!words[i])
            return true;
    }
    return false;
}

/* Ids near this one, but of nobody who was erased: neither what is kept in their place, nor, where another
 * process has erased them, what they were called. So the names are brought up to date first. */
static heed_status find_near(hd_store *store, const char *id, struct nearest *n)
{
    struct hd_store_counts counts;
    const char *other;
    int32_t number;

    HD_TRY(hd_store_find_user(store, id, strlen(id), &number));
    HD_TRY(hd_store_count(store, &counts));
    for (int64_t u = 0; u < counts.users && u < NAMES_MAX; u++) {
        HD_TRY(hd_store_user_id(store, (int32_t)u, &other));
        int slips = hd_store_is_erased_id(other) ? HD_SLIPS_MAX + 1 : hd_slips(id, other);
        if (slips <= HD_SLIPS_MAX)
            keep(n, u, slips);
    }
    return HEED_OK;
}

heed_status hd_fail_no_user(heed_engine *engine, const char *subject, const char *id)
{
    struct nearest n = {0};
    char text[HD_ERROR_BYTES_MAX] = "";
    size_t used = 0;
    int64_t users = 0;

    if (engine->discreet)
        return hd_fail(HEED_E_NOTFOUND, "%s: there is no such user", subject);
    pthread_mutex_lock(&engine->lock);
    heed_status status = find_near(engine->store, id, &n);
    if (status == HEED_OK)
        status = hd_store_count_living(engine->store, &users);
    for (int i = 0; i < n.count && status == HEED_OK && used < sizeof text; i++) {
        const char *other;
        status = hd_store_user_id(engine->store, (int32_t)n.number[i], &other);
        if (status == HEED_OK)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s\"%.40s\"",
                                     i ? ", " : "; near it: ", other);
    }
    pthread_mutex_unlock(&engine->lock);
    if (status != HEED_OK)
        return status;
    return hd_fail(HEED_E_NOTFOUND, "%s: there is no user \"%.80s\" among %" PRId64 "%s", subject,
                   id, users, text);
}

heed_status hd_fail_no_item(const struct hd_catalogue *c, const char *subject, const char *id)
{
    struct nearest n = {0};
    char text[HD_ERROR_BYTES_MAX] = "";
    size_t used = 0;

    for (int64_t i = 0; i < c->items && i < NAMES_MAX; i++) {
        int slips = hd_slips(id, c->id[i]);
        if (strlen(id) > 2 && c->title[i] && contains(c->title[i], id))
            slips = 0;
        if (slips <= HD_SLIPS_MAX)
            keep(&n, i, slips);
    }
    for (int i = 0; i < n.count && used < sizeof text; i++) {
        const char *title = c->title[n.number[i]];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\"%.40s\"%s%.60s%s",
                                 i ? ", " : "; near it: ", c->id[n.number[i]], title ? " (" : "",
                                 title ? title : "", title ? ")" : "");
    }
    return hd_fail(HEED_E_NOTFOUND, "%s: there is no item \"%.80s\" among %" PRId64 "%s", subject,
                   id, c->items, text);
}
