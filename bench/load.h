/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the load generator (load.c): templates of what is sent, connections, a histogram. */
#ifndef HD_BENCH_LOAD_H
#define HD_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_PIECES_MAX 32
#define LOAD_NAME_BYTES 256

/* ---- templates (load_body.c): text with {user}, {item}, {event}, {uuid} and {now} in it */

enum load_word { LOAD_LITERAL, LOAD_USER, LOAD_ITEM, LOAD_EVENT, LOAD_UUID, LOAD_NOW, LOAD_WORDS };
struct load_template {
    struct {
        enum load_word word;
        const char *text; /* a literal's, in the template; it must live as long */
        size_t bytes;
    } piece[LOAD_PIECES_MAX];
    int count;
};
struct load_values {
    char user[LOAD_NAME_BYTES], item[LOAD_NAME_BYTES];
    const char *event_prefix;
    int64_t event, now_ms;
};
struct load_buffer {
    char *at;
    size_t bytes, room;
};

/* false: it has more than LOAD_PIECES_MAX pieces. */
bool load_template_read(const char *text, struct load_template *out);
void load_template_write(const struct load_template *t, const struct load_values *values,
                         struct load_buffer *to);
void load_put(struct load_buffer *to, const char *text, size_t bytes);
/* Room for `bytes` more; ends the program where there is no memory. */
void load_room(struct load_buffer *to, size_t bytes);

/* The text after `"name":"` in a JSON body, from `*from` on, which moves behind it; false: none. No
 * parser: bodies of heed are compact, and ids here have no escapes. */
bool load_find_text(const char **from, const char *end, const char *name,
                    char out[LOAD_NAME_BYTES]);
/* The number after `"name":`; 0 where there is none. */
int64_t load_find_number(const char *body, size_t bytes, const char *name);

/* ---- one connection (load_client.c). What is to be sent is put in `out`, then load_client_send(). */

enum load_state {
    LOAD_WAITS,    /* not all is sent, or not all has come */
    LOAD_ANSWERED, /* status, body and body_bytes are there, until the next request */
    LOAD_CLOSED,   /* the server closed it before the answer was whole */
    LOAD_UNREADABLE
};
struct load_client {
    int fd; /* -1: not connected */
    int epoll, index;
    bool wants_out, closing;
    struct load_buffer out, in;
    size_t sent;
    int status;
    const char *body;
    size_t body_bytes;
};

/* false: refused, errno tells. */
bool load_client_open(struct load_client *c, const char *host, const char *port);
void load_client_close(struct load_client *c);
enum load_state load_client_send(struct load_client *c);
enum load_state load_client_read(struct load_client *c);

/* ---- every latency, to the microsecond */

#define LOAD_LATENCY_US_MAX 60000000 /* a minute, or more */
struct load_times {
    uint32_t *count; /* one for each microsecond; pages nobody touches cost nothing */
    int64_t total, max_us;
};
void load_times_new(struct load_times *times);
void load_times_add(struct load_times *times, int64_t us);
/* {"p50": ...} in milliseconds. */
void load_times_print(const struct load_times *times, const char *name);

/* Connections that ask for next to nothing (load_hold.c): `count` of them for `seconds`. */
int load_hold(const char *host, const char *port, int count, double seconds);
/* A server of nothing to hold up to `count` of them against: it closes each after ten seconds, but
 * those that have asked. */
int load_wall(const char *host, const char *port, int count, double seconds);

int64_t load_clock_ns(void);

#endif
