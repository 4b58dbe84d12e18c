/* SPDX-License-Identifier: Apache-2.0
 *
 * Model files: safetensors, the format that Python's libraries read and write.
 *
 *     ┌───────────┬──────────────────────────────────────────────┬───────────────┐
 *     │ H, a u64  │ H bytes of JSON, spaces at the end           │ the numbers   │
 *     └───────────┴──────────────────────────────────────────────┴───────────────┘
 *     {"__metadata__": {"key": "value", ...},
 *      "name": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}, ...}
 *
 * All little-endian. Offsets count from the end of the header; the tensors cover the numbers
 * without gaps or overlaps, and to the last byte of the file. Everything is checked when a file is
 * opened, so what reads tensors afterwards can meet nothing but a failing disk.
 *
 * Source  the format's description at huggingface/safetensors, README.md. */
#ifndef HD_SAFETENSORS_H
#define HD_SAFETENSORS_H

#include "base/status.h"
#include "heed/tensor.h"

#define HD_STORED_RANK_MAX 8

/* name in the file, bytes of one number */
#define HD_STORED_TYPES(X) \
    X(F32, 4)              \
    X(F64, 8)              \
    X(F16, 2)              \
    X(BF16, 2)             \
    X(I64, 8)              \
    X(I32, 4)              \
    X(I16, 2)              \
    X(I8, 1)               \
    X(U64, 8)              \
    X(U32, 4)              \
    X(U16, 2)              \
    X(U8, 1)               \
    X(BOOL, 1)             \
    X(F8_E4M3, 1)          \
    X(F8_E5M2, 1)

enum hd_stored_type {
#define HD_STORED_ENUM(name, bytes) HD_STORED_##name,
    HD_STORED_TYPES(HD_STORED_ENUM)
#undef HD_STORED_ENUM
        HD_STORED_TYPES_COUNT
};

const char *hd_stored_type_name(enum hd_stored_type type);
int64_t hd_stored_type_bytes(enum hd_stored_type type);

/* One tensor of a file; `data` only where one is written. */
struct hd_stored {
    const char *name;
    enum hd_stored_type type;
    int rank;
    int64_t dim[HD_STORED_RANK_MAX];
    int64_t bytes, offset;
    const void *data;
};

/* immutable once open. */
typedef struct hd_safetensors hd_safetensors;

/* Errors   HEED_E_IO      cannot be opened or read
 *          HEED_E_FORMAT  not such a file, or cut short: with the byte or the tensor
 *          HEED_E_RANGE   a limit was passed */
HEED_CHECKED heed_status hd_safetensors_open(const char *path, hd_safetensors **file);
/* The same of bytes in memory, which must outlive the handle; name begins the messages. */
HEED_CHECKED heed_status hd_safetensors_open_bytes(const void *bytes, size_t count,
                                                   const char *name, hd_safetensors **file);
void hd_safetensors_close(hd_safetensors *file);
const char *hd_safetensors_path(const hd_safetensors *file);

/* The text kept under a key of the metadata, or NULL. */
const char *hd_safetensors_text(const hd_safetensors *file, const char *key);
/* A whole number kept there, written in digits alone, least .. most; least is 0 or more.
 * Errors   HEED_E_FORMAT  there is none, or another; the message names the file, the key and both ends */
HEED_CHECKED heed_status hd_safetensors_number(const hd_safetensors *file, const char *key,
                                               int64_t least, int64_t most, int64_t *out);
int64_t hd_safetensors_text_count(const hd_safetensors *file);
const char *hd_safetensors_text_at(const hd_safetensors *file, int64_t i, const char **key);

/* Tensors in the order of their names' bytes; find: NULL where there is none. */
int64_t hd_safetensors_count(const hd_safetensors *file);
const struct hd_stored *hd_safetensors_at(const hd_safetensors *file, int64_t i);
const struct hd_stored *hd_safetensors_find(const hd_safetensors *file, const char *name);

/* The bytes as they are in the file. */
HEED_CHECKED heed_status hd_safetensors_read(const hd_safetensors *file,
                                             const struct hd_stored *tensor, void *out);
/* The numbers as float32 or float64, from F32, F64, F16 or BF16. */
HEED_CHECKED heed_status hd_safetensors_read_as(const hd_safetensors *file,
                                                const struct hd_stored *tensor, heed_dtype dtype,
                                                void *out);
/* "(8, 63)", in a buffer of the thread's own. */
const char *hd_stored_shape_text(const struct hd_stored *tensor);

/* What begins a file of these tensors, in that order; fills in their offsets. Freed by hd_free().
 * Errors   HEED_E_EXISTS  two tensors or two keys of one name
 *          HEED_E_FORMAT  a name or text that is not UTF-8
 *          HEED_E_RANGE   a limit was passed */
HEED_CHECKED heed_status hd_safetensors_header(struct hd_stored *tensors, int64_t count,
                                               const char *const *keys, const char *const *values,
                                               int64_t pairs, char **bytes, size_t *bytes_count);
/* Writes path + ".new", syncs it, renames it to path, and syncs the folder: a crash leaves the old
 * file or the new one. One writer of a path at a time. */
HEED_CHECKED heed_status hd_safetensors_save(const char *path, struct hd_stored *tensors,
                                             int64_t count, const char *const *keys,
                                             const char *const *values, int64_t pairs);

#endif
