/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a model file so that a crash at any moment leaves the old one or the new one. */
#include "base/limits.h"
#include "base/memory.h"
#include "nn/safetensors.h"
#include "nn/scan.h"
#include "nn/sort.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEADER_ALIGN 64 /* so that the numbers of a mapped file start on a cache line */

/* ---- the header: written twice, first only counted */

struct text {
    char *to; /* NULL: count only */
    size_t bytes;
    bool broken; /* met what is not UTF-8 */
};

static void put(struct text *t, const char *bytes, size_t count)
{
    if (t->to)
        memcpy(t->to + t->bytes, bytes, count);
    t->bytes += count;
}

static void put_text(struct text *t, const char *text)
{
    put(t, text, strlen(text));
}

static void put_number(struct text *t, int64_t number)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%" PRId64, number);
    put_text(t, digits);
}

static void put_string(struct text *t, const char *string)
{
    size_t left = strlen(string);

    put(t, "\"", 1);
    while (left > 0) {
        unsigned char c = (unsigned char)*string;
        size_t n = hd_scan_utf8((const unsigned char *)string, left);
        char escaped[8];
        if (n == 0) {
            t->broken = true;
            return;
        }
        if (c < 0x20 || c == '"' || c == '\\') {
            snprintf(escaped, sizeof escaped, c < 0x20 ? "\\u%04x" : "\\%c", c);
            put_text(t, escaped);
        } else {
            put(t, string, n);
        }
        string += n, left -= n;
    }
    put(t, "\"", 1);
}

static void put_header(struct text *t, const struct hd_stored *tensors, int64_t count,
                       const char *const *keys, const char *const *values, int64_t pairs)
{
    const char *comma = "";

    put_text(t, "{");
    for (int64_t i = 0; i < pairs; i++) {
        put_text(t, i == 0 ? "\"__metadata__\":{" : ",");
        put_string(t, keys[i]);
        put_text(t, ":");
        put_string(t, values[i]);
        comma = i + 1 == pairs ? "}," : "";
    }
    for (int64_t i = 0; i < count; i++, comma = ",") {
        put_text(t, comma);
        put_string(t, tensors[i].name);
        put_text(t, ":{\"dtype\":\"");
        put_text(t, hd_stored_type_name(tensors[i].type));
        put_text(t, "\",\"shape\":[");
        for (int d = 0; d < tensors[i].rank; d++) {
            put_text(t, d ? "," : "");
            put_number(t, tensors[i].dim[d]);
        }
        put_text(t, "],\"data_offsets\":[");
        put_number(t, tensors[i].offset);
        put_text(t, ",");
        put_number(t, tensors[i].offset + tensors[i].bytes);
        put_text(t, "]}");
    }
    put_text(t, pairs > 0 && count == 0 ? "}}" : "}");
}

/* ---- checks */

