/* SPDX-License-Identifier: Apache-2.0
 *
 * /openapi.json, made of the tables that also do the work: OpenAPI 3.1, whose schemas are JSON Schema
 * 2020-12. Shapes with a name go to components, each once, in the order in which they are met. */
#include "server/problem.h"
#include "server/route.h"

#include <stdio.h>
#include <string.h>

#define SHAPES_MAX 64

/* Shapes that the document names. */
struct shapes {
    const struct hd_shape *shape[SHAPES_MAX];
    int count;
};

/* ---- schemas */

static void put_reference(struct hd_json_writer *w, const struct hd_shape *shape)
{
    char target[128] = "#/components/schemas/";

    strncat(target, shape->name, sizeof target - strlen(target) - 1);
    hd_json_put_text(w, "$ref", target);
}

/* A reference may stand beside nothing else that could say "or null". */
static void put_shape(struct hd_json_writer *w, const struct hd_shape *shape, bool or_null)
{
    if (!or_null) {
        put_reference(w, shape);
        return;
    }
    hd_json_begin_array(w, "anyOf");
    hd_json_begin_object(w, NULL);
    put_reference(w, shape);
    hd_json_end(w);
    hd_json_put_raw(w, NULL, "{\"type\":\"null\"}");
    hd_json_end(w);
}

static void put_type(struct hd_json_writer *w, const char *type, bool or_null)
{
    if (!or_null) {
        hd_json_put_text(w, "type", type);
        return;
    }
    hd_json_begin_array(w, "type");
    hd_json_put_text(w, NULL, type);
    hd_json_put_text(w, NULL, "null");
    hd_json_end(w);
}

static void put_words(struct hd_json_writer *w, const char *words)
{
    hd_json_begin_array(w, "enum");
    for (const char *word = words; *word;) {
        size_t length = strcspn(word, "|");
        hd_json_put_text_bytes(w, NULL, word, length);
        word += length + (word[length] == '|');
    }
    hd_json_end(w);
}

static void put_bounds(struct hd_json_writer *w, const struct hd_field *field)
{
    if (field->most > field->least) {
        hd_json_put_int(w, "minimum", field->least);
        hd_json_put_int(w, "maximum", field->most);
    }
}

static void put_object_of(struct hd_json_writer *w, const char *type, const char *items,
                          bool or_null)
{
    put_type(w, "object", or_null);
    hd_json_begin_object(w, "additionalProperties");
    put_type(w, type, false);
    if (items) {
        hd_json_begin_object(w, "items");
        put_type(w, items, false);
        hd_json_end(w);
    }
    hd_json_end(w);
}

/* What one value may be, without the array around it. */
static void put_kind(struct hd_json_writer *w, const struct hd_field *field, bool or_null)
{
    switch (field->kind) {
    case HD_IS_TEXT:
        put_type(w, "string", or_null);
        break;
    case HD_IS_ID:
    case HD_IS_TIME: /* written as the first, read as either */
        hd_json_begin_array(w, "type");
        hd_json_put_text(w, NULL, "string");
        hd_json_put_text(w, NULL, "integer");
        if (or_null)
            hd_json_put_text(w, NULL, "null");
        hd_json_end(w);
        break;
    case HD_IS_CHOICE:
        put_type(w, "string", false);
        put_words(w, field->words);
        break;
    case HD_IS_INT:
        put_type(w, "integer", or_null);
        put_bounds(w, field);
        break;
    case HD_IS_NUMBER:
        put_type(w, "number", or_null);
        put_bounds(w, field);
        break;
    case HD_IS_BOOL:
        put_type(w, "boolean", or_null);
        break;
    case HD_IS_SHAPE:
        put_shape(w, field->shape, or_null);
        break;
    case HD_IS_ANYTHING:
        break;
    case HD_IS_MAP:
        put_type(w, "object", or_null);
        break;
    case HD_IS_NUMBERS:
        put_object_of(w, "number", NULL, or_null);
        break;
    case HD_IS_VECTORS:
        put_object_of(w, "array", "number", or_null);
        break;
    }
}

/* The schema of one field's value. */
static void put_field(struct hd_json_writer *w, const char *key, const struct hd_field *field)
{
    hd_json_begin_object(w, key);
    if (field->help)
        hd_json_put_text(w, "description", field->help);
    if (field->flags & HD_MANY) {
        put_type(w, "array", field->flags & HD_OR_NULL);
        if (field->most_count > 0)
            hd_json_put_int(w, "maxItems", field->most_count);
        hd_json_begin_object(w, "items");
        put_kind(w, field, false);
        hd_json_end(w);
    } else {
        put_kind(w, field, field->flags & HD_OR_NULL);
    }
    hd_json_end(w);
}

