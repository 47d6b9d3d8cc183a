"""URLs of the inbox. For sites that migrate, the names are those of django-notifications."""

from django.urls import path

from .views import changes, live, topics
from .views.inbox import InboxView

app_name = "notifications"

urlpatterns = [
    path("", InboxView.as_view(), name="all"),
    path("unread/", InboxView.as_view(folder="unread"), name="unread"),
    path("archived/", InboxView.as_view(folder="archived"), name="archived"),
    path("mark-as-read/<int:pk>/", changes.mark_as_read, name="mark_as_read"),
    path("mark-as-unread/<int:pk>/", changes.mark_as_unread, name="mark_as_unread"),
    path("mark-all-as-read/", changes.mark_all_as_read, name="mark_all_as_read"),
    path("archive/<int:pk>/", changes.archive, name="archive"),
    path("archive-all/", changes.archive_all, name="archive_all"),
    path("delete/<int:pk>/", changes.archive, name="delete"),
    path("api/unread_count/", live.unread_count, name="live_unread_notification_count"),
    path("api/unread_list/", live.unread_list, name="live_unread_notification_list"),
    path("api/all_count/", live.all_count, name="live_all_notification_count"),
    path("api/all_list/", live.all_list, name="live_all_notification_list"),
    path("topics/", topics.TopicsView.as_view(), name="topics"),
    path("topics/join/", topics.join, name="join_topic"),
    path("topics/leave/", topics.leave, name="leave_topic"),
]
