/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that hold a server's memory and patience. Of three in turn one says nothing, one sends a
 * request's head, a byte a second, and one asks once and is idle from then on. What the server closes
 * is opened again, so that as many as it lets live stand against it all the time. They come from many
 * loopback addresses (127.1.x.y), as a flood comes from many; a limit per address would else let few
 * of them in.
 *
 * And a wall to hold them against instead of a server: what others feel then is what the holding
 * itself takes of the machine. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PER_ADDRESS 100
#define SECOND_NS INT64_C(1000000000)
#define OPENS_A_ROUND 500 /* each tenth of a second: what was lost comes back, not all in one burst */

#define WALL_NS (10 * SECOND_NS) /* as long as heed waits for a head */
#define WALL_ROW 64              /* accepts, and closes, before the others' turn */

enum kind { SILENT, SLOW, ASKED, KINDS };
static const char question[] = "GET /healthz HTTP/1.1\r\nHost: idle\r\n\r\n";
static const char slow_head[] = "POST /v1/feed HTTP/1.1\r\nHost: slow\r\nX-Slow: "
                                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct holder {
    int fd; /* -1: closed */
    size_t sent;
};
struct hold {
    struct holder *holders;
    struct sockaddr_in server;
    int count, open, open_max, epoll;
    int64_t opened, closed, refused;
};

static void open_one(struct hold *hold, int i)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = (uint32_t)i};
    struct holder *h = &hold->holders[i];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    from.sin_addr.s_addr = htonl(0x7F010001u + (uint32_t)(i / PER_ADDRESS) * 2);
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (struct sockaddr *)&hold->server, sizeof hold->server) != 0) {
        hold->refused++;
        if (fd >= 0)
            close(fd);
        return;
    }
    *h = (struct holder){.fd = fd};
    if (i % KINDS == ASKED)
        send(fd, question, sizeof question - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    epoll_ctl(hold->epoll, EPOLL_CTL_ADD, fd, &event);
    hold->opened++;
    hold->open++;
    hold->open_max = hold->open > hold->open_max ? hold->open : hold->open_max;
}

static void close_one(struct hold *hold, struct holder *h)
{
    close(h->fd);
    h->fd = -1;
    hold->open--;
    hold->closed++;
}

/* An answer is read and thrown away: only the end counts. */
static void take_news(struct hold *hold, int timeout_ms)
{
    struct epoll_event ready[256];
    char answer[4096];
    int n = epoll_wait(hold->epoll, ready, 256, timeout_ms);

    for (int i = 0; i < n; i++) {
        struct holder *h = &hold->holders[ready[i].data.u32];
        if (h->fd >= 0 && recv(h->fd, answer, sizeof answer, MSG_DONTWAIT) <= 0)
            close_one(hold, h);
    }
}

/* One of ten groups at a time, so that each connection has its byte once a second. */
static void send_bytes(struct hold *hold, int group)
{
    for (int i = SLOW; i < hold->count; i += KINDS) {
        struct holder *h = &hold->holders[i];
        if (i / KINDS % 10 == group && h->fd >= 0 && h->sent + 1 < sizeof slow_head)
            h->sent += send(h->fd, slow_head + h->sent, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
    }
}

static void fill(struct hold *hold)
{
    for (int i = 0, opens = 0; i < hold->count && opens < OPENS_A_ROUND; i++)
        if (hold->holders[i].fd < 0) {
            open_one(hold, i);
            opens++;
        }
}

static bool allow_files(int count)
{
    struct rlimit files = {.rlim_cur = (rlim_t)count + 64, .rlim_max = (rlim_t)count + 64};

    return setrlimit(RLIMIT_NOFILE, &files) == 0;
}

int load_hold(const char *host, const char *port, int count, double seconds)
{
    struct hold hold = {.count = count, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    int64_t end = load_clock_ns() + (int64_t)(seconds * 1e9);

    hold.server.sin_family = AF_INET;
    hold.server.sin_port = htons((uint16_t)atoi(port));
    hold.holders = calloc((size_t)count, sizeof *hold.holders);
    if (inet_pton(AF_INET, host, &hold.server.sin_addr) != 1 || !hold.holders || hold.epoll < 0 ||
        !allow_files(count)) {
        fprintf(stderr, "load: hold needs an IPv4 address and %d descriptors\n", count + 64);
        return 1;
    }
    for (int i = 0; i < count; i++)
        hold.holders[i].fd = -1;
    for (int round = 0; load_clock_ns() < end; round++) {
        int64_t until = load_clock_ns() + SECOND_NS / 10;
        fill(&hold);
        send_bytes(&hold, round % 10);
        for (int64_t now; (now = load_clock_ns()) < until;)
            take_news(&hold, (int)((until - now) / 1000000) + 1);
    }
    printf("{\"mode\": \"hold\", \"connections\": %d, \"open\": %d, \"open_max\": %d, \"opened\": %" PRId64
           ", \"closed_by_server\": %" PRId64 ", \"refused\": %" PRId64 "}\n",
           count, hold.open, hold.open_max, hold.opened, hold.closed, hold.refused);
    free(hold.holders);
    return 0;
}

/* ---- the wall */

struct wall {
    struct guest {
        int fd;
        int64_t until_ns;
    } * guests; /* a ring, in order of arrival; who has asked is taken out of it, and stays open */
    int room, first, count, listener;
    int64_t accepted, closed;
};

static void let_in(struct wall *wall)
{
    for (int i = 0; i < WALL_ROW && wall->count < wall->room; i++) {
        int fd = accept(wall->listener, NULL, NULL);
        if (fd < 0)
            return;
        wall->guests[(wall->first + wall->count++) % wall->room] =
            (struct guest){fd, load_clock_ns() + WALL_NS};
        wall->accepted++;
    }
}

static void put_out(struct wall *wall)
{
    for (int i = 0; i < WALL_ROW && wall->count > 0; i++) {
        struct guest *guest = &wall->guests[wall->first];
        int unread = 0;
        if (guest->until_ns > load_clock_ns())
            return;
        ioctl(guest->fd, FIONREAD, &unread);
        if (unread < (int)sizeof question - 1) {
            close(guest->fd);
            wall->closed++;
        }
        wall->first = (wall->first + 1) % wall->room;
        wall->count--;
    }
}

int load_wall(const char *host, const char *port, int count, double seconds)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct wall wall = {.room = count, .guests = calloc((size_t)count, sizeof *wall.guests)};
    int64_t end = load_clock_ns() + (int64_t)(seconds * 1e9);
    int on = 1;

    wall.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(wall.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1 || !wall.guests || !allow_files(count) ||
        bind(wall.listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(wall.listener, SOMAXCONN) != 0) {
        fprintf(stderr, "load: no wall at %s:%s: %s\n", host, port, strerror(errno));
        return 1;
    }
    while (load_clock_ns() < end) {
        struct pollfd polled = {wall.listener, POLLIN, 0};
        poll(&polled, 1, 5);
        let_in(&wall);
        put_out(&wall);
    }
    printf("{\"mode\": \"wall\", \"accepted\": %" PRId64 ", \"closed\": %" PRId64 "}\n",
           wall.accepted, wall.closed);
    free(wall.guests);
    return 0;
}
