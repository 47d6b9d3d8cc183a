"""The home page of the site: the unread notifications, and the forms that the user may send."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from notifications.views.redirects import redirect_back
from pushsite.forms import BroadcastForm, PrivateForm, SendForm

#: Each form, with the permission that it requires.
FORMS: tuple[tuple[type[SendForm], str], ...] = (
    (PrivateForm, "notifications.send_private"),
    (BroadcastForm, "notifications.send_broadcast"),
)


@method_decorator(never_cache, name="dispatch")
class HomeView(LoginRequiredMixin, TemplateView):
    template_name = "pushsite/home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {
            "forms": [form() for form in _allowed(self.request.user)],
            "next": self.request.path,
            "debug": settings.DEBUG,
        }
        return super().get_context_data(**{**context, **kwargs})


class SendView(HomeView):
    """Handle the posted forms of the home page, and show it again if they have errors."""

    http_method_names = ["get", "post"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Go to the home page, for who comes back to a posted one, as by the form of languages."""
        return redirect("home")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        forms = [_bind(form, request) for form in _allowed(request.user)]
        posted = next((form for form in forms if form.is_bound), None)
        if posted is None:
            raise PermissionDenied
        if posted.send(request.user):
            messages.success(request, _("Sent."))
            if warning := posted.warning():
                messages.warning(request, warning)
            return redirect_back(request)
        context = self.get_context_data(forms=forms, next=request.POST.get("next", ""))
        return self.render_to_response(context)


def _allowed(user: Any) -> list[type[SendForm]]:
    return [form for form, permission in FORMS if user.has_perm(permission)]


def _bind(form: type[SendForm], request: HttpRequest) -> SendForm:
    return form(request.POST) if request.POST.get("form") == form.prefix else form()
