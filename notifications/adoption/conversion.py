"""A notification of django-notifications as one of ours."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..conf import app_settings
from ..models import Level, Notification
from ..publishing import sentences
from ..publishing.drafts import clean_title
from ..texts import is_blank, plain_json
from .old_rows import OldRow
from .reports import Report
from .things import Reference, Thing

#: The title of a notification whose actor and verb say nothing.
NO_TITLE = "Notification"


def references(rows: Iterable[OldRow]) -> set[Reference]:
    """What these notifications are about."""
    found: set[Reference] = set()
    for row in rows:
        found.update(reference for reference in _parts(row).values() if reference is not None)
    return found


def convert(row: OldRow, things: Mapping[Reference, Thing], report: Report) -> Notification:
    """An unsaved notification with what it says; where and when is the caller's to add.

    Args:
        row: theirs.
        things: at least what :func:`references` has found in it.
        report: counts what had to be changed.
    """
    parts = _parts(row)
    about = {name: None if part is None else things[part] for name, part in parts.items()}
    report.unnamed += sum(thing is not None and not thing.is_named for thing in about.values())
    actor, target, action_object = about["actor"], about["target"], about["action_object"]
    description = _body(row.description, report)
    title, body = sentences.word(
        actor or "", _storable(row.verb), action_object, target, description
    )
    report.long += title.endswith("…") and body != description
    return Notification(
        level=_level(row, report),
        title=NO_TITLE if is_blank(title) else clean_title(_storable(title)),
        body=_storable(body),
        url=next((thing.url for thing in (target, action_object) if thing and thing.url), ""),
        data=_data(row, about, report),
        actor=actor.user if actor is not None else None,
    )


def _parts(row: OldRow) -> dict[str, Reference | None]:
    """What a notification is about, by the name of the part."""
    parts = {
        "actor": (row.actor_type, row.actor_id),
        "action_object": (row.action_object_type, row.action_object_id),
        "target": (row.target_type, row.target_id),
    }
    return {
        name: None if kind is None or pk is None else Reference(kind, str(pk))
        for name, (kind, pk) in parts.items()
    }


def _level(row: OldRow, report: Report) -> str:
    if row.level in Level.values:
        return row.level
    report.levels += 1
    return Level.INFO


def _body(description: str | None, report: Report) -> str:
    text = _storable(description or "")
    if len(text) <= sentences.BODY_LENGTH:
        return text
    report.cut += 1
    return text[: sentences.BODY_LENGTH - 1] + "…"


def _data(row: OldRow, about: Mapping[str, Thing | None], report: Report) -> dict[str, Any]:
    """What ``notify.send`` would have put there, and the data of the host."""
    ours: dict[str, Any] = {"verb": _storable(row.verb)}
    for name, thing in about.items():
        # A user is the notification's own actor.
        if thing is not None and not (name == "actor" and thing.user is not None):
            ours[name] = {key: _storable(text) for key, text in thing.describe().items()}
    if not row.public:
        ours["public"] = False
    if row.emailed:
        ours["emailed"] = True
    if row.level not in Level.values:
        ours["level"] = _storable(str(row.level))
    theirs = _their_data(row.data)
    if not theirs:
        return ours
    # Under its own names, unless one of them says something here.
    both = {**ours, "data": theirs} if theirs.keys() & ours.keys() else {**theirs, **ours}
    try:
        content: dict[str, Any] = plain_json(both)
    except ValueError:
        content = {}
    if content and len(msgspec.json.encode(content)) <= app_settings.MAX_DATA_SIZE:
        return content
    report.data += 1
    return ours


def _their_data(value: Any) -> dict[str, Any]:
    """The column of a JSON field: text in most releases, and a value in some databases."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"data": value}
    if value is None or value == {}:
        return {}
    return value if isinstance(value, dict) else {"data": value}


def _storable(text: str) -> str:
    """The text without what PostgreSQL and JSON cannot carry; SQLite may have held it."""
    return text.replace("\x00", "").encode(errors="replace").decode()
