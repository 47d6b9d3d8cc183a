"""Compose a notification in three steps: form, preview, send.

Only the last step writes anything. Between the steps, hidden form fields carry the values, so the
server keeps no state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import AdminForm
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from ..models import Notification, database_alias
from .forms import ComposeForm
from .states import moment

STEP = "step"
EDIT, PREVIEW, SEND = "edit", "preview", "send"


class Composer:
    """Lead one administrator through the steps. Subclasses choose the recipients."""

    form_class: type[ComposeForm] = ComposeForm
    title: Any

    def __init__(self, model_admin: admin.ModelAdmin[Any], request: HttpRequest) -> None:
        self.model_admin = model_admin
        self.request = request

    @property
    def actor(self) -> AbstractBaseUser:
        """The administrator, on whose behalf the notification is sent."""
        user = self.request.user
        assert not isinstance(user, AnonymousUser), "the admin lets only staff in"
        return user

    def recipients(self, form: Any) -> tuple[str, int]:
        """Return a name for the recipients of the valid form, and their current number."""
        raise NotImplementedError

    def send(self, form: Any) -> HttpResponse:
        """Publish the notification in the valid form, and return the page to show next.

        Raises:
            ValidationError: publishing rejects the content; nothing was written.
        """
        raise NotImplementedError

    def hidden_fields(self) -> Iterable[tuple[str, str]]:
        """Return further hidden fields, which route the next request back to this composer."""
        return ()

    def respond(self) -> HttpResponse:
        step = self.request.POST.get(STEP)
        if step not in {EDIT, PREVIEW, SEND}:
            return self._form_page(self.form_class())
        form = self.form_class(self.request.POST, is_final=step == SEND)
        if step == EDIT or not form.is_valid():
            return self._form_page(form)
        if step == PREVIEW:
            return self._preview_page(form)
        try:
            with transaction.atomic(using=database_alias()):
                return self.send(form)
        except ValidationError as error:
            form.add_errors(error)
            return self._form_page(form)

    def key(self, form: ComposeForm) -> str:
        return f"admin:{self.request.user.pk}:{form.cleaned_data['key']}"

    def _form_page(self, form: ComposeForm) -> HttpResponse:
        fieldsets = AdminForm(form, list(form.fieldsets), {}, model_admin=self.model_admin)
        return self._page(form, "compose", adminform=fieldsets, errors=form.errors)

    def _preview_page(self, form: ComposeForm) -> HttpResponse:
        name, count = self.recipients(form)
        values = form.cleaned_data
        actor: Any = self.request.user
        return self._page(
            form,
            "preview",
            notification=Notification(
                **{field: values[field] for field in ("title", "body", "url", "level")},
                actor=actor,
            ),
            recipients=name,
            count=count,
            time_zone=timezone.get_current_timezone_name(),
            publish_at=moment(values["publish_at"]) if values["publish_at"] else "",
            expires_at=moment(values["expires_at"]) if values["expires_at"] else "",
        )

    def _page(self, form: ComposeForm, name: str, **context: Any) -> HttpResponse:
        site = self.model_admin.admin_site
        self.request.current_app = site.name
        shared = {
            **site.each_context(self.request),
            "opts": self.model_admin.model._meta,
            "title": self.title,
            "media": form.media,
            "form": form,
            "hidden_fields": self.hidden_fields(),
        }
        template = f"admin/notifications/{name}.html"
        return TemplateResponse(self.request, template, {**shared, **context})
