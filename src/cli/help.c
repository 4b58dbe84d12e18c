/* SPDX-License-Identifier: Apache-2.0
 *
 * Help, the manual page and shell completion, all made from the table of commands. */
#include "cli/command.h"
#include "cli/terminal.h"

#include <string.h>

/* "-n, --count N" */
static int flag_text(char *out, size_t bytes, const struct hd_flag *flag)
{
    const char *space = flag->value ? " " : "", *value = flag->value ? flag->value : "";

    if (strlen(flag->name) == 1) /* -n says it; --n, though understood, would only be noise */
        return snprintf(out, bytes, "-%s%s%s", flag->name, space, value);
    if (flag->letter)
        return snprintf(out, bytes, "-%c, --%s%s%s", flag->letter, flag->name, space, value);
    return snprintf(out, bytes, "    --%s%s%s", flag->name, space, value);
}

static void usage_line(FILE *out, const struct hd_command *command)
{
    fprintf(out, "heed %s", command->name);
    for (const struct hd_flag *a = command->arguments; a && a->name; a++)
        fprintf(out, a->required ? " %s" : " [%s]", a->value);
    for (const struct hd_flag *f = command->flags; f && f->name; f++)
        if (f->required)
            fprintf(out, " %s%s %s", strlen(f->name) == 1 ? "-" : "--", f->name,
                    f->value ? f->value : "");
    fputs(" [options]", out);
}

static void flag_row(FILE *out, const char *left, const struct hd_flag *flag)
{
    fprintf(out, "  %-26s  %s", left, flag->help);
    if (flag->fallback)
        fprintf(out, " [%s]", flag->fallback);
    fputc('\n', out);
}

