/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses: where a server listens, and who calls. */
#ifndef HD_HTTP_LISTEN_H
#define HD_HTTP_LISTEN_H

#include "base/status.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* Binds HOST:PORT; the port is the one it came to where 0 was asked for. */
HEED_CHECKED heed_status hd_listen_open(const char *where, int *listener, int *port);

bool hd_address_loopback(const struct sockaddr *address);
/* What connections are counted by: an IPv4 address, or the first 64 bits of an IPv6 one, which is
 * what one household or machine is given. */
void hd_address_key(const struct sockaddr *address, uint8_t key[16]);
void hd_address_text(const struct sockaddr *address, char text[INET6_ADDRSTRLEN]);

#endif
