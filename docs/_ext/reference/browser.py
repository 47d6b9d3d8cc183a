"""The object ``notifications`` of the browser client: methods and their comments (JSDoc)."""

import re
from pathlib import Path
from typing import NamedTuple

from .rst import escape, item

CLIENT = Path(__file__).resolve().parents[3] / "static" / "notifications"
NAME = "notifications"

#: A member of a class, and the comment above it, if there is one.
MEMBER = re.compile(
    r"(?:^  /\*\*(?P<comment>(?:(?!\*/).)*)\*/\n)?"
    r"^  (?P<getter>get )?(?:async )?(?P<name>[a-z]\w*)\((?P<arguments>[^)]*)\) \{$",
    re.MULTILINE | re.DOTALL,
)
PARAMETER = re.compile(r"@param \{(?:[^{}]|\{[^}]*\})*\} \[?(\w+)\]?(.*)")
RESULT = re.compile(r"@returns \{((?:[^{}]|\{[^}]*\})*)\}(.*)")


class Member(NamedTuple):
    """A method or property that pages may use."""

    name: str
    is_property: bool
    arguments: str
    about: str


def members() -> list[Member]:
    """The public members, in the order of the source."""
    source = (CLIENT / "notifications.js").read_text()
    events = (CLIENT / "emitter.js").read_text()
    found = [*_read(source), *(one for one in _read(events) if one.name in ("on", "off"))]
    return [one for one in found if one.name not in ("constructor", "begin")]


def write() -> str:
    return "".join(
        item("js:attribute", f"{NAME}.{one.name}", one.about)
        if one.is_property
        else item("js:function", f"{NAME}.{one.name}({one.arguments})", one.about)
        for one in members()
    )


def _read(source: str) -> list[Member]:
    return [
        Member(
            found["name"],
            found["getter"] is not None,
            re.sub(r" = \{\}", "", found["arguments"]),
            _about(found["comment"] or ""),
        )
        for found in MEMBER.finditer(source)
    ]


def _about(comment: str) -> str:
    """Convert a comment to a description, its parameters and its result."""
    text = re.sub(r"\s*\n\s*\* ?", "\n", comment).strip(" \n*")
    text = re.sub(r"\n(?!\n|@)", " ", text)
    lines = [line.strip() for line in text.split("\n")]
    described = [line for line in lines if line and not line.startswith("@")]
    fields = []
    for line in lines:
        if match := PARAMETER.match(line):
            fields.append(f":param {match[1]}: {_prose(match[2])}")
        elif (match := RESULT.match(line)) and match[1] != "this":
            fields.append(
                f":returns: ``{match[1]}``{', ' if match[2].strip() else ''}{_prose(match[2])}"
            )
    return "\n".join([" ".join(map(_prose, described)), "", *fields]) or "\\"


def _prose(text: str) -> str:
    return "".join(
        f"``{part}``" if number % 2 else escape(part)
        for number, part in enumerate(text.strip().split("`"))
    )
