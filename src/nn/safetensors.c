/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and reading a model file. */
#include "nn/safetensors.h"
#include "base/limits.h"
#include "base/memory.h"
#include "nn/scan.h"
#include "nn/sort.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are read as they are stored");

static const struct {
    const char *name;
    int64_t bytes;
} types[] = {
#define TYPE(name, bytes) {#name, bytes},
    HD_STORED_TYPES(TYPE)
#undef TYPE
};

const char *hd_stored_type_name(enum hd_stored_type type)
{
    return types[type].name;
}

int64_t hd_stored_type_bytes(enum hd_stored_type type)
{
    return types[type].bytes;
}

struct text_pair {
    const char *key, *value;
};

struct hd_safetensors {
    const char *path;
    int fd;                      /* -1: in memory */
    const unsigned char *memory; /* the whole file, or NULL */
    int64_t file_bytes, data_at; /* where the numbers start */
    hd_arena *arena;             /* of the names and texts */
    struct hd_stored *tensor;    /* by name */
    struct text_pair *pair;      /* by key */
    int64_t count, room, pairs, pair_room;
};

/* ---- bytes */

static heed_status read_at(const hd_safetensors *file, int64_t at, void *out, size_t bytes)
{
    char *to = out;

    if (file->memory) {
        if (bytes > 0)
            memcpy(out, file->memory + at, bytes);
        return HEED_OK;
    }
    while (bytes > 0) {
        ssize_t got = pread(file->fd, to, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hd_fail_errno(HEED_E_IO, "%s: reading at byte %" PRId64, file->path, at);
        if (got == 0)
            return hd_fail(HEED_E_IO, "%s: became shorter while it was read", file->path);
        to += got, at += got, bytes -= (size_t)got;
    }
    return HEED_OK;
}

/* ---- the header */

/* The list, moved where it had no room for one more element; NULL where there is no memory. */
static void *grown(void *list, int64_t count, int64_t *room, size_t size)
{
    int64_t want = *room ? 2 * *room : 16;
    void *moved = count < *room ? list : hd_resize(list, (size_t)want, size);

    if (moved && count == *room)
        *room = want;
    return moved;
}

static heed_status scan_metadata(struct hd_scan *scan, hd_safetensors *file)
{
    bool more = true;

    HD_TRY(hd_scan_expect(scan, '{'));
    if (hd_scan_take(scan, '}'))
        return HEED_OK;
    while (more) {
        struct text_pair pair, *list;
        HD_TRY(hd_scan_string(scan, &pair.key));
        HD_TRY(hd_scan_expect(scan, ':'));
        HD_TRY(hd_scan_string(scan, &pair.value));
        list = grown(file->pair, file->pairs, &file->pair_room, sizeof *list);
        if (!list)
            return hd_fail(HEED_E_NOMEM, "%s: no memory for the header", file->path);
        file->pair = list;
        file->pair[file->pairs++] = pair;
        HD_TRY(hd_scan_next(scan, '}', &more));
    }
    return HEED_OK;
}

static heed_status scan_shape(struct hd_scan *scan, struct hd_stored *t)
{
    bool more = true;

    HD_TRY(hd_scan_expect(scan, '['));
    if (hd_scan_take(scan, ']'))
        return HEED_OK;
    while (more) {
        int64_t dim;
        HD_TRY(hd_scan_count(scan, &dim));
        if (t->rank == HD_STORED_RANK_MAX || dim > HD_DIM_MAX)
            return hd_fail(HEED_E_RANGE, "%s: %s has more than %d dimensions or one above %" PRId64,
                           scan->subject, t->name, HD_STORED_RANK_MAX, (int64_t)HD_DIM_MAX);
        t->dim[t->rank++] = dim;
        HD_TRY(hd_scan_next(scan, ']', &more));
    }
    return HEED_OK;
}

static heed_status scan_type(struct hd_scan *scan, struct hd_stored *t)
{
    const char *name;

    HD_TRY(hd_scan_string(scan, &name));
    for (int i = 0; i < HD_STORED_TYPES_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) {
            t->type = (enum hd_stored_type)i;
            return HEED_OK;
        }
    return hd_fail(HEED_E_FORMAT, "%s: %s has the unknown element type %s", scan->subject, t->name,
                   name);
}

static heed_status scan_offsets(struct hd_scan *scan, struct hd_stored *t)
{
    int64_t end;

    HD_TRY(hd_scan_expect(scan, '['));
    HD_TRY(hd_scan_count(scan, &t->offset));
    HD_TRY(hd_scan_expect(scan, ','));
    HD_TRY(hd_scan_count(scan, &end));
    HD_TRY(hd_scan_expect(scan, ']'));
    t->bytes = end - t->offset; /* both are in 0 .. 2^63 - 1 */
    return HEED_OK;
}

/* The shape's bytes are the offsets' bytes, and lie inside the file. */
static heed_status check_extent(const hd_safetensors *file, const struct hd_stored *t)
{
    int64_t bytes = types[t->type].bytes, data_bytes = file->file_bytes - file->data_at;
    bool past = false;

    for (int i = 0; i < t->rank; i++)
        past |= __builtin_mul_overflow(bytes, t->dim[i], &bytes);
    if (past)
        return hd_fail(HEED_E_RANGE, "%s: %s %s is larger than any file", file->path, t->name,
                       hd_stored_shape_text(t));
    if (bytes != t->bytes)
        return hd_fail(HEED_E_FORMAT, "%s: %s %s takes %" PRId64 " bytes, its offsets say %" PRId64,
                       file->path, t->name, hd_stored_shape_text(t), bytes, t->bytes);
    if (t->offset > data_bytes || t->bytes > data_bytes - t->offset)
        return hd_fail(HEED_E_FORMAT, "%s: %s ends at byte %" PRIu64 " of %" PRId64 " of numbers",
                       file->path, t->name, (uint64_t)t->offset + (uint64_t)t->bytes, data_bytes);
    return HEED_OK;
}

static heed_status scan_tensor(struct hd_scan *scan, hd_safetensors *file, const char *name)
{
    struct hd_stored t = {.name = name}, *list;
    bool more = true, typed = false, shaped = false, placed = false;

    HD_TRY(hd_scan_expect(scan, '{'));
    while (more) {
        const char *field;
        bool *seen;
        HD_TRY(hd_scan_string(scan, &field));
        seen = strcmp(field, "dtype") == 0          ? &typed
               : strcmp(field, "shape") == 0        ? &shaped
               : strcmp(field, "data_offsets") == 0 ? &placed
                                                    : NULL;
        if (!seen || *seen)
            return hd_fail(HEED_E_FORMAT, "%s: %s has an unknown or second field %s", file->path,
                           name, field);
        *seen = true;
        HD_TRY(hd_scan_expect(scan, ':'));
        HD_TRY(seen == &typed    ? scan_type(scan, &t)
               : seen == &shaped ? scan_shape(scan, &t)
                                 : scan_offsets(scan, &t));
        HD_TRY(hd_scan_next(scan, '}', &more));
    }
    if (!typed || !shaped || !placed)
        return hd_fail(HEED_E_FORMAT, "%s: %s lacks one of dtype, shape, data_offsets", file->path,
                       name);
    HD_TRY(check_extent(file, &t));
    if (file->count == HD_TENSORS_MAX)
        return hd_fail(HEED_E_RANGE, "%s: more than %d tensors", file->path, HD_TENSORS_MAX);
    list = grown(file->tensor, file->count, &file->room, sizeof *list);
    if (!list)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for the header", file->path);
    file->tensor = list;
    file->tensor[file->count++] = t;
    return HEED_OK;
}

static heed_status scan_header(struct hd_scan *scan, hd_safetensors *file)
{
    bool more = true, described = false;

    if (scan->bytes == 0 || scan->text[0] != '{')
        return hd_scan_fail(scan, "expected '{'");
    HD_TRY(hd_scan_expect(scan, '{'));
    if (hd_scan_take(scan, '}'))
        return hd_scan_end(scan);
    while (more) {
        const char *name;
        HD_TRY(hd_scan_string(scan, &name));
        HD_TRY(hd_scan_expect(scan, ':'));
        if (strcmp(name, "__metadata__") != 0) {
            HD_TRY(scan_tensor(scan, file, name));
        } else {
            if (described)
                return hd_scan_fail(scan, "a second __metadata__");
            described = true;
            HD_TRY(scan_metadata(scan, file));
        }
        HD_TRY(hd_scan_next(scan, '}', &more));
    }
    return hd_scan_end(scan);
}

/* ---- order */

static int by_offset(const void *a, const void *b)
{
    const struct hd_stored *x = a, *y = b;

    /* Of two at one place the one without bytes comes first, or it would look like an overlap. */
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hd_stored *)a)->name, ((const struct hd_stored *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct text_pair *)a)->key, ((const struct text_pair *)b)->key);
}

