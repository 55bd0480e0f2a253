"""Loads a running engine with predictions, and prints what came of it as a table.

By environment, all optional:

  URL          the engine (http://127.0.0.1:8000); only this machine, unless ANYWHERE=yes
  MODEL, BODY  what is asked (iris); the body as JSON, or @FILE
  RATE         requests/s that are due, answered or not: an open loop, in which a late answer counts
               from when its request was due. Without it, a closed loop: each connection asks again
               as soon as it is answered
  CONNECTIONS  at the same time (16)
  DURATION     seconds (10), 600 at most
  TOKEN        an access token; else LOGIN (admin) and PASSWORD (ENGINE__AUTH__ADMIN_PASSWORD)

The load generator is oha, in target/tools/bin.
"""

import ipaddress
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

OHA = Path(__file__).parents[2] / "target/tools/bin/oha"
BODY = '{"features":[5.1,3.5,1.4,0.2]}'


def given(name, default=""):
    return os.environ.get(name) or default


def number(name, default, most):
    try:
        value = float(given(name, default))
    except ValueError:
        sys.exit(f"{name}={given(name)} is not a number")
    if not 0 < value <= most:
        sys.exit(f"{name}={given(name)} must be above 0 and at most {most}")
    return value


def is_here(url):
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def sign_in(url):
    if token := given("TOKEN"):
        return token
    password = given("PASSWORD", given("ENGINE__AUTH__ADMIN_PASSWORD"))
    if not password:
        sys.exit("nobody is signed in: give PASSWORD (the engine printed one at its first start) or TOKEN")
    body = json.dumps({"username": given("LOGIN", "admin"), "password": password}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v1/auth/token", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["access_token"]
    except urllib.error.HTTPError as error:
        sys.exit(f"sign-in refused: {error.read().decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{url} cannot be reached: {error}; `make run` starts an engine")


def command(url, token):
    duration, rate = number("DURATION", "10", 600), given("RATE")
    body = given("BODY", BODY)
    arguments = [OHA, "--no-tui", "--output-format", "json", "-m", "POST", "-T", "application/json"]
    # What is under way at the end is waited for, though never for long.
    arguments += ["-z", f"{duration}s", "-w", "-t", "30s"]
    arguments += ["-c", str(int(number("CONNECTIONS", "16", 10_000)))]
    arguments += ["-D", body[1:]] if body.startswith("@") else ["-d", body]
    arguments += ["-H", f"Authorization: Bearer {token}"]
    if rate:
        arguments += ["-q", str(number("RATE", "", 1_000_000)), "--latency-correction"]
    return [*arguments, f"{url}/api/v1/models/{given('MODEL', 'iris')}/predict"], duration


def table(report):
    """Prints the table; says whether all requests were answered with 200."""
    statuses, errors = report["statusCodeDistribution"], report["errorDistribution"]
    answered, took = sum(statuses.values()), report["summary"]["total"]
    failed = {**{status: n for status, n in statuses.items() if status != "200"}, **errors}
    times = report["latencyPercentiles"]
    columns = {
        "loop": f"open, {given('RATE')}/s" if given("RATE") else "closed",
        "connections": given("CONNECTIONS", "16"),
        "requests": str(answered + sum(errors.values())),
        "requests/s": f"{answered / took:.1f}",
        "errors": ", ".join(f"{n} x {what}" for what, n in failed.items()) or "none",
    }
    slowest = report["summary"]["slowest"]
    for name, value in [*((p, times[p]) for p in ("p50", "p90", "p99", "p99.9")), ("max", slowest)]:
        columns[f"{name} ms"] = "-" if value is None else f"{value * 1e3:.2f}"
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    print("| " + " | ".join(columns.values()) + " |")
    if given("RATE") and answered < 0.98 * float(given("RATE")) * took:
        print("\nThe rate was not reached: the requests that were still due at the end were not sent.")
    return not failed


def main():
    url = given("URL", "http://127.0.0.1:8000").rstrip("/")
    if not is_here(url) and not given("ANYWHERE"):
        sys.exit(f"{url} is not this machine: ANYWHERE=yes if you may put load on it")
    arguments, duration = command(url, sign_in(url))
    run = subprocess.run(arguments, stdout=subprocess.PIPE, timeout=duration + 60)
    if run.returncode != 0:
        sys.exit(f"oha ended with {run.returncode}")
    sys.exit(0 if table(json.loads(run.stdout)) else 1)


if __name__ == "__main__":
    main()
