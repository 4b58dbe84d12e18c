/* SPDX-License-Identifier: Apache-2.0
 *
 * Files into the store; what heed_engine_import() is made of (include/heed/engine.h). */
#ifndef HD_IMPORT_H
#define HD_IMPORT_H

#include "heed/engine.h"
#include "store/store.h"

/* Holds the store's lock while it works. As heed_engine_import(). */
HEED_CHECKED heed_status hd_import(hd_store *store, heed_import_kind kind, const char *path,
                                   const heed_import_opts *opts, heed_import_report *report);

#endif
