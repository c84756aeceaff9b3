"""A circuit breaker: after repeated failures a dependency is left alone for a while, then asked once.

pybreaker was looked at: it lets every waiting thread through at once when half open, and offers no clock for tests.
"""

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class CircuitBreaker:
    """Counts consecutive failures; thread-safe, one a process. `seconds` is how long an open breaker stays open."""

    def __init__(self, *, failures: int = 3, seconds: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        with self._lock:
            if self._opened_at is None:
                return "closed"
            return "half_open" if self._clock() - self._opened_at >= self._seconds else "open"

    def allows(self) -> bool:
        """Whether the dependency may be asked now. Once the pause is over, one caller is let through as the probe."""
        with self._lock:
            if self._opened_at is None:
                return True
            if self._probing or self._clock() - self._opened_at < self._seconds:
                return False
            self._probing = True
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failed = 0
            self._opened_at = None
            self._probing = False

    def failed(self) -> None:
        with self._lock:
            self._failed += 1
            if self._probing or self._failed >= self._limit:
                self._opened_at = self._clock()
            self._probing = False