/* No gaps, no overlaps, nothing behind, no name twice; leaves both lists in order. */
static heed_status check_whole(hd_safetensors *file)
{
    int64_t end = 0;

    hd_sort(file->tensor, (size_t)file->count, sizeof *file->tensor, by_offset);
    for (int64_t i = 0; i < file->count; end += file->tensor[i++].bytes)
        if (file->tensor[i].offset != end)
            return hd_fail(HEED_E_FORMAT,
                           "%s: %s starts at byte %" PRId64 " of the numbers, not %" PRId64,
                           file->path, file->tensor[i].name, file->tensor[i].offset, end);
    if (end != file->file_bytes - file->data_at)
        return hd_fail(HEED_E_FORMAT, "%s: %" PRId64 " bytes behind the last tensor", file->path,
                       file->file_bytes - file->data_at - end);
    hd_sort(file->tensor, (size_t)file->count, sizeof *file->tensor, by_name);
    for (int64_t i = 1; i < file->count; i++)
        if (strcmp(file->tensor[i - 1].name, file->tensor[i].name) == 0)
            return hd_fail(HEED_E_FORMAT, "%s: there are two tensors %s", file->path,
                           file->tensor[i].name);
    hd_sort(file->pair, (size_t)file->pairs, sizeof *file->pair, by_key);
    for (int64_t i = 1; i < file->pairs; i++)
        if (strcmp(file->pair[i - 1].key, file->pair[i].key) == 0)
            return hd_fail(HEED_E_FORMAT, "%s: there are two metadata keys %s", file->path,
                           file->pair[i].key);
    return HEED_OK;
}