/* Of a shape's object; others that it names are references into components. */
static void put_shape_schema(struct hd_json_writer *w, const char *key,
                             const struct hd_shape *shape)
{
    hd_json_begin_object(w, key);
    if (shape->help)
        hd_json_put_text(w, "description", shape->help);
    put_type(w, "object", false);
    hd_json_begin_object(w, "properties");
    for (const struct hd_field *f = shape->fields; f->name; f++)
        put_field(w, f->name, f);
    hd_json_end(w);
    hd_json_begin_array(w, "required");
    for (const struct hd_field *f = shape->fields; f->name; f++)
        if (f->flags & HD_NEEDED)
            hd_json_put_text(w, NULL, f->name);
    hd_json_end(w);
    hd_json_put_bool(w, "additionalProperties", false);
    hd_json_end(w);
}

/* ---- operations */

static void put_parameter(struct hd_json_writer *w, const char *where, const char *name,
                          const struct hd_field *field)
{
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "name", name);
    hd_json_put_text(w, "in", where);
    hd_json_put_bool(w, "required", strcmp(where, "path") == 0 || field->flags & HD_NEEDED);
    if (field->help)
        hd_json_put_text(w, "description", field->help);
    struct hd_field value = *field;
    value.kind = field->kind == HD_IS_ID ? HD_IS_TEXT : field->kind;
    value.flags &= HD_MANY;
    value.help = NULL; /* the parameter has it */
    put_field(w, "schema", &value);
    hd_json_end(w);
}

static void put_parameters(struct hd_json_writer *w, const struct hd_route *route)
{
    static const struct hd_field piece = {.kind = HD_IS_TEXT};

    hd_json_begin_array(w, "parameters");
    for (const char *at = strchr(route->pattern, '{'); at; at = strchr(at + 1, '{')) {
        char name[64] = "";
        strncat(name, at + 1, strcspn(at + 1, "}"));
        put_parameter(w, "path", name, &piece);
    }
    for (const struct hd_field *f = route->query; f && f->name; f++)
        put_parameter(w, "query", f->name, f);
    hd_json_end(w);
}

static void put_media(struct hd_json_writer *w, const char *type, const struct hd_shape *shape,
                      bool many)
{
    hd_json_begin_object(w, type);
    hd_json_begin_object(w, "schema");
    if (many) {
        put_type(w, "array", false);
        hd_json_begin_object(w, "items");
        if (shape)
            put_reference(w, shape);
        hd_json_end(w);
    } else if (shape) {
        put_reference(w, shape);
    } else {
        put_type(w, strcmp(type, "application/json") == 0 ? "object" : "string", false);
    }
    hd_json_end(w);
    hd_json_end(w);
}

static void put_body(struct hd_json_writer *w, const struct hd_route *route)
{
    if (route->body_kind == HD_BODY_NONE)
        return;
    hd_json_begin_object(w, "requestBody");
    hd_json_put_bool(w, "required", true);
    hd_json_begin_object(w, "content");
    if (route->body_kind == HD_BODY_RECORDS) {
        hd_json_begin_object(w, "application/json");
        hd_json_begin_object(w, "schema");
        hd_json_begin_array(w, "oneOf");
        hd_json_begin_object(w, NULL);
        put_reference(w, route->body);
        hd_json_end(w);
        hd_json_begin_object(w, NULL);
        put_type(w, "array", false);
        hd_json_begin_object(w, "items");
        put_reference(w, route->body);
        hd_json_end(w);
        hd_json_end(w);
        hd_json_end(w);
        hd_json_end(w);
        hd_json_end(w);
        put_media(w, "application/x-ndjson", NULL, false);
    } else {
        put_media(w, "application/json", route->body, false);
    }
    hd_json_end(w);
    hd_json_end(w);
}

static void put_answers(struct hd_json_writer *w, const struct hd_route *route)
{
    hd_json_begin_object(w, "responses");
    for (const struct hd_answer *a = route->answers; a->status; a++) {
        char status[16];
        snprintf(status, sizeof status, "%d", a->status);
        hd_json_begin_object(w, status);
        hd_json_put_text(w, "description", a->help ? a->help : "done");
        if (a->shape || a->media_type) {
            hd_json_begin_object(w, "content");
            put_media(w, a->media_type ? a->media_type : "application/json", a->shape,
                      a->many);
            if (a->also)
                put_media(w, a->also, NULL, false);
            hd_json_end(w);
        }
        hd_json_end(w);
    }
    hd_json_begin_object(w, "default");
    hd_json_put_text(w, "$ref", "#/components/responses/problem");
    hd_json_end(w);
    hd_json_end(w);
}

