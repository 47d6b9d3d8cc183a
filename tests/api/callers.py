"""Apps of users that call the REST API in the process of the tests."""

from typing import Any

from django.test import Client

from notifications.connect.tokens import make_token

ROOT = "/notifications/api/v1"

#: A key that is long enough for HS256.
SECRET = "a-secret-that-only-these-tests-know-and-nobody-else"


class App:
    """An app that speaks JSON to the API, as nobody, in a session, or with a token.

    Args:
        headers: sent with every request.
    """

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers = headers or {}

    @classmethod
    def in_session_of(cls, user: Any) -> "App":
        """An app that is logged in, and knows the CSRF token of its session."""
        app = cls()
        app.client.force_login(user)
        app.client.get(f"{ROOT}/docs")
        app.headers = {"X-CSRFToken": app.client.cookies["csrftoken"].value}
        return app

    @classmethod
    def with_token_of(cls, user: Any, lifetime: float | None = 3600) -> "App":
        return cls({"Authorization": f"Bearer {make_token(user, lifetime)}"})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"{ROOT}{path}", query, headers=self.headers)

    def post(self, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Post a body: JSON, or bytes as they are; nothing for None."""
        data = b"" if body is None else body
        return self.client.post(
            f"{ROOT}{path}", data, content_type=content_type, headers=self.headers
        )


def problem(response: Any) -> tuple[int, str]:
    """Check that a response is a problem, and return its status and its detail."""
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert {"title", "status", "detail"} <= set(body) <= {"title", "status", "detail", "errors"}
    assert body["status"] == response.status_code
    return response.status_code, body["detail"]


def places(response: Any) -> list[str]:
    """Check that a response is about wrong arguments, and return their places."""
    assert problem(response)[0] == 422
    return [error["place"] for error in response.json()["errors"]]
