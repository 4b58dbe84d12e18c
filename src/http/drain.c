/* SPDX-License-Identifier: Apache-2.0
 *
 * A short array under a lock: who keeps and who reads are different threads. */
#include "http/drain.h"

#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_MAX 4 /* of one client in a row; others are waiting */

void hd_drain_init(struct hd_drain *drain)
{
    pthread_mutex_init(&drain->lock, NULL);
    drain->count = 0;
}

void hd_drain_clear(struct hd_drain *drain)
{
    for (int i = 0; i < drain->count; i++)
        close(drain->at[i].fd);
    pthread_mutex_destroy(&drain->lock);
}

bool hd_drain_keep(struct hd_drain *drain, int fd)
{
    int64_t deadline_ns = hd_monotonic_ns() + HD_HTTP_DRAIN_MS * INT64_C(1000000);
    int kept = -1;

    pthread_mutex_lock(&drain->lock);
    if (drain->count < HD_HTTP_DRAINED_MAX && (kept = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0)
        drain->at[drain->count++] = (struct drained){kept, deadline_ns, 0};
    pthread_mutex_unlock(&drain->lock);
    return kept >= 0;
}

int hd_drain_poll(struct hd_drain *drain, struct pollfd polled[HD_HTTP_DRAINED_MAX])
{
    int count;

    pthread_mutex_lock(&drain->lock);
    count = drain->count;
    for (int i = 0; i < count; i++)
        polled[i] = (struct pollfd){drain->at[i].fd, POLLIN, 0};
    pthread_mutex_unlock(&drain->lock);
    return count;
}

void hd_drain_read(struct hd_drain *drain)
{
    int64_t now = hd_monotonic_ns();
    char waste[16 << 10];

    pthread_mutex_lock(&drain->lock);
    for (int i = 0; i < drain->count; i++) {
        struct drained *d = &drain->at[i];
        ssize_t got = 1;
        for (int n = 0; n < READS_MAX && got > 0; n++)
            if ((got = recv(d->fd, waste, sizeof waste, MSG_DONTWAIT)) > 0)
                d->bytes += (size_t)got;
        if ((got < 0 && errno == EAGAIN) || got > 0)
            if (now < d->deadline_ns && d->bytes < HD_HTTP_DRAIN_BYTES)
                continue;
        close(d->fd);
        *d = drain->at[--drain->count];
        i--;
    }
    pthread_mutex_unlock(&drain->lock);
}
