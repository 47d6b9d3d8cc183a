"""Validators for the fields of a notification."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


validate_kind = RegexValidator(
    r"\A[a-z0-9_-](?:[a-z0-9_-]|\.(?=[a-z0-9_-]))*\Z",
    _("A kind must be a dotted slug such as “order.shipped”."),
)


def validate_url(value: str) -> None:
    """Accept an empty value, a path on this site, a relative reference or an http(s) URL.

    Browsers drop tabs and line breaks inside a scheme and read ``\\`` as ``/`` (URL Standard, *URL
    parsing*), so control characters, surrounding space and backslashes are refused.

    Raises:
        ValidationError: the value is anything else.
    """
    if not value:
        return
    validate_text(value)
    if CONTROL_CHARACTERS.search(value) or value != value.strip() or "\\" in value:
        raise ValidationError(
            _("A link must not contain control characters, surrounding spaces or “\\”.")
        )
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValidationError(_("Enter a valid link.")) from error
    if parts.scheme in {"http", "https"} and parts.netloc:
        return
    if parts.scheme or parts.netloc or value.startswith("//"):
        raise ValidationError(_("A link must be a path on this site or start with http(s)://."))


def validate_text(value: str) -> None:
    """Refuse text that PostgreSQL cannot store: with NUL or lone surrogates.

    Raises:
        ValidationError: the text contains one of these.
    """
    if "\x00" in value:
        raise ValidationError(_("Text must not contain NUL characters."))
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(_("This is not valid Unicode text.")) from error
