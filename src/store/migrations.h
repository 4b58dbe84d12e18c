/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbered migrations of sql/sqlite, put into the library when it is built. Migration i makes
 * version i + 1 of the tables. */
#ifndef HD_MIGRATIONS_H
#define HD_MIGRATIONS_H

struct hd_migration {
    const char *name, *sql;
};
extern const struct hd_migration hd_migrations[];
extern const int hd_migration_count;

#endif
