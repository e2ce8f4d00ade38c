"""Reads `go test -json` of the Go tests here, passes the text on, and keeps the result in README.md with versions and date."""

import collections
import datetime
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

README = pathlib.Path(__file__).with_name("README.md")
LIBRARIES = ["deltalake", "pyarrow", "polars", "duckdb", "duckdb_extension_delta", "chdb", "chdb-core", "pyspark", "delta-spark"]
HEADING = "## Last result\n"


def words(test):
    """TestOthersReadALongLog becomes: others read a long log."""
    return " ".join(re.findall("[A-Z][a-z]*", test.removeprefix("Test"))).lower()


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()[0].strip()


def results(lines):
    outcome = collections.defaultdict(lambda: collections.defaultdict(list))
    failed = False
    for line in lines:
        event = json.loads(line)
        if event["Action"] == "output" and not event["Output"].startswith("=== "):
            print(event["Output"], end="")
        failed = failed or event["Action"] == "fail"
        if "Test" in event and event["Action"] in ("pass", "fail", "skip"):
            test, _, case = event["Test"].partition("/")
            outcome[test][case.partition("#")[0]].append(event["Action"])
    return outcome, failed


def said(actions):
    if "fail" in actions:
        return "**fails**"
    if "pass" not in actions:
        return "skipped"
    return "agrees" + (f", {actions.count('skip')} skipped" if "skip" in actions else "")


def main():
    readers = sys.argv[1].split(",")
    outcome, failed = results(sys.stdin)
    installed = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    day = datetime.date.today()
    text = [
        HEADING,
        f"{day.day} {day:%B %Y}: {', '.join(installed)}; {first_line('java', '-version')}; {first_line('go', 'version')}.\n",
        "| | " + " | ".join(readers) + " |",
        "|---" * (len(readers) + 1) + "|",
    ]
    for test, cases in outcome.items():
        if any(reader in cases for reader in readers):
            text.append(f"| {words(test)} | " + " | ".join(said(cases[r]) if r in cases else "" for r in readers) + " |")
    text.append("")
    for test, cases in outcome.items():
        if not any(reader in cases for reader in readers):
            text.append(f"- {words(test)}: {said([a for actions in cases.values() for a in actions])}")
    kept = README.read_text(encoding="utf-8").partition(HEADING)[0]
    README.write_text(kept + "\n".join(text) + "\n", encoding="utf-8")
    sys.exit(1 if failed else 0)


main()
