/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of decisions. */
#define _GNU_SOURCE /* memmem */
#include "engine/decision_file.h"
#include "base/limits.h"
#include "base/memory.h"
#include "text/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 18)

static heed_status cannot(const char *name, const char *what)
{
    return hd_fail_errno(HEED_E_IO, "%s: cannot %s", name, what);
}

static void close_file(int fd)
{
    if (fd >= 0)
        close(fd); /* and its lock with it */
}

/* ---- appending */

/* Whether the open file is still the one of that name. */
static bool is_current(int dir, const char *name, int fd, struct stat *own)
{
    struct stat named;

    return fstat(fd, own) == 0 && fstatat(dir, name, &named, 0) == 0 &&
           named.st_ino == own->st_ino && named.st_dev == own->st_dev;
}

static heed_status lock_file(const char *name, int fd, int how)
{
    while (flock(fd, how) != 0)
        if (errno != EINTR)
            return cannot(name, "be locked");
    return HEED_OK;
}

/* Opens the file of that name and locks it; *st: as it is then. *fd -1: there is none. */
static heed_status open_locked(int dir, const char *name, int flags, int how, int *out,
                               struct stat *st)
{
    for (;;) {
        int fd = openat(dir, name, flags | O_CLOEXEC, 0666);
        if (fd < 0 && errno == ENOENT) {
            *out = -1;
            return HEED_OK;
        }
        if (fd < 0)
            return cannot(name, "be opened");
        heed_status status = lock_file(name, fd, how);
        if (status == HEED_OK && is_current(dir, name, fd, st)) {
            *out = fd;
            return HEED_OK;
        }
        close(fd);
        HD_TRY(status); /* another has taken its place between the two: that one then */
    }
}

/* In one write, because others append beside it. */
static heed_status write_line(int fd, const char *line, size_t bytes)
{
    ssize_t put;

    do
        put = write(fd, line, bytes);
    while (put < 0 && errno == EINTR);
    return put == (ssize_t)bytes ? HEED_OK : cannot(HD_DECISION_FILE, "be written");
}

/* The full file becomes the older one, unless somebody was faster. */
static heed_status turn_over(int dir, int64_t bytes_max)
{
    struct stat st;
    int fd;

    HD_TRY(open_locked(dir, HD_DECISION_FILE, O_WRONLY | O_APPEND, LOCK_EX, &fd, &st));
    heed_status status = HEED_OK;
    if (fd >= 0 && st.st_size >= bytes_max &&
        renameat(dir, HD_DECISION_FILE, dir, HD_DECISION_OLD_FILE) != 0)
        status = cannot(HD_DECISION_FILE, "be renamed");
    close_file(fd);
    return status;
}

heed_status hd_decisions_open(const char *folder, int *out)
{
    int fd = -1, dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return cannot(folder, "be opened");
    fd = openat(dir, HD_DECISION_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        close(dir);
        return cannot(HD_DECISION_FILE, "be written");
    }
    close(fd);
    *out = dir;
    return HEED_OK;
}

heed_status hd_decisions_append(int dir, const char *line, size_t bytes, int64_t bytes_max)
{
    struct stat st;
    int fd;

    HD_TRY(open_locked(dir, HD_DECISION_FILE, O_WRONLY | O_CREAT | O_APPEND, LOCK_SH, &fd, &st));
    heed_status status = write_line(fd, line, bytes);
    close_file(fd);
    if (status == HEED_OK && st.st_size + (int64_t)bytes >= bytes_max)
        status = turn_over(dir, bytes_max);
    return status;
}

/* ---- looking for a user's lines */

struct seeking {
    const char *user;
    struct hd_json_writer quoted; /* "USER", as a line has it */
    hd_json_reader *json;
};

static heed_status seeking_init(struct seeking *s, const char *user)
{
    const char *text;

    *s = (struct seeking){.user = user};
    hd_json_put_text(&s->quoted, NULL, user);
    HD_TRY(hd_json_finish(&s->quoted, &text, NULL));
    return hd_json_reader_new(&s->json);
}

static void seeking_clear(struct seeking *s)
{
    hd_json_clear(&s->quoted);
    hd_json_reader_free(s->json);
}

enum whose { ANOTHERS, THE_USERS, TORN };

/* A search for the quoted id is much faster than reading each line, and most lines do not have it. A
 * line that has it and cannot be read, torn by a full disk, goes with the user's: better one line too
 * few than a trace. */
