"""Schemathesis against every route of the service: no answer may be a 5xx.

    make test-fuzz          5,000 cases, some minutes

The embedded model and the bundled passages are served on 127.0.0.1; schemathesis reads
/openapi.json and makes up requests, good and bad. How many came, and what they were answered, is
counted by the server itself. The outcome goes to results/fuzz.json.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from bench import describe  # noqa: E402
from corom.files import write_json  # noqa: E402
from web.browser import service, serving  # noqa: E402

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def answers(address: str) -> dict[str, Counter[str]]:
    """Return by route how often each status was answered, from the server's metrics."""
    with urllib.request.urlopen(f"{address}metrics") as answer:  # noqa: S310 - our own server
        text = answer.read().decode()
    found: dict[str, Counter[str]] = {}
    for route, status, number in re.findall(
        r'^corom_requests_total\{route="([^"]+)",status="(\d+)"\} ([\d.]+)', text, re.MULTILINE
    ):
        found.setdefault(route, Counter())[status] += int(float(number))
    return found


def fuzz(address: str, *, examples: int, seed: int) -> int:
    """Run schemathesis; return its exit status."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}openapi.json"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(examples), "--seed", str(seed)),
        *("--continue-on-failure", "--no-color", "--suppress-health-check", "all"),
        *("--request-timeout", "60", "--generation-database", "none"),
    ]
    with tempfile.TemporaryDirectory() as folder:  # it leaves files where it runs
        return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> int:
    """Fuzz until enough requests were answered; write the outcome; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "fuzz.json")
    options = parser.parse_args()
    failed, rounds, found = 0, 0, {}
    with serving(service()) as address:
        while sum(sum(route.values()) for route in found.values()) < options.cases and not failed:
            failed = fuzz(address, examples=options.cases // 16, seed=options.seed + rounds)
            rounds, found = rounds + 1, answers(address)
    total = sum(found.values(), Counter())
    broken = sum(number for status, number in total.items() if status.startswith("5"))
    told = f"{total.total()} requests: {dict(sorted(total.items()))}; 5xx: {broken}\n"
    sys.stdout.write(told)
    outcome = {
        **describe(threads=2),
        "schemathesis": version("schemathesis"),
        "checks": CHECKS,
        "requests": total.total(),
        "server_errors": broken,
        "failed_checks": bool(failed),
        "statuses": dict(sorted(total.items())),
        "routes": {route: dict(sorted(found[route].items())) for route in sorted(found)},
    }
    write_json(options.out, outcome)
    return int(bool(broken or failed))


if __name__ == "__main__":
    sys.exit(main())
