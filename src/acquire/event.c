/* SPDX-License-Identifier: Apache-2.0
 *
 * Events of NDJSON and of interactions files. */
#include "acquire/event.h"
#include "acquire/fields.h"
#include "base/limits.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const kinds[HD_EVENT_KINDS] = {
    [HD_EVENT_IMPRESSION] = "impression",
    [HD_EVENT_VIEW] = "view",
    [HD_EVENT_CLICK] = "click",
    [HD_EVENT_LIKE] = "like",
    [HD_EVENT_DISLIKE] = "dislike",
    [HD_EVENT_SHARE] = "share",
    [HD_EVENT_SAVE] = "save",
    [HD_EVENT_HIDE] = "hide",
    [HD_EVENT_REPORT] = "report",
    [HD_EVENT_CONVERT] = "convert",
};

const char *hd_event_kind_name(enum hd_event_kind kind)
{
    return (unsigned)kind < HD_EVENT_KINDS ? kinds[kind] : "?";
}

int hd_event_kind_find(const char *name, size_t bytes)
{
    for (int i = 0; i < HD_EVENT_KINDS; i++)
        if (strlen(kinds[i]) == bytes && memcmp(kinds[i], name, bytes) == 0)
            return i;
    return -1;
}

static const struct hd_event nothing_given = {
    .kind = HD_EVENT_VIEW, .dwell_ms = -1, .value = (double)NAN, .position = -1};

static heed_status parse_kind(const hd_json *value, struct hd_event *e)
{
    const char *text;
    size_t bytes;

    HD_TRY(hd_field_text("kind", value, HD_ID_BYTES_MAX, &text, &bytes));
    int kind = hd_event_kind_find(text, bytes);
    if (kind < 0)
        return hd_fail(HEED_E_FORMAT,
                       "kind: there is no \"%.40s\"; there are impression, view, click, like, "
                       "dislike, share, save, hide, report, convert",
                       text);
    e->kind = (enum hd_event_kind)kind;
    return HEED_OK;
}

static heed_status parse_ts(const hd_json *value, struct hd_event *e)
{
    HD_TRY(hd_field_time("ts", value, &e->ts));
    if (e->ts <= 0)
        return hd_fail(HEED_E_RANGE, "ts: %" PRId64 " ms is not after 1970-01-01T00:00:00Z", e->ts);
    return HEED_OK;
}

static heed_status parse_dwell(const hd_json *value, struct hd_event *e)
{
    double ms;

    HD_TRY(hd_field_number("dwell_ms", value, &ms));
    if (!(ms >= 0 && ms <= (double)HD_DWELL_MS_MAX))
        return hd_fail(HEED_E_RANGE, "dwell_ms: %.15g is not 0 to %" PRId64 ", a day", ms,
                       HD_DWELL_MS_MAX);
    e->dwell_ms = llround(ms); /* a browser's clock gives fractions */
    return HEED_OK;
}

static heed_status parse_position(const hd_json *value, struct hd_event *e)
{
    int64_t position;

    HD_TRY(hd_field_int("position", value, 0, HD_POSITION_MAX, &position));
    e->position = (int32_t)position;
    return HEED_OK;
}

static heed_status parse_member(const char *key, const hd_json *value, hd_arena *arena,
                                struct hd_event *e)
{
    struct hd_span span = {0};

    if (strcmp(key, "user") == 0)
        return hd_field_id(key, value, arena, &e->user);
    if (strcmp(key, "item") == 0)
        return hd_field_id(key, value, arena, &e->item);
    if (strcmp(key, "kind") == 0)
        return parse_kind(value, e);
    if (strcmp(key, "ts") == 0)
        return parse_ts(value, e);
    if (strcmp(key, "dwell_ms") == 0)
        return parse_dwell(value, e);
    if (strcmp(key, "value") == 0)
        return hd_field_number(key, value, &e->value);
    if (strcmp(key, "position") == 0)
        return parse_position(value, e);
    if (strcmp(key, "context") == 0)
        return hd_field_object(key, value, arena, &e->context);
    if (strcmp(key, "ext") == 0)
        return hd_field_object(key, value, arena, &e->ext);
    if (strcmp(key, "id") == 0 || strcmp(key, "decision") == 0) {
        HD_TRY(hd_field_id(key, value, arena, &span));
        *(key[0] == 'i' ? &e->id : &e->decision) = span.at;
        return HEED_OK;
    }
    return hd_fail(HEED_E_FORMAT,
                   "%.60s: an event has no such field; your own go under context or ext", key);
}

heed_status hd_event_of_json(const hd_json *root, hd_arena *arena, struct hd_event *out)
{
    struct hd_event e = nothing_given;
    bool kind_given = false;

    if (hd_json_kind(root) != HD_JSON_OBJECT)
        return hd_fail(HEED_E_FORMAT, "%s, not an object", hd_json_kind_name(hd_json_kind(root)));
    for (struct hd_json_member m = hd_json_first(root); m.key; m = hd_json_next(m)) {
        if (hd_json_kind(m.value) == HD_JSON_NULL) { /* as good as not given */
            e.ts_null = e.ts_null || strcmp(m.key, "ts") == 0;
            continue;
        }
        HD_TRY(parse_member(m.key, m.value, arena, &e));
        kind_given = kind_given || strcmp(m.key, "kind") == 0;
    }
    if (!e.user.at || !e.item.at || !kind_given)
        return hd_fail(HEED_E_FORMAT, "%s: missing",
                       !e.user.at   ? "user"
                       : !e.item.at ? "item"
                                    : "kind");
    *out = e;
    return HEED_OK;
}

heed_status hd_parse_event(hd_json_reader *reader, const char *line, size_t bytes, hd_arena *arena,
                           struct hd_event *out)
{
    hd_json *root;

    HD_TRY(hd_json_read(reader, line, bytes, &root));
    return hd_event_of_json(root, arena, out);
}

/* ---- interactions */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

heed_status hd_parse_interaction(const char *line, size_t bytes, struct hd_event *out)
{
    struct hd_event e = nothing_given;
    struct hd_span field[2] = {{0}};
    size_t i = 0, count = 0;

    while (i < bytes) {
        while (i < bytes && is_blank(line[i]))
            i++;
        size_t from = i;
        while (i < bytes && !is_blank(line[i]))
            i++;
        if (i == from)
            break;
        if (count < 2)
            field[count] = (struct hd_span){line + from, i - from};
        count++;
    }
    if (count != 2) {
        bool ratings = count > 2 || hd_line_has(line, bytes, "::") || hd_line_has(line, bytes, ",");
        return hd_fail(HEED_E_FORMAT,
                       "line: %zu field%s, not 2: `user item` with blanks between them%s", count,
                       count == 1 ? "" : "s", ratings ? " (are these ratings, perhaps?)" : "");
    }
    HD_TRY(hd_check_id("user", field[0].at, field[0].bytes));
    HD_TRY(hd_check_id("item", field[1].at, field[1].bytes));
    e.user = field[0];
    e.item = field[1];
    *out = e;
    return HEED_OK;
}
