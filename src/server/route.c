/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding a route: a walk over the rows, piece by piece of the path. Some fifty rows, most of which
 * differ from the path within their first bytes: a microsecond, and nothing to build or keep. */
#include "server/route.h"

#include <stdio.h>
#include <string.h>

static const char *const method_names[HD_METHODS] = {
    [HD_GET] = "GET",     [HD_HEAD] = "HEAD",     [HD_POST] = "POST",       [HD_PUT] = "PUT",
    [HD_PATCH] = "PATCH", [HD_DELETE] = "DELETE", [HD_OPTIONS] = "OPTIONS",
};

const char *hd_method_name(enum hd_method method)
{
    return (unsigned)method < HD_METHODS ? method_names[method] : "?";
}

void hd_route_allow(unsigned methods, char out[64])
{
    size_t at = 0;

    if (methods & 1u << HD_GET)
        methods |= 1u << HD_HEAD;
    out[0] = '\0';
    for (int m = 0; m < HD_METHODS; m++)
        if (methods & 1u << m)
            at += (size_t)snprintf(out + at, 64 - at, "%s%s", at ? ", " : "", method_names[m]);
}

/* Fills in the parameters; whether the whole path is matched. */
static bool matches(const char *pattern, const char *path, struct hd_route_match *match)
{
    match->parameters = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t bytes = strcspn(path, "/");
        if (bytes == 0 || match->parameters == HD_PATH_PARAMETERS_MAX)
            return false;
        match->parameter[match->parameters].at = path;
        match->parameter[match->parameters++].bytes = bytes;
        path += bytes;
        pattern += strcspn(pattern, "}") + 1;
    }
    return !*pattern && !*path;
}

void hd_route_find(const struct hd_route_table *const *tables, enum hd_method method,
                   const char *path, struct hd_route_match *match)
{
    struct hd_route_match tried = {0};
    enum hd_method wanted = method == HD_HEAD ? HD_GET : method;

    *match = (struct hd_route_match){0};
    for (; *tables; tables++)
        for (int i = 0; i < (*tables)->count; i++) {
            const struct hd_route *route = &(*tables)->routes[i];
            if (!matches(route->pattern, path, &tried))
                continue;
            unsigned allowed = match->allowed | 1u << route->method;
            if (!match->route && route->method == wanted) {
                *match = tried;
                match->route = route;
            }
            match->allowed = allowed;
        }
}
