"""Whether the API is what its description says, tried by schemathesis over HTTP.

    python -m benchmarks.schema [--examples 500] [--small]

A hub of its own with some memory in it is asked for everything that its description allows and much that it forbids:
the edges of every parameter and body, generated ones, and sequences in which one answer feeds the next request; with a
key that may do everything and with a subject token. Every request is also sent without and with a wrong credential.

Not checked is that whatever fits the description is accepted: rules between two fields of a body (a value goes with a
content) cannot be written there, and are told in words.

Promise: at least 20,000 cases, no answer of the server's failing (5xx), none that is not described, no credential
ignored.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import Hub, add_hub_arguments, finish, hub, print_table

LEAST_CASES, LEAST_CASES_SMALL = 20_000, 1_000
# Rules between fields, and requests that name what is not there, are rejected although they fit.
EXCLUDED = "positive_data_acceptance"
QUIET = {"THROTTLE_PER_MINUTE": "10000000", "EXTRACTOR": "none"}
PERSON = "schema-person"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500, help="generated requests for each operation")
    parser.add_argument("--seed", type=int, default=1)
    add_hub_arguments(parser)
    arguments = parser.parse_args()
    examples = 10 if arguments.small else arguments.examples
    with hub(arguments, environment=QUIET) as at:
        token = fill(at)
        reports = {
            name: run(at, credential, examples, arguments.seed)
            for name, credential in (("key", at.key), ("subject token", token))
        }
    print_table(
        ("credential", "operations", "cases", "failures"),
        [
            (name, report["operations"]["tested"], report["test_cases"]["generated"], len(failures(report)))
            for name, report in reports.items()
        ],
    )
    found = [line for report in reports.values() for line in failures(report)]
    for line in sorted(set(found))[:40]:
        print(line)
    cases = sum(report["test_cases"]["generated"] for report in reports.values())
    least = LEAST_CASES_SMALL if arguments.small else LEAST_CASES
    whole = all(report["complete"] for report in reports.values())
    finish(
        not found and cases >= least and whole,
        f"{cases} cases (at least {least}) over {reports['key']['operations']['tested']} operations: "
        f"{len(found)} failures",
    )


def fill(at: Hub) -> str:
    """Leave something of every kind for requests to find; returns a token for the person it is about."""
    with httpx.Client(base_url=at.url, headers=at.headers, timeout=60) as client:

        def send(path: str, **body: Any) -> Any:
            return client.post(f"/api/v1{path}", json=body).raise_for_status().json()

        turns = [
            {"role": "user", "content": "We run on AWS."},
            {"role": "tool", "content": "Invoice paid.", "tool_name": "pay"},
        ]
        send("/sessions/schema-1/turns", user_id=PERSON, turns=turns)
        fact = {"user_id": PERSON, "type": "decision", "entity": "shop", "session_id": "schema-1"}
        send("/facts", **fact, attribute="cloud", content="Runs on AWS", turn_index=0)
        send("/facts", **fact, attribute="invoice", content="The invoice is paid", turn_index=1)
        send("/working-memory", user_id=PERSON, session_id="schema-2", message="Which cloud do we run on?")
        token: str = send("/subject-tokens", user_id=PERSON, ttl=86_400)["token"]
    return token


def run(at: Hub, credential: str, examples: int, seed: int) -> dict[str, Any]:
    """The report of one run of schemathesis."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{at.url}/api/schema/"),
            *("--header", f"Authorization: Bearer {credential}"),
            *("--checks", "all", "--exclude-checks", EXCLUDED),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure", "--warnings", "off"),
            *("--workers", "2", "--request-timeout", "30"),
            *("--report", "json", "--report-dir", directory),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        written = list(Path(directory).glob("*.json"))
        if not written:
            sys.exit(f"schemathesis left no report:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        report: dict[str, Any] = json.loads(written[0].read_text())
    return report


def failures(report: dict[str, Any]) -> list[str]:
    """What went wrong, a line each."""
    failed = [json.dumps(one, sort_keys=True)[:400] for one in report["failures"]]
    return failed + [f"error: {json.dumps(one)[:400]}" for one in report["errors"]]


if __name__ == "__main__":
    main()
