/* SPDX-License-Identifier: Apache-2.0
 *
 * The door: listens, counts who is in, and puts out who stays too long. Of HTTP it knows the words
 * with which it turns somebody away, and where a request's head ends.
 *
 * One thread takes connections, watches deadlines on the monotonic clock and drains what clients
 * still send after they were refused. Whoever comes in waits in the anteroom until a whole head (of
 * TLS: the first record) has come, and is adopted then: who says nothing, or says it a byte a
 * second, costs a descriptor and a few hundred bytes here, and neither a thread that serves others
 * nor its memory. What has come is only looked at; the adopter reads it.
 *
 * A deadline is absolute: a byte a second does not move it. A descriptor is shut down under the lock
 * under which its owner gives it back, so that a reused one is never hit. Of thousands that are due
 * at once a few are put out at a time, so that what this costs the adopter comes between the
 * requests of others and not before them.
 *
 * Where seven eighths of all places are taken, who has had one for two seconds without asking
 * anything loses it: silent connections by the thousand do not keep others out.
 *
 *     accept ─▶ counted ─▶ anteroom ─▶ adopt(fd) ─▶ opened(fd): link ─▶ deadlines ─▶ closed(link)
 *                             │                                                          │
 *                             ▼ deadline, or gone                                        ▼
 *                           closed                                                   [drained]
 */
#ifndef HD_HTTP_GUARD_H
#define HD_HTTP_GUARD_H

#include "base/status.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

typedef struct hd_guard hd_guard; /* locked */

#define HD_NEVER INT64_MAX

/* One connection. The deadline and the two marks are set by whoever works on it, without the lock.
 */
struct hd_link {
    _Atomic int64_t deadline_ns; /* HD_NEVER: none */
    _Atomic int64_t since_ns;    /* when it was last given a deadline */
    atomic_bool busy;            /* a request is under way: cutting it off is worth counting */
    atomic_bool drain;           /* read on after closing: the client may still be sending */
    char peer[INET6_ADDRSTRLEN];
    /* ---- the guard's own */
    int fd;
    bool began; /* in the anteroom: a part of a head is there */
    bool opened, cut;
    struct sockaddr_in6 address; /* or a sockaddr_in */
    socklen_t address_bytes;
    struct hd_peer *from;
    struct hd_links *in;
    struct hd_link *previous, *next;
};

struct hd_guard_opts {
    const char *listen;
    int connections, per_address; /* per_address 0: any number */
    bool spare_loopback;          /* per_address is not for this machine's own */
    bool tls;                     /* nothing can be said before a handshake, no head be seen */
    int head_ms;
    int tick_ms;
    /* Hands a connection over; it owns the descriptor from here on, also when it fails. */
    bool (*adopt)(void *context, int fd, const struct sockaddr *address, socklen_t bytes);
    void *context;
};

HEED_CHECKED heed_status hd_guard_open(const struct hd_guard_opts *opts, hd_guard **guard);
/* Begins to take connections; apart from opening, so that who adopts can be made ready in between.
 */
HEED_CHECKED heed_status hd_guard_start(hd_guard *guard);
int hd_guard_port(const hd_guard *guard);

/* From now on; 0: as long as it takes. */
void hd_link_give(struct hd_link *link, int ms);

/* The adopter is about to read from fd / to close it. */
struct hd_link *hd_guard_opened(hd_guard *guard, int fd);
void hd_guard_closed(hd_guard *guard, struct hd_link *link);

/* Takes no more connections and puts out those in the anteroom; the port is free for another. */
void hd_guard_deafen(hd_guard *guard);
/* Puts out the adopted ones without a request, or all. */
void hd_guard_cut(hd_guard *guard, bool busy_too);
/* Ends the thread; nobody may be adopted or open any more, or be about to. */
void hd_guard_close(hd_guard *guard);

struct hd_guard_counts {
    int64_t open, waiting; /* waiting: of the open ones, in the anteroom */
    int64_t accepted, refused, cut_off;
};
void hd_guard_count(hd_guard *guard, struct hd_guard_counts *out);

#endif
