/* SPDX-License-Identifier: Apache-2.0
 *
 * From a file into the store. */
#ifndef HD_IMPORT_H
#define HD_IMPORT_H

#include "heed/engine.h"
#include "store/store.h"

/* What heed_engine_import() promises, on a store handle of its own: it takes and gives back the
 * store's lock. opts is not NULL. */
HEED_CHECKED heed_status hd_import(hd_store *store, heed_import_kind kind, const char *path,
                                   const heed_import_opts *opts, heed_import_report *report);

#endif
