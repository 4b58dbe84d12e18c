/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the engine for a command. */
#include "cli/session.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lines of the log take the place of the progress line, which draws itself again below. */
static void on_line(void *context, heed_log_level level, const char *text)
{
    if (level > HEED_LOG_INFO)
        return;
    hd_meter_clear(context);
    fprintf(stderr, "%s%s\n", level <= HEED_LOG_WARN ? "heed: warning: " : "", text);
}

heed_status hd_session_open(struct hd_session *session, const struct hd_cli *cli, const char *name,
                            bool create, int threads)
{
    *session = (struct hd_session){0};
    hd_meter_init(&session->meter, name);
    session->progress = (heed_progress){hd_meter_report, &session->meter};
    heed_engine_opts opts = {
        .must_exist = !create,
        .threads = threads,
        .log = {on_line, &session->meter},
    };
    heed_status status = heed_engine_open(cli->data, &opts, &session->engine);
    if (status == HEED_E_NOTFOUND && !create)
        return hd_fail(status,
                       "%s: no data folder there, so nothing to work on; `heed import` makes one, "
                       "--data names another",
                       cli->data);
    return status;
}

void hd_session_close(struct hd_session *session)
{
    hd_meter_clear(&session->meter);
    heed_engine_close(session->engine);
    session->engine = NULL;
}

heed_status hd_check_readable(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0 || access(path, R_OK) != 0)
        return hd_fail_errno(errno == ENOENT ? HEED_E_NOTFOUND : HEED_E_IO, "%s: cannot open",
                             path);
    if (S_ISDIR(info.st_mode))
        return hd_fail(HEED_E_IO, "%s: is a folder, not a file", path);
    return HEED_OK;
}
