/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 (FIPS 180-4), for fingerprints of data: the split of an evaluation, a file of a release.
 * It is plain C and not hardened against timing, so no secret goes through it. */
#ifndef HD_SHA256_H
#define HD_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define HD_SHA256_BYTES 32
#define HD_SHA256_HEX_BYTES 65 /* 64 digits and the terminator */

/* confined. */
struct hd_sha256 {
    uint32_t state[8];
    uint64_t bytes;    /* taken in so far */
    uint8_t block[64]; /* the last, incomplete block */
};

void hd_sha256_init(struct hd_sha256 *sha);
void hd_sha256_update(struct hd_sha256 *sha, const void *data, size_t bytes);
/* Ends the message; the state is used up and must be initialised again. */
void hd_sha256_final(struct hd_sha256 *sha, uint8_t digest[HD_SHA256_BYTES]);
/* The same, as lower-case hexadecimal digits. */
void hd_sha256_final_hex(struct hd_sha256 *sha, char hex[HD_SHA256_HEX_BYTES]);

#endif