static heed_status place(struct hd_stored *tensors, int64_t count)
{
    int64_t offset = 0;

    if (count > HD_TENSORS_MAX)
        return hd_fail(HEED_E_RANGE, "model file: %" PRId64 " tensors, more than %d", count,
                       HD_TENSORS_MAX);
    for (int64_t i = 0; i < count; i++) {
        struct hd_stored *t = &tensors[i];
        bool past = t->rank > HD_STORED_RANK_MAX;
        t->bytes = hd_stored_type_bytes(t->type);
        for (int d = 0; d < t->rank && !past; d++)
            past = t->dim[d] > HD_DIM_MAX || __builtin_mul_overflow(t->bytes, t->dim[d], &t->bytes);
        t->offset = offset;
        if (past || __builtin_add_overflow(offset, t->bytes, &offset))
            return hd_fail(HEED_E_RANGE, "model file: %s is too large", t->name);
    }
    return HEED_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No name among the tensors', and no key among the metadata's, is there twice. */
static heed_status check_names(const struct hd_stored *tensors, int64_t count,
                               const char *const *keys, int64_t pairs)
{
    int64_t most = count > pairs ? count : pairs;
    const char **names = hd_alloc((size_t)most, sizeof *names);
    heed_status status = HEED_OK;

    if (!names)
        return hd_fail(HEED_E_NOMEM, "model file: no memory for the header");
    for (int turn = 0; turn < 2; turn++) {
        int64_t n = turn == 0 ? count : pairs;
        for (int64_t i = 0; i < n; i++)
            names[i] = turn == 0 ? tensors[i].name : keys[i];
        hd_sort(names, (size_t)n, sizeof *names, by_text);
        for (int64_t i = 1; i < n && status == HEED_OK; i++)
            if (strcmp(names[i - 1], names[i]) == 0)
                status = hd_fail(HEED_E_EXISTS, "model file: %s is there twice", names[i]);
        for (int64_t i = 0; i < n && status == HEED_OK && turn == 0; i++)
            if (strcmp(names[i], "__metadata__") == 0)
                status = hd_fail(HEED_E_EXISTS, "model file: no tensor may be named %s", names[i]);
    }
    hd_free(names);
    return status;
}

heed_status hd_safetensors_header(struct hd_stored *tensors, int64_t count, const char *const *keys,
                                  const char *const *values, int64_t pairs, char **bytes,
                                  size_t *bytes_count)
{
    struct text t = {0};
    size_t whole;
    uint64_t length;

    HD_TRY(place(tensors, count));
    HD_TRY(check_names(tensors, count, keys, pairs));
    put_header(&t, tensors, count, keys, values, pairs);
    whole = (8 + t.bytes + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    if (t.broken)
        return hd_fail(HEED_E_FORMAT, "model file: a name or text is not UTF-8");
    if (whole - 8 > HD_HEADER_BYTES_MAX)
        return hd_fail(HEED_E_RANGE, "model file: a header of %zu bytes, more than %d", whole - 8,
                       HD_HEADER_BYTES_MAX);
    char *all = hd_alloc(whole, 1);
    if (!all)
        return hd_fail(HEED_E_NOMEM, "model file: no memory for the header");
    length = whole - 8;
    memcpy(all, &length, 8);
    memset(all + 8, ' ', whole - 8);
    t = (struct text){.to = all + 8};
    put_header(&t, tensors, count, keys, values, pairs);
    *bytes = all;
    *bytes_count = whole;
    return HEED_OK;
}

/* ---- the file */

static bool write_all(int fd, const void *bytes, size_t count)
{
    const char *from = bytes;

    while (count > 0) {
        ssize_t put = write(fd, from, count);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        from += put, count -= (size_t)put;
    }
    return true;
}

/* The rename itself is on the disk once its folder is. */
static heed_status sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    int fd;

    if (slash)
        slash[slash == path] = 0; /* "/model" lies in "/" */
    fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot open the folder", slash ? path : ".");
    bool synced = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot sync a folder */
    if (!synced)
        hd_fail_errno(HEED_E_IO, "%s: cannot sync the folder", slash ? path : ".");
    close(fd);
    return synced ? HEED_OK : HEED_E_IO;
}

heed_status hd_safetensors_save(const char *path, struct hd_stored *tensors, int64_t count,
                                const char *const *keys, const char *const *values, int64_t pairs)
{
    size_t path_bytes = strlen(path) + sizeof ".new", header_bytes;
    char *beside = NULL, *header = NULL;
    heed_status status;
    int fd = -1;

    HD_TRY(hd_safetensors_header(tensors, count, keys, values, pairs, &header, &header_bytes));
    beside = hd_alloc(path_bytes, 1);
    if (!beside) {
        status = hd_fail(HEED_E_NOMEM, "%s: no memory", path);
        goto done;
    }
    snprintf(beside, path_bytes, "%s.new", path);
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = hd_fail_errno(HEED_E_IO, "%s: cannot create", beside);
        goto done;
    }
    status = HEED_E_IO;
    bool written = write_all(fd, header, header_bytes);
    for (int64_t i = 0; i < count && written; i++)
        written = write_all(fd, tensors[i].data, (size_t)tensors[i].bytes);
    if (!written || fsync(fd) != 0)
        hd_fail_errno(HEED_E_IO, "%s: cannot write", beside);
    else if (rename(beside, path) != 0)
        hd_fail_errno(HEED_E_IO, "%s: cannot rename to %s", beside, path);
    else
        status = HEED_OK;
    if (status == HEED_OK)
        status = sync_folder(beside); /* the name is of no use any more, its folder is */
    else
        unlink(beside);
done:
    if (fd >= 0)
        close(fd);
    hd_free(beside);
    hd_free(header);
    return status;
}
