"""Base forms for sending a notification: its content, and its audience.

The forms of the admin derive from them, and so can those of a site whose users send
notifications. A subclass decides how the form looks, and publishes its values.
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

#: The audiences. ``GROUP`` and ``TOPIC`` need a name as well.
EVERYONE, STAFF, GROUP, TOPIC = stream_names.SHARED_KINDS


def _new_key() -> str:
    return uuid.uuid4().hex


class ContentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Title, body, link and level of a notification. The form is not saved but published."""

    level = forms.ChoiceField(
        label=_("Level"),
        choices=[(value, capfirst(label)) for value, label in Level.choices],
        initial=Level.INFO,
    )
    # Makes a form that is submitted twice, by a double click or from the history, publish once.
    key = forms.RegexField(r"\A[0-9a-f]{32}\Z", initial=_new_key, widget=forms.HiddenInput)

    class Meta:
        model = Notification
        fields = ("title", "body", "url")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What is written may run against the direction of the page.
        for name, direction in (("title", "auto"), ("body", "auto"), ("url", "ltr")):
            self.fields[name].widget.attrs["dir"] = direction

    def clean_title(self) -> str:
        return clean_title(self.cleaned_data["title"])

    def add_errors(self, error: ValidationError) -> None:
        """Add the errors of publishing to the form's fields, or to the form as a whole."""
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
        """Return the name of the stream that the valid form addresses."""
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