/* ---- opening */

static heed_status read_header(hd_safetensors *file)
{
    struct hd_scan scan = {.subject = file->path, .first = 8, .arena = file->arena};
    unsigned char length[8];
    uint64_t bytes;
    char *text;

    if (file->file_bytes < 8)
        return hd_fail(HEED_E_FORMAT, "%s: %" PRId64 " bytes are too few for a model", file->path,
                       file->file_bytes);
    HD_TRY(read_at(file, 0, length, sizeof length));
    memcpy(&bytes, length, sizeof bytes);
    if (bytes > HD_HEADER_BYTES_MAX) /* before it sizes an allocation */
        return hd_fail(HEED_E_RANGE, "%s: a header of %" PRIu64 " bytes, more than %d", file->path,
                       bytes, HD_HEADER_BYTES_MAX);
    if ((int64_t)bytes > file->file_bytes - 8)
        return hd_fail(HEED_E_FORMAT, "%s: cut short in the header: %" PRId64 " bytes of %" PRIu64,
                       file->path, file->file_bytes - 8, bytes);
    file->data_at = 8 + (int64_t)bytes;
    text = hd_arena_alloc(file->arena, bytes, 1);
    if (!text)
        return hd_fail(HEED_E_NOMEM, "%s: no memory for the header", file->path);
    HD_TRY(read_at(file, 8, text, bytes));
    scan.text = (const unsigned char *)text;
    scan.bytes = bytes;
    HD_TRY(scan_header(&scan, file));
    return check_whole(file);
}

static heed_status handle_new(const char *path, hd_safetensors **out)
{
    hd_safetensors *file = hd_alloc(1, sizeof *file);

    if (!file)
        return hd_fail(HEED_E_NOMEM, "%s: no memory", path);
    file->fd = -1;
    if (!(file->arena = hd_arena_new(4096)) || !(file->path = hd_arena_strdup(file->arena, path))) {
        hd_safetensors_close(file);
        return hd_fail(HEED_E_NOMEM, "%s: no memory", path);
    }
    *out = file;
    return HEED_OK;
}

heed_status hd_safetensors_open(const char *path, hd_safetensors **out)
{
    hd_safetensors *file;
    heed_status status;
    struct stat about;

    HD_TRY(handle_new(path, &file));
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot open", path);
    else if (fstat(file->fd, &about) != 0)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot stat", path);
    else if (!S_ISREG(about.st_mode))
        status = hd_fail(HEED_E_FORMAT, "%s: not a file", path);
    else {
        file->file_bytes = (int64_t)about.st_size;
        status = read_header(file);
    }
    if (status != HEED_OK) {
        hd_safetensors_close(file);
        return status;
    }
    *out = file;
    return HEED_OK;
}

heed_status hd_safetensors_open_bytes(const void *bytes, size_t count, const char *name,
                                      hd_safetensors **out)
{
    hd_safetensors *file;

    HD_TRY(handle_new(name, &file));
    file->memory = bytes;
    file->file_bytes = (int64_t)count;
    heed_status status = read_header(file);
    if (status != HEED_OK) {
        hd_safetensors_close(file);
        return status;
    }
    *out = file;
    return HEED_OK;
}

void hd_safetensors_close(hd_safetensors *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    hd_free(file->tensor);
    hd_free(file->pair);
    hd_arena_free(file->arena);
    hd_free(file);
}

/* ---- looking */

const char *hd_safetensors_path(const hd_safetensors *file)
{
    return file->path;
}

