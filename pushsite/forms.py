"""The forms of the home page: a private message and a broadcast."""

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils.translation import gettext_lazy as _

from notifications.conf import app_settings
from notifications.forms import EVERYONE, STAFF, TOPIC, AudienceForm, ContentForm
from notifications.publishing import notify as publishing
from notifications.streams import access, topics
from notifications.streams import names as stream_names


class SendForm(ContentForm):
    """Base of both forms. ``send`` publishes the values."""

    heading: Any
    purpose: Any
    submit: Any

    class Meta(ContentForm.Meta):
        widgets = {
            "body": forms.Textarea(attrs={"rows": 3}),
            "url": forms.TextInput(attrs={"placeholder": "/orders/7/", "inputmode": "url"}),
        }

    def stream(self) -> str:
        """Return the name of the stream that the valid form addresses."""
        raise NotImplementedError

    def warning(self) -> str:
        """Return a warning for the sender of the notification, "" for none."""
        return ""

    def send(self, actor: Any) -> bool:
        """Validate the form and publish the notification.

        Args:
            actor: the user who sends.

        Returns:
            False if the form has errors; nothing was published then.

        Raises:
            PermissionDenied: the user may not publish to the stream.
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
            self.add_errors(error)
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


class BroadcastForm(AudienceForm, SendForm):
    prefix = "broadcast"
    heading = _("Broadcast")
    purpose = _("To everybody in an audience, online or not.")
    submit = _("Send broadcast")

    field_order = ("audience", "topic", "title", "body", "url", "level", "key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = Group.objects.order_by("name").values_list("pk", "name")
        audience = self.fields["audience"]
        assert isinstance(audience, forms.ChoiceField)
        audience.choices = [
            (EVERYONE, _("Everyone")),
            (STAFF, _("Staff")),
            *((stream_names.group_stream(pk), _("Group %s") % name) for pk, name in groups),
            (TOPIC, _("A topic")),
        ]
        self.fields["topic"].help_text = (
            _("Only for the audience “A topic”: %s.") % ", ".join(declared)
            if (declared := app_settings.declared_topics)
            else _("Only for the audience “A topic”; such as “news”.")
        )

    def warning(self) -> str:
        """Warn about a topic that nobody can follow."""
        cleaned = self.cleaned_data
        if cleaned["audience"] != TOPIC or topics.has_readers(cleaned["topic"]):
            return ""
        text = _("Nobody can follow the topic “%s”: the site does not list it.")
        return str(text % cleaned["topic"])
