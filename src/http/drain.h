/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that were refused while their client was sending. Closing at once would make the
 * kernel answer with a reset, and a reset throws away an answer that was not read yet; so what still
 * comes is read and thrown away, up to a time and a size. */
#ifndef HD_HTTP_DRAIN_H
#define HD_HTTP_DRAIN_H

#include "base/limits.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct hd_drain { /* locked */
    pthread_mutex_t lock;
    int count;
    struct drained {
        int fd;
        int64_t deadline_ns;
        size_t bytes;
    } at[HD_HTTP_DRAINED_MAX];
};

void hd_drain_init(struct hd_drain *drain);
/* Closes all. */
void hd_drain_clear(struct hd_drain *drain);

/* The connection lives on in a second descriptor when its owner closes fd. False: there are too
 * many, or no descriptors. */
bool hd_drain_keep(struct hd_drain *drain, int fd);
/* What is to be polled for; how many. */
int hd_drain_poll(struct hd_drain *drain, struct pollfd polled[HD_HTTP_DRAINED_MAX]);
/* Reads what has come, and closes whoever is done or too long. */
void hd_drain_read(struct hd_drain *drain);

#endif
