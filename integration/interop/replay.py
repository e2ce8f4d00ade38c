"""Follows the log of a Delta table by the public protocol, for programs that read Parquet but not Delta."""

import collections
import json
import os
import re
import urllib.parse

State = collections.namedtuple("State", "version schema columns files")
COMMIT = re.compile(r"(\d{20})\.json$")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet$")


def versions(path, pattern):
    found = (pattern.match(name) for name in os.listdir(os.path.join(path, "_delta_log")))
    return sorted(int(m.group(1)) for m in found if m)


def newest(path):
    return max(versions(path, COMMIT) + versions(path, CHECKPOINT))


def replay(path, version, read_parquet):
    """The state of a version, or of the newest: read_parquet turns a checkpoint into a list of dicts."""
    version = newest(path) if version is None else version
    checkpoints = [v for v in versions(path, CHECKPOINT) if v <= version]
    commits = [v for v in versions(path, COMMIT) if (checkpoints[-1] if checkpoints else -1) < v <= version]
    log = os.path.join(path, "_delta_log")
    actions = read_parquet(os.path.join(log, f"{checkpoints[-1]:020d}.checkpoint.parquet")) if checkpoints else []
    expected = range(checkpoints[-1] + 1 if checkpoints else 0, version + 1)
    if commits != list(expected):
        raise ValueError(f"the log has holes: want the versions {expected}, got {commits}")
    for v in commits:
        with open(os.path.join(log, f"{v:020d}.json"), encoding="utf-8") as lines:
            actions.extend(json.loads(line) for line in lines if line.strip())
    return state(path, version, actions)


def state(path, version, actions):
    files, metadata = {}, None
    for action in actions:
        if action.get("protocol") and action["protocol"]["minReaderVersion"] != 1:
            raise ValueError(f"protocol {action['protocol']}")
        metadata = action.get("metaData") or metadata
        if action.get("remove"):
            files.pop(action["remove"]["path"], None)
        if action.get("add"):
            add = action["add"]
            files[add["path"]] = dict(add["partitionValues"] or {})
    schema = json.loads(metadata["schemaString"])
    columns = [(f["name"], f["type"]) for f in schema["fields"]]
    # Writers may not agree on null and empty text: both are null in Delta.
    listed = [(os.path.join(path, urllib.parse.unquote(name)), {k: v or None for k, v in values.items()}) for name, values in files.items()]
    return State(version, schema, columns, listed)