static heed_status look_at(struct seeking *s, const char *line, size_t bytes, enum whose *whose)
{
    hd_json *root;

    *whose = ANOTHERS;
    if (!memmem(line, bytes, s->quoted.text, s->quoted.bytes))
        return HEED_OK;
    *whose = TORN;
    heed_status status = hd_json_read(s->json, line, bytes, &root);
    if (status == HEED_E_FORMAT || status == HEED_E_RANGE)
        return HEED_OK;
    HD_TRY(status);
    *whose = strcmp(hd_json_text(hd_json_get(root, "user"), NULL), s->user) == 0 ? THE_USERS
                                                                                 : ANOTHERS;
    return HEED_OK;
}

/* The lines of a file. */
struct lines {
    int fd;
    const char *name;
    int64_t at; /* the place of text[0] in the file */
    char *text;
    size_t held, room, start; /* text[start .. held) is read and not yet handed out */
};

static heed_status read_more(struct lines *l, bool *more)
{
    ssize_t got;

    if (l->start > 0) {
        memmove(l->text, l->text + l->start, l->held - l->start);
        l->at += (int64_t)l->start;
        l->held -= l->start;
        l->start = 0;
    }
    if (l->room - l->held < CHUNK_BYTES) {
        char *text = hd_resize(l->text, l->room + CHUNK_BYTES, 1);
        if (!text)
            return hd_fail(HEED_E_NOMEM, "%s: no memory for a line", l->name);
        l->text = text;
        l->room += CHUNK_BYTES;
    }
    do
        got = pread(l->fd, l->text + l->held, CHUNK_BYTES, l->at + (int64_t)l->held);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return cannot(l->name, "be read");
    l->held += (size_t)got;
    *more = got > 0;
    return HEED_OK;
}

/* With its newline; *line NULL: there is none now. last: an end without a newline is a line too. */
static heed_status next_line(struct lines *l, bool last, const char **line, size_t *bytes)
{
    size_t looked = 0;
    bool more = true;

    *line = NULL;
    for (;;) {
        size_t left = l->held - l->start;
        const char *end =
            left > looked ? memchr(l->text + l->start + looked, '\n', left - looked) : NULL;
        if (end)
            left = (size_t)(end - l->text) - l->start + 1;
        if (end || (!more && last && left > 0)) {
            *line = l->text + l->start;
            *bytes = left;
            l->start += left;
            return HEED_OK;
        }
        if (!more)
            return HEED_OK;
        looked = left;
        HD_TRY(read_more(l, &more));
    }
}

static heed_status seek_in(int dir, const char *name, struct seeking *s, hd_decision_fn fn,
                           void *context, int64_t *count)
{
    struct lines lines = {.fd = openat(dir, name, O_RDONLY | O_CLOEXEC), .name = name};
    const char *line = NULL;
    size_t bytes = 0;
    enum whose whose;

    if (lines.fd < 0)
        return errno == ENOENT ? HEED_OK : cannot(name, "be read");
    heed_status status = next_line(&lines, true, &line, &bytes);
    while (status == HEED_OK && line) {
        status = look_at(s, line, bytes, &whose);
        if (status == HEED_OK && whose == THE_USERS && fn)
            status = fn(context, line, bytes - (line[bytes - 1] == '\n'));
        *count += status == HEED_OK && whose != ANOTHERS;
        if (status == HEED_OK)
            status = next_line(&lines, true, &line, &bytes);
    }
    close(lines.fd);
    hd_free(lines.text);
    return status;
}

/* Keeps other rewritings away, and removes what one that was killed has left. */
static heed_status begin_seeking(int dir, int *lock)
{
    int fd = openat(dir, HD_DECISION_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    if (fd < 0)
        return cannot(HD_DECISION_LOCK_FILE, "be opened");
    heed_status status = lock_file(HD_DECISION_LOCK_FILE, fd, LOCK_EX);
    if (status == HEED_OK && unlinkat(dir, HD_DECISION_PART_FILE, 0) != 0 && errno != ENOENT)
        status = cannot(HD_DECISION_PART_FILE, "be removed");
    if (status != HEED_OK) {
        close(fd);
        return status;
    }
    *lock = fd;
    return HEED_OK;
}

heed_status hd_decisions_of(int dir, const char *user, hd_decision_fn fn, void *context,
                            int64_t *count)
{
    struct seeking s;
    int lock = -1;

    *count = 0;
    heed_status status = seeking_init(&s, user);
    if (status == HEED_OK)
        status = begin_seeking(dir, &lock);
    if (status == HEED_OK)
        status = seek_in(dir, HD_DECISION_OLD_FILE, &s, fn, context, count);
    if (status == HEED_OK)
        status = seek_in(dir, HD_DECISION_FILE, &s, fn, context, count);
    close_file(lock);
    seeking_clear(&s);
    return status;
}

/* ---- taking them out */

struct rewriting {
    int dir, to;
    struct lines from;
    struct seeking *seeking;
    char *text; /* lines that stay and are not written yet */
    size_t held;
    int64_t removed;
};

static heed_status write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t put = write(fd, text, bytes);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return cannot(HD_DECISION_PART_FILE, "be written");
        text += put;
        bytes -= (size_t)put;
    }
    return HEED_OK;
}