void hd_help_command(FILE *out, const struct hd_command *command)
{
    char left[128];

    fprintf(out, "%s: %s\n\nUsage\n  ", command->name, command->summary);
    usage_line(out, command);
    fputc('\n', out);
    if (command->about)
        fprintf(out, "\n%s\n", command->about);
    if (command->arguments && command->arguments->name)
        fputs("\nArguments\n", out);
    for (const struct hd_flag *a = command->arguments; a && a->name; a++)
        flag_row(out, a->value, a);
    fputs("\nOptions\n", out);
    for (const struct hd_flag *f = command->flags; f && f->name; f++) {
        flag_text(left, sizeof left, f);
        flag_row(out, left, f);
    }
    for (const struct hd_flag *f = hd_global_flags; f->name; f++)
        if (hd_flag_used(command, f)) {
            flag_text(left, sizeof left, f);
            flag_row(out, left, f);
        }
    fputs("\nExample\n", out);
    for (const char *line = command->example; *line;) {
        size_t length = strcspn(line, "\n");
        fprintf(out, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void command_row(FILE *out, const struct hd_command *command)
{
    fprintf(out, "  %-20s  %s\n", command->name, command->summary);
}

void hd_help_group(FILE *out, const char *group)
{
    size_t length = strlen(group);

    fprintf(out, "The commands of `heed %s`:\n\n", group);
    for (const struct hd_command *const *c = hd_commands; *c; c++)
        if (strncmp((*c)->name, group, length) == 0 && (*c)->name[length] == ' ')
            command_row(out, *c);
    fputs("\n`heed help COMMAND` tells more, with an example.\n", out);
}

void hd_help_program(FILE *out)
{
    fputs("heed: learns from what people look at, decides what they see next, and says why\n\n"
          "Usage\n  heed COMMAND [arguments] [options]\n\nCommands\n",
          out);
    for (const struct hd_command *const *c = hd_commands; *c; c++)
        command_row(out, *c);
    fputs("\nOptions of most commands\n", out);
    for (const struct hd_flag *f = hd_global_flags; f->name; f++) {
        char left[128];
        flag_text(left, sizeof left, f);
        flag_row(out, left, f);
    }
    fputs("\n`heed help COMMAND` tells more, with an example. `heed demo` shows the whole path.\n"
          "Exit status: 0 done, 1 failed, 2 misused; 130 stopped by Ctrl-C.\n",
          out);
}

/* ---- the manual page, in the man macros that groff and mandoc share */

/* roff reads a backslash, a hyphen, and a line's first full stop or apostrophe for itself. */
static void roff_text(FILE *out, const char *text)
{
    bool start = true;

    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        start = *text == '\n';
    }
}

/* Paragraphs are parted by empty lines in `about`. */
static void roff_paragraphs(FILE *out, const char *text)
{
    for (;;) {
        const char *end = strstr(text, "\n\n");
        char part[4096];
        snprintf(part, sizeof part, "%.*s", end ? (int)(end - text) : (int)sizeof part - 1, text);
        fputs(".PP\n", out);
        roff_text(out, part);
        fputc('\n', out);
        if (!end)
            return;
        text = end + 2;
    }
}

static void roff_flag(FILE *out, const struct hd_flag *flag, bool argument)
{
    char left[128];
    const char *shown = flag->value;

    if (!argument) {
        flag_text(left, sizeof left, flag);
        shown = left + strspn(left, " ");
    }
    fputs(".TP\n.B ", out);
    roff_text(out, shown);
    fputc('\n', out);
    roff_text(out, flag->help);
    if (flag->fallback) {
        fputs(" [", out);
        roff_text(out, flag->fallback);
        fputc(']', out);
    }
    fputs(".\n", out);
}

static void roff_command(FILE *out, const struct hd_command *command)
{
    fputs(".SS ", out);
    roff_text(out, command->name);
    fputc('\n', out);
    roff_text(out, command->summary);
    fputs(".\n", out);
    if (command->about)
        roff_paragraphs(out, command->about);
    for (const struct hd_flag *a = command->arguments; a && a->name; a++)
        roff_flag(out, a, true);
    for (const struct hd_flag *f = command->flags; f && f->name; f++)
        roff_flag(out, f, false);
    fputs(".PP\nExample:\n.PP\n.nf\n", out);
    roff_text(out, command->example);
    fputs("\n.fi\n", out);
}

void hd_manual_page(FILE *out)
{
    fprintf(out,
            ".\\\" Made by `heed help --man` from the table of commands; not to be edited.\n"
            ".TH HEED 1 \"\" \"heed %s\" \"User Commands\"\n"
            ".SH NAME\nheed \\- attention engine: learns what people look at, decides what they "
            "see next\n.SH SYNOPSIS\n.B heed\n.I COMMAND\n[arguments] [options]\n"
            ".SH DESCRIPTION\n"
            "heed takes in what people look at, learns from it with attention models, answers\n"
            "what each person should see next, and says why. All of it is in one data folder.\n"
            ".SH OPTIONS\nThese are understood by every command they mean something to.\n",
            heed_version());
    for (const struct hd_flag *f = hd_global_flags; f->name; f++)
        roff_flag(out, f, false);
    fputs(".SH COMMANDS\n", out);
    for (const struct hd_command *const *c = hd_commands; *c; c++)
        roff_command(out, *c);
    fputs(".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed; the last line on standard error says at "
          "what\n.TP\n2\nmisused: the command line is at fault\n.TP\n130\nstopped by Ctrl-C; what "
          "was finished before it stays\n"
          ".SH ENVIRONMENT\n.TP\n.B HEED_DATA\nthe data folder where \\-\\-data is not given\n"
          ".TP\n.B NO_COLOR\nset to anything: no colours on a terminal\n"
          ".SH FILES\n.TP\n.I heed\\-data/heed.db\nitems, users and events (SQLite)\n"
          ".TP\n.I heed\\-data/models/*.safetensors\nwhat was learned; replaced by rename\n",
          out);
}

/* ---- completion: bash gets the table as two functions that print words */

static void completion_flag(FILE *out, const struct hd_flag *flag)
{
    fprintf(out, " %s%s", strlen(flag->name) == 1 ? "-" : "--", flag->name);
}

/* What may follow an option: file names, folder names, choices, or nothing that could be guessed.
 */
static void completion_values(FILE *out, const struct hd_command *command,
                              const struct hd_flag *flags)
{
    for (const struct hd_flag *f = flags; f && f->name; f++) {
        if (f->kind == HD_FLAG_SWITCH || !hd_flag_used(command, f))
            continue;
        fprintf(out, "        \"%s %s%s\"", command->name, strlen(f->name) == 1 ? "-" : "--",
                f->name);
        if (f->letter && strlen(f->name) > 1)
            fprintf(out, "|\"%s -%c\"", command->name, f->letter);
        fputs(") ", out);
        if (f->kind == HD_FLAG_FILE)
            fputs("COMPREPLY=($(compgen -f -- \"$cur\"))", out);
        else if (f->kind == HD_FLAG_FOLDER)
            fputs("COMPREPLY=($(compgen -d -- \"$cur\"))", out);
        else if (f->kind == HD_FLAG_CHOICE) {
            fputs("COMPREPLY=($(compgen -W \"", out);
            for (const char *c = f->value; *c; c++)
                fputc(*c == '|' ? ' ' : *c, out);
            fputs("\" -- \"$cur\"))", out);
        } else
            fputs("COMPREPLY=()", out);
        fputs("; return ;;\n", out);
    }
}

void hd_completion_bash(FILE *out)
{
    fputs(
        "# bash completion for heed; made by `heed help --completion` from the table of commands.\n"
        "_heed() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} command= words= w\n"
        "    local -a typed=()\n"
        "    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
        "        [[ $w == -* ]] && break\n"
        "        typed+=(\"$w\")\n"
        "    done\n"
        "    for ((w = ${#typed[@]}; w > 0; w--)); do\n"
        "        case \"${typed[*]:0:w}\" in\n            ",
        out);
    for (const struct hd_command *const *c = hd_commands; *c; c++)
        fprintf(out, "%s\"%s\"", c == hd_commands ? "" : "|", (*c)->name);
    fputs(") command=\"${typed[*]:0:w}\"; break ;;\n        esac\n    done\n"
          "    case \"$command ${COMP_WORDS[COMP_CWORD-1]}\" in\n",
          out);
    for (const struct hd_command *const *c = hd_commands; *c; c++) {
        completion_values(out, *c, (*c)->flags);
        completion_values(out, *c, hd_global_flags);
    }
    fputs("    esac\n    case \"$command\" in\n", out);
    for (const struct hd_command *const *c = hd_commands; *c; c++) {
        fprintf(out, "        \"%s\") words=\"", (*c)->name);
        for (const struct hd_flag *f = (*c)->flags; f && f->name; f++)
            completion_flag(out, f);
        for (const struct hd_flag *f = hd_global_flags; f->name; f++)
            if (hd_flag_used(*c, f))
                completion_flag(out, f);
        fputs("\" ;;\n", out);
    }
    fputs("        \"\") case \"${typed[*]}\" in\n            \"\") words=\"", out);
    for (const struct hd_command *const *c = hd_commands; *c; c++) {
        size_t length = strcspn((*c)->name, " ");
        if (c == hd_commands ||
            strncmp((*c)->name, c[-1]->name, length + ((*c)->name[length] == ' ')))
            fprintf(out, " %.*s", (int)length, (*c)->name);
    }
    fputs("\" ;;\n", out);
    for (const struct hd_command *const *c = hd_commands; *c; c++) {
        const char *space = strchr((*c)->name, ' ');
        if (!space)
            continue;
        int length = (int)(space - (*c)->name);
        if (c == hd_commands || strncmp((*c)->name, c[-1]->name, (size_t)length + 1)) {
            fprintf(out, "            \"%.*s\") words=\"", length, (*c)->name);
            for (const struct hd_command *const *d = c;
                 *d && strncmp((*d)->name, (*c)->name, (size_t)length + 1) == 0; d++)
                fprintf(out, " %s", (*d)->name + length + 1);
            fputs("\" ;;\n", out);
        }
    }
    fputs("        esac ;;\n    esac\n"
          "    if [[ $cur == -* || -z $command ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    else\n"
          "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _heed heed\n",
          out);
}
