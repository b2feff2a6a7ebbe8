"""The load test finds each lie of a server, measures what it says, and stays within its bounds."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from harness.root import ROOT
from tests.load import command, run
from tests.load.verdict import KINDS
from tests.support.liar import LEARNER, Liar, figures, load, serving

SCRIPT = ROOT / "tests/load_test_websockets.py"


@pytest.mark.parametrize(
    ("lie", "kinds"),
    [
        ("", set()),
        ("drops answers", {"lost"}),
        ("answers with something else", {"lost"}),
        ("answers nobody", {"lost", "duplicated"}),
        ("answers twice", {"duplicated"}),
        ("doubles updates", {"duplicated"}),
        ("drops updates", {"lost"}),
        ("reorders updates", {"out_of_order"}),
        ("drops the last updates", {"stale"}),
        ("stale state", {"stale"}),
        ("reuses a revision", {"duplicated"}),
        ("applies twice", {"duplicated"}),
    ],
)
def test_each_lie_is_found_and_only_an_honest_server_passes(
    lie: str, kinds: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(run, "PATIENCE_S", 0.3)
    with serving(Liar(lie)) as url:
        assert load(url, "--json", "--sole-writer", connections=1) == (1 if lie else 0)
    verdict = figures(capsys)["verdict"]
    found = {kind for kind in KINDS if verdict[kind]}
    # What else a lie implies may be found too: a lost answer leaves a revision that nobody
    # explains.
    assert kinds <= found
    assert bool(found) == bool(lie)
    assert all(verdict["examples"][kind] for kind in found)


def test_a_server_that_stalls_pays_for_everyone_who_waited(capsys: pytest.CaptureFixture[str]):
    """A closed loop would have one slow answer on each socket; here all that were due meanwhile are
    slow.
    """
    with serving(Liar("stalls")) as url:
        assert load(url, "--json", connections=1, duration=0.8) == 0
    assert figures(capsys)["latency_ms"]["p50"] > 50


def test_told_limits_are_kept_and_held_back_messages_count_from_when_they_were_due(
    capsys: pytest.CaptureFixture[str],
):
    liar = Liar(limits={"frames_per_second": 0, "in_flight": 4}, delay_s=0.05)
    with serving(liar) as url:
        assert load(url, "--json", connections=1, duration=0.5, rate=200) == 0
    seen = figures(capsys)
    assert 1 <= liar.most_in_flight < 4
    assert seen["held_back"] > 0
    assert seen["sent"] == seen["requested"] == seen["received"]
    assert seen["latency_ms"]["max"] > 100


def test_a_plan_that_would_measure_the_rate_limiter_is_refused(capsys: pytest.CaptureFixture[str]):
    with serving(Liar(limits={"frames_per_second": 50, "burst": 100, "in_flight": 64})) as url:
        assert load(url, connections=2, rate=81) == 2
        assert "would measure the server's rate limit" in capsys.readouterr().err
        assert load(url, connections=2, rate=79, duration=0.2) == 0


def test_a_refused_token_is_told_and_nothing_is_loaded(capsys: pytest.CaptureFixture[str]):
    with serving(Liar("refuses")) as url:
        assert load(url) == 2
    assert "unauthenticated: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--connections", "5001"], "--raise-bounds"),
        (["--duration", "601"], "--raise-bounds"),
        (["--rate", "10001"], "--raise-bounds"),
        (["--url", "ws://192.0.2.1/ws"], "--i-own-this-host"),
        (["--url", "http://127.0.0.1/ws"], "is no ws:// or wss:// URL"),
        (["--url", "ws://127.0.0.1:9/ws"], "nothing listens"),
    ],
)
def test_bounds_and_others_hosts_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert command.main(["--token", "t", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_someone_must_connect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("AIVO_TOKEN", raising=False)
    assert command.main([]) == 2
    assert "--token" in capsys.readouterr().err


def test_ctrl_c_ends_with_a_report_of_what_was_measured():
    liar = Liar()
    arguments = [
        "--token",
        "t",
        "--learner",
        LEARNER,
        "--connections",
        "2",
        "--rate",
        "200",
        "--duration",
        "60",
    ]
    with serving(liar) as url:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--url", url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert liar.busy.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Interrupted: what was measured until then" in out
    assert int(re.findall(r"Received: (\d+)", out)[0]) > 40
    assert "Result: PASSED" in out
    assert "Traceback" not in err


def test_the_script_explains_itself_with_examples():
    shown = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, timeout=30
    )
    assert shown.returncode == 0
    for option in (
        "--token",
        "--connections",
        "--duration",
        "--url",
        "--rate",
        "--ramp",
        "--scenario",
        "--json",
    ):
        assert option in shown.stdout
    assert "examples:" in shown.stdout