static heed_status flush(struct rewriting *r)
{
    size_t bytes = r->held;

    r->held = 0;
    return write_all(r->to, r->text, bytes);
}

static heed_status put_line(struct rewriting *r, const char *line, size_t bytes)
{
    if (bytes > CHUNK_BYTES - r->held)
        HD_TRY(flush(r));
    if (bytes > CHUNK_BYTES)
        return write_all(r->to, line, bytes);
    memcpy(r->text + r->held, line, bytes);
    r->held += bytes;
    return HEED_OK;
}

static heed_status copy_others(struct rewriting *r, bool last)
{
    const char *line = NULL;
    size_t bytes = 0;
    enum whose whose;

    for (;;) {
        HD_TRY(next_line(&r->from, last, &line, &bytes));
        if (!line)
            return flush(r);
        HD_TRY(look_at(r->seeking, line, bytes, &whose));
        if (whose == ANOTHERS)
            HD_TRY(put_line(r, line, bytes));
        r->removed += whose != ANOTHERS;
    }
}

static heed_status sync_file(const char *name, int fd)
{
    return fsync(fd) == 0 ? HEED_OK : cannot(name, "be written");
}

/* Nobody appends now: the rest is copied, and the new file takes the old one's place. *moved: the
 * file has got another name since it was opened, so nothing was done. */
static heed_status finish(struct rewriting *r, bool *moved)
{
    struct stat st;
    int gate;

    HD_TRY(open_locked(r->dir, HD_DECISION_FILE, O_RDWR | O_CREAT, LOCK_EX, &gate, &st));
    *moved = !is_current(r->dir, r->from.name, r->from.fd, &st);
    heed_status status = *moved ? HEED_OK : copy_others(r, true);
    if (status == HEED_OK && !*moved &&
        renameat(r->dir, HD_DECISION_PART_FILE, r->dir, r->from.name) != 0)
        status = cannot(r->from.name, "be replaced");
    close_file(gate);
    return status;
}

static heed_status rewrite(struct rewriting *r, bool *moved)
{
    *moved = false;
    r->to = openat(r->dir, HD_DECISION_PART_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (r->to < 0)
        return cannot(HD_DECISION_PART_FILE, "be written");
    heed_status status = copy_others(r, false);
    if (status == HEED_OK) /* the long part of it while others go on appending */
        status = sync_file(HD_DECISION_PART_FILE, r->to);
    if (status == HEED_OK)
        status = finish(r, moved);
    if (status == HEED_OK && !*moved)
        status = sync_file(r->from.name, r->to);
    close(r->to);
    return status == HEED_OK ? sync_file("the data folder", r->dir) : status;
}

/* *moved: it must be looked at again. */
static heed_status erase_in(int dir, const char *name, struct seeking *s, int64_t *removed,
                            bool *moved)
{
    struct rewriting r = {.dir = dir, .seeking = s, .from = {.name = name}};
    int64_t count = 0;

    *moved = false;
    HD_TRY(seek_in(dir, name, s, NULL, NULL, &count));
    if (count == 0)
        return HEED_OK;
    r.from.fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (r.from.fd < 0)
        return errno == ENOENT ? HEED_OK : cannot(name, "be read");
    r.text = hd_resize(NULL, CHUNK_BYTES, 1);
    heed_status status = r.text ? rewrite(&r, moved)
                                : hd_fail(HEED_E_NOMEM, "%s: no memory to copy it", name);
    close(r.from.fd);
    hd_free(r.from.text);
    hd_free(r.text);
    if (status == HEED_OK && !*moved)
        *removed += r.removed;
    return status;
}

heed_status hd_decisions_erase(int dir, const char *user, int64_t *removed)
{
    struct seeking s;
    bool moved = false;
    int lock = -1;

    *removed = 0;
    heed_status status = seeking_init(&s, user);
    if (status == HEED_OK)
        status = begin_seeking(dir, &lock);
    /* The newer one first: if it is full and becomes the older one meanwhile, it is clean. */
    do {
        if (status == HEED_OK)
            status = erase_in(dir, HD_DECISION_FILE, &s, removed, &moved);
        if (status == HEED_OK && !moved)
            status = erase_in(dir, HD_DECISION_OLD_FILE, &s, removed, &moved);
    } while (status == HEED_OK && moved);
    if (lock >= 0)
        unlinkat(dir, HD_DECISION_PART_FILE, 0); /* of a failure */
    close_file(lock);
    seeking_clear(&s);
    return status;
}
