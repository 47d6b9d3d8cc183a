"""``channels_redis.pubsub`` does not always find its way back to Redis by itself."""

import asyncio
from typing import Any

from ...conf import app_settings


async def reconnect(layer: Any, *, anew: bool) -> bool:
    """Have a pub/sub layer make its connections, and with them its subscriptions.

    ``channels_redis.pubsub`` listens for ever on a connection that has died without a word, takes
    a group for joined because it has once asked to join it, and can only be told to forget
    everything, which other users of the same layer would not survive. It also connects while it
    listens and while it joins, both at once, and may then wait for ever for an answer on the
    connection that the other has replaced. So it is connected here, while it does neither;
    redis-py subscribes again to all it had.

    Args:
        anew: give up connections too that seem to live.

    Returns:
        False for other layers, which connect anew when a ``receive`` is cancelled.

    Raises:
        Exception: whatever the layer's client library raises, or TimeoutError.
    """
    if not any(kind.__module__ == "channels_redis.pubsub" for kind in type(layer).__mro__):
        return False
    async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
        for shard in layer._get_layer()._shards:
            async with shard._lock:
                await _reconnect_shard(shard, anew)
    return True


async def _reconnect_shard(shard: Any, anew: bool) -> None:
    connection = getattr(shard._pubsub, "connection", None)
    if connection is None or (connection.is_connected and not anew):
        return
    if shard._receive_task is not None:
        shard._receive_task.cancel()
        await asyncio.wait({shard._receive_task})
        shard._receive_task = None
    await connection.disconnect(nowait=True)
    try:
        await shard._pubsub.connect()
    except BaseException:  # half connected is not connected
        await connection.disconnect(nowait=True)
        raise
    shard._ensure_receiver()