static void put_roles(struct hd_json_writer *w, unsigned roles)
{
    static const struct {
        unsigned bit;
        heed_role role;
    } known[] = {{HD_BY_INGEST, HEED_ROLE_INGEST}, {HD_BY_SERVE, HEED_ROLE_SERVE}};

    hd_json_begin_array(w, "x-roles");
    for (size_t i = 0; !(roles & HD_ANYBODY) && i < sizeof known / sizeof *known; i++)
        if (roles & known[i].bit)
            hd_json_put_text(w, NULL, heed_role_name(known[i].role));
    if (!(roles & HD_ANYBODY))
        hd_json_put_text(w, NULL, heed_role_name(HEED_ROLE_OPERATOR));
    hd_json_end(w);
    if (roles & HD_ANYBODY) {
        hd_json_begin_array(w, "security"); /* none: this one is open */
        hd_json_end(w);
    }
}

static void put_operation(struct hd_json_writer *w, const char *tag, const struct hd_route *route)
{
    static const char *const keys[HD_METHODS] = {"get",   "head",   "post",   "put",
                                                 "patch", "delete", "options"};

    hd_json_begin_object(w, keys[route->method]);
    hd_json_put_text(w, "operationId", route->name);
    hd_json_put_text(w, "summary", route->summary);
    hd_json_begin_array(w, "tags");
    hd_json_put_text(w, NULL, tag);
    hd_json_end(w);
    put_roles(w, route->roles);
    put_parameters(w, route);
    put_body(w, route);
    put_answers(w, route);
    hd_json_end(w);
}

/* ---- the document */

static bool pattern_seen(const struct hd_route_table *const *tables, const struct hd_route *route)
{
    for (; *tables; tables++)
        for (int i = 0; i < (*tables)->count; i++) {
            if (&(*tables)->routes[i] == route)
                return false;
            if (strcmp((*tables)->routes[i].pattern, route->pattern) == 0)
                return true;
        }
    return false;
}

/* All methods of a path stand together, where the first of them is. */
static void put_path(struct hd_json_writer *w, const struct hd_route_table *const *tables,
                     const struct hd_route *first)
{
    if (pattern_seen(tables, first))
        return;
    hd_json_begin_object(w, first->pattern);
    for (; *tables; tables++)
        for (int i = 0; i < (*tables)->count; i++)
            if (strcmp((*tables)->routes[i].pattern, first->pattern) == 0)
                put_operation(w, (*tables)->tag, &(*tables)->routes[i]);
    hd_json_end(w);
}

/* A shape, and those that its fields name. */
static void collect(struct shapes *all, const struct hd_shape *shape)
{
    if (!shape)
        return;
    for (int i = 0; i < all->count; i++)
        if (all->shape[i] == shape)
            return;
    if (all->count == SHAPES_MAX)
        return;
    all->shape[all->count++] = shape;
    for (const struct hd_field *f = shape->fields; f->name; f++)
        collect(all, f->shape);
}

static void put_components(struct hd_json_writer *w, const struct hd_route_table *const *tables)
{
    struct shapes all = {0};

    collect(&all, &hd_shape_problem);
    for (; *tables; tables++)
        for (int i = 0; i < (*tables)->count; i++) {
            const struct hd_route *route = &(*tables)->routes[i];
            collect(&all, route->body);
            for (const struct hd_answer *a = route->answers; a->status; a++)
                collect(&all, a->shape);
        }
    hd_json_begin_object(w, "components");
    hd_json_begin_object(w, "schemas");
    for (int i = 0; i < all.count; i++)
        put_shape_schema(w, all.shape[i]->name, all.shape[i]);
    hd_json_end(w);
    hd_json_begin_object(w, "responses");
    hd_json_begin_object(w, "problem");
    hd_json_put_text(w, "description", "what went wrong, as a problem document (RFC 9457)");
    hd_json_begin_object(w, "content");
    put_media(w, "application/problem+json", &hd_shape_problem, false);
    hd_json_end(w);
    hd_json_end(w);
    hd_json_end(w);
    hd_json_put_raw(w, "securitySchemes",
                    "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
                    "\"header\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-API-Key\"}}");
    hd_json_end(w);
}

void hd_openapi_write(struct hd_json_writer *w, const struct hd_route_table *const *tables)
{
    hd_json_begin_object(w, NULL);
    hd_json_put_text(w, "openapi", "3.1.0");
    hd_json_begin_object(w, "info");
    hd_json_put_text(w, "title", "heed");
    hd_json_put_text(w, "version", heed_version());
    hd_json_put_text(w, "summary", "attention comes in as events and goes out as feeds");
    hd_json_end(w);
    hd_json_put_raw(w, "security", "[{\"bearer\":[]},{\"header\":[]}]");
    hd_json_begin_object(w, "paths");
    for (int t = 0; tables[t]; t++)
        for (int i = 0; i < tables[t]->count; i++)
            put_path(w, tables, &tables[t]->routes[i]);
    hd_json_end(w);
    put_components(w, tables);
    hd_json_end(w);
}
