"""A stock Channels consumer, as in the tutorials: each socket joins the group by itself."""

import os
import sys

import django
from django.conf import settings

REDIS = os.environ.get("REDIS_URL")
settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS]},
        }
        if REDIS
        else {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}
    },
)
django.setup()

import asyncio  # noqa: E402

import uvicorn  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402


class Stock(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("all", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("all", self.channel_name)

    async def note(self, event: dict[str, str]) -> None:
        await self.send_json(event["text"])


class Bare:
    """Accepts connections and does nothing else, to measure the cost of the server itself."""

    async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def]
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


async def broadcast_lines() -> None:
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        message = {"type": "note", "text": line.decode().rstrip("\n")}
        await get_channel_layer().group_send("all", message)


async def main(port: int, bare: bool) -> None:
    application = Bare() if bare else ProtocolTypeRouter({"websocket": Stock.as_asgi()})
    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, loop="uvloop", http="httptools",
        ws="websockets-sansio", ws_per_message_deflate=False, ws_ping_interval=None,
        ws_ping_timeout=None, lifespan="off", log_level="error", access_log=False, backlog=4096,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
        await asyncio.sleep(0.05)
    await broadcast_lines()
    server.should_exit = True
    await task


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[2]), sys.argv[1] == "bare"))
