from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

NAMES = ["one", "two", "three"]


@login_required
def show(request: HttpRequest, library: str, name: str) -> HttpResponse:
    """One of several pages; its links are followed by "htmx" or "turbo", or by the browser."""
    if library not in ("htmx", "turbo") or name not in NAMES:
        raise Http404
    return render(request, "page.html", {"library": library, "name": name, "names": NAMES})
