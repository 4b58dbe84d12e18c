/* SPDX-License-Identifier: Apache-2.0
 *
 * Files as a whole. */
#ifndef HD_FILES_H
#define HD_FILES_H

#include "base/status.h"

/* Copies a file's bytes; written beside and renamed, so that what was at `to` is there until the copy
 * is whole and on disk. HEED_E_NOTFOUND: there is no `from`. */
HEED_CHECKED heed_status hd_copy_file(const char *from, const char *to);
/* The names in a folder are on disk. */
HEED_CHECKED heed_status hd_sync_folder(const char *folder);
/* FOLDER/name, on the heap; NULL: no memory. */
char *hd_join_path(const char *folder, const char *name);

#endif
