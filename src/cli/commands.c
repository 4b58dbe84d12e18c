/* SPDX-License-Identifier: Apache-2.0
 *
 * The table. Commands that share their first word stand together. */
#include "cli/commands.h"

#include <stddef.h>

const struct hd_flag hd_global_flags[] = {
    {"data", 0, HD_FLAG_FOLDER, offsetof(struct hd_globals, data), "DIR",
     "the data folder [$HEED_DATA, else ./heed-data]"},
    {"json", 0, HD_FLAG_SWITCH, offsetof(struct hd_globals, json), NULL,
     "answer with one JSON object on stdout"},
    {"help", 'h', HD_FLAG_SWITCH, offsetof(struct hd_globals, help), NULL, "say what this does"},
    {0},
};

const struct hd_command *const hd_commands[] = {
    &hd_command_demo,
    &hd_command_simulate,
    &hd_command_import_interactions,
    &hd_command_import_movielens,
    &hd_command_import_events,
    &hd_command_import_items,
    &hd_command_import_users,
    &hd_command_train_sequence,
    &hd_command_evaluate_sequence,
    &hd_command_feed,
    &hd_command_explain,
#if HD_WITH_SERVER
    &hd_command_serve,
    &hd_command_key_add,
    &hd_command_key_list,
    &hd_command_key_revoke,
#endif
    &hd_command_attention_show,
    &hd_command_export_model,
    &hd_command_export_events,
    &hd_command_export_items,
    &hd_command_export_users,
    &hd_command_export_user,
    &hd_command_report,
    &hd_command_erase,
    &hd_command_retain,
    &hd_command_backup,
    &hd_command_restore,
    &hd_command_check,
    &hd_command_compact,
    &hd_command_bench_attention,
    &hd_command_bench_feed,
    &hd_command_bench_gemm,
    &hd_command_bench_train,
    &hd_command_version,
    &hd_command_help,
    NULL,
};
