"""Keys of other backends that use the server API."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class APIKey(models.Model):
    """A key of the server API. The key itself is stored nowhere, only its digest.

    Its scope is a list of methods and a list of channels. A key with an empty list may do nothing.
    """

    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("begins with"), max_length=16, editable=False)
    #: SHA-256 of the key, in hexadecimal.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    methods = models.JSONField(_("methods"), default=list)
    #: Names of channels. A ``*`` at the end stands for any characters.
    channels = models.JSONField(_("channels"), default=list)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return self.name

    def may_call(self, method: str) -> bool:
        """Return whether the key's scope contains this method."""
        return method in _texts(self.methods)

    def may_use(self, channel: str) -> bool:
        """Return whether the key's scope contains this channel."""
        return any(
            channel.startswith(pattern[:-1]) if pattern.endswith("*") else channel == pattern
            for pattern in _texts(self.channels)
        )


def _texts(values: Any) -> list[str]:
    """The texts of a list; nothing for JSON of another shape, so that it permits nothing."""
    return [value for value in values if isinstance(value, str)] if type(values) is list else []
