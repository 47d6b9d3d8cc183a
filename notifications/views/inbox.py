"""The inbox: a page of one of its folders."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from .. import inbox

PAGE_SIZE = 20

HEADINGS = {"all": _("Inbox"), "unread": _("Unread"), "archived": _("Archived")}
EMPTY = {
    "all": _("Nothing here yet. What is sent to you appears here."),
    "unread": _("You are all caught up."),
    "archived": _("What you archive is kept here."),
}


@method_decorator(never_cache, name="dispatch")
class InboxView(LoginRequiredMixin, TemplateView):
    """A page of a folder, newest first. ``?before=`` takes the cursor of the previous page."""

    template_name = "notifications/inbox.html"
    folder: inbox.Folder = "all"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        before = self.request.GET.get("before", "")
        try:
            page = inbox.list_entries(self.request.user, self.folder, before, PAGE_SIZE)
        except ValueError:
            raise Http404("This is not a position in the inbox.") from None
        return super().get_context_data(
            folder=self.folder,
            heading=HEADINGS[self.folder],
            empty=EMPTY[self.folder],
            entries=page.entries,
            before=before,
            next=page.next,
            limit=PAGE_SIZE,
            **kwargs,
        )
