/* SPDX-License-Identifier: Apache-2.0
 *
 * A request's body while it comes in, unpacked as it comes, and answers being packed. What a body
 * may grow to is bounded twice: by itself, and together with all others that are being received. */
#ifndef HD_HTTP_BODY_H
#define HD_HTTP_BODY_H

#include "http/text.h"

#include <stdatomic.h>

/* All bodies that are held at this moment; shared, so locked by being atomic. */
struct hd_bodies {
    _Atomic size_t bytes;
    size_t bytes_max;
};

/* confined. All zero: none. */
struct hd_body {
    struct hd_bodies *all;
    enum hd_coding coding;
    void *unpacker;
    bool ended; /* the packed stream is at an end: of a member, of a frame */
    unsigned char magic[4]; /* zstd: what the frame begins with */
    int magic_bytes;
    char *bytes;
    size_t count, room, max;
    size_t wire; /* bytes as sent */
};

/* An HTTP status says what is wrong (400, 413, 503), 0: nothing. */
int hd_body_begin(struct hd_body *body, struct hd_bodies *all, enum hd_coding coding, size_t max);
int hd_body_take(struct hd_body *body, const char *bytes, size_t count);
/* No more comes: 400 where a packed one was cut short. The bytes end in NUL from here on. */
int hd_body_end(struct hd_body *body);
void hd_body_clear(struct hd_body *body);

/* ---- the way out: confined; all zero before the first use */
struct hd_packer {
    enum hd_coding coding;
    void *state;
    bool ended;
};

bool hd_packer_begin(struct hd_packer *packer, enum hd_coding coding);
/* Packs *in into out, both moved on; `last`: nothing comes after *in. False: broken, of memory. */
bool hd_packer_run(struct hd_packer *packer, const char **in, size_t *in_bytes, bool last,
                   char *out, size_t room, size_t *made);
void hd_packer_clear(struct hd_packer *packer);

/* The whole of a text, on the heap; NULL where that would not be shorter. */
char *hd_pack(enum hd_coding coding, const char *text, size_t bytes, size_t *packed);

#endif
