"""A circuit breaker: after repeated failures a dependency is left alone for a while, then asked once.

pybreaker 1.4 was looked at: it holds its lock while the guarded call runs, so that the threads of a process would
ask one after the other, and it measures the pause by the wall clock.
"""

import threading
import time
from collections.abc import Callable
from typing import Literal, TypeVar

State = Literal["closed", "open", "half_open"]
T = TypeVar("T")


class BreakerOpen(Exception):
    """The call was not made: the dependency is being left alone."""


def _ignore(is_open: bool) -> None:
    pass


class CircuitBreaker:
    """Opens after `failures` failed calls in a row; `seconds` later one call, the probe, decides whether it closes.

    Thread-safe, one a process. `on_change(is_open)` is told of each opening and closing, in order; it must be quick
    and must not call the breaker.
    """

    def __init__(
        self,
        *,
        failures: int = 3,
        seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[bool], None] = _ignore,
    ) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._failed = 0
        self._opened_at: float | None = None
        self._probing = False
        # Grows with each change. What a call from an earlier period brings says nothing about now: a slow success
        # must not close a breaker that has opened meanwhile.
        self._period = 0

    @property
    def state(self) -> State:
        """`half_open` once the pause is over, until the probe has answered."""
        with self._lock:
            if self._opened_at is None:
                return "closed"
            return "half_open" if self._rested() else "open"

    def call(self, function: Callable[[], T], *, failure: type[Exception]) -> T:
        """`function()`, counting a `failure` it raises against the dependency. No other exception counts.

        Raises BreakerOpen, without calling, while the dependency is left alone or its probe is under way.
        """
        period = self._enter()
        try:
            result = function()
        except failure:
            self._leave(period, failed=True)
            raise
        except BaseException:
            self._leave(period, failed=None)
            raise
        self._leave(period, failed=False)
        return result

    def _rested(self) -> bool:
        return self._opened_at is not None and self._clock() - self._opened_at >= self._seconds

    def _enter(self) -> int:
        with self._lock:
            if self._opened_at is not None:
                if self._probing or not self._rested():
                    raise BreakerOpen
                self._probing = True
            return self._period

    def _leave(self, period: int, *, failed: bool | None) -> None:
        with self._lock:
            if period != self._period:
                return
            probe, self._probing = self._probing, False
            if failed is None:
                return
            self._failed = self._failed + 1 if failed else 0
            if failed and (probe or self._failed >= self._limit):
                self._change(opened_at=self._clock())
            elif probe:
                self._change(opened_at=None)

    def _change(self, *, opened_at: float | None) -> None:
        was_open, self._opened_at = self._opened_at is not None, opened_at
        self._period += 1
        self._failed = 0
        if was_open != (opened_at is not None):
            self._on_change(not was_open)
