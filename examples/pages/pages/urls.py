from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from .views import show

urlpatterns = [
    path("", RedirectView.as_view(url="htmx/one/")),
    path("notifications/", include("notifications.urls")),
    path("admin/", admin.site.urls),
    path("<slug:library>/<slug:name>/", show, name="page"),
]
