/* SPDX-License-Identifier: Apache-2.0
 *
 * Backups: a folder with heed.db and models/, as a data folder has them, made beside its place and
 * renamed, so that a folder of that name is a whole backup. Decisions are not in it: they are a log
 * of what was shown, and erasing somebody could not reach them there.
 *
 * The models are copied before the database: a model never knows an item that is added after it. */
#include "engine/files.h"
#include "engine/keep.h"
#include "heed/operate.h"
#include "store/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MODEL_ENDING ".safetensors"

/* Calls fn with the path of each model's file in FOLDER/models; without such a folder for none. */
typedef heed_status (*model_fn)(const void *context, const char *path, const char *name);

static heed_status each_model(const char *folder, model_fn fn, const void *context)
{
    heed_status status = HEED_OK;
    char *models = hd_join_path(folder, "models");
    struct dirent *entry;

    if (!models)
        return hd_fail(HEED_E_NOMEM, "backup: no memory");
    DIR *all = opendir(models);
    if (!all && errno != ENOENT)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be read", models);
    while (all && status == HEED_OK && (entry = readdir(all))) {
        size_t bytes = strlen(entry->d_name), ending = sizeof MODEL_ENDING - 1;
        if (bytes <= ending || strcmp(entry->d_name + bytes - ending, MODEL_ENDING) != 0)
            continue;
        char *path = hd_join_path(models, entry->d_name);
        status = path ? fn(context, path, entry->d_name)
                      : hd_fail(HEED_E_NOMEM, "backup: no memory");
        hd_free(path);
    }
    if (all)
        closedir(all);
    hd_free(models);
    return status;
}

static heed_status copy_model(const void *context, const char *path, const char *name)
{
    char *to = hd_join_path(context, name);
    heed_status status =
        to ? hd_copy_file(path, to) : hd_fail(HEED_E_NOMEM, "backup: no memory");

    hd_free(to);
    return status;
}

static heed_status make_folder(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be made", path);
    return HEED_OK;
}

static heed_status copy_models(const char *from, const char *to)
{
    char *models = hd_join_path(to, "models");
    heed_status status =
        models ? make_folder(models) : hd_fail(HEED_E_NOMEM, "backup: no memory");

    if (status == HEED_OK)
        status = each_model(from, copy_model, models);
    if (status == HEED_OK)
        status = hd_sync_folder(models);
    hd_free(models);
    return status;
}

/* The folder, locked: two that write the same would spoil each other's. */
static heed_status lock_folder(const char *path, int *out)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return hd_fail_errno(HEED_E_IO, "%s: cannot be opened", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return hd_fail(HEED_E_BUSY, "%s: another process is writing it", path);
    }
    *out = fd;
    return HEED_OK;
}

/* ---- out */

static heed_status remove_model(const void *context, const char *path, const char *name)
{
    (void)context;
    (void)name;
    return unlink(path) == 0 ? HEED_OK : hd_fail_errno(HEED_E_IO, "%s: cannot be removed", path);
}

/* What a backup that failed or was killed has left: nothing but what a backup writes. */
static heed_status remove_part(const char *part)
{
    static const char *const name[] = {"heed.db", "heed.db-journal", "heed.db-wal", "heed.db-shm"};
    heed_status status = each_model(part, remove_model, NULL);

    for (size_t i = 0; status == HEED_OK && i < sizeof name / sizeof *name; i++) {
        char *path = hd_join_path(part, name[i]);
        if (!path)
            status = hd_fail(HEED_E_NOMEM, "backup: no memory");
        else if (unlink(path) != 0 && errno != ENOENT)
            status = hd_fail_errno(HEED_E_IO, "%s: cannot be removed", path);
        hd_free(path);
    }
    return status;
}

static void drop_part(const char *part)
{
    char *models = hd_join_path(part, "models");

    if (models && remove_part(part) == HEED_OK && (rmdir(models) == 0 || errno == ENOENT))
        rmdir(part);
    hd_free(models);
}

static heed_status write_part(heed_engine *engine, const char *part, const heed_progress *progress)
{
    hd_store *store = NULL;
    char *path = hd_join_path(part, "heed.db");

    if (!path)
        return hd_fail(HEED_E_NOMEM, "backup: no memory");
    heed_status status = remove_part(part);
    if (status == HEED_OK)
        status = copy_models(engine->folder, part);
    if (status == HEED_OK)
        status = hd_open_beside(engine, &store);
    if (status == HEED_OK)
        status = hd_store_copy(store, path, progress);
    if (status == HEED_OK)
        status = hd_sync_folder(part);
    hd_store_close(store);
    hd_free(path);
    return status;
}

