"""Ids of clients: random UUIDs, which no other process has."""

import os
import uuid

from notifications.hub.client_ids import BLOCK_SIZE, new_client_id


def test_ids_are_random_uuids_and_none_comes_twice() -> None:
    ids = [new_client_id() for _ in range(3 * BLOCK_SIZE)]
    assert len(set(ids)) == len(ids)
    for text in ids:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_a_forked_process_has_ids_of_its_own() -> None:
    new_client_id()  # others are prepared now
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.write(writing, new_client_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert uuid.UUID(theirs)
    assert theirs not in {new_client_id() for _ in range(BLOCK_SIZE)}
