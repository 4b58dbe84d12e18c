/* SPDX-License-Identifier: Apache-2.0
 *
 * getaddrinfo() and sockets, once at the start. */
#include "http/listen.h"

#include "http/http.h"
#include "http/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

/* ---- who calls */

bool hd_address_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        return IN6_IS_ADDR_LOOPBACK(&in.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr) && in.sin6_addr.s6_addr[12] == 127);
    }
    return false;
}

void hd_address_key(const struct sockaddr *address, uint8_t key[16])
{
    memset(key, 0, 16);
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &in.sin_addr, 4);
    } else {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        memcpy(key, &in.sin6_addr, IN6_IS_ADDR_V4MAPPED(&in.sin6_addr) ? 16 : 8);
    }
}

void hd_address_text(const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    uint8_t key[16];

    hd_address_key(address, key);
    if (address->sa_family == AF_INET || (key[10] == 0xff && key[11] == 0xff)) {
        inet_ntop(AF_INET, key + 12, text, INET6_ADDRSTRLEN);
    } else {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        inet_ntop(AF_INET6, &in.sin6_addr, text, INET6_ADDRSTRLEN);
    }
}

/* ---- where to listen */

static int listen_on(const struct addrinfo *info)
{
    int on = 1, off = 0;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, info->ai_protocol);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (info->ai_family == AF_INET6) /* [::] takes IPv4 too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    on = errno;
    close(fd);
    errno = on;
    return -1;
}

/* Of all addresses the IPv6 one, which takes IPv4 too; of a name's the IPv4 one, which whoever
 * writes `localhost` means more often. */
static int listen_on_best(const struct addrinfo *found, int preferred)
{
    int fd = -1;

    for (const struct addrinfo *i = found; i && fd < 0; i = i->ai_next)
        if (i->ai_family == preferred)
            fd = listen_on(i);
    for (const struct addrinfo *i = found; i && fd < 0; i = i->ai_next)
        if (i->ai_family != preferred)
            fd = listen_on(i);
    return fd;
}

heed_status hd_listen_open(const char *where, int *listener, int *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found;
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof bound;
    struct hd_listen address;
    struct sockaddr_in in;
    int result, fd;

    HD_TRY(hd_listen_parse(where, &address));
    result = getaddrinfo(address.host[0] ? address.host : NULL, address.port, &hints, &found);
    if (result != 0)
        return hd_fail(HEED_E_ARG, "listen: `%.100s`: %s", where, gai_strerror(result));
    fd = listen_on_best(found, address.host[0] ? AF_INET : AF_INET6);
    freeaddrinfo(found);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&bound, &bytes) != 0)
        return hd_fail_errno(HEED_E_IO, "listen: `%.100s`", where);
    memcpy(&in, &bound, sizeof in); /* the port lies at the same place in both families */
    *port = ntohs(in.sin_port);
    *listener = fd;
    return HEED_OK;
}

bool hd_http_loopback(const char *listen)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    struct hd_listen address;
    bool loopback = true;

    if (hd_listen_parse(listen, &address) != HEED_OK || !address.host[0] ||
        getaddrinfo(address.host, NULL, &hints, &found) != 0)
        return false;
    for (const struct addrinfo *i = found; i; i = i->ai_next)
        loopback = loopback && hd_address_loopback(i->ai_addr);
    freeaddrinfo(found);
    return loopback;
}
