"""Base of the admin's change lists: read-only rows, bounded counts, one lookup per page."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ..database.clock import present, read_clock
from ..models import Notification
from .states import State, badge, condition, describe

#: How many rows of a list can be reached by paging. Counting more would read a whole table.
MAX_ROWS = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Count up to ``MAX_ROWS`` rows. Older ones are found by the search only."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows[:MAX_ROWS].count())


class WholePage(ChangeList):
    """Call ``prepare`` of the ModelAdmin with a page's rows: queries per page, not per row."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        model_admin: Any = self.model_admin
        model_admin.prepare(rows)
        self.result_list = rows


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that cannot be edited. Actions and extra views change them, by their own permissions."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 50
    list_max_show_all = 200

    def prepare(self, rows: Sequence[Any]) -> None:
        """Look up what the columns need, for all rows of a page at once."""
        moment = read_clock(router.db_for_read(Notification))
        for row in rows:
            row.moment = moment

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WholePage

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    class Media:
        css = {"all": ["notifications/admin.css"]}

    @admin.display(description=_("level"))
    def level_shown(self, notification: Notification) -> SafeString:
        label = capfirst(notification.get_level_display())
        return badge(notification.level, label)

    @admin.display(description=_("state"))
    def state_shown(self, notification: Any) -> SafeString:
        if not hasattr(notification, "moment"):
            self.prepare([notification])
        return describe(notification, notification.moment)


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        return [(state.value, capfirst(state.label)) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value not in State.values:
            return queryset
        return queryset.filter(condition(State(str(value)), present(queryset.db)))
