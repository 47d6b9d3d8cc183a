"""The addresses of the site under measurement: a view that calls ``notify()``, as a host's does."""

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notifications import notify

User = get_user_model()


@csrf_exempt
@require_POST
def notify_users(request: HttpRequest) -> HttpResponse:
    """Send one notification to each user up to the primary key in the body."""
    users = User.objects.filter(pk__lte=int(request.body))
    notify(users, "Your invoice is ready", body="x" * 70)
    return HttpResponse()


urlpatterns = [
    path("benchmark/notify", notify_users),
    path("", include("pushsite.urls")),
]
