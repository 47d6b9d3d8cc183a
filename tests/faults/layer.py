"""A channel layer that loses, duplicates, delays and reorders messages."""

import random
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer


class FaultyLayer(RedisPubSubChannelLayer):
    """A Redis pub/sub layer that loses, duplicates or delays an eighth of the messages each."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._again: list[Any] = []
        self._late: list[Any] = []

    async def receive(self, channel: str) -> Any:
        while True:
            if self._again:
                return self._again.pop()
            message = await self._get_layer().receive(channel)
            match random.randrange(8):
                case 0:
                    continue
                case 1:
                    self._again.append(message)
                case 2:
                    self._late.append(message)
                    continue
                case 3:
                    self._again += self._late
                    self._late = []
            return message
