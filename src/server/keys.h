/* SPDX-License-Identifier: Apache-2.0
 *
 * Who asks. A key is "heed_" and 43 characters: 32 random bytes in base64url. The store has its hash
 * (BLAKE2b, 32 bytes: the secret is as long as the hash, so a slow hash would protect nothing more);
 * what a caller shows is hashed and compared with every key in use, in the same time whichever it is.
 *
 * While the store has no key in use and only this machine can reach the server, whoever asks is its
 * operator, "local". A browser on this machine could be made to ask by any page it shows: such requests
 * are told by their Host and Origin and refused. */
#ifndef HD_KEYS_H
#define HD_KEYS_H

#include "heed/operate.h"

#define HD_SECRET_CHARACTERS 48 /* "heed_" and 43 */

struct hd_secret {
    char text[HD_SECRET_CHARACTERS + 1];
    uint8_t hash[32];
};
/* A new one. HEED_E_STATE: this machine gives no random numbers. */
HEED_CHECKED heed_status hd_secret_new(struct hd_secret *secret);
void hd_secret_hash(const char *text, size_t bytes, uint8_t hash[32]);

struct hd_caller {
    char name[65]; /* the key's, "local", or "" */
    bool known;
    heed_role role;
    char account[257];
};

enum hd_verdict {
    HD_WELCOME,
    HD_NO_KEY,   /* one is needed, and none was shown */
    HD_BAD_KEY,  /* what was shown is none, or not in use any more */
    HD_TOO_FAST, /* wait_s */
    HD_FOREIGN,  /* another site's page asks, through somebody's browser */
};

struct hd_claim { /* what a request says of who it is; texts may be NULL */
    const char *authorization, *api_key; /* headers */
    const char *host, *origin;
    const char *peer; /* its address */
};

typedef struct hd_keys hd_keys; /* locked */

/* loopback: only this machine can reach the server. rate: requests a second of a key that has no limit
 * of its own, and of an address without a key; 0: none. */
HEED_CHECKED heed_status hd_keys_new(bool loopback, int64_t rate, const char *cors_origin,
                                     hd_keys **keys);
void hd_keys_free(hd_keys *keys);
/* Takes over the keys as the store has them now; what was used of rates and quotas stays. */
HEED_CHECKED heed_status hd_keys_load(hd_keys *keys, heed_engine *engine);
/* What was used of the keys' quotas, into a file and out of it again, so that a restart forgets nothing
 * of it. Nothing is written where nothing was used since the last time; a crash forgets what came after
 * it. Of a file that cannot be understood what can be is taken, and HEED_E_FORMAT says where it stops. */
HEED_CHECKED heed_status hd_keys_save(hd_keys *keys, const char *path);
HEED_CHECKED heed_status hd_keys_recall(hd_keys *keys, const char *path);
/* Some key is in use. */
bool hd_keys_any(hd_keys *keys);
/* free_pass: the route is anybody's: nothing is refused, and no rate counted. */
enum hd_verdict hd_keys_check(hd_keys *keys, const struct hd_claim *claim, bool free_pass,
                              struct hd_caller *caller, int *wait_s);

#endif
