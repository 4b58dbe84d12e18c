/* SPDX-License-Identifier: Apache-2.0
 *
 * Files as a whole. */
#include "engine/files.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES ((size_t)1 << 16)

char *hd_join_path(const char *folder, const char *name)
{
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = hd_alloc(bytes, 1);

    if (path)
        snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

heed_status hd_sync_folder(const char *folder)
{
    heed_status status = HEED_OK;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be opened", folder);
    if (fsync(fd) != 0 && errno != EINVAL) /* some file systems have nothing to sync there */
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", folder);
    close(fd);
    return status;
}

static heed_status copy_bytes(int from, int to, const char *from_path, const char *to_path)
{
    heed_status status = HEED_OK;
    ssize_t got = 0;
    char *buffer = hd_alloc(COPY_BYTES, 1);

    if (!buffer)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", to_path);
    while (status == HEED_OK && (got = read(from, buffer, COPY_BYTES)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = hd_fail_errno(HEED_E_IO, "%s: cannot read", from_path);
        for (ssize_t done = 0; status == HEED_OK && done < got;) {
            ssize_t put = write(to, buffer + done, (size_t)(got - done));
            if (put < 0 && errno != EINTR)
                status = hd_fail_errno(HEED_E_IO, "%s: cannot write", to_path);
            done += put > 0 ? put : 0;
        }
    }
    hd_free(buffer);
    if (status == HEED_OK && fsync(to) != 0 && errno != EINVAL) /* a pipe has nothing to sync */
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", to_path);
    return status;
}

heed_status hd_copy_file(const char *from_path, const char *to_path)
{
    heed_status status = HEED_OK;
    size_t bytes = strlen(to_path) + sizeof ".part";
    char *part = hd_alloc(bytes, 1);
    int to = -1, from = open(from_path, O_RDONLY | O_CLOEXEC);

    if (!part) {
        status = hd_fail(HEED_E_NOMEM, "%s: no memory", to_path);
        goto done;
    }
    snprintf(part, bytes, "%s.part", to_path);
    if (from < 0) {
        status = hd_fail_errno(errno == ENOENT ? HEED_E_NOTFOUND : HEED_E_IO, "%s: cannot read",
                               from_path);
        goto done;
    }
    to = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (to < 0) {
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", to_path);
        goto done;
    }
    status = copy_bytes(from, to, from_path, to_path);
    if (close(to) != 0 && status == HEED_OK)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", to_path);
    if (status == HEED_OK && rename(part, to_path) != 0)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot write", to_path);
    if (status != HEED_OK)
        unlink(part);
done:
    if (from >= 0)
        close(from);
    hd_free(part);
    return status;
}
