/* SPDX-License-Identifier: Apache-2.0
 *
 * The door's thread, its lists of who is in, and what it does with each when something comes from
 * it or a deadline passes. */
#define _GNU_SOURCE /* accept4 */
#include "http/guard.h"

#include "base/limits.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/time.h"
#include "http/drain.h"
#include "http/listen.h"
#include "http/text.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define PEER_BUCKETS 4096
#define ACCEPTS_MAX 64  /* in a row; then others are looked at */
#define LOOKS_MAX 64    /* at connections in the anteroom, in a row */
#define CUTS_MAX 64     /* in a row: of 12,000 that are due at once the last goes after a second */
#define CUTS_PAUSE_MS 5 /* after so many, for the adopter to work on their ends */

/* An address and how many connections it has. */
struct hd_peer {
    uint8_t address[16];
    int count;
    struct hd_peer *next;
};

/* In the order in which they came in. */
struct hd_links {
    struct hd_link *first, *last;
    int count;
};

struct hd_guard {
    struct hd_guard_opts opts;
    int wake, port, epoll; /* epoll: of the anteroom */
    pthread_t thread;
    bool running;
    atomic_bool ended;
    _Atomic int64_t accepted, refused, cut_off;
    struct hd_drain drain;
    char seen[HD_HTTP_HEAD_BYTES]; /* what has come to somebody in the anteroom; the thread's */
    /* Held while connections are taken and the anteroom is seen to, so that deaf means deaf: nobody
     * is adopted any more. Before `lock`. */
    pthread_mutex_t door;
    int listener; /* -1 once deaf */
    pthread_mutex_t lock; /* guards all below */
    struct hd_link **by_fd;
    int fds;
    struct hd_links anteroom, house; /* house: the adopted ones */
    int open;
    struct hd_peer *peers[PEER_BUCKETS];
    uint64_t seed;
};