int64_t hd_safetensors_text_count(const hd_safetensors *file)
{
    return file->pairs;
}

const char *hd_safetensors_text_at(const hd_safetensors *file, int64_t i, const char **key)
{
    *key = file->pair[i].key;
    return file->pair[i].value;
}

const char *hd_safetensors_text(const hd_safetensors *file, const char *key)
{
    int64_t low = 0, high = file->pairs;

    while (low < high) {
        int64_t middle = (low + high) / 2;
        int order = strcmp(file->pair[middle].key, key);
        if (order == 0)
            return file->pair[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

heed_status hd_safetensors_number(const hd_safetensors *file, const char *key, int64_t least,
                                  int64_t most, int64_t *out)
{
    const char *text = hd_safetensors_text(file, key), *at = text;
    int64_t value = 0;
    bool fits = true;

    if (!text)
        return hd_fail(HEED_E_FORMAT, "%s: there is no %s in the metadata", file->path, key);
    for (; fits && *at >= '0' && *at <= '9'; at++)
        fits = !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, (int64_t)(*at - '0'), &value);
    if (!fits || at == text || *at || value < least || value > most)
        return hd_fail(HEED_E_FORMAT, "%s: %s is \"%.40s\", not %" PRId64 " to %" PRId64,
                       file->path, key, text, least, most);
    *out = value;
    return HEED_OK;
}

int64_t hd_safetensors_count(const hd_safetensors *file)
{
    return file->count;
}

const struct hd_stored *hd_safetensors_at(const hd_safetensors *file, int64_t i)
{
    return &file->tensor[i];
}

const struct hd_stored *hd_safetensors_find(const hd_safetensors *file, const char *name)
{
    int64_t low = 0, high = file->count;

    while (low < high) {
        int64_t middle = (low + high) / 2;
        int order = strcmp(file->tensor[middle].name, name);
        if (order == 0)
            return &file->tensor[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *hd_stored_shape_text(const struct hd_stored *t)
{
    static _Thread_local char text[HD_STORED_RANK_MAX * 22 + 3];
    size_t used = 1;

    text[0] = '(';
    for (int i = 0; i < t->rank; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, i ? ", %" PRId64 : "%" PRId64,
                                 t->dim[i]);
    snprintf(text + used, sizeof text - used, ")");
    return text;
}

/* ---- numbers */

heed_status hd_safetensors_read(const hd_safetensors *file, const struct hd_stored *t, void *out)
{
    return read_at(file, file->data_at + t->offset, out, (size_t)t->bytes);
}

/* IEEE 754 binary16 in binary32, exactly. */
static float from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t fraction = half & 1023, bits;
    float x;

    if (exponent == 0) { /* zero or subnormal: fraction times 2^-24 */
        x = (float)fraction * 0x1p-24F;
        return sign ? -x : x;
    }
    bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static double number_at(enum hd_stored_type type, const char *bytes, size_t i)
{
    uint16_t half;
    double x;
    float f;

    switch (type) {
    case HD_STORED_F64:
        memcpy(&x, bytes + 8 * i, 8);
        return x;
    case HD_STORED_F32:
        memcpy(&f, bytes + 4 * i, 4);
        return (double)f;
    default:
        memcpy(&half, bytes + 2 * i, 2);
        return (double)(type == HD_STORED_F16 ? from_f16(half) : from_bf16(half));
    }
}

heed_status hd_safetensors_read_as(const hd_safetensors *file, const struct hd_stored *t,
                                   heed_dtype dtype, void *out)
{
    size_t item = (size_t)types[t->type].bytes, count = (size_t)t->bytes / item;
    char chunk[4096];

    if (t->type == (dtype == HEED_F32 ? HD_STORED_F32 : HD_STORED_F64))
        return hd_safetensors_read(file, t, out);
    if (t->type != HD_STORED_F32 && t->type != HD_STORED_F64 && t->type != HD_STORED_F16 &&
        t->type != HD_STORED_BF16)
        return hd_fail(HEED_E_FORMAT, "%s: %s holds %s, not floating-point numbers", file->path,
                       t->name, types[t->type].name);
    for (size_t from = 0; from < count; from += sizeof chunk / item) {
        size_t n = count - from < sizeof chunk / item ? count - from : sizeof chunk / item;
        HD_TRY(read_at(file, file->data_at + t->offset + (int64_t)(from * item), chunk, n * item));
        for (size_t i = 0; i < n; i++) {
            double x = number_at(t->type, chunk, i);
            if (dtype == HEED_F32)
                ((float *)out)[from + i] = (float)x;
            else
                ((double *)out)[from + i] = x;
        }
    }
    return HEED_OK;
}
