"""The last minute forgets what is older, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metrics_service.latency import Histogram
from metrics_service.window import LastMinute


@given(
    st.lists(st.tuples(st.floats(min_value=0, max_value=200), st.integers(0, 5)), max_size=60),
    st.floats(0, 100),
)
def test_it_holds_what_happened_in_the_last_sixty_slots(
    events: list[tuple[float, int]], wait: float
) -> None:
    now = [0.0]
    window = LastMinute(lambda: now[0])
    happened = []
    for gap, messages in events:
        now[0] += gap
        happened.append((int(now[0]), messages))
        window.add(messages, Histogram.of([1.0] * messages))
    now[0] += wait

    messages, latency, span_s = window.read()

    expected = sum(count for second, count in happened if second > int(now[0]) - 60)
    assert (messages, latency.count) == (expected, expected)
    assert 59 <= span_s < 60


def test_a_minute_of_silence_empties_it() -> None:
    now = [1_000.0]
    window = LastMinute(lambda: now[0])
    window.add(7, Histogram.of([3.0]))
    now[0] += 59.0
    assert window.read()[0] == 7
    now[0] += 1.0
    assert window.read()[:2] == (0, Histogram())
