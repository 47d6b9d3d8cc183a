"""No regular expression takes more than linear time on input from strangers (P7)."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.core.validators import RegexValidator
from django.urls import get_resolver

from tests.patterns import begins_anywhere, faults

ROOT = Path(__file__).resolve().parent.parent.parent

#: All modules, by their dotted names.
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for room in ("notifications", "pushsite")
    for path in sorted((ROOT / room).rglob("*.py"))
}

#: Functions of :mod:`re` that use a pattern without a prior ``compile``.
FUNCTIONS = {"search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"}

#: Methods that match at one position only.
ANCHORED = {"match", "fullmatch"}

#: A regular expression literal in JavaScript, after a character that may precede one.
LITERAL = re.compile(r"(?<=[=(,:?&|!\[ ])/(?![*/ ])(.+?)/([a-z]*)(?=[.;,)\s])")


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Yield all compiled patterns of the modules, with module and name."""
    for name in FILES:
        module = importlib.import_module(name.removesuffix(".__init__"))
        for key, value in vars(module).items():
            for found in _held(value, module, set()):
                yield f"{name}.{key}", found


def _held(value: Any, module: ModuleType, seen: set[int]) -> Iterator[re.Pattern[Any]]:
    """Yield the patterns in a value; ``seen`` has the ids of those around it, which it may hold."""
    if id(value) in seen:
        return
    around = seen | {id(value)}
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, RegexValidator):
        yield re.compile(value.regex)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _held(item, module, around)
    elif isinstance(value, dict):
        yield from _held([*value, *value.values()], module, around)
    elif isinstance(value, type) and value.__module__ == module.__name__:
        yield from _held(list(vars(value).values()), module, around)


PATTERNS = dict(patterns())


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of functions of :mod:`re`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "re":
                yield node


def test_every_compiled_pattern_is_checked() -> None:
    kind = "notifications.tables.validators.validate_kind"
    assert {"notifications.conf.TOPIC_SLUG", kind} <= set(PATTERNS)
    for name, path in FILES.items():
        tree = ast.parse(path.read_text())
        made = [call for call in calls(tree) if _function(call) == "compile"]
        held = {key for key in PATTERNS if key.rpartition(".")[0] == name}
        named = {
            f"{name}.{target.id}"
            for node in tree.body
            if isinstance(node, ast.Assign) and node.value in made
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert len(named) == len(made), f"{name} makes a pattern that has no name of its own"
        assert named <= held
        assert not any(
            isinstance(node, ast.ImportFrom) and node.module == "re" for node in ast.walk(tree)
        )
        used = {_function(call) for call in calls(tree)} & FUNCTIONS
        assert not used, f"{name} uses patterns that are not compiled"


def _function(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_has_overlapping_quantifiers(name: str) -> None:
    assert faults(PATTERNS[name].pattern, PATTERNS[name].flags) == []


def test_no_validator_or_url_has_overlapping_quantifiers() -> None:
    validators = [
        validator
        for label in ("notifications", "pushsite")
        if label in apps.app_configs
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.get_fields()
        for validator in getattr(field, "validators", ())
        if isinstance(validator, RegexValidator)
    ]
    assert validators
    routes = list(_routes(get_resolver("pushsite.urls").url_patterns))
    assert len(routes) > 10
    for pattern in [*(re.compile(one.regex).pattern for one in validators), *routes]:
        assert faults(pattern) == [], pattern


def _routes(found: list[Any]) -> Iterator[str]:
    for one in found:
        if getattr(one, "callback", None) and "django" in one.callback.__module__:
            continue  # Django's own views, such as the admin's
        yield one.pattern.regex.pattern
        yield from _routes(getattr(one, "url_patterns", []))


def test_a_pattern_that_can_begin_anywhere_is_not_searched_for() -> None:
    floating = {
        key.rpartition(".")[2] for key, found in PATTERNS.items() if begins_anywhere(found.pattern)
    }
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                is_searched = node.attr in FUNCTIONS - ANCHORED
                assert not (is_searched and node.value.id in floating), f"{name}: {node.value.id}"


def test_no_javascript_pattern_has_overlapping_quantifiers() -> None:
    found = {
        match[1]
        for path in sorted((ROOT / "static" / "notifications").glob("*.js"))
        for line in path.read_text().splitlines()
        if not line.lstrip().startswith(("*", "//", "/*"))
        for match in LITERAL.finditer(line)
    }
    assert {r"^\(\d+\+?\) ", r"^https?:\/\/[^/?#]"} <= found
    for pattern in found:
        assert faults(pattern.replace(r"\/", "/")) == [], pattern


BAD = [
    r"(a+)+",
    r"(a*)*b",
    r"(?:a?){9,}",
    r"(\d+){3}",
    r"(a|a)*",
    r"(a|ab)*",
    r"(?:[a-z]x|\w)+",
    r"a*a*",
    r"[ \t]*[ -~]*",
    r"\s*,?\s*",
    r".*x.*y",
    r"\w+\d+",
    r"(?i:a*)A*",
    r"a{0,100}a{0,100}",
    r"(?:x(?:y+)z)*",
    rb"((?:([!-~]+):[ \t]*([\x20-\x7e\t]*)\r\n)+)\r\n",
]

GOOD = [
    r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\Z",
    r"(\d+)\s*([smhdw])\Z",
    r"\A[a-z](?:[a-z]|\.(?=[a-z]))*\Z",
    r"(?:ab)*c",
    r"\d+,\d+",
    r"a?a?b",
    r"^\(\d+\+?\) ",
    rb"(?<!\\)(?:\\\\)*\\u0000",
]


@pytest.mark.parametrize("pattern", BAD)
def test_a_pattern_that_may_be_slow_is_found(pattern: str | bytes) -> None:
    assert faults(pattern, re.IGNORECASE if pattern == r"(?i:a*)A*" else 0) != []


@pytest.mark.parametrize("pattern", GOOD)
def test_a_linear_pattern_has_no_faults(pattern: str | bytes) -> None:
    assert faults(pattern) == []


def test_a_pattern_that_can_begin_anywhere_is_found() -> None:
    assert begins_anywhere(r"\d+x")
    assert begins_anywhere(r"(?:a?b*)c")
    assert not begins_anywhere(r"^\d+x")
    assert not begins_anywhere(r"x\d+")
    assert not begins_anywhere(rb"(?<!\\)(?:\\\\)*\\u0000")
