/* SPDX-License-Identifier: Apache-2.0
 *
 * The n-th read, write or sync of the database fails, for every n until none does: an
 * import says so with a clear status, and once the disk is well again the store holds the beginning
 * of the file, and importing again adds the rest and nothing twice.
 *
 * The faults come from a file system of SQLite's that passes everything on to the real one. */
#include "engine/import.h"

#include <sqlite3.h>
#include <string.h>

#include "../scratch.h"

enum { LINES = 400, USERS = 7, ITEMS = 5 };
enum fault { FAIL_WRITE, FULL_DISK, FAIL_SYNC, FAIL_READ, FAULTS };

static const char *const names[FAULTS] = {"write", "write to a full disk", "sync", "read"};
static char folder[64], data[96], file[96];

/* ---- the file system */

static enum fault fault;
static int64_t left; /* operations of that sort until it fails; all later ones fail too */
static bool well = true;

struct faulty {
    sqlite3_file base;
    sqlite3_file *real; /* right behind this struct */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct faulty *)f)->real;
}

static bool fails(enum fault sort)
{
    bool same = sort == fault || (sort == FAIL_WRITE && fault == FULL_DISK);

    return !well && same && left-- <= 0;
}

static int f_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int f_read(sqlite3_file *f, void *to, int bytes, sqlite3_int64 at)
{
    if (fails(FAIL_READ))
        return SQLITE_IOERR_READ;
    return real_of(f)->pMethods->xRead(real_of(f), to, bytes, at);
}

static int f_write(sqlite3_file *f, const void *from, int bytes, sqlite3_int64 at)
{
    if (fails(FAIL_WRITE)) {
        /* A disk fills up in the middle of a page. */
        if (bytes > 1 && fault == FULL_DISK)
            real_of(f)->pMethods->xWrite(real_of(f), from, bytes / 2, at);
        return fault == FULL_DISK ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return real_of(f)->pMethods->xWrite(real_of(f), from, bytes, at);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int f_sync(sqlite3_file *f, int flags)
{
    if (fails(FAIL_SYNC))
        return SQLITE_IOERR_FSYNC;
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int f_lock(sqlite3_file *f, int lock)
{
    return real_of(f)->pMethods->xLock(real_of(f), lock);
}

static int f_unlock(sqlite3_file *f, int lock)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), lock);
}

static int f_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int f_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int f_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, bytes, extend, out);
}

static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int f_shm_unmap(sqlite3_file *f, int drop)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), drop);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_reserved,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_traits,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static sqlite3_vfs *real_vfs, faulty_vfs;

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct faulty *file_ = (struct faulty *)f;

    (void)vfs;
    file_->real = (sqlite3_file *)(file_ + 1);
    file_->base.pMethods = NULL;
    int code = real_vfs->xOpen(real_vfs, name, file_->real, flags, out);
    if (code == SQLITE_OK)
        file_->base.pMethods = &methods;
    return code;
}

static void install(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *real_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.szOsFile += (int)sizeof(struct faulty);
    faulty_vfs.xOpen = f_open;
    sqlite3_vfs_register(&faulty_vfs, 1);
}

/* ---- the test */

static void die(int64_t n, const char *what)
{
    fprintf(stderr, "store_faults: %s %d: %s: %s\n", names[fault], (int)n, what,
            heed_error_message());
    scratch_drop(folder);
    exit(1);
}

static int user_of(int line)
{
    return line * 3 % USERS;
}

static int item_of(int line)
{
    return line * line % ITEMS;
}

static void write_file(void)
{
    char text[LINES * 8];
    size_t bytes = 0;

    for (int i = 0; i < LINES; i++)
        bytes += (size_t)sprintf(text + bytes, "%d %d\n", user_of(i), item_of(i));
    scratch_write(file, text, bytes);
}

/* Whole or not at all: the file is one transaction. */
static int64_t check(hd_store *store, int64_t n)
{
    struct hd_store_counts counts;
    struct hd_store_histories h;
    int64_t next[USERS] = {0};
    char id[8];

    if (hd_store_count(store, &counts) != HEED_OK ||
        hd_store_load_histories(store, HD_KINDS_ALL, &h) != HEED_OK)
        die(n, "cannot be read afterwards");
    if ((counts.events != 0 && counts.events != LINES) || h.offset[h.users] != counts.events)
        die(n, "half of it is there");
    for (int i = 0; i < counts.events; i++) {
        int32_t user, item;
        snprintf(id, sizeof id, "%d", user_of(i));
        if (hd_store_find_user(store, id, strlen(id), &user) != HEED_OK || user < 0)
            die(n, "a user is lost");
        snprintf(id, sizeof id, "%d", item_of(i));
        if (hd_store_find_item(store, id, strlen(id), &item) != HEED_OK ||
            h.item[h.offset[user] + next[user]++] != item)
            die(n, "another order");
    }
    hd_store_histories_clear(&h);
    return counts.events;
}

/* Whether there was nothing left to fail. */
static bool round_of(int64_t n)
{
    heed_import_report report;
    hd_store *store = NULL;

    left = n;
    well = false;
    heed_status status = hd_store_open(data, NULL, &store);
    if (status == HEED_OK)
        status = hd_import(store, HEED_IMPORT_INTERACTIONS, file, NULL, &report);
    bool reached = left < 0;
    if (status != HEED_OK && !reached)
        die(n, "it failed before the fault");
    if (status != HEED_OK && status != HEED_E_IO)
        die(n, "another status than HEED_E_IO");
    if (status != HEED_OK && !strstr(heed_error_message(), data))
        die(n, "a message that does not name the folder");
    if (status != HEED_OK && fault == FULL_DISK && !strstr(heed_error_message(), "disk is full"))
        die(n, "a message that does not name the full disk");

    bool done = status == HEED_OK;
    bool same_handle =
        store && n % 2; /* a handle that is kept, and a fresh one, must go on alike */
    if (!same_handle) {
        hd_store_close(store); /* what closing still moves may fail too: it is in the log */
        store = NULL;
    }
    well = true;
    if (!store && hd_store_open(data, NULL, &store) != HEED_OK)
        die(n, "cannot be opened when the disk is well");
    int64_t before = check(store, n);
    if (done && before != LINES)
        die(n, "reported as done, and not there");
    if (hd_import(store, HEED_IMPORT_INTERACTIONS, file, NULL, &report) != HEED_OK)
        die(n, "cannot be imported again");
    if (report.accepted != LINES - before || report.duplicate != before || check(store, n) != LINES)
        die(n, "importing again is not the rest");
    hd_store_close(store);
    scratch_drop(data);
    return !reached;
}

int main(void)
{
    install();
    scratch_make(folder);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(file, sizeof file, "%s/file", folder);
    write_file();
    for (fault = FAIL_WRITE; fault < FAULTS; fault++) {
        int64_t n = 0;
        while (n < 5000 && !round_of(n))
            n++;
        printf("%s: %d of them\n", names[fault], (int)n);
        if (n == 5000 || n == 0)
            die(n, "the fault was never, or always, met");
    }
    scratch_drop(folder);
    return 0;
}
