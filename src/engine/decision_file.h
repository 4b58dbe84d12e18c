/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of decisions: lines are appended, by any thread of any process, and those of a user who
 * is erased are taken out again.
 *
 *     decisions.ndjson      what is appended to; past HD_DECISIONS_BYTES_MAX it becomes
 *     decisions.1.ndjson    the one before, which that one then replaces
 *     decisions.part        a rewriting under way
 *     decisions.lock        who is rewriting: one at a time
 *
 * An appender opens the file, takes its flock() shared and looks whether it is still the one of that
 * name; then its line goes out in one write. Who puts another file in its place (a rewriting, a file
 * that is full) takes the lock exclusively, so that nobody is amid a line. Opening anew costs some
 * microseconds and needs no lock among threads, which a file that is kept open would: flock()
 * belongs to the open file, not to the thread. */
#ifndef HD_DECISION_FILE_H
#define HD_DECISION_FILE_H

#include "base/status.h"

#define HD_DECISION_FILE "decisions.ndjson"
#define HD_DECISION_OLD_FILE "decisions.1.ndjson"
#define HD_DECISION_PART_FILE "decisions.part"
#define HD_DECISION_LOCK_FILE "decisions.lock"

/* The data folder, in which the files are: a descriptor, for close(). Makes the file where it is not
 * there. */
HEED_CHECKED heed_status hd_decisions_open(const char *folder, int *dir);
/* A line with its newline. bytes_max: HD_DECISIONS_BYTES_MAX but in tests. */
HEED_CHECKED heed_status hd_decisions_append(int dir, const char *line, size_t bytes,
                                             int64_t bytes_max);

/* A line of a user's, as it stands; without its newline. */
typedef heed_status (*hd_decision_fn)(void *context, const char *line, size_t bytes);
/* Calls fn for each line of the user's, older ones first; *count, how many. fn may be NULL. A
 * rewriting that was killed is looked at too. */
HEED_CHECKED heed_status hd_decisions_of(int dir, const char *user, hd_decision_fn fn,
                                         void *context, int64_t *count);
/* Takes the user's lines out. Others append meanwhile; they wait only while the last of it is
 * copied. */
HEED_CHECKED heed_status hd_decisions_erase(int dir, const char *user, int64_t *removed);

#endif
