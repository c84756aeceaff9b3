"""The tables of actions and reasons: complete, documented, and equal to the words of the apps above."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit import actions
from audit.actions import ACTIONS, actions_under
from audit.reasons import REASONS
from facts import decision
from facts.models import FactType, RecallKind, Source, Status
from memoryhub.access.models import MemoryMode, Role, Scope

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("audit", "facts", "memoryhub", "sessions")


def calls_of_record() -> Iterator[tuple[str, ast.Call]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    if name == "record" and node.args:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def literals(node: ast.AST | None) -> set[str]:
    """The texts a constant or a choice between constants can be; nothing for what is only known at run time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return literals(node.body) | literals(node.orelse)
    return set()


def test_every_action_and_reason_in_the_code_is_in_the_tables():
    unknown, seen = [], 0
    for place, call in calls_of_record():
        named = literals(call.args[1]) if len(call.args) > 1 else set()
        seen += len(named)
        unknown += [f"{place} {name}" for name in named - ACTIONS.keys()]
        for keyword in call.keywords:
            if keyword.arg == "reason":
                unknown += [f"{place} reason {code}" for code in literals(keyword.value) - REASONS.keys() - {""}]
            if keyword.arg == "data" and isinstance(keyword.value, ast.Dict):
                keys = set().union(*(literals(key) for key in keyword.value.keys))
                allowed = set().union(*(ACTIONS[name].data for name in named & ACTIONS.keys()))
                unknown += [f"{place} data {key}" for key in keys - allowed if named]
    assert unknown == []
    assert seen > 10, "the scan found next to nothing: it no longer understands the code"


@pytest.mark.parametrize("outcome", decision.Outcome)
def test_each_way_a_statement_can_end_is_an_action(outcome):
    assert f"fact.{outcome.value}" in ACTIONS


def test_the_vocabularies_are_those_of_the_apps_above():
    """`audit` may not import them, so it repeats their words; here they are held together."""
    assert set(actions.FACT_TYPES.values) == set(FactType.values)
    assert set(actions.SOURCES.values) == set(Source.values)
    assert set(actions.STATUSES.values) == set(Status.values)
    assert set(actions.RECALL_KINDS.values) == set(RecallKind.values)
    assert set(actions.MODES.values) == set(MemoryMode.values)
    assert set(actions.ROLES.values) == set(Role.values)
    assert set(actions.SCOPES.values) == set(Scope.values)


def test_a_beginning_names_all_actions_below_it():
    assert actions_under("key.") == ["key.created", "key.rotated", "key.revoked"]
    assert actions_under("fact.corrected") == ["fact.corrected"]
    assert actions_under("nothing") == []


def documented(heading: str) -> list[str]:
    text = (ROOT / "docs" / "audit.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def test_the_documented_actions_are_the_actions():
    rows = []
    for action in ACTIONS.values():
        data = ", ".join(f"`{key}`" for key in action.data)
        if action.commits:
            commits = "commits to " + ", ".join(f"`{label}`" for label in action.commits)
            data = f"{data}; {commits}" if data else commits
        rows.append(f"| `{action.name}` | {action.says} | {data} |")
    assert documented("Actions") == rows


def test_the_documented_reasons_are_the_reasons():
    assert documented("Reasons") == [f"| `{code}` | {because} |" for code, because in REASONS.items()]
