"""Forms of the admin that compose a notification: content, audience and time."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.widgets import (
    AdminRadioSelect,
    AdminTextareaWidget,
    AdminTextInputWidget,
)
from django.contrib.auth.models import Group
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..forms import EVERYONE, GROUP, STAFF, TOPIC, AudienceForm, ContentForm
from ..streams import names as stream_names

NOW, LATER = "now", "later"

RADIOS = {"class": "radiolist inline"}


class LocalTimeInput(forms.DateTimeInput):
    """The browser's own date and time picker, which is responsive and localized."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%dT%H:%M")


class ComposeForm(ContentForm):
    """A notification to send now or later."""

    when = forms.ChoiceField(
        label=_("Send"),
        choices=[(NOW, _("Now")), (LATER, _("At a time"))],
        initial=NOW,
        widget=AdminRadioSelect(attrs=RADIOS),
    )
    publish_at = forms.DateTimeField(label=_("Time"), required=False, widget=LocalTimeInput)
    expires_at = forms.DateTimeField(
        label=_("Expires"),
        required=False,
        widget=LocalTimeInput,
        help_text=_("From then on it is neither sent nor listed. Empty: never."),
    )

    fieldsets: tuple[tuple[Any, dict[str, Any]], ...] = (
        (None, {"fields": ("title", "body", "url", "level")}),
        (_("Time"), {"fields": ("when", "publish_at", "expires_at", "key")}),
    )

    class Meta(ContentForm.Meta):
        widgets = {
            "title": AdminTextInputWidget,
            "body": AdminTextareaWidget(attrs={"rows": 4}),
            "url": AdminTextInputWidget(attrs={"inputmode": "url"}),
        }
        help_texts = {
            "url": _("Where a click leads: a path on this site, such as “/orders/7/”, or a URL."),
        }

    def __init__(self, *args: Any, is_final: bool = False, **kwargs: Any) -> None:
        """Create the form.

        Args:
            is_final: the preview has validated the form already. The publication time may have
                passed since then.
        """
        super().__init__(*args, **kwargs)
        self._is_final = is_final
        self.fields["level"].help_text = _(
            "Sets the colour; screen readers announce warnings and errors at once."
        )
        self.fields["publish_at"].help_text = gettext("In the time zone %s.") % (
            timezone.get_current_timezone_name()
        )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("when") != LATER:
            cleaned["publish_at"] = None
        elif "publish_at" in cleaned:
            self._check_time(cleaned["publish_at"])
        expires_at = cleaned.get("expires_at")
        publish_at = cleaned.get("publish_at") or timezone.now()
        if expires_at is not None and expires_at <= publish_at:
            self.add_error("expires_at", _("It would expire before it is published."))
        return cleaned

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``notify`` and ``broadcast``, except recipients, title, actor."""
        names = ("body", "url", "level", "publish_at", "expires_at")
        return {name: self.cleaned_data[name] for name in names}

    def _check_time(self, publish_at: datetime | None) -> None:
        if publish_at is None:
            self.add_error("publish_at", _("When?"))
        elif publish_at <= timezone.now() and not self._is_final:
            self.add_error("publish_at", _("This time has passed."))


class BroadcastForm(AudienceForm, ComposeForm):
    """A notification for an audience: everyone, the staff, a group or a topic."""

    audience = forms.ChoiceField(
        label=_("Audience"),
        choices=[
            (EVERYONE, _("Everyone")),
            (STAFF, _("Staff")),
            (GROUP, _("A group")),
            (TOPIC, _("A topic")),
        ],
        initial=EVERYONE,
        widget=AdminRadioSelect(attrs=RADIOS),
    )
    group = forms.ModelChoiceField(
        label=_("Group"), queryset=Group.objects.order_by("name"), required=False
    )
    topic = forms.CharField(
        label=_("Topic"),
        required=False,
        max_length=100,
        widget=AdminTextInputWidget(attrs={"autocapitalize": "none"}),
        help_text=_("Letters, digits, “-”, “_” and “.”, such as “releases”."),
    )

    fieldsets = (
        ComposeForm.fieldsets[0],
        (_("Audience"), {"fields": ("audience", "group", "topic")}),
        ComposeForm.fieldsets[1],
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("audience") == GROUP and "group" in cleaned and cleaned["group"] is None:
            self.add_error("group", _("Which group?"))
        return cleaned

    def stream(self) -> str:
        if self.cleaned_data["audience"] == GROUP:
            return stream_names.group_stream(self.cleaned_data["group"].pk)
        return super().stream()
