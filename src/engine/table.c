/* SPDX-License-Identifier: Apache-2.0
 *
 * What the model scans, kept until the model or the items are others. */
#include "engine/state.h"

heed_status hd_table_new(const struct hd_table *old, struct hd_model *model, struct hd_items *items,
                         struct hd_table **out)
{
    const struct hd_catalogue *c = &items->catalogue;
    struct hd_content content = {c->items, c->topic, c->topic_count};
    struct hd_table *table = hd_alloc(1, sizeof *table);

    if (!table)
        return hd_fail(HEED_E_NOMEM, "feed: no memory");
    heed_status status =
        old && old->model == model && hd_items_share_topics(old->items, items)
            ? hd_retrieval_extend(old->retrieval, &content, &table->retrieval)
            : hd_retrieval_new(model->sequence, &content, &table->retrieval);
    if (status != HEED_OK) {
        hd_free(table);
        return status;
    }
    atomic_init(&table->uses, 1);
    atomic_fetch_add(&model->uses, 1);
    atomic_fetch_add(&items->uses, 1);
    table->model = model;
    table->items = items;
    *out = table;
    return HEED_OK;
}

heed_status hd_table_take(heed_engine *engine, struct hd_model *model, struct hd_items *items,
                          struct hd_table **out)
{
    struct hd_table *fresh = NULL;

    if (!engine->table || engine->table->model != model || engine->table->items != items) {
        HD_TRY(hd_table_new(engine->table, model, items, &fresh));
        hd_table_drop(engine->table);
        engine->table = fresh;
    }
    atomic_fetch_add(&engine->table->uses, 1);
    *out = engine->table;
    return HEED_OK;
}

void hd_table_drop(struct hd_table *table)
{
    if (!table || atomic_fetch_sub(&table->uses, 1) > 1)
        return;
    hd_retrieval_free(table->retrieval);
    hd_items_drop(table->items);
    hd_model_drop(table->model);
    hd_free(table);
}
