/* SPDX-License-Identifier: Apache-2.0
 *
 * A keep-alive HTTP/1.1 connection: one request at a time, answers with a Content-Length. */
#include "load.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (64 << 10)

static void watch(struct load_client *c, int how, bool out)
{
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0),
                                .data.u32 = (uint32_t)c->index};

    epoll_ctl(c->epoll, how, c->fd, &event);
    c->wants_out = out;
}

bool load_client_open(struct load_client *c, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int on = 1;

    c->closing = false;
    c->fd = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    c->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Connecting waits, as the server is on this machine or near it. */
    if (c->fd >= 0 && connect(c->fd, found->ai_addr, found->ai_addrlen) != 0)
        load_client_close(c);
    freeaddrinfo(found);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ioctl(c->fd, FIONBIO, &on);
    watch(c, EPOLL_CTL_ADD, false);
    return true;
}

void load_client_close(struct load_client *c)
{
    int error = errno;

    close(c->fd); /* which also takes it out of the epoll */
    c->fd = -1;
    errno = error;
}

enum load_state load_client_send(struct load_client *c)
{
    while (c->sent < c->out.bytes) {
        ssize_t n = send(c->fd, c->out.at + c->sent, c->out.bytes - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return LOAD_CLOSED;
        if (n < 0)
            break;
        c->sent += (size_t)n;
    }
    bool left = c->sent < c->out.bytes;
    if (c->wants_out != left)
        watch(c, EPOLL_CTL_MOD, left);
    return LOAD_WAITS;
}

/* The value of a header's line in a head that ends with a NUL; NULL: it is not there. */
static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);

    return at ? at + strlen(name) : NULL;
}

/* Looks whether the whole answer is there. */
static enum load_state take_answer(struct load_client *c)
{
    char *end = c->in.bytes ? memmem(c->in.at, c->in.bytes, "\r\n\r\n", 4) : NULL;

    if (!end)
        return LOAD_WAITS;
    end[3] = '\0'; /* found again below as a length, not by its bytes */
    const char *length = header(c->in.at, "\ncontent-length:");
    const char *connection = header(c->in.at, "\nconnection:");
    c->status = c->in.bytes > 12 ? atoi(c->in.at + 9) : 0;
    end[3] = '\n';
    if (!length || c->status < 100)
        return LOAD_UNREADABLE;
    c->closing = connection && strncasecmp(connection + strspn(connection, " "), "close", 5) == 0;
    c->body = end + 4;
    c->body_bytes = (size_t)strtoull(length, NULL, 10);
    return c->in.bytes >= (size_t)(c->body - c->in.at) + c->body_bytes ? LOAD_ANSWERED : LOAD_WAITS;
}

enum load_state load_client_read(struct load_client *c)
{
    for (;;) {
        load_room(&c->in, READ_BYTES + 1);
        ssize_t n = recv(c->fd, c->in.at + c->in.bytes, READ_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return LOAD_WAITS;
        if (n <= 0)
            return LOAD_CLOSED;
        c->in.bytes += (size_t)n;
        enum load_state state = take_answer(c);
        if (state != LOAD_WAITS || n < READ_BYTES)
            return state;
    }
}
