"""The admin of API keys. A key is shown once, right after it was added."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ..api.keys import check_channels, make_secret
from ..api.server.methods import GRANTABLE
from ..models import APIKey
from .lists import BoundedPaginator


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A key's name and scope: boxes for the methods, and one channel in each line."""

    methods = forms.MultipleChoiceField(
        choices=[(name, name) for name in GRANTABLE], widget=forms.CheckboxSelectMultiple
    )
    channels = forms.CharField(
        max_length=20_000,
        widget=AdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=_(
            "One in each line, such as “topic:news”. “user:*” stands for those of all users."
        ),
    )

    class Meta:
        model = APIKey
        fields = ("name", "methods", "channels", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("methods", "channels"):
            field: Any = APIKey._meta.get_field(name)
            self.fields[name].label = capfirst(str(field.verbose_name))
        self.initial["channels"] = "\n".join(self.instance.channels)

    def clean_channels(self) -> list[str]:
        channels = [line.strip() for line in self.cleaned_data["channels"].splitlines()]
        return check_channels([channel for channel in channels if channel])


@admin.register(APIKey)
class APIKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = KeyForm
    list_display = ("name", "prefix", "is_active", "created_at", "last_used_at")
    paginator = BoundedPaginator
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-pk",)
    readonly_fields = ("prefix", "created_at", "last_used_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*KeyForm.Meta.fields, *(self.readonly_fields if obj is not None else ()))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.secret = make_secret(obj)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new key. In a message, it would be kept in a cookie or a session."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": obj.name,
            "secret": obj.secret,
        }
        return TemplateResponse(request, "admin/notifications/key.html", context)
