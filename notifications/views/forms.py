"""The forms of the home page: a private message and a broadcast."""

import uuid
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings
from ..models import Level, Notification, validate_text, validate_url
from ..publishing import notify as publishing
from ..publishing.drafts import clean_title
from ..streams import access, topics
from ..streams import names as stream_names

TOPIC = "topic"


def _field(name: str) -> Any:
    return Notification._meta.get_field(name)


def _new_key() -> str:
    return uuid.uuid4().hex


class SendForm(forms.Form):
    """What both forms have; ``send`` publishes what has been typed."""

    heading: Any
    purpose: Any
    submit: Any

    title = forms.CharField(
        label=_("Title"), max_length=_field("title").max_length, validators=[validate_text]
    )
    body = forms.CharField(
        label=_("Text"),
        required=False,
        max_length=_field("body").max_length,
        widget=forms.Textarea(attrs={"rows": 3}),
        validators=[validate_text],
    )
    url = forms.CharField(
        label=_("Link"),
        required=False,
        max_length=_field("url").max_length,
        validators=[validate_url],
        widget=forms.TextInput(attrs={"placeholder": "/orders/7/", "inputmode": "url"}),
    )
    level = forms.ChoiceField(
        label=_("Level"),
        choices=[(value, capfirst(label)) for value, label in Level.choices],
        initial=Level.INFO,
    )
    # A form that is sent twice, by a double click or from the history, publishes once.
    key = forms.RegexField(r"\A[0-9a-f]{32}\Z", initial=_new_key, widget=forms.HiddenInput)

    def clean_title(self) -> str:
        return clean_title(self.cleaned_data["title"])

    def stream(self) -> str:
        """The name of the stream that the valid form is for."""
        raise NotImplementedError

    def warning(self) -> str:
        """What the sender should know of what was sent, "" for nothing."""
        return ""

    def send(self, actor: Any) -> bool:
        """Publish.

        Args:
            actor: the user who sends.

        Returns:
            False when the form has got errors.

        Raises:
            PermissionDenied: this user may not write to that stream.
        """
        if not self.is_valid():
            return False
        name = self.stream()
        if not access.may_publish(actor, name):
            raise PermissionDenied
        fields = ("title", "body", "url", "level")
        content = {field: self.cleaned_data[field] for field in fields}
        key = f"form:{actor.pk}:{self.cleaned_data['key']}"
        kind = (
            "broadcast" if stream_names.parse(name).kind in stream_names.SHARED_KINDS else "message"
        )
        try:
            publishing.publish(name, **content, kind=kind, actor=actor, key=key)
        except ValidationError as error:
            self.add_error(None, error.messages)
            return False
        return True


class PrivateForm(SendForm):
    prefix = "private"
    heading = _("Private message")
    purpose = _("To one person, on every device.")
    submit = _("Send message")

    recipient = forms.CharField(
        label=_("Recipient"),
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
        help_text=_("The user name, such as “reader”."),
    )
    field_order = ("recipient", "title", "body", "url", "level", "key")

    def clean_recipient(self) -> Any:
        users = get_user_model()
        name = self.cleaned_data["recipient"]
        try:
            user = users._default_manager.get_by_natural_key(name)
        except (users.DoesNotExist, ValueError):
            user = None
        if user is None or not user.is_active:
            raise ValidationError(_("There is no user with this name."))
        return user

    def stream(self) -> str:
        return stream_names.user_stream(self.cleaned_data["recipient"].pk)


class BroadcastForm(SendForm):
    prefix = "broadcast"
    heading = _("Broadcast")
    purpose = _("To everybody in an audience, online or not.")
    submit = _("Send broadcast")

    audience = forms.ChoiceField(label=_("Audience"))
    topic = forms.CharField(
        label=_("Topic"),
        required=False,
        help_text=_("Only for the audience “A topic”; such as “news”."),
    )
    field_order = ("audience", "topic", "title", "body", "url", "level", "key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = Group.objects.order_by("name").values_list("pk", "name")
        audience = self.fields["audience"]
        assert isinstance(audience, forms.ChoiceField)
        audience.choices = [
            (stream_names.BROADCAST, _("Everyone")),
            (stream_names.STAFF, _("Staff")),
            *((stream_names.group_stream(pk), _("Group %s") % name) for pk, name in groups),
            (TOPIC, _("A topic")),
        ]
        if declared := app_settings.declared_topics:
            help_text = _("Only for the audience “A topic”: %s.")
            self.fields["topic"].help_text = help_text % ", ".join(declared)

    def clean_topic(self) -> str:
        topic = str(self.cleaned_data["topic"])
        try:
            return stream_names.parse(f"{TOPIC}:{topic}").key if topic else ""
        except stream_names.UnknownStream:
            raise ValidationError(_("Letters, digits, “-”, “_” and “.” only.")) from None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        needs_topic = cleaned.get("audience") == TOPIC
        if needs_topic and not cleaned.get("topic") and "topic" not in self.errors:
            self.add_error("topic", _("Which topic?"))
        return cleaned

    def stream(self) -> str:
        audience = self.cleaned_data["audience"]
        if audience == TOPIC:
            return stream_names.topic_stream(self.cleaned_data["topic"])
        return str(audience)

    def warning(self) -> str:
        """What the sender should know of what was sent, "" for nothing."""
        cleaned = self.cleaned_data
        if cleaned["audience"] != TOPIC or topics.has_readers(cleaned["topic"]):
            return ""
        text = _("Nobody can follow the topic “%s”: the site does not list it.")
        return str(text % cleaned["topic"])
