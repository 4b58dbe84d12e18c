/* SPDX-License-Identifier: Apache-2.0
 *
 * The database as a whole: a copy of it, whether it holds together, less of it on the disk. */
#ifndef HD_STORE_BACKUP_H
#define HD_STORE_BACKUP_H

#include "store/store.h"

/* A copy of one state of the database in a file of its own, which must not be there yet, while others
 * read and write. It is on disk on HEED_OK. HEED_E_CANCELLED where progress (NULL is fine) says so;
 * what was written stays for the caller to remove. */
HEED_CHECKED heed_status hd_store_copy(hd_store *store, const char *path,
                                       const heed_progress *progress);
/* Whether a file is such a copy: ours, not newer than we are, and whole to the last page.
 * HEED_E_FORMAT, HEED_E_VERSION, HEED_E_IO. */
HEED_CHECKED heed_status hd_store_copy_check(const char *path);
/* Makes a copy ready to be a data folder's database. */
HEED_CHECKED heed_status hd_store_copy_adopt(const char *path);

/* A sentence for each invariant that is broken. */
typedef void (*hd_finding_fn)(void *context, const char *what);
struct hd_store_check {
    int kinds; /* of events there are: 0 .. kinds - 1 */
    hd_finding_fn found;
    void *context;
    int64_t checked, findings; /* out */
};
/* Looks at all of it, as of one state. */
HEED_CHECKED heed_status hd_store_check(hd_store *store, struct hd_store_check *check);

/* Gives pages that are not used any more back to the disk; writers wait. Sizes of the database and
 * its log, in bytes. Needs as much room on the disk again as the database takes. */
HEED_CHECKED heed_status hd_store_compact(hd_store *store, int64_t *before, int64_t *after);

#endif
