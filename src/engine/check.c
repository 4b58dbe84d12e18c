/* SPDX-License-Identifier: Apache-2.0
 *
 * Every invariant of a data folder, and making it smaller. */
#include "acquire/event.h"
#include "engine/keep.h"
#include "heed/operate.h"
#include "store/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* How many items the model knows, 0 where there is none; text: why it cannot be used, or "". */
static heed_status look_at_model(heed_engine *engine, int64_t *items, char text[HD_ERROR_BYTES_MAX])
{
    char *path = hd_engine_path(engine, HD_MODEL_FILE);
    struct hd_model *model = NULL;
    struct stat st;

    *text = 0;
    *items = 0;
    if (!path)
        return hd_fail(HEED_E_NOMEM, "check: no memory");
    bool there = stat(path, &st) == 0 || errno != ENOENT;
    hd_free(path);
    if (!there)
        return HEED_OK;
    pthread_mutex_lock(&engine->lock);
    heed_status status = hd_model_take(engine, &model);
    if (status == HEED_OK && !model)
        snprintf(text, HD_ERROR_BYTES_MAX, "model: %.400s", engine->model_trouble);
    hd_engine_unlock(engine);
    if (status == HEED_OK && model)
        *items = model->config->items;
    hd_model_drop(model);
    return status;
}

heed_status heed_engine_check(heed_engine *engine, void (*found)(void *context, const char *what),
                              void *context, heed_check_report *report)
{
    struct hd_store_check check = {.kinds = HD_EVENT_KINDS, .found = found, .context = context};
    struct hd_store_counts counts = {0};
    char text[HD_ERROR_BYTES_MAX] = "";
    hd_store *store = NULL;
    int64_t known = 0;

    HD_TRY(look_at_model(engine, &known, text)); /* first: items are only ever added */
    HD_TRY(hd_open_beside(engine, &store));
    heed_status status = hd_store_check(store, &check);
    if (status == HEED_OK)
        status = hd_store_count(store, &counts);
    hd_store_close(store);
    HD_TRY(status);
    if (known > counts.items)
        snprintf(text, sizeof text, "model: it knows %" PRId64 " items, the store has %" PRId64,
                 known, counts.items);
    check.checked++;
    if (*text) {
        check.findings++;
        if (found)
            found(context, text);
    }
    if (report)
        *report = (heed_check_report){check.checked, check.findings};
    return HEED_OK;
}

heed_status heed_engine_compact(heed_engine *engine, int64_t *before, int64_t *after)
{
    int64_t was = 0, is = 0;
    hd_store *store = NULL;

    HD_TRY(hd_open_beside(engine, &store));
    heed_status status = hd_store_compact(store, &was, &is);
    hd_store_close(store);
    HD_TRY(status);
    if (before)
        *before = was;
    if (after)
        *after = is;
    return HEED_OK;
}
