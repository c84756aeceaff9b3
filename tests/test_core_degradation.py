"""Going on without a part, and leaving a failing one alone for a while."""

import contextlib
import threading

import pytest

from memoryhub.core.breaker import BreakerOpen, CircuitBreaker
from memoryhub.core.degradation import Degraded, Unavailable, attempt


class EmbedderDown(Unavailable):
    pass


class CacheDown(Unavailable):
    pass


def raising(error):
    def call():
        raise error

    return call


def test_a_part_that_works_is_not_named():
    degraded = Degraded()
    assert attempt("semantic", lambda: 7, fallback=0, degraded=degraded) == 7
    assert degraded == []


def test_a_part_that_fails_is_replaced_and_named_once():
    degraded = Degraded()
    for part in ("semantic", "hot_tier", "semantic"):
        assert attempt(part, raising(EmbedderDown("timeout")), fallback=0, degraded=degraded) == 0
    assert degraded == ["semantic", "hot_tier"]


def test_a_defect_of_ours_is_never_taken_for_an_outage():
    degraded = Degraded()
    with pytest.raises(ValueError, match="defect"):
        attempt("semantic", raising(ValueError("defect")), fallback=0, degraded=degraded)
    assert degraded == []


def test_only_the_named_outage_is_caught():
    degraded = Degraded()
    with pytest.raises(CacheDown):
        attempt("semantic", raising(CacheDown("timeout")), fallback=0, degraded=degraded, catching=EmbedderDown)
    assert degraded == []


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Dependency:
    """A breaker of three failures and 30 seconds, on a clock of its own."""

    def __init__(self):
        self.clock = Clock()
        self.changes = []
        self.calls = 0
        self.breaker = CircuitBreaker(failures=3, seconds=30.0, clock=self.clock, on_change=self.changes.append)

    def works(self):
        return self.ask(lambda: "answer")

    def fails(self, error=None):
        with pytest.raises(type(error) if error else EmbedderDown):
            self.ask(raising(error or EmbedderDown("timeout")))

    def is_left_alone(self):
        before = self.calls
        with pytest.raises(BreakerOpen):
            self.works()
        return self.calls == before

    def ask(self, function):
        def counted():
            self.calls += 1
            return function()

        return self.breaker.call(counted, failure=EmbedderDown)


@pytest.fixture
def dependency():
    return Dependency()


@pytest.fixture
def failed(dependency):
    for _ in range(3):
        dependency.fails()
    return dependency


def test_three_failures_in_a_row_open_the_breaker(dependency):
    dependency.fails()
    dependency.fails()
    assert dependency.breaker.state == "closed"
    dependency.fails()
    assert dependency.breaker.state == "open"
    assert dependency.is_left_alone()


def test_a_success_in_between_starts_the_count_anew(dependency):
    for _ in range(3):
        dependency.fails()
        dependency.fails()
        assert dependency.works() == "answer"
    assert dependency.breaker.state == "closed"
    assert dependency.changes == []


def test_an_error_that_is_not_the_dependencys_does_not_count(dependency):
    for _ in range(5):
        dependency.fails(ValueError("ours"))
    assert dependency.breaker.state == "closed"


def test_after_the_pause_one_success_closes_it(failed):
    failed.clock.now += 29.9
    assert failed.is_left_alone()
    failed.clock.now += 0.1
    assert failed.breaker.state == "half_open"
    assert failed.works() == "answer"
    assert failed.breaker.state == "closed"
    assert failed.changes == [True, False]
    failed.fails()
    failed.fails()
    assert failed.breaker.state == "closed"


def test_a_failed_probe_starts_another_pause_at_once(failed):
    failed.clock.now += 30
    failed.fails()
    assert failed.breaker.state == "open"
    assert failed.changes == [True]
    failed.clock.now += 29.9
    assert failed.is_left_alone()


def test_a_probe_that_ended_in_another_error_leaves_the_next_caller_to_probe(failed):
    failed.clock.now += 30
    failed.fails(KeyboardInterrupt())
    assert failed.breaker.state == "half_open"
    assert failed.works() == "answer"


def test_only_one_of_many_threads_probes(failed):
    failed.clock.now += 30
    together, answer = threading.Barrier(8, timeout=10), threading.Event()
    outcomes = []

    def caller():
        together.wait()
        try:
            outcomes.append(failed.ask(lambda: answer.wait(10) and "answer"))
        except BreakerOpen:
            outcomes.append("left alone")
            if outcomes.count("left alone") == 7:
                answer.set()

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["answer"] + ["left alone"] * 7
    assert failed.breaker.state == "closed"


def in_flight(dependency, outcome):
    """A call that has begun: calling the returned function lets it end with `outcome`, and waits for that."""
    begun, end = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert end.wait(10)
        return outcome()

    def caller():
        with contextlib.suppress(EmbedderDown):
            dependency.breaker.call(slow, failure=EmbedderDown)

    thread = threading.Thread(target=caller)
    thread.start()
    assert begun.wait(10)

    def finish():
        end.set()
        thread.join(10)
        assert not thread.is_alive()

    return finish


def test_a_slow_success_from_before_does_not_close_an_open_breaker(dependency):
    finish = in_flight(dependency, lambda: "late")
    for _ in range(3):
        dependency.fails()
    finish()
    assert dependency.breaker.state == "open"


def test_a_slow_failure_from_before_does_not_lengthen_the_pause(dependency):
    finish = in_flight(dependency, raising(EmbedderDown("timeout")))
    for _ in range(3):
        dependency.fails()
    dependency.clock.now += 20
    finish()
    dependency.clock.now += 10
    assert dependency.works() == "answer"


@pytest.mark.parametrize("late", [lambda: "late", raising(EmbedderDown("timeout"))], ids=["success", "failure"])
def test_only_the_probe_decides_whatever_ends_during_it(dependency, late):
    finish_late = in_flight(dependency, late)
    for _ in range(3):
        dependency.fails()
    dependency.clock.now += 30
    finish_probe = in_flight(dependency, lambda: "answer")
    finish_late()
    assert dependency.changes == [True]
    assert dependency.is_left_alone()
    finish_probe()
    assert dependency.breaker.state == "closed"


def test_calls_run_side_by_side(dependency):
    together = threading.Barrier(4, timeout=10)
    threads = [threading.Thread(target=dependency.ask, args=(together.wait,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not together.broken
    assert dependency.calls == 4
