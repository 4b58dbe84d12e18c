/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that answers feeds out of a data folder, in its own process:
 *
 *     cc feed.c $(pkg-config --cflags --libs heed) && ./a.out ./heed-data 42
 */
#include <heed/engine.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    heed_engine *engine = NULL;
    heed_feed *feed = NULL;
    heed_engine_opts opts = {.must_exist = true};

    if (argc != 3) {
        fprintf(stderr, "usage: %s FOLDER USER\n", argv[0]);
        return 2;
    }
    heed_feed_request request = {.user = argv[2], .n = 5, .explain = true};
    heed_status status = heed_engine_open(argv[1], &opts, &engine);
    if (status == HEED_OK)
        status = heed_engine_feed(engine, &request, &feed);
    if (status != HEED_OK)
        fprintf(stderr, "%s: %s\n", heed_status_name(status), heed_error_message());
    for (int i = 0; feed && i < feed->count; i++) {
        const heed_feed_item *item = &feed->items[i];
        printf("%d  %s  %s\n", item->rank, item->item, item->title ? item->title : "");
        for (int r = 0; r < item->reason_count; r++)
            printf("      %+.3f  %s\n", item->reasons[r].contribution, item->reasons[r].item);
    }
    if (feed)
        printf("by the policy %s: %s\n", feed->policy, feed->why_policy);
    heed_feed_free(feed);
    heed_engine_close(engine);
    return heed_status_exit_code(status);
}
