/* SPDX-License-Identifier: Apache-2.0
 *
 * Which route a path finds, what it may be asked, and the description made of the same rows. */
#include "server/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static heed_status nothing(struct hd_request *r)
{
    (void)r;
    return HEED_OK;
}

static const struct hd_field thing_fields[] = {
    {"id", HD_IS_ID, HD_NEEDED},
    {"size", HD_IS_INT, HD_OR_NULL, .least = 1, .most = 9},
    {0},
};
static const struct hd_shape thing = {"Thing", thing_fields, 0, NULL};
static const struct hd_field query[] = {{"n", HD_IS_INT, .least = 1, .most = 5}, {0}};

static const struct hd_route first_routes[] = {
    {HD_GET, "/v1/things", HD_ANYBODY, nothing, "listThings", "all", .query = query,
     .answers = {{200, .shape = &thing}}},
    {HD_GET, "/v1/things/new", 0, nothing, "newThing", "spelt out"},
    {HD_GET, "/v1/things/{id}", HD_BY_SERVE, nothing, "getThing", "one"},
    {HD_PUT, "/v1/things/{id}", 0, nothing, "putThing", "put", .body_kind = HD_BODY_JSON,
     .body = &thing},
    {HD_GET, "/v1/things/{id}/parts/{part}", 0, nothing, "getPart", "a part"},
};
static const struct hd_route second_routes[] = {
    {HD_DELETE, "/v1/things/{id}", 0, nothing, "dropThing", "from another table"},
    {HD_POST, "/", 0, nothing, "root", "the root"},
};
static const struct hd_route_table first = {"first", first_routes, 5},
                                   second = {"second", second_routes, 2};
static const struct hd_route_table *const tables[] = {&first, &second, NULL};

static const struct row {
    const char *name;
    enum hd_method method;
    const char *path;
    const char *found; /* the route's name, or NULL */
    const char *allow; /* "" where there is no such path */
    const char *parameters; /* joined with a blank */
} rows[] = {
    {"a plain path", HD_GET, "/v1/things", "listThings", "GET, HEAD", ""},
    {"HEAD is GET", HD_HEAD, "/v1/things", "listThings", "GET, HEAD", ""},
    {"a parameter", HD_GET, "/v1/things/a%2Fb", "getThing", "GET, HEAD, PUT, DELETE", "a%2Fb"},
    {"what is spelt out goes first", HD_GET, "/v1/things/new", "newThing", "GET, HEAD, PUT, DELETE", ""},
    {"another method of what a parameter takes", HD_PUT, "/v1/things/new", "putThing",
     "GET, HEAD, PUT, DELETE", "new"},
    {"in a later table", HD_DELETE, "/v1/things/x", "dropThing", "GET, HEAD, PUT, DELETE", "x"},
    {"two parameters", HD_GET, "/v1/things/x/parts/y", "getPart", "GET, HEAD", "x y"},
    {"not this method", HD_POST, "/v1/things", NULL, "GET, HEAD", ""},
    {"OPTIONS", HD_OPTIONS, "/v1/things/x", NULL, "GET, HEAD, PUT, DELETE", ""},
    {"the root", HD_POST, "/", "root", "POST", ""},
    {"nothing there", HD_GET, "/v1/nothing", NULL, "", ""},
    {"a parameter is not empty", HD_GET, "/v1/things/", NULL, "", ""},
    {"nor holds a slash", HD_GET, "/v1/things/a/b", NULL, "", ""},
    {"a slash too many", HD_GET, "/v1/things/x/", NULL, "", ""},
    {"a beginning", HD_GET, "/v1/thing", NULL, "", ""},
    {"a path that goes on", HD_GET, "/v1/thingsandmore", NULL, "", ""},
    {"no path", HD_GET, "", NULL, "", ""},
    {"letters' case counts", HD_GET, "/V1/things", NULL, "", ""},
};

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct hd_route_match match;
        char allow[64], parameters[128] = "";
        hd_route_find(tables, row->method, row->path, &match);
        hd_route_allow(match.allowed, allow);
        for (int p = 0; match.route && p < match.parameters; p++) {
            if (p)
                strcat(parameters, " ");
            strncat(parameters, match.parameter[p].at, match.parameter[p].bytes);
        }
        const char *found = match.route ? match.route->name : NULL;
        if ((found == NULL) != (row->found == NULL) || (found && strcmp(found, row->found) != 0) ||
            strcmp(allow, row->allow) != 0 || strcmp(parameters, row->parameters) != 0)
            fail_msg("%s: found %s, allow %s, parameters %s", row->name, found ? found : "nothing",
                     allow, parameters);
    }
}

static const hd_json *at(const hd_json *value, const char *key)
{
    const hd_json *found = hd_json_get(value, key);
    if (!found)
        fail_msg("the description has no %s", key);
    return found;
}

static void test_openapi(void **state)
{
    struct hd_json_writer w = {0};
    hd_json_reader *reader;
    hd_json *root;
    const char *text;
    size_t bytes;

    (void)state;
    hd_openapi_write(&w, tables);
    assert_int_equal(hd_json_finish(&w, &text, &bytes), HEED_OK);
    assert_int_equal(hd_json_reader_new(&reader), HEED_OK);
    assert_int_equal(hd_json_read(reader, text, bytes, &root), HEED_OK);
    const hd_json *path = at(at(root, "paths"), "/v1/things/{id}");
    assert_string_equal(hd_json_text(at(at(path, "delete"), "operationId"), NULL), "dropThing");
    const hd_json *roles = at(at(path, "get"), "x-roles");
    assert_string_equal(hd_json_text(hd_json_at(roles, 0), NULL), "serve");
    assert_string_equal(hd_json_text(hd_json_at(roles, 1), NULL), "operator");
    const hd_json *parameter = hd_json_at(at(at(path, "put"), "parameters"), 0);
    assert_string_equal(hd_json_text(at(parameter, "name"), NULL), "id");
    assert_true(hd_json_bool(at(parameter, "required")));
    const hd_json *list = at(at(at(root, "paths"), "/v1/things"), "get");
    assert_int_equal(hd_json_length(at(list, "security")), 0);
    assert_int_equal(
        hd_json_int(at(at(hd_json_at(at(list, "parameters"), 0), "schema"), "maximum")), 5);
    const hd_json *schema = at(at(at(root, "components"), "schemas"), "Thing");
    assert_string_equal(hd_json_text(hd_json_at(at(schema, "required"), 0), NULL), "id");
    assert_int_equal(hd_json_length(at(at(at(schema, "properties"), "size"), "type")), 2);
    assert_false(hd_json_bool(at(schema, "additionalProperties")));
    hd_json_reader_free(reader);
    hd_json_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_openapi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
