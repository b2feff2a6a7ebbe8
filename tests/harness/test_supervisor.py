"""Children start, end, are killed, never outlive their parent, and what they wrote is told when
they fail.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.supervisor import Child, ProcessDiedError, Spawner, StartTimeoutError

WAIT_S = 20.0

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    " time.sleep(60)"
)
POLITE = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit('bye'));"
    " print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    made = Spawner()
    yield made
    made.close()


@pytest.fixture
def child(spawner: Spawner, tmp_path: Path) -> Iterator:
    made: list[Child] = []

    def make(code: str, *, core: int | None = None) -> Child:
        one = Child(
            "tiny",
            [sys.executable, "-c", code],
            spawner=spawner,
            environ={"PATH": os.environ["PATH"]},
            directory=tmp_path,
            log=tmp_path / "tiny.log",
            core=core,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.kill()


def is_up(one: Child) -> bool:
    return "up" in one.log_tail()


def test_a_child_that_ends_when_asked_was_not_killed(child):
    one = child(POLITE)
    one.start()
    one.wait_until(lambda: is_up(one), timeout_s=WAIT_S)

    assert one.stop(grace_s=WAIT_S)
    assert one.exit_code == 1
    assert one.log_tail()[-1] == "bye"


def test_a_child_that_ignores_being_asked_is_killed(child):
    one = child(STUBBORN)
    one.start()
    one.wait_until(lambda: is_up(one), timeout_s=WAIT_S)

    assert not one.stop(grace_s=0.2)
    assert one.exit_code == -signal.SIGKILL


def test_a_child_starts_again_after_being_killed_and_keeps_its_log(child):
    one = child(POLITE)
    one.start()
    one.wait_until(lambda: one.log_tail() == ["up"], timeout_s=WAIT_S)
    first = one.pid
    one.kill()
    one.start()
    one.wait_until(lambda: one.log_tail() == ["up", "up"], timeout_s=WAIT_S)

    assert one.running
    assert one.pid != first


def test_starting_a_running_child_changes_nothing(child):
    one = child(POLITE)
    one.start()
    pid = one.pid
    one.start()

    assert one.pid == pid


def test_a_dead_child_is_reported_with_its_exit_code_and_last_words(child):
    one = child("import sys; print('why it failed'); sys.exit(3)")
    one.start()
    one.wait(WAIT_S)

    with pytest.raises(ProcessDiedError, match=r"tiny ended with exit code 3(.|\n)*why it failed"):
        one.check()


def test_a_child_ended_by_a_signal_is_reported_by_the_signals_name(child):
    one = child(POLITE)
    one.start()
    one.kill()

    with pytest.raises(ProcessDiedError, match="was ended by SIGKILL"):
        one.check()


def test_waiting_for_a_child_that_dies_ends_at_once(child):
    one = child("raise SystemExit('no settings')")
    one.start()

    with pytest.raises(ProcessDiedError, match="no settings"):
        one.wait_until(lambda: False, timeout_s=WAIT_S)


def test_waiting_for_a_child_that_never_gets_ready_ends_with_its_last_words(child):
    one = child(POLITE)
    one.start()
    one.wait_until(lambda: is_up(one), timeout_s=WAIT_S)

    with pytest.raises(StartTimeoutError, match=r"tiny was not ready after 0.1 s(.|\n)*up"):
        one.wait_until(lambda: False, timeout_s=0.1)


def test_a_child_never_started_is_not_running_and_can_be_stopped(child):
    one = child(POLITE)

    assert not one.running
    assert one.stop(grace_s=0)
    with pytest.raises(ProcessDiedError, match="never started"):
        one.check()


@pytest.mark.skipif(sys.platform != "linux", reason="pinning to a core is for Linux")
def test_a_child_runs_on_its_core(child):
    core = min(os.sched_getaffinity(0))
    one = child("import os; print(os.sched_getaffinity(0))", core=core)
    one.start()
    one.wait(WAIT_S)

    assert one.log_tail() == [f"{{{core}}}"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties processes to their parent")
def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path):
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from harness.supervisor import Child, Spawner

        place = Path({str(tmp_path)!r})
        child = Child("orphan", [sys.executable, "-c", {POLITE!r}], spawner=Spawner(), environ={{}},
                      directory=place, log=place / "orphan.log")
        child.start()
        child.wait_until(lambda: child.log_tail() == ["up"], timeout_s={WAIT_S})
        print(child.pid, flush=True)
        time.sleep(60)
        """)
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, str(parent)],
        stdout=subprocess.PIPE,
        env=dict(os.environ) | {"PYTHONPATH": str(root)},
        text=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while alive(pid):
            assert time.monotonic() < deadline, "the child lives on"
            time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
