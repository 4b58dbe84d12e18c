/* SPDX-License-Identifier: Apache-2.0
 *
 * A model file from anywhere. Laws: what opens covers the file without gaps, every tensor can be
 * read, and a file written from what was read opens to the same tensors, numbers and texts. */
#include "base/memory.h"
#include "nn/safetensors.h"

#include <stdlib.h>
#include <string.h>

#define LAW(holds)    \
    do {              \
        if (!(holds)) \
            abort();  \
    } while (0)

#define BYTES_MAX (1 << 20) /* of a tensor that is read whole */

static void read_all(const hd_safetensors *file, int64_t payload)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < hd_safetensors_count(file); i++) {
        const struct hd_stored *s = hd_safetensors_at(file, i);
        LAW(s->bytes >= 0 && s->offset >= 0 && s->offset + s->bytes <= payload);
        LAW(hd_safetensors_find(file, s->name) == s);
        LAW(hd_stored_shape_text(s)[0] == '(');
        sum += s->bytes;
        if (s->bytes > BYTES_MAX)
            continue;
        void *out = malloc((size_t)s->bytes + 1);
        LAW(out && hd_safetensors_read(file, s, out) == HEED_OK);
        free(out);
        int64_t count = s->bytes / hd_stored_type_bytes(s->type);
        double *numbers = malloc((size_t)count * sizeof *numbers + 1);
        heed_status status = hd_safetensors_read_as(file, s, HEED_F64, numbers);
        LAW(status == HEED_OK || heed_error_message()[0] != '\0');
        free(numbers);
    }
    LAW(sum == payload);
}

/* The same tensors and texts, written again and opened again. */
static void write_again(const hd_safetensors *file, const uint8_t *payload, int64_t payload_bytes)
{
    int64_t count = hd_safetensors_count(file), pairs = hd_safetensors_text_count(file);
    struct hd_stored *tensors = calloc((size_t)count + 1, sizeof *tensors);
    const char **keys = calloc((size_t)pairs + 1, sizeof *keys);
    const char **values = calloc((size_t)pairs + 1, sizeof *values);
    hd_safetensors *again = NULL;
    char *header = NULL;
    size_t bytes;

    LAW(tensors && keys && values);
    for (int64_t i = 0; i < count; i++)
        tensors[i] = *hd_safetensors_at(file, i);
    for (int64_t i = 0; i < pairs; i++)
        values[i] = hd_safetensors_text_at(file, i, &keys[i]);
    /* What could be opened can be written: no name is there twice, all of it is UTF-8. */
    LAW(hd_safetensors_header(tensors, count, keys, values, pairs, &header, &bytes) == HEED_OK);
    uint8_t *whole = calloc(1, bytes + (size_t)payload_bytes + 1);
    LAW(whole);
    memcpy(whole, header, bytes);
    for (int64_t i = 0; i < count; i++) /* each in its new place */
        memcpy(whole + bytes + tensors[i].offset, payload + hd_safetensors_at(file, i)->offset,
               (size_t)tensors[i].bytes);
    LAW(hd_safetensors_open_bytes(whole, bytes + (size_t)payload_bytes, "again", &again) ==
        HEED_OK);
    LAW(hd_safetensors_count(again) == count);
    for (int64_t i = 0; i < count; i++) {
        const struct hd_stored *a = hd_safetensors_at(file, i), *b = hd_safetensors_at(again, i);
        LAW(strcmp(a->name, b->name) == 0);
        LAW(a->type == b->type && a->rank == b->rank && a->bytes == b->bytes);
        LAW(memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0);
        LAW(memcmp(payload + a->offset, whole + bytes + b->offset, (size_t)a->bytes) == 0);
    }
    LAW(hd_safetensors_text_count(again) == pairs);
    for (int64_t i = 0; i < pairs; i++) {
        const char *text = hd_safetensors_text(again, keys[i]);
        LAW(text && strcmp(text, values[i]) == 0);
    }
    hd_safetensors_close(again);
    free(whole);
    hd_free(header);
    free(tensors);
    free(keys);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    hd_safetensors *file = NULL;
    uint64_t header = 0;

    if (hd_safetensors_open_bytes(data, bytes, "fuzz", &file) != HEED_OK) {
        LAW(file == NULL && strncmp(heed_error_message(), "fuzz", 4) == 0);
        return 0;
    }
    for (int i = 7; i >= 0; i--)
        header = header << 8 | data[i];
    LAW(8 + header <= bytes);
    int64_t payload = (int64_t)(bytes - 8 - header);
    read_all(file, payload);
    write_again(file, data + 8 + header, payload);
    hd_safetensors_close(file);
    return 0;
}
