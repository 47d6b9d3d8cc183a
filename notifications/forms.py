"""What every form that sends a notification shares: the content, and an audience.

The base of the admin's forms and of those of a site that lets its users write. A subclass decides
how the form looks and what becomes of what was typed.
"""

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from .models import Level, Notification
from .publishing.drafts import clean_title
from .streams import names as stream_names

#: Audiences. A group and a topic have to be named too.
EVERYONE, STAFF, GROUP, TOPIC = stream_names.SHARED_KINDS


def _new_key() -> str:
    return uuid.uuid4().hex


class ContentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Title, text, link and level of a notification. Saves nothing: publishing does."""

    level = forms.ChoiceField(
        label=_("Level"),
        choices=[(value, capfirst(label)) for value, label in Level.choices],
        initial=Level.INFO,
    )
    # A form that is sent twice, by a double click or from the history, publishes once.
    key = forms.RegexField(r"\A[0-9a-f]{32}\Z", initial=_new_key, widget=forms.HiddenInput)

    class Meta:
        model = Notification
        fields = ("title", "body", "url")

    def clean_title(self) -> str:
        return clean_title(self.cleaned_data["title"])

    def take(self, error: ValidationError) -> None:
        """Put what publishing does not accept at the fields where it was typed."""
        for name, errors in error.error_dict.items():
            self.add_error(name if name in self.fields else None, errors)


class AudienceForm(ContentForm):
    """A notification for a shared stream. Subclasses set the choices of ``audience``."""

    audience = forms.ChoiceField(label=_("Audience"))
    topic = forms.CharField(label=_("Topic"), required=False, max_length=100)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("audience") == TOPIC and "topic" in cleaned:
            self._check_topic(cleaned["topic"])
        return cleaned

    def stream(self) -> str:
        """The name of the stream that the valid form is for."""
        if self.cleaned_data["audience"] == TOPIC:
            return stream_names.topic_stream(self.cleaned_data["topic"])
        return str(self.cleaned_data["audience"])

    def _check_topic(self, topic: str) -> None:
        if not topic:
            self.add_error("topic", _("Which topic?"))
            return
        try:
            stream_names.topic_stream(topic)
        except stream_names.UnknownStream:
            self.add_error("topic", _("Letters, digits, “-”, “_” and “.” only."))