/* The name has its place in the folder above. */
static heed_status sync_above(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash)
        return hd_sync_folder(".");
    if (slash == path)
        return hd_sync_folder("/");
    *slash = 0;
    heed_status status = hd_sync_folder(path);
    *slash = '/';
    return status;
}

static heed_status backup_to(heed_engine *engine, char *folder, const char *part,
                             const heed_progress *progress)
{
    struct stat st;
    int lock = -1;

    if (lstat(folder, &st) == 0)
        return hd_fail(HEED_E_EXISTS, "%s: there is something already", folder);
    HD_TRY(make_folder(part));
    HD_TRY(lock_folder(part, &lock));
    heed_status status = write_part(engine, part, progress);
    if (status == HEED_OK && rename(part, folder) != 0)
        status = hd_fail_errno(errno == ENOTEMPTY || errno == EEXIST ? HEED_E_EXISTS : HEED_E_IO,
                               "%s: cannot be made", folder);
    if (status == HEED_OK)
        status = sync_above(folder);
    else
        drop_part(part);
    close(lock);
    return status;
}

heed_status heed_engine_backup(heed_engine *engine, const char *folder,
                               const heed_progress *progress)
{
    if (!folder || !*folder)
        return hd_fail(HEED_E_ARG, "backup: no folder was given");
    size_t bytes = strlen(folder) + sizeof ".part";
    char *path = hd_strdup(folder), *part = hd_alloc(bytes, 1);
    heed_status status = HEED_OK;
    if (!path || !part)
        status = hd_fail(HEED_E_NOMEM, "backup: no memory");
    if (status == HEED_OK) {
        for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--)
            path[end - 1] = 0;
        snprintf(part, bytes, "%s.part", path);
        status = backup_to(engine, path, part, progress);
    }
    hd_free(part);
    hd_free(path);
    return status;
}

/* ---- and back */

static heed_status need_no_store(const char *folder)
{
    static const char *const name[] = {"heed.db", "heed.db-wal"};
    heed_status status = HEED_OK;
    struct stat st;

    for (size_t i = 0; status == HEED_OK && i < sizeof name / sizeof *name; i++) {
        char *path = hd_join_path(folder, name[i]);
        if (!path)
            status = hd_fail(HEED_E_NOMEM, "restore: no memory");
        else if (lstat(path, &st) == 0)
            status = hd_fail(HEED_E_EXISTS, "%s: holds a store already: there is a %s", folder,
                             name[i]);
        hd_free(path);
    }
    return status;
}

/* A data folder that is in use is none: what its log holds would be lost. */
static heed_status need_no_log(const char *backup)
{
    char *path = hd_join_path(backup, "heed.db-wal");
    heed_status status = path ? HEED_OK : hd_fail(HEED_E_NOMEM, "restore: no memory");
    struct stat st;

    if (path && stat(path, &st) == 0 && st.st_size > 0)
        status = hd_fail(HEED_E_STATE, "%s: is a data folder in use, not a backup: `heed backup` "
                                       "makes one of it",
                         backup);
    hd_free(path);
    return status;
}

/* The database comes last and with one rename: before it there is no store in the folder. */
static heed_status restore_to(const char *backup, const char *from, const char *folder)
{
    char *part = hd_join_path(folder, "heed.db.part"), *to = hd_join_path(folder, "heed.db");
    heed_status status =
        part && to ? HEED_OK : hd_fail(HEED_E_NOMEM, "restore: no memory");

    if (status == HEED_OK)
        status = copy_models(backup, folder);
    if (status == HEED_OK)
        status = hd_copy_file(from, part);
    if (status == HEED_OK)
        status = hd_store_copy_adopt(part);
    if (status == HEED_OK && rename(part, to) != 0)
        status = hd_fail_errno(HEED_E_IO, "%s: cannot be made", to);
    if (status == HEED_OK)
        status = hd_sync_folder(folder);
    else if (part)
        unlink(part);
    hd_free(to);
    hd_free(part);
    return status;
}

heed_status heed_restore(const char *backup, const char *folder)
{
    int lock = -1;

    if (!backup || !*backup || !folder || !*folder)
        return hd_fail(HEED_E_ARG, "restore: no folder was given");
    char *from = hd_join_path(backup, "heed.db");
    heed_status status = from ? need_no_store(folder) : hd_fail(HEED_E_NOMEM, "restore: no memory");
    if (status == HEED_OK)
        status = need_no_log(backup);
    if (status == HEED_OK)
        status = hd_store_copy_check(from);
    if (status == HEED_OK)
        status = make_folder(folder);
    if (status == HEED_OK)
        status = lock_folder(folder, &lock);
    if (status == HEED_OK)
        status = need_no_store(folder); /* nobody was faster */
    if (status == HEED_OK)
        status = restore_to(backup, from, folder);
    if (lock >= 0)
        close(lock);
    hd_free(from);
    return status;
}
