"""The Python SDK `centrifuge-python`, driven by tests; see ../driver.py for what is said here."""

import asyncio
import json
import os
import sys
from collections import deque
from typing import Any

from centrifuge import (  # type: ignore[import-untyped]
    CentrifugeError,
    Client,
    ClientEventHandler,
    ReplyError,
    SubscriptionEventHandler,
)

IS_BINARY = os.environ["FORM"] == "protobuf"
TOKEN = os.environ["TOKEN"]

waiting_for_token: deque[asyncio.Future[str]] = deque()


def pack(value: Any) -> Any:
    return json.dumps(value).encode() if IS_BINARY else value


def unpack(data: Any) -> Any:
    return json.loads(data) if isinstance(data, bytes) else data


def say(**message: Any) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")
    sys.stdout.flush()


def tell(event: str, **details: Any) -> None:
    say(event=event, **details)


async def get_token(channel: str = "") -> str:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting_for_token.append(answer)
    tell("token", channel=channel)
    return await answer


def tell_of_publication(channel: str, publication: Any) -> None:
    by = publication.info.user if publication.info else ""
    tell(
        "publication",
        channel=channel,
        data=unpack(publication.data),
        offset=publication.offset or 0,
        by=by,
        tags=dict(publication.tags or {}),
    )


class OfClient(ClientEventHandler):
    async def on_connecting(self, ctx: Any) -> None:
        tell("connecting", code=ctx.code)

    async def on_connected(self, ctx: Any) -> None:
        tell("connected", data=unpack(ctx.data))

    async def on_disconnected(self, ctx: Any) -> None:
        tell("disconnected", code=ctx.code)

    async def on_error(self, ctx: Any) -> None:
        tell("error", code=getattr(ctx.error, "code", 0))

    async def on_subscribed(self, ctx: Any) -> None:
        recovery = {"wasRecovering": ctx.was_recovering, "recovered": ctx.recovered}
        tell("subscribed", channel=ctx.channel, **recovery)

    async def on_unsubscribed(self, ctx: Any) -> None:
        tell("unsubscribed", channel=ctx.channel)

    async def on_publication(self, ctx: Any) -> None:
        tell_of_publication(ctx.channel, ctx.pub)

    async def on_message(self, ctx: Any) -> None:
        tell("message", data=unpack(ctx.data))


class OfSubscription(SubscriptionEventHandler):
    def __init__(self, channel: str) -> None:
        self.channel = channel

    async def on_subscribed(self, ctx: Any) -> None:
        recovery = {"wasRecovering": ctx.was_recovering, "recovered": ctx.recovered}
        tell("subscribed", channel=self.channel, **recovery)

    async def on_unsubscribed(self, ctx: Any) -> None:
        tell("unsubscribed", channel=self.channel, code=ctx.code)

    async def on_error(self, ctx: Any) -> None:
        tell("error", channel=self.channel, code=getattr(ctx.error, "code", 0))

    async def on_publication(self, ctx: Any) -> None:
        tell_of_publication(self.channel, ctx.pub)

    async def on_join(self, ctx: Any) -> None:
        tell("join", channel=self.channel, user=ctx.info.user)

    async def on_leave(self, ctx: Any) -> None:
        tell("leave", channel=self.channel, user=ctx.info.user)


class Commands:
    """What the test may ask for, by name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def connect(self) -> None:
        await self._client.connect()

    async def disconnect(self) -> None:
        await self._client.disconnect()

    async def subscribe(self, channel: str, token: str = "", joinLeave: bool = False) -> None:  # noqa: N803
        subscription = self._client.get_subscription(channel)
        if subscription is None:
            tokens = {"get_token": get_token} if token == "ask" else {"token": token}
            subscription = self._client.new_subscription(
                channel,
                events=OfSubscription(channel),
                join_leave=joinLeave,
                min_resubscribe_delay=0.05,
                max_resubscribe_delay=0.5,
                **(tokens if token else {}),
            )
        await subscription.subscribe()

    async def unsubscribe(self, channel: str) -> None:
        await self._client.get_subscription(channel).unsubscribe()

    async def publish(self, channel: str, data: Any) -> None:
        await self._client.publish(channel, pack(data))

    async def rpc(self, method: str, data: Any) -> Any:
        return unpack((await self._client.rpc(method, pack(data))).data)

    async def send(self, data: Any) -> None:
        await self._client.send(pack(data))

    async def history(self, channel: str, limit: int) -> Any:
        found = await self._client.history(channel, limit=limit)
        publications = [
            {"offset": one.offset or 0, "data": unpack(one.data)} for one in found.publications
        ]
        return {"offset": found.offset, "epoch": found.epoch, "publications": publications}

    async def presence(self, channel: str) -> Any:
        found = await self._client.presence(channel)
        return {"users": sorted(info.user for info in found.clients.values())}

    async def presence_stats(self, channel: str) -> Any:
        found = await self._client.presence_stats(channel)
        return {"clients": found.num_clients, "users": found.num_users}

    async def token(self, token: str) -> None:
        waiting_for_token.popleft().set_result(token)


async def carry_out(commands: Commands, message: dict[str, Any]) -> None:
    number, name = message.pop("id"), message.pop("do")
    try:
        result = await getattr(commands, name)(**message)
    except ReplyError as error:
        say(id=number, error={"code": error.code, "message": error.message})
    except CentrifugeError as error:
        say(id=number, error={"code": 0, "message": str(error)})
    else:
        say(id=number, ok={} if result is None else result)


async def main() -> None:
    client = Client(
        os.environ["URL"],
        events=OfClient(),
        use_protobuf=IS_BINARY,
        min_reconnect_delay=0.05,
        max_reconnect_delay=0.5,
        proxy=None,
        **({"get_token": get_token} if TOKEN == "ask" else {"token": TOKEN}),
    )
    commands = Commands(client)
    loop = asyncio.get_running_loop()
    tasks = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(carry_out(commands, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
