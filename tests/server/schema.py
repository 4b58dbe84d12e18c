# SPDX-License-Identifier: Apache-2.0
"""As much of JSON Schema 2020-12 as /openapi.json uses. A word that is not known here is an error, so
that nothing goes unchecked."""

KNOWN = {"$ref", "type", "enum", "properties", "required", "additionalProperties", "items", "minimum",
         "maximum", "maxItems", "oneOf", "anyOf", "description"}


def kind(value):
    if value is None:
        return {"null"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    if isinstance(value, float):
        return {"number", "integer"} if value.is_integer() else {"number"}
    return {str: {"string"}, list: {"array"}, dict: {"object"}}[type(value)]


class Checker:
    """Values against schemas of one OpenAPI document."""

    def __init__(self, document):
        self.document = document

    def resolve(self, reference):
        found = self.document
        for piece in reference.removeprefix("#/").split("/"):
            found = found[piece]
        return found

    def faults(self, value, schema, where="$"):
        unknown = set(schema) - KNOWN
        if unknown:
            raise ValueError(f"{where}: the schema has words that are not checked: {unknown}")
        if "$ref" in schema:
            yield from self.faults(value, self.resolve(schema["$ref"]), where)
        for word, wanted in (("oneOf", 1), ("anyOf", None)):
            if word in schema:
                fits = sum(not list(self.faults(value, s, where)) for s in schema[word])
                if fits != wanted if wanted else fits == 0:
                    yield f"{where}: fits {fits} of {word}"
        types = schema.get("type", [])
        types = {types} if isinstance(types, str) else set(types)
        if types and not types & kind(value):
            yield f"{where}: {value!r} is not {' or '.join(sorted(types))}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is not one of {schema['enum']}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value < schema.get("minimum", value) or value > schema.get("maximum", value):
                yield f"{where}: {value} is out of its range"
        if isinstance(value, list):
            yield from self.array_faults(value, schema, where)
        if isinstance(value, dict):
            yield from self.object_faults(value, schema, where)

    def array_faults(self, value, schema, where):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{where}: {len(value)} of them"
        for i, one in enumerate(value):
            yield from self.faults(one, schema.get("items", {}), f"{where}[{i}]")

    def object_faults(self, value, schema, where):
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                yield f"{where}: {name} is missing"
        for name, one in value.items():
            if name in properties:
                yield from self.faults(one, properties[name], f"{where}.{name}")
            elif schema.get("additionalProperties", True) is False:
                yield f"{where}: {name} is not told of"
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from self.faults(one, schema["additionalProperties"], f"{where}.{name}")


class Description:
    """What /openapi.json says of requests and their answers."""

    def __init__(self, document):
        self.document = document
        self.checker = Checker(document)
        self.operations = {(method.upper(), pattern): operation
                           for pattern, path in document["paths"].items()
                           for method, operation in path.items()}

    def pattern(self, method, path):
        """The pattern of a path, as a server would find it: what is spelt out goes first."""
        pieces = path.split("?")[0].split("/")
        fitting = [p for p in self.document["paths"]
                   if len(p.split("/")) == len(pieces) and
                   all(a == b or (a.startswith("{") and b) for a, b in zip(p.split("/"), pieces))]
        fitting = [p for p in fitting if (method, p) in self.operations]
        return min(fitting, key=lambda p: p.count("{"), default=None)

    def request_faults(self, method, path, body, media):
        operation = self.operations[method, self.pattern(method, path)]
        content = operation.get("requestBody", {}).get("content", {})
        if body is not None and not content:
            yield f"{method} {path}: takes no body"
        if media == "application/json" and body is not None:
            yield from self.checker.faults(body, content[media]["schema"], "body")

    def answer_faults(self, method, path, status, media, body):
        """body: of JSON the value, else the text."""
        pattern = self.pattern(method, path)
        responses = self.operations[method, pattern]["responses"]
        response = responses.get(str(status)) or responses["default"]
        if "$ref" in response:
            response = self.checker.resolve(response["$ref"])
        content = response.get("content", {})
        media = media.split(";")[0].strip() if media else None
        if not content:
            if body:
                yield f"{method} {path}: {status} has a body that is not told of"
            return
        if media not in content:
            yield f"{method} {path}: {status} came as {media}, not {sorted(content)}"
            return
        yield from (f"{method} {path}: {status}: {fault}"
                    for fault in self.checker.faults(body, content[media]["schema"]))
