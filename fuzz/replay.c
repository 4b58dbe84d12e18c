/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fuzz target is linked with where there is no libFuzzer: gives it each file of the folders
 * named, so that everything that was once found is tried again by the ordinary tests. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    long bytes = -1;

    if (f && fseek(f, 0, SEEK_END) == 0 && (bytes = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0)
        data = malloc((size_t)bytes + 1); /* exactly what there is, so that reading past it shows */
    if (data && fread(data, 1, (size_t)bytes, f) != (size_t)bytes)
        bytes = -1;
    if (f)
        fclose(f);
    if (!data || bytes < 0) {
        fprintf(stderr, "%s: cannot read\n", path);
        free(data);
        return 1;
    }
    LLVMFuzzerTestOneInput(data, (size_t)bytes);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int count = 0, failed = 0;

    for (int i = 1; i < argc; i++) {
        struct dirent *entry;
        DIR *folder = opendir(argv[i]);
        if (!folder) {
            fprintf(stderr, "%s: cannot open\n", argv[i]);
            return 1;
        }
        while ((entry = readdir(folder))) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            failed |= replay(path);
            count++;
        }
        closedir(folder);
    }
    printf("%d inputs\n", count);
    return failed || count == 0;
}
