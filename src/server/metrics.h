/* SPDX-License-Identifier: Apache-2.0
 *
 * What the server has done, for Prometheus (text format 0.0.4). Counters of fixed number, added to
 * without a lock. */
#ifndef HD_METRICS_H
#define HD_METRICS_H

#include "heed/engine.h"
#include "http/http.h"
#include "server/intake.h"
#include "server/route.h"

struct hd_metrics; /* locked */
struct hd_server;

/* HEED_E_NOMEM. hd_metrics_free(NULL) is fine. */
HEED_CHECKED heed_status hd_metrics_new(const struct hd_route_table *const *tables,
                                        struct hd_metrics **metrics);
void hd_metrics_free(struct hd_metrics *metrics);

void hd_metrics_access(struct hd_metrics *metrics, const struct hd_access *access);
void hd_metrics_feed(struct hd_metrics *metrics, const heed_feed *feed);
void hd_metrics_taken(void *metrics, const struct hd_delivery *delivery); /* of hd_intake_watch */
void hd_metrics_trained(struct hd_metrics *metrics, const heed_train_report *report);
/* What the process holds of memory; 0 where the system does not tell. */
double hd_resident_bytes(void);
/* *text on the heap, hd_free() it. */
HEED_CHECKED heed_status hd_metrics_write(struct hd_server *server, char **text, size_t *bytes);

#endif
