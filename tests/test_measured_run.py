"""Runs that are measured on the way, and calls that are timed in turns."""

import time

from stylecore.measured_run import in_turns


def test_in_turns_goes_on_until_each_has_enough() -> None:
    calls: list[str] = []
    runs = [lambda: calls.append("a"), lambda: calls.append("b")]
    samples = in_turns(runs, min_runs=3, warm_up=1, turn=2)
    assert "".join(calls) == "ab" + "aabb" * 2
    assert [len(seconds) for seconds in samples] == [4, 4]
    samples = in_turns([lambda: time.sleep(0.005), lambda: time.sleep(0.001)], min_runs=1, min_seconds=0.01)
    assert min(map(sum, samples)) >= 0.01
    assert len(samples[1]) > len(samples[0])
