/* SPDX-License-Identifier: Apache-2.0
 *
 * `heed demo`: the whole path on a simulated town, as the commands that anybody could type. Each is
 * printed before it runs, and runs through the same table as if it had been typed. */
#include "cli/commands.h"
#include "cli/session.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define READER "u6" /* of the town of this seed: one whose reasons show both signs */

struct demo_options {
    const char *folder;
};

static const struct hd_flag demo_flags[] = {
    {"output", 'o', HD_FLAG_FOLDER, offsetof(struct demo_options, folder), "DIR",
     "the folder to work in", .fallback = "./heed-demo"},
    {0},
};

/* Shows and runs `heed ` + line. Its words are parted by single blanks; a path with blanks in it
 * would need quoting, so paths come as words of their own, one for each %. */
static heed_status step(const struct hd_cli *cli, const char *why, const char *line,
                        const char *const *paths)
{
    char text[512];
    const char *words[32];
    int count = 0;
    struct hd_call call = {0};

    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word && count < 32; word = strtok(NULL, " "))
        words[count++] = strcmp(word, "%") == 0 ? *paths++ : word;
    printf("\n%s# %s%s\n%s$ heed", hd_style(cli, HD_FAINT), why, hd_style(cli, HD_PLAIN),
           hd_style(cli, HD_BOLD));
    for (int i = 0; i < count; i++)
        printf(strpbrk(words[i], " '\"\\$") ? " '%s'" : " %s", words[i]);
    printf("%s\n", hd_style(cli, HD_PLAIN));
    fflush(stdout); /* before what the command says on stderr */
    heed_status status = hd_parse(words, count, &call);
    if (status == HEED_OK) {
        struct hd_cli own = *cli;
        if (call.globals.data)
            own.data = call.globals.data;
        own.json = call.globals.json;
        status = call.command->run(&own, call.options);
    }
    hd_free(call.options);
    fflush(stdout);
    return status;
}

/* What the feed would put first: the item to explain. */
static heed_status first_item(const struct hd_cli *cli, const char *data, char *item, size_t bytes)
{
    struct hd_cli own = *cli;
    struct hd_session session;
    heed_feed_request request = {.user = READER, .n = 1};
    heed_feed *feed = NULL;

    own.data = data;
    HD_TRY(hd_session_open(&session, &own, "demo", false, 1));
    heed_status status = heed_engine_feed(session.engine, &request, &feed);
    if (status == HEED_OK && feed->count == 0)
        status = hd_fail(HEED_E_STATE, "demo: the feed of %s is empty", READER);
    if (status == HEED_OK)
        snprintf(item, bytes, "%s", feed->items[0].item);
    heed_feed_free(feed);
    hd_session_close(&session);
    return status;
}

static heed_status demo_run(struct hd_cli *cli, const void *given)
{
    const char *folder = ((const struct demo_options *)given)->folder;
    char town[4096], items[4200], events[4200], data[4096], page[4096], item[512];
    double start = hd_seconds();

    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return hd_fail_errno(HEED_E_IO, "%s: cannot make the folder", folder);
    snprintf(town, sizeof town, "%s/town", folder);
    snprintf(items, sizeof items, "%s/items.ndjson", town);
    snprintf(events, sizeof events, "%s/events.ndjson", town);
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(page, sizeof page, "%s/why.html", folder);

    HD_TRY(step(cli, "A town of readers, whose truth is known",
                "simulate --users 600 --items 250 --events 100000 --seed 1 -o %",
                (const char *[]){town}));
    HD_TRY(step(cli, "What can be read in it", "import items % --data %",
                (const char *[]){items, data}));
    HD_TRY(step(cli, "What was read, by whom, for how long", "import events % --data %",
                (const char *[]){events, data}));
    HD_TRY(step(cli, "Learn what comes next", "train sequence --seed 1 --epochs 15 --batch 32 --data %",
                (const char *[]){data}));
    HD_TRY(step(cli, "How good is that, beside popularity and beside what followed last time",
                "evaluate sequence --data %", (const char *[]){data}));
    HD_TRY(step(cli, "One reader's page, with the reasons",
                "feed " READER " -n 5 --explain --data %", (const char *[]){data}));
    HD_TRY(first_item(cli, data, item, sizeof item));
    HD_TRY(step(cli, "Why that one first: leave each event out and look again",
                "explain " READER " % --exact --html % --data %",
                (const char *[]){item, page, data}));
    printf("\n%sThat was the whole path, in %.0f s. Open %s in a browser to see the attention.%s\n"
           "Your own log next: heed help import interactions\n",
           hd_style(cli, HD_BOLD), hd_seconds() - start, page, hd_style(cli, HD_PLAIN));
    return HEED_OK;
}

const struct hd_command hd_command_demo = {
    .name = "demo",
    .summary = "the whole path on a simulated town: import, train, evaluate, feed, explain",
    .about = "Prints each command before it runs it, so that each can be tried by hand.",
    .example = "heed demo -o town-demo",
    .flags = demo_flags,
    .options_bytes = sizeof(struct demo_options),
    .run = demo_run,
};
