/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed serve`: the engine behind HTTP. It decides nothing; it lets in whom it may, hands what they ask
 * to the engine, and writes the answer down.
 *
 *     HTTP ─▶ route, key, rate ─▶ handler ─▶ engine ─▶ answer
 *                                   │
 *                                   ├─▶ intake: one thread, many bodies, one wait for the disk
 *                                   ├─▶ reports: one thread at low priority, a walk over all events
 *                                   └─▶ jobs: one thread at low priority: train, evaluate, export
 */
#ifndef HD_SERVER_H
#define HD_SERVER_H

#include "heed/operate.h"
#include "http/http.h"
#include "server/intake.h"
#include "server/jobs.h"
#include "server/keys.h"
#include "server/metrics.h"
#include "server/reports.h"

#include <stdatomic.h>

struct hd_server_opts {
    const char *data, *listen; /* a folder; HOST:PORT */
    int threads;               /* of HTTP; 0: as many as processors */
    int64_t memory_bytes;      /* of the process: what is kept of users shrinks to fit; 0: as it comes */
    double explore;            /* of feeds that do not say it themselves */
    int64_t rate;              /* requests a second of a key, or of an address without one; 0: no limit */
    const char *cors_origin, *tls_certificate, *tls_key;
    const char *access_log; /* a file; NULL: stderr */
    struct hd_jobs_opts jobs;
};

struct hd_server {
    heed_engine *engine;
    hd_http *http;
    hd_keys *keys;
    hd_intake *intake;
    hd_jobs *jobs;
    hd_reports *reports;
    struct hd_metrics *metrics;
    double explore;
    int64_t memory_bytes; /* that the process is held to; 0: it is not */
    const char *data, *listen, *access_log;
    atomic_int access_file;
    char *quotas;  /* where what was used of them is kept */
    char *openapi; /* made once */
    size_t openapi_bytes;
};

/* Errors of opening the folder and of listening are passed on; a HEED_E_ARG says that no key is in use
 * and more than this machine could reach it. Texts of opts live as long as the server. */
HEED_CHECKED heed_status hd_server_start(const struct hd_server_opts *opts, struct hd_server **server);
/* Once a second: what other processes have changed, keys among them, and the memory that is left. */
void hd_server_tick(struct hd_server *server);
/* SIGHUP: the log file is opened again, keys and model are read again. */
void hd_server_reload(struct hd_server *server);
/* Lets answers under way finish. NULL is fine. */
void hd_server_stop(struct hd_server *server);

#endif
