"""Reconnects ``channels_redis.pubsub``, which does not always recover by itself."""

import asyncio
from typing import Any

from ...conf import app_settings


async def reconnect(layer: Any, *, replace_all: bool) -> bool:
    """Reconnect a pub/sub layer, and so restore its subscriptions.

    ``channels_redis.pubsub`` listens for ever on a connection that has died silently, and considers
    a group as joined once it has tried to join it. Its only reset drops the state of all users of
    the layer. It also connects both while it listens and while it joins. If both happen at once,
    one of them may wait for ever on the connection that the other has replaced. So this function
    connects it while it does neither; redis-py then restores all subscriptions.

    Args:
        layer: the channel layer.
        replace_all: whether to replace connections that seem to be alive too.

    Returns:
        False for other layers, which reconnect when a ``receive`` is cancelled.

    Raises:
        TimeoutError: it took longer than ``LAYER_TIMEOUT`` seconds.
        Exception: whatever the layer's client library raises.
    """
    if not any(kind.__module__ == "channels_redis.pubsub" for kind in type(layer).__mro__):
        return False
    async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
        for shard in layer._get_layer()._shards:
            async with shard._lock:
                await _reconnect_shard(shard, replace_all)
    return True


async def _reconnect_shard(shard: Any, replace_all: bool) -> None:
    connection = getattr(shard._pubsub, "connection", None)
    if connection is None or (connection.is_connected and not replace_all):
        return
    if shard._receive_task is not None:
        shard._receive_task.cancel()
        await asyncio.wait({shard._receive_task})
        shard._receive_task = None
    await connection.disconnect(nowait=True)
    try:
        await shard._pubsub.connect()
    except BaseException:  # a connection without its subscriptions is useless
        await connection.disconnect(nowait=True)
        raise
    shard._ensure_receiver()