/* Without a length: the end of the connection is its end. */
static const char full[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    "Retry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
    "\"detail\":\"too many connections\"}";

/* ---- links; under the lock */

/* Where the address's record hangs in its chain; *where is NULL where it has none. */
static struct hd_peer **find_peer(hd_guard *guard, const uint8_t key[16])
{
    uint64_t high, low;
    struct hd_peer **where;

    memcpy(&high, key, 8);
    memcpy(&low, key + 8, 8);
    where = &guard->peers[hd_mix64(hd_mix64(guard->seed ^ high) ^ low) % PEER_BUCKETS];
    while (*where && memcmp((*where)->address, key, 16) != 0)
        where = &(*where)->next;
    return where;
}

static void enter(struct hd_links *in, struct hd_link *link)
{
    link->in = in;
    link->previous = in->last;
    link->next = NULL;
    *(in->last ? &in->last->next : &in->first) = link;
    in->last = link;
    in->count++;
}

static void leave(struct hd_link *link)
{
    struct hd_links *in = link->in;

    *(link->previous ? &link->previous->next : &in->first) = link->next;
    *(link->next ? &link->next->previous : &in->last) = link->previous;
    in->count--;
}

static void drop_link(hd_guard *guard, struct hd_link *link)
{
    struct hd_peer **where = find_peer(guard, link->from->address);

    if (--link->from->count == 0) {
        *where = link->from->next;
        hd_free(link->from);
    }
    leave(link);
    guard->by_fd[link->fd] = NULL;
    guard->open--;
    hd_free(link);
}

/* NULL: there are too many, in all or from there, or no memory. */
static struct hd_link *add_link(hd_guard *guard, int fd, const struct sockaddr *address,
                                socklen_t bytes)
{
    bool spared = guard->opts.per_address == 0 ||
                  (guard->opts.spare_loopback && hd_address_loopback(address));
    struct hd_peer **where;
    struct hd_link *link;
    uint8_t key[16];

    /* Still there only where its adopter ran out of memory before it opened it. */
    if (guard->by_fd[fd])
        drop_link(guard, guard->by_fd[fd]);
    hd_address_key(address, key);
    where = find_peer(guard, key);
    if (guard->open >= guard->opts.connections ||
        (!spared && *where && (*where)->count >= guard->opts.per_address) ||
        bytes > sizeof link->address || !(link = hd_alloc(1, sizeof *link)))
        return NULL;
    if (!*where) {
        *where = hd_alloc(1, sizeof **where);
        if (!*where) {
            hd_free(link);
            return NULL;
        }
        memcpy((*where)->address, key, sizeof key);
    }
    (*where)->count++;
    link->from = *where;
    link->fd = fd;
    hd_link_give(link, guard->opts.head_ms);
    hd_address_text(address, link->peer);
    memcpy(&link->address, address, bytes);
    link->address_bytes = bytes;
    enter(&guard->anteroom, link);
    guard->by_fd[fd] = link;
    guard->open++;
    return link;
}

void hd_link_give(struct hd_link *link, int ms)
{
    int64_t now = hd_monotonic_ns();

    atomic_store(&link->since_ns, now);
    atomic_store(&link->deadline_ns, ms ? now + ms * INT64_C(1000000) : HD_NEVER);
}

struct hd_link *hd_guard_opened(hd_guard *guard, int fd)
{
    struct hd_link *link;

    pthread_mutex_lock(&guard->lock);
    link = guard->by_fd[fd];
    link->opened = true;
    pthread_mutex_unlock(&guard->lock);
    return link;
}

/* Its answer was sent and it is about to be closed. */
static bool still_sends(const struct hd_link *link)
{
    int unread = 0;

    return atomic_load(&link->drain) || (ioctl(link->fd, FIONREAD, &unread) == 0 && unread > 0);
}

void hd_guard_closed(hd_guard *guard, struct hd_link *link)
{
    bool sends = still_sends(link);
    int fd = link->fd;

    pthread_mutex_lock(&guard->lock);
    sends = sends && !link->cut;
    drop_link(guard, link);
    pthread_mutex_unlock(&guard->lock);
    if (sends && hd_drain_keep(&guard->drain, fd))
        eventfd_write(guard->wake, 1);
}

/* In the middle of a request nothing more is owed: closing throws away what the kernel still holds
 * for a client that does not take it. */
static void cut_link(struct hd_link *link)
{
    struct linger at_once = {1, 0};

    if (atomic_load(&link->busy))
        setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    shutdown(link->fd, SHUT_RDWR);
    link->cut = true;
}

void hd_guard_cut(hd_guard *guard, bool busy_too)
{
    pthread_mutex_lock(&guard->lock);
    for (struct hd_link *link = guard->house.first; link; link = link->next)
        if (link->opened && !link->cut && (busy_too || !atomic_load(&link->busy)))
            cut_link(link);
    pthread_mutex_unlock(&guard->lock);
}

/* ---- the anteroom; under the door */

static void dismiss(hd_guard *guard, struct hd_link *link)
{
    int fd = link->fd;

    pthread_mutex_lock(&guard->lock);
    drop_link(guard, link);
    pthread_mutex_unlock(&guard->lock);
    close(fd);
}

static void hand_over(hd_guard *guard, struct hd_link *link)
{
    struct sockaddr_in6 address = link->address;

    epoll_ctl(guard->epoll, EPOLL_CTL_DEL, link->fd, NULL);
    pthread_mutex_lock(&guard->lock);
    leave(link);
    enter(&guard->house, link);
    pthread_mutex_unlock(&guard->lock);
    if (guard->opts.adopt(guard->opts.context, link->fd, (struct sockaddr *)&address,
                          link->address_bytes))
        return; /* the link may be gone */
    atomic_fetch_add(&guard->refused, 1);
    pthread_mutex_lock(&guard->lock);
    drop_link(guard, link);
    pthread_mutex_unlock(&guard->lock);
}

/* ended: no more will come. Who has sent as much as a head may be long is not slow; that it is too
 * long is for the adopter to say. False: the link is in the anteroom no more. */
static bool look_at(hd_guard *guard, struct hd_link *link, bool ended)
{
    ssize_t got = recv(link->fd, guard->seen, sizeof guard->seen, MSG_PEEK | MSG_DONTWAIT);
    size_t bytes = got > 0 ? (size_t)got : 0;
    bool whole = bytes == sizeof guard->seen ||
                 (guard->opts.tls ? hd_tls_record_whole(guard->seen, bytes)
                                  : hd_http_head_whole(guard->seen, bytes));

    if (!whole && !ended && (got > 0 || (got < 0 && errno == EAGAIN))) {
        link->began = got > 0;
        return true;
    }
    if (whole)
        hand_over(guard, link);
    else
        dismiss(guard, link);
    return false;
}

static void see_to_anteroom(hd_guard *guard)
{
    struct epoll_event ready[LOOKS_MAX];

    pthread_mutex_lock(&guard->door);
    int count = epoll_wait(guard->epoll, ready, LOOKS_MAX, 0);
    for (int i = 0; i < count; i++)
        look_at(guard, ready[i].data.ptr,
                (ready[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
    pthread_mutex_unlock(&guard->door);
}

/* ---- deadlines: each puts out CUTS_MAX at most, and returns how many it did */

static bool crowded(hd_guard *guard)
{
    bool many;

    pthread_mutex_lock(&guard->lock);
    many = guard->open >= guard->opts.connections - guard->opts.connections / 8;
    pthread_mutex_unlock(&guard->lock);
    return many;
}

/* All have the same time, so who came first is due first. */
static int clear_anteroom(hd_guard *guard)
{
    int64_t now = hd_monotonic_ns(), patience = HD_HTTP_CROWDED_MS * INT64_C(1000000);
    bool crowd = crowded(guard);
    int cuts = 0;

    pthread_mutex_lock(&guard->door);
    for (struct hd_link *link; cuts < CUTS_MAX && (link = guard->anteroom.first); cuts++) {
        bool silent = crowd && atomic_load(&link->since_ns) + patience <= now;
        if (!silent && atomic_load(&link->deadline_ns) > now)
            break;
        if (silent || link->began)
            atomic_fetch_add(&guard->cut_off, 1);
        dismiss(guard, link);
    }
    pthread_mutex_unlock(&guard->door);
    return cuts;
}

static int clear_house(hd_guard *guard)
{
    int64_t now = hd_monotonic_ns(), patience = HD_HTTP_CROWDED_MS * INT64_C(1000000);
    bool crowd = crowded(guard);
    int cuts = 0;

    pthread_mutex_lock(&guard->lock);
    for (struct hd_link *link = guard->house.first; link && cuts < CUTS_MAX; link = link->next) {
        bool busy = atomic_load(&link->busy),
             silent = crowd && !busy && atomic_load(&link->since_ns) + patience <= now;
        if (!link->opened || link->cut || (!silent && atomic_load(&link->deadline_ns) > now))
            continue;
        cut_link(link);
        cuts++;
        if (busy || silent)
            atomic_fetch_add(&guard->cut_off, 1);
    }
    pthread_mutex_unlock(&guard->lock);
    return cuts;
}

/* In how many milliseconds there is more to do. Of a crowd, who never asked goes first. */
static int enforce_deadlines(hd_guard *guard)
{
    bool more = clear_anteroom(guard) == CUTS_MAX;

    more |= clear_house(guard) == CUTS_MAX;
    return more ? CUTS_PAUSE_MS : guard->opts.tick_ms;
}

/* ---- the thread */

static void refuse(hd_guard *guard, int fd)
{
    atomic_fetch_add(&guard->refused, 1);
    if (!guard->opts.tls)
        send(fd, full, sizeof full - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void accept_one(hd_guard *guard, int fd, const struct sockaddr *address, socklen_t bytes)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    struct hd_link *link = NULL;
    int on = 1, unsent = HD_HTTP_UNSENT_BYTES;

    atomic_fetch_add(&guard->accepted, 1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    pthread_mutex_lock(&guard->lock);
    if (fd < guard->fds)
        link = add_link(guard, fd, address, bytes);
    pthread_mutex_unlock(&guard->lock);
    event.data.ptr = link;
    if (!link) {
        refuse(guard, fd);
    } else if (look_at(guard, link, false) /* most have asked by now */
               && epoll_ctl(guard->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        atomic_fetch_add(&guard->refused, 1);
        dismiss(guard, link);
    }
}

/* False where the process has no descriptors or memory left: better look again a little later. */
static bool accept_some(hd_guard *guard)
{
    bool well = true;

    pthread_mutex_lock(&guard->door);
    for (int i = 0; i < ACCEPTS_MAX && guard->listener >= 0; i++) {
        struct sockaddr_storage address;
        socklen_t bytes = sizeof address;
        int fd = accept4(guard->listener, (struct sockaddr *)&address, &bytes,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            well = errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
            break;
        }
        accept_one(guard, fd, (struct sockaddr *)&address, bytes);
    }
    pthread_mutex_unlock(&guard->door);
    return well;
}

static void *guard_thread(void *argument)
{
    hd_guard *guard = argument;
    struct pollfd polled[3 + HD_HTTP_DRAINED_MAX];
    bool breathless = false;
    int64_t next_ns = 0;

    while (!atomic_load(&guard->ended)) {
        int64_t left_ms = (next_ns - hd_monotonic_ns()) / 1000000 + 1;
        polled[0] = (struct pollfd){guard->wake, POLLIN, 0};
        polled[1] = (struct pollfd){guard->epoll, POLLIN, 0};
        pthread_mutex_lock(&guard->door);
        polled[2] = (struct pollfd){breathless ? -1 : guard->listener, POLLIN, 0};
        pthread_mutex_unlock(&guard->door);
        nfds_t count = 3 + (nfds_t)hd_drain_poll(&guard->drain, polled + 3);
        poll(polled, count, left_ms > 0 ? (int)left_ms : 0);
        if (polled[0].revents & POLLIN) {
            eventfd_t value;
            eventfd_read(guard->wake, &value);
        }
        if (polled[1].revents & POLLIN)
            see_to_anteroom(guard);
        breathless = (polled[2].revents & POLLIN) && !accept_some(guard);
        hd_drain_read(&guard->drain);
        if (hd_monotonic_ns() >= next_ns)
            next_ns = hd_monotonic_ns() + enforce_deadlines(guard) * INT64_C(1000000);
    }
    return NULL;
}

/* ---- opening and closing */

/* Raises the soft limit of descriptors to the hard one, as each connection takes one, and returns
 * it. It is the process's own and is not lowered again. */
static int raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur < HD_HTTP_DESCRIPTORS_MAX ? (int)limit.rlim_cur : HD_HTTP_DESCRIPTORS_MAX;
}

heed_status hd_guard_open(const struct hd_guard_opts *opts, hd_guard **out)
{
    hd_guard *guard = hd_alloc(1, sizeof *guard);
    heed_status status;

    if (!guard)
        return hd_fail(HEED_E_NOMEM, "http: out of memory");
    guard->opts = *opts;
    guard->listener = guard->wake = guard->epoll = -1;
    guard->seed = hd_mix64((uint64_t)hd_monotonic_ns() ^ (uintptr_t)guard);
    guard->fds = raise_descriptors();
    if (guard->opts.connections > guard->fds - HD_HTTP_DESCRIPTORS_KEPT)
        guard->opts.connections = guard->fds > 2 * HD_HTTP_DESCRIPTORS_KEPT
                                      ? guard->fds - HD_HTTP_DESCRIPTORS_KEPT
                                      : guard->fds / 2;
    hd_drain_init(&guard->drain);
    pthread_mutex_init(&guard->lock, NULL);
    pthread_mutex_init(&guard->door, NULL);
    status = hd_listen_open(opts->listen, &guard->listener, &guard->port);
    guard->by_fd = hd_alloc((size_t)guard->fds, sizeof(struct hd_link *));
    if (status == HEED_OK && !guard->by_fd)
        status = hd_fail(HEED_E_NOMEM, "http: out of memory");
    if (status == HEED_OK && (guard->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        status = hd_fail_errno(HEED_E_IO, "http: eventfd");
    if (status == HEED_OK && (guard->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        status = hd_fail_errno(HEED_E_IO, "http: epoll");
    if (status == HEED_OK)
        *out = guard;
    else
        hd_guard_close(guard);
    return status;
}

heed_status hd_guard_start(hd_guard *guard)
{
    int failed = pthread_create(&guard->thread, NULL, guard_thread, guard);

    if (failed) {
        errno = failed;
        return hd_fail_errno(HEED_E_IO, "http: a thread cannot be started");
    }
    guard->running = true;
    return HEED_OK;
}

int hd_guard_port(const hd_guard *guard)
{
    return guard->port;
}

void hd_guard_deafen(hd_guard *guard)
{
    pthread_mutex_lock(&guard->door);
    if (guard->listener >= 0)
        close(guard->listener);
    guard->listener = -1;
    while (guard->anteroom.first)
        dismiss(guard, guard->anteroom.first);
    pthread_mutex_unlock(&guard->door);
    eventfd_write(guard->wake, 1);
}

void hd_guard_close(hd_guard *guard)
{
    if (!guard)
        return;
    atomic_store(&guard->ended, true);
    if (guard->running) {
        eventfd_write(guard->wake, 1);
        pthread_join(guard->thread, NULL);
    }
    hd_drain_clear(&guard->drain);
    while (guard->anteroom.first)
        dismiss(guard, guard->anteroom.first);
    while (guard->house.first) /* adopted, but never opened */
        drop_link(guard, guard->house.first);
    if (guard->listener >= 0)
        close(guard->listener);
    if (guard->wake >= 0)
        close(guard->wake);
    if (guard->epoll >= 0)
        close(guard->epoll);
    pthread_mutex_destroy(&guard->lock);
    pthread_mutex_destroy(&guard->door);
    hd_free(guard->by_fd);
    hd_free(guard);
}

void hd_guard_count(hd_guard *guard, struct hd_guard_counts *out)
{
    pthread_mutex_lock(&guard->lock);
    out->open = guard->open;
    out->waiting = guard->anteroom.count;
    pthread_mutex_unlock(&guard->lock);
    out->accepted = atomic_load(&guard->accepted);
    out->refused = atomic_load(&guard->refused);
    out->cut_off = atomic_load(&guard->cut_off);
}
