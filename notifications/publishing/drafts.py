"""Checks of the arguments of a notification, before anything is written."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..models import Notification, validate_text
from ..options import Options, Text
from ..texts import TEXT, is_blank, one_line, plain, plain_json

#: Django checks the ``max_length`` of a TextField in forms only.
check_body_length = MaxLengthValidator(10_000)

Errors = dict[str, Any]


#: Defaults of the texts among the options.
TEXT_DEFAULTS = {"body": "", "url": "", "kind": "message", "level": "info", "key": None}


def check_names(function: str, options: Mapping[str, Any]) -> None:
    """Refuse unknown options, as Python refuses an unknown keyword argument.

    Args:
        function: name of the public function, for the message.
        options: its keyword arguments.

    Raises:
        TypeError: an option is unknown; the message names it.
    """
    for name in options:
        if name not in Options.__optional_keys__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def make_draft(title: Text, **options: Unpack[Options]) -> Notification:
    """Check the arguments, and return an unsaved notification without a stream.

    Args:
        title: see :func:`notifications.publishing.notify.notify`, also for the options.

    Raises:
        ValidationError: arguments are invalid; ``message_dict`` names each of them.
    """
    data, actor = options.get("data"), options.get("actor")
    publish_at, expires_at = options.get("publish_at"), options.get("expires_at")
    given = {name: options.get(name, default) for name, default in TEXT_DEFAULTS.items()}
    texts = _plain_texts(title=title, **given)
    if isinstance(texts["title"], str):
        texts["title"] = one_line(texts["title"])
    content, errors = _plain_data({} if data is None else data)
    draft = Notification(
        **texts,
        data=content,
        publish_at=timezone.now() if publish_at is None else publish_at,
        expires_at=expires_at,
    )
    errors |= {**_check_texts(texts), **_check_times(draft), **_check_actor(actor)}
    try:
        draft.clean_fields(exclude={"stream", "actor", *errors})
    except ValidationError as error:
        errors |= error.error_dict
    if errors:
        raise ValidationError(errors)
    draft.actor = actor  # type: ignore[assignment]  # checked to be of the host's user model
    return draft


def clean_title(text: str) -> str:
    """Convert a title to one line, as it is stored.

    Raises:
        ValidationError: it has no visible characters.
    """
    title = one_line(text)
    if is_blank(title):
        raise ValidationError(_("A title needs at least one visible character."))
    return title


def _plain_texts(**texts: Any) -> dict[str, Any]:
    """Convert texts of any type to ``str``; other values are left, to be refused later.

    Lazy translations are evaluated in the active language, because the reader's is not known here.
    """
    converted = {
        name: plain(text) if isinstance(text, TEXT) else text for name, text in texts.items()
    }
    return {**converted, "key": converted["key"] or None}


def _check_texts(texts: dict[str, Any]) -> Errors:
    """Check what the model fields do not: types, titles, the length of the body, the key."""
    errors: Errors = {}
    for name, text in texts.items():
        if not isinstance(text, str) and not (name == "key" and text is None):
            errors[name] = ValidationError("This must be text.")
    checks = (("title", clean_title), ("body", check_body_length), ("key", validate_text))
    for name, check in checks:
        try:
            if name not in errors and texts[name] is not None:
                check(texts[name])
        except ValidationError as error:
            errors[name] = error
    return errors


def _check_times(draft: Notification) -> Errors:
    errors: Errors = {}
    for name in ("publish_at", "expires_at"):
        value = getattr(draft, name)
        if value is None:
            continue
        if not isinstance(value, datetime) or timezone.is_naive(value):
            errors[name] = ValidationError("This must be an aware datetime.")
    if not errors and draft.expires_at and draft.expires_at <= draft.publish_at:
        errors["expires_at"] = ValidationError("This must be later than publish_at.")
    return errors


def _plain_data(data: Any) -> tuple[dict[str, Any], Errors]:
    """Convert ``data`` to plain JSON types; return it and its errors."""
    if not isinstance(data, dict):
        return {}, {"data": ValidationError("This must be a dict.")}
    try:
        content = plain_json(data)
    except ValueError as error:
        return {}, {"data": ValidationError(f"This is not JSON: {error}.")}
    size, maximum = len(msgspec.json.encode(content)), app_settings.MAX_DATA_SIZE
    if size > maximum:
        return {}, {"data": ValidationError(f"{size} bytes, but at most {maximum} are allowed.")}
    return content, {}


def _check_actor(actor: Any) -> Errors:
    if actor is None or (isinstance(actor, get_user_model()) and actor.pk is not None):
        return {}
    return {"actor": ValidationError("This must be a saved user.")}
