"""A TCP relay that simulates a network partition, a dead host or a lost NAT entry."""

import socket
import threading
import time
from contextlib import suppress
from typing import Self


class Relay:
    """Forwards connections to another port of this host.

    While it is silent, it accepts connections and drops all data. Connections that were open or
    opened meanwhile never recover: neither end is closed, as with a real partition.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: Seconds by which each chunk of data is delayed.
        self.delay = 0.0
        self._is_silent = False
        self._is_cut = False
        self._pairs: list[_Pair] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> Self:
        self._is_silent = True
        for pair in self._pairs:
            pair.is_dead = True
        return self

    def cut(self) -> None:
        """Close all connections, and close new ones at once until :meth:`heal`."""
        self._is_cut = True
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()

    def heal(self) -> None:
        self._is_silent = self._is_cut = False

    def close(self) -> None:
        self._listener.close()
        for pair in self._pairs:
            pair.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                near, _ = self._listener.accept()
                if self._is_cut:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                self._pairs.append(_Pair(self, near, far, self._is_silent))


class _Pair:
    def __init__(self, relay: Relay, near: socket.socket, far: socket.socket, dead: bool) -> None:
        self._relay = relay
        self._ends = (near, far)
        self.is_dead = dead
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                time.sleep(self._relay.delay)
                if not self.is_dead:
                    sink.sendall(data)
        if not self.is_dead:
            self.close()
