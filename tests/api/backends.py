"""A backend that calls the server API in the test's own process."""

import json
from typing import Any

from django.test import Client

from notifications.api.keys import make_key
from notifications.api.server.methods import GRANTABLE

CHANNELS = ("user:*", "broadcast", "staff", "group:*", "topic:*", "chat:*", "nonsense")


class Caller:
    """Calls with one key. The client enforces CSRF tokens, and has none.

    Args:
        methods: the methods in the key's scope.
        channels: the channels in it.
    """

    def __init__(
        self, methods: tuple[str, ...] = GRANTABLE, channels: tuple[str, ...] = CHANNELS
    ) -> None:
        self.key, self.secret = make_key("a backend", methods, channels)
        self._client = Client(enforce_csrf_checks=True)

    def post(self, path: str, body: bytes | str, **headers: str) -> Any:
        """POST any body with the key to ``/api`` + ``path``."""
        return self._client.post(
            f"/api{path}",
            body,
            content_type="application/json",
            headers={"X-API-Key": self.secret, **headers},
        )

    def answer(self, method: str, **request: Any) -> dict[str, Any]:
        """Call a method and return its answer."""
        response = self.post(f"/{method}", json.dumps(request))
        assert response.status_code == 200, response.content
        return dict(json.loads(response.content))

    def result(self, method: str, **request: Any) -> dict[str, Any]:
        answer = self.answer(method, **request)
        assert "result" in answer, answer
        return dict(answer["result"])

    def error(self, method: str, **request: Any) -> int:
        answer = self.answer(method, **request)
        assert "error" in answer, answer
        return int(answer["error"]["code"])

    def reason(self, method: str, **request: Any) -> str:
        answer = self.answer(method, **request)
        assert "error" in answer, answer
        return str(answer["error"]["message"])
