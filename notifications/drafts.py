"""What a notification may hold: every argument is checked before anything is written."""

import json
import re
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxLengthValidator
from django.utils import timezone
from django.utils.functional import Promise

from .conf import app_settings
from .history import encode_data
from .models import Notification, validate_text

#: A NUL escaped in JSON, behind an even number of backslashes.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

#: A TextField's ``max_length`` is checked by forms only.
check_body_length = MaxLengthValidator(10_000)

Errors = dict[str, Any]


def make_draft(
    title: str,
    *,
    body: str = "",
    url: str = "",
    kind: str = "message",
    level: str = "info",
    data: dict[str, Any] | None = None,
    actor: Any = None,
    key: str | None = None,
    publish_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> Notification:
    """An unsaved notification without a stream; see :func:`notifications.publishing.notify`.

    Raises:
        ValidationError: an argument is bad; ``message_dict`` names each that is.
    """
    texts = {"title": title, "body": body, "url": url, "kind": kind, "level": level, "key": key}
    # Lazy translations become what they say now: the reader's language is not known here.
    texts = {name: str(text) if isinstance(text, Promise) else text for name, text in texts.items()}
    texts["key"] = texts["key"] or None
    draft = Notification(
        **texts,
        data={} if data is None else data,
        publish_at=timezone.now() if publish_at is None else publish_at,
        expires_at=expires_at,
    )
    errors = {
        **_check_texts(texts),
        **_check_times(draft),
        **_check_data(draft.data),
        **_check_actor(actor),
    }
    try:
        draft.clean_fields(exclude={"stream", "actor", *errors})
    except ValidationError as error:
        errors |= error.error_dict
    if errors:
        raise ValidationError(errors)
    draft.actor = actor
    return draft


def _check_texts(texts: dict[str, Any]) -> Errors:
    """What the fields do not check: types, the length of a TextField, characters in a key."""
    errors: Errors = {}
    for name, text in texts.items():
        if not isinstance(text, str) and not (name == "key" and text is None):
            errors[name] = ValidationError("Text is needed.")
    for name, check in (("body", check_body_length), ("key", validate_text)):
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
            errors[name] = ValidationError("An aware datetime is needed.")
    if not errors and draft.expires_at and draft.expires_at <= draft.publish_at:
        errors["expires_at"] = ValidationError("It would expire before it is published.")
    return errors


def _check_data(data: Any) -> Errors:
    if not isinstance(data, dict):
        return {"data": ValidationError("A dict is needed.")}
    try:
        # NaN is what Python writes and nobody else reads.
        json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False)
        text = encode_data(data)
    except (TypeError, ValueError, RecursionError) as error:
        return {"data": ValidationError(f"This is not JSON: {error}")}
    if len(text) > app_settings.MAX_DATA_SIZE:
        most = app_settings.MAX_DATA_SIZE
        return {"data": ValidationError(f"{len(text)} bytes; {most} at most.")}
    if NUL.search(text):
        return {"data": ValidationError("JSON text holds no NUL character.")}
    return {}


def _check_actor(actor: Any) -> Errors:
    if actor is None or (isinstance(actor, get_user_model()) and actor.pk is not None):
        return {}
    return {"actor": ValidationError("A saved user is needed.")}
