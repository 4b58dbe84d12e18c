/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands, one file each. */
#ifndef HD_COMMANDS_H
#define HD_COMMANDS_H

#include "cli/command.h"

extern const struct hd_command hd_command_demo;
extern const struct hd_command hd_command_simulate;
extern const struct hd_command hd_command_import_interactions;
extern const struct hd_command hd_command_import_movielens;
extern const struct hd_command hd_command_import_events;
extern const struct hd_command hd_command_import_items;
extern const struct hd_command hd_command_import_users;
extern const struct hd_command hd_command_train_sequence;
extern const struct hd_command hd_command_evaluate_sequence;
extern const struct hd_command hd_command_feed;
extern const struct hd_command hd_command_explain;
extern const struct hd_command hd_command_export_model;
extern const struct hd_command hd_command_serve; /* these where the server is built in */
extern const struct hd_command hd_command_key_add;
extern const struct hd_command hd_command_key_list;
extern const struct hd_command hd_command_key_revoke;
extern const struct hd_command hd_command_attention_show;
extern const struct hd_command hd_command_bench_attention;
extern const struct hd_command hd_command_bench_feed;
extern const struct hd_command hd_command_bench_gemm;
extern const struct hd_command hd_command_bench_train;
extern const struct hd_command hd_command_export_events;
extern const struct hd_command hd_command_export_items;
extern const struct hd_command hd_command_export_users;
extern const struct hd_command hd_command_export_user;
extern const struct hd_command hd_command_report;
extern const struct hd_command hd_command_erase;
extern const struct hd_command hd_command_retain;
extern const struct hd_command hd_command_backup;
extern const struct hd_command hd_command_restore;
extern const struct hd_command hd_command_check;
extern const struct hd_command hd_command_compact;
extern const struct hd_command hd_command_help;
extern const struct hd_command hd_command_version;

#endif
