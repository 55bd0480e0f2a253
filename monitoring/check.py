#!/usr/bin/env python3
"""Asks a Prometheus every query of the dashboards and rules in a folder: does each return data?

    check.py http://127.0.0.1:9090 [FOLDER] [--wait SECONDS] [--may-miss METRIC]...

The Prometheus must have loaded the folder's rules and watch an engine that answers predictions, some
of them wrong. An alert's query has no data while all is well, so its parts are asked instead: both
sides of `and`, `or` and comparisons, the left side of `unless`. Needs Python 3.8 and nothing else.
"""

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

# What Grafana puts in for its variables; any other variable stands for "all".
INTERVALS = {"__rate_interval": "1m", "__interval": "15s", "__range": "5m"}
NUMBER = re.compile(r"^-?[0-9.]+(e-?[0-9]+)?$")
# Operators between queries, weakest first; those of one line bind alike, from left to right.
LEVELS = [("or",), ("and", "unless"), ("==", "!=", "<=", ">=", "<", ">")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="the Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for data")
    parser.add_argument(
        "--may-miss", action="append", default=[], metavar="METRIC",
        help="a metric that is not there before something rare happens",
    )  # fmt: skip
    options = parser.parse_args()
    deadline = time.monotonic() + options.wait
    while True:
        failures, asked = check(options)
        if not failures or time.monotonic() > deadline:
            break
        time.sleep(1)
    for failure in failures:
        print(f"monitoring: {failure}", file=sys.stderr)
    if failures:
        sys.exit(f"monitoring: {len(failures)} of {asked} queries failed")
    print(f"monitoring: all {asked} queries return data")


def check(options):
    queries = [*in_dashboards(options.folder), *in_rules(options.url, options.folder)]
    if not queries:
        sys.exit(f"monitoring: no dashboard and no rule is in {options.folder}")
    failures = []
    for place, query in queries:
        if any(metric in query for metric in options.may_miss):
            continue
        found = ask(options.url, query)
        if found is not None:
            failures.append(f"{place}: {found}: {query}")
    return failures, len(queries)


def in_dashboards(folder):
    for path in sorted(folder.glob("grafana/dashboards/*.json")):
        dashboard = json.loads(path.read_text())
        for variable in dashboard["templating"]["list"]:
            # label_values(METRIC, LABEL)
            source = re.match(r"label_values\((.*), *(\w+)\)$", variable["definition"])
            if source is None:
                sys.exit(
                    f"monitoring: {path.name}: variable `{variable['name']}` must be "
                    "label_values(METRIC, LABEL)"
                )
            query = f"count by ({source[2]}) ({filled(source[1])})"
            yield f"{path.name}, variable {variable['name']}", query
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                yield f"{path.name}, panel `{panel['title']}`", filled(target["expr"])


def panels(holder):
    for panel in holder.get("panels", []):
        yield panel
        yield from panels(panel)


def filled(query):
    """The query with its variables replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda name: INTERVALS.get(name[1], ".*"), query)


def in_rules(url, folder):
    """Prometheus itself reads the rules; the files say which must be there."""
    loaded = {}
    for group in get(url, "/api/v1/rules")["groups"]:
        for rule in group["rules"]:
            loaded[rule["name"]] = rule
    for path in sorted(folder.glob("prometheus/rules/*.rules.yml")):
        for kind, name in re.findall(r"^ *- (record|alert): *(\S+)$", path.read_text(), re.M):
            rule = loaded.get(name)
            if rule is None:
                sys.exit(f"monitoring: {path.name}: {url} has not loaded the rule `{name}`")
            if rule.get("lastError"):
                sys.exit(f"monitoring: {path.name}: rule `{name}` fails: {rule['lastError']}")
            if kind == "record":
                yield f"{path.name}, {name}", name
                continue
            for part in parts(rule["query"]):
                yield f"{path.name}, alert {name}", part


def parts(query):
    """The queries that an alert's query is made of."""
    query = unwrapped(query.strip())
    for operators in LEVELS:
        found = split(query, operators)
        if found is None:
            continue
        left, operator, right = found
        yield from parts(left)
        if operator != "unless":
            yield from parts(right)
        return
    if not NUMBER.match(query):
        yield query


def split(query, operators):
    """Splits at the last of the operators that stands outside of all brackets and texts."""
    last = None
    for start in outside(query):
        for operator in sorted(operators, key=len, reverse=True):
            if not query.startswith(operator, start):
                continue
            end = start + len(operator)
            around = query[start - 1 : start] + query[end : end + 1]
            if operator.isalpha() and re.search(r"\w", around):
                continue
            if operator in "<>" and query[end : end + 1] == "=":
                continue
            if query[start - 1 : start] in ("<", ">", "!", "="):
                continue
            last = (query[:start], operator, query[end:])
            break
    return last


def unwrapped(query):
    """Without brackets around the whole."""
    while query.startswith("(") and not any(outside(query)):
        query = query[1:-1].strip()
    return query


def outside(query):
    """The places outside of all brackets and texts."""
    depth = 0
    quote = None
    for place, sign in enumerate(query):
        if quote:
            if sign == quote and query[place - 1] != "\\":
                quote = None
        elif sign in "\"'`":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif depth == 0:
            yield place


def ask(url, query):
    """What is wrong with the query, or nothing."""
    try:
        result = get(url, "/api/v1/query", query=query)["result"]
    except Refused as refusal:
        return str(refusal)
    if not result:
        return "no data"
    if all(sample["value"][1] == "NaN" for sample in result):
        return "no number"
    return None


class Refused(Exception):
    """What Prometheus says is wrong."""


def get(url, path, **parameters):
    address = f"{url.rstrip('/')}{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as answer:
        raise Refused(json.load(answer)["error"]) from None
    except urllib.error.URLError as failure:
        sys.exit(f"monitoring: {url} cannot be reached: {failure.reason}")


if __name__ == "__main__":
    main()
