/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of its own for a test that needs files, gone when the test is. */
#ifndef HEED_TEST_SCRATCH_H
#define HEED_TEST_SCRATCH_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* path: at least 64 bytes. */
static inline void scratch_make(char *path)
{
    strcpy(path, "/tmp/heed-test-XXXXXX");
    if (!mkdtemp(path)) {
        perror("scratch");
        exit(99);
    }
}

static inline void scratch_drop(const char *path)
{
    char inside[1024];
    struct dirent *entry;
    DIR *folder = opendir(path);

    while (folder && (entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inside, sizeof inside, "%.512s/%.255s", path, entry->d_name);
        if (unlink(inside) != 0)
            scratch_drop(inside);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

static inline void scratch_write(const char *path, const void *text, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(text, 1, bytes, f) != bytes || fclose(f) != 0) {
        perror(path);
        exit(99);
    }
}

#endif
