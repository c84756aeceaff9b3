"""A gunicorn worker whose threads no slow client can hold for long.

The threaded worker lets a connection wait without a thread until its first byte. From then on it waits in a thread, and
for ever: as many connections as there are threads, each with half a request line, and nobody else is served.
"""

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from gunicorn.workers.gthread import ThreadWorker


class ImpatientSocket(socket.socket):
    """A connection over which a request has to come whole within `seconds`, however it trickles in, and each part of
    the answer has to be taken within as many. What is slower is treated as a client that went away."""

    seconds = 30.0
    _until = 0.0

    @classmethod
    def taking_over(cls, other: socket.socket, seconds: float) -> "ImpatientSocket":
        """`other`'s connection; `other` itself is of no more use."""
        mine = cls(fileno=other.detach())
        mine.seconds = seconds
        return mine

    def expect_request(self) -> None:
        """From now on the time of a request is counted."""
        self._until = time.monotonic() + self.seconds

    def setblocking(self, flag: bool, /) -> None:
        self.settimeout(self.seconds if flag else 0.0)

    def recv(self, *args: Any) -> bytes:
        whole = self.gettimeout() or self.seconds
        left = self._until - time.monotonic()
        with _as_gone():
            if left <= 0:
                raise TimeoutError
            self.settimeout(min(whole, left))
            try:
                return super().recv(*args)
            finally:
                self.settimeout(whole)

    def sendall(self, *args: Any) -> None:
        with _as_gone():
            super().sendall(*args)

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        with _as_gone():
            return super().sendfile(*args, **kwargs)


class ImpatientWorker(ThreadWorker):
    def handle(self, conn: Any) -> Any:
        if not isinstance(conn.sock, ImpatientSocket):
            conn.sock = ImpatientSocket.taking_over(conn.sock, settings.WEB_REQUEST_SECONDS)
        conn.sock.expect_request()
        return super().handle(conn)


@contextmanager
def _as_gone() -> Iterator[None]:
    """The worker closes such a connection without a word in the log, and Django calls a body unreadable."""
    try:
        yield
    except TimeoutError:
        raise ConnectionResetError(errno.ECONNRESET, "The client is too slow.") from None
