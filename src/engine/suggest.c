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

heed_status hd_fail_no_user(heed_engine *engine, const char *subject, const char *id)
{
    struct hd_store_counts counts = {0};
    struct nearest n = {0};
    char text[HD_ERROR_BYTES_MAX] = "";
    size_t used = 0;

    if (engine->discreet)
        return hd_fail(HEED_E_NOTFOUND, "%s: there is no such user", subject);
    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_store_count(engine->store, &counts);
    for (int64_t u = 0; status == HEED_OK && u < counts.users && u < NAMES_MAX; u++) {
        const char *other;
        status = hd_store_user_id(engine->store, (int32_t)u, &other);
        int slips = status == HEED_OK ? hd_slips(id, other) : HD_SLIPS_MAX + 1;
        if (slips <= HD_SLIPS_MAX)
            keep(&n, u, slips);
    }
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
                   id, counts.users, text);
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
