"""The page of topics that a user follows or can follow, and the views that join and leave them."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from django.views.generic import TemplateView

from .. import inbox
from ..streams import names as stream_names
from .redirects import redirect_back


@method_decorator(never_cache, name="dispatch")
class TopicsView(LoginRequiredMixin, TemplateView):
    """The topics that the user follows or may follow."""

    template_name = "notifications/topics.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            # The navigation bar and the tabs highlight this page by it.
            folder="topics",
            topics=inbox.topics(self.request.user),
            empty=gettext_lazy("There are no topics to follow."),
            **kwargs,
        )


@require_POST
def join(request: HttpRequest) -> HttpResponse:
    """Let the user follow the posted ``channel``."""
    if not request.user.is_authenticated:
        return _log_in()
    name = _posted(request)
    slug = {"topic": stream_names.parse(name).key}
    try:
        inbox.join(request.user, name)
    except PermissionDenied:
        messages.error(request, _("You may not read the topic “%(topic)s”.") % slug)
    except inbox.TooManyTopics:
        messages.error(request, _("You cannot follow more topics. Leave another one first."))
    else:
        messages.success(request, _("You follow “%(topic)s” from now on.") % slug)
    return _back(request)


@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """End the user's subscription to the posted ``channel``, on all devices."""
    if not request.user.is_authenticated:
        return _log_in()
    name = _posted(request)
    inbox.leave(request.user, name)
    slug = {"topic": stream_names.parse(name).key}
    messages.success(request, _("You no longer follow “%(topic)s”.") % slug)
    return _back(request)


def _posted(request: HttpRequest) -> str:
    """Return the name of the topic that was posted.

    Raises:
        Http404: no name was posted, or it is not that of a topic.
    """
    name = request.POST.get("channel", "")
    try:
        is_topic = stream_names.parse(name).kind == "topic"
    except stream_names.UnknownStream:
        is_topic = False
    if not is_topic:
        raise Http404("There is no such topic.")
    return name


def _log_in() -> HttpResponse:
    # After the login go to the page of topics: these views do not accept GET.
    return redirect_to_login(reverse("notifications:topics"))


def _back(request: HttpRequest) -> HttpResponse:
    if request.POST.get("next"):
        return redirect_back(request)
    return redirect("notifications:topics")
