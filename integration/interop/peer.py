"""Answers the Go tests: peer.py <reader>, one JSON request a line, one JSON answer a line, until the input ends.

A reader is an implementation of Delta Lake that is not smelt's. Its answers hold each value as text, in the form in which
MySQL prints it; compare_test.go does the rest. See README.md for the readers.
"""

import datetime
import decimal
import json
import os
import struct
import sys

import readers
import writer


def text(value, kind):
    """The value of an Arrow type as MySQL prints it; binary as hexadecimal digits, nested values as JSON."""
    import pyarrow as pa

    if value is None:
        return None
    if pa.types.is_nested(kind):
        return as_json(value, kind)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return utc(value).isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if pa.types.is_float32(kind):
        return shortest(value)
    return str(value)


def utc(value):
    return value if value.tzinfo is None else value.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def shortest(value):
    """The fewest digits that read back as the same 32-bit float."""
    for digits in range(1, 10):
        short = f"{value:.{digits}g}"
        if value != value or struct.pack("f", float(short)) == struct.pack("f", value):
            return short
    return repr(value)


def as_json(value, kind):
    """A nested value as smelt and Spark's to_json show it: without fields that are null, with exact decimals, base64, ISO 8601."""
    import base64

    import pyarrow as pa

    if value is None:
        return "null"
    if pa.types.is_struct(kind):
        fields = (json.dumps(f.name) + ":" + as_json(value[f.name], f.type) for f in kind if value[f.name] is not None)
        return "{" + ",".join(fields) + "}"
    if pa.types.is_map(kind):
        pairs = value.items() if isinstance(value, dict) else value
        return "{" + ",".join(json.dumps(text(k, kind.key_type)) + ":" + as_json(v, kind.item_type) for k, v in pairs) + "}"
    if pa.types.is_nested(kind):
        return "[" + ",".join(as_json(v, kind.value_type) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return json.dumps(base64.b64encode(value).decode())
    if isinstance(value, datetime.datetime):
        timespec = "microseconds" if value.microsecond % 1000 else "milliseconds"
        return json.dumps(utc(value).isoformat(timespec=timespec) + "Z")
    if isinstance(value, datetime.date):
        return json.dumps(value.isoformat())
    if isinstance(value, float):
        special = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}.get(repr(value))
        return special or (shortest(value) if pa.types.is_float32(kind) else repr(value))
    if isinstance(value, (int, decimal.Decimal)):
        return format(value, "d" if isinstance(value, int) else "f")
    return json.dumps(value)


def rows(table):
    kinds = [f.type for f in table.schema]
    columns = [[text(v, kind) for v in column.to_pylist()] for column, kind in zip(table.columns, kinds)]
    return [list(row) for row in zip(*columns)]


def answer(reader, request):
    op, path = request["op"], request["path"]
    if op == "read":
        version, table = reader.read(path, request.get("version"))
        return {"version": version, "names": table.schema.names, "rows": rows(table)}
    if op == "stream":
        table = reader.stream(path)
        return {"names": table.schema.names, "rows": rows(table)}
    if op == "history":
        return {"history": [{"version": h["version"], "operation": h["operation"]} for h in reader.history(path)]}
    if op == "write":
        writer.SCENARIOS[request["what"]](path)
        return {}
    raise ValueError(f"no such request: {op}")


def main():
    # Libraries may print: what they say goes to stderr, only answers to stdout.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(what):
        print(json.dumps(what), file=answers, flush=True)

    try:
        reader = readers.READERS[sys.argv[1]]()
    except (ImportError, readers.Missing) as reason:
        say({"skip": f"{sys.argv[1]}: {reason}"})
        return
    say({"versions": reader.versions()})
    for line in sys.stdin:
        try:
            say(answer(reader, json.loads(line)))
        except BaseException as failure:  # panics of Rust libraries are no Exceptions
            say({"error": f"{type(failure).__name__}: {failure}"})


main()
os._exit(0)  # threads of the libraries sometimes abort an orderly exit of the interpreter
