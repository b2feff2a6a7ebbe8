"""The real four processes start, survive kill -9 and restarts on the same ports, and see only their
own settings.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.users import Person
from harness.client import Account, DisconnectedError, RefusedError, open_socket
from harness.ports import reserve
from harness.registry import Registry
from harness.stack import SERVICES, ProcessDiedError, Stack, StartTimeoutError, private_stack
from service_runtime.database.addresses import url_of

grpc = pytest.importorskip("grpc")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with private_stack() as made:
        yield made


@pytest.fixture(scope="module")
def learner(stack: Stack) -> Person:
    email, password, learner_id = "one@pupils.example", "correct-horse-battery", "demo-one"
    with grpc.insecure_channel(stack.address("auth")) as channel:
        registry = Registry(channel, stack.metadata)
        registry.add_learner(learner_id)
        user_id = registry.add_user(email, password, "learner")
        registry.relate("is_learner", user_id, learner_id)
    return Person(
        email=email, password=password, role="learner", user_id=user_id, learners=(learner_id,)
    )


@pytest.mark.system
def test_all_processes_run_and_the_credential_is_secret(stack: Stack):
    assert len({stack.pid(name) for name in SERVICES}) == 4
    assert stat.S_IMODE(stack.credential_file.stat().st_mode) == 0o600
    assert stack.credential not in "".join(path.read_text() for path in stack.logs.glob("*.log"))


@pytest.mark.system
@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_process_starts_again_on_its_port(stack: Stack, name: str):
    before = stack.pid(name)
    stack.kill(name)
    with pytest.raises(ProcessDiedError, match=f"{name} was ended by SIGKILL"):
        stack.check()
    stack.start(name)

    assert stack.pid(name) != before
    stack.check()


@pytest.mark.system
@pytest.mark.parametrize("name", SERVICES)
def test_a_process_restarts_gracefully(stack: Stack, name: str):
    assert stack.stop(name) == []
    assert stack.children[name].exit_code == 0
    stack.start(name)
    stack.check()


@pytest.mark.system
async def test_a_wrong_password_is_refused_and_a_right_one_opens_a_socket(
    stack: Stack, learner: Person
):
    with pytest.raises(RefusedError, match="401"):
        await Account(stack.http_url, learner.email, "wrong-password").token()
    async with await open_socket(
        stack.ws_url, Account(stack.http_url, learner.email, learner.password)
    ) as socket:
        assert socket.established["user"] == {"id": learner.user_id, "role": "learner"}


async def test_a_system_that_is_not_there_is_a_passing_trouble():
    ports, claim = reserve()
    with claim, pytest.raises(DisconnectedError, match="does not answer"):
        await Account(f"http://127.0.0.1:{ports.edge}", "a@x.example", "password").token()


def test_a_process_sees_the_settings_of_its_own_prefix_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BRAIN_FOREIGN", "from the shell")
    ports, claim = reserve()
    with claim:
        made = Stack(
            tmp_path, ports=ports, env={"BRAIN_MAX_BATCH": "7", "EDGE_PING_S": "", "DEBUG": "1"}
        )

        assert made.environment("brain")["BRAIN_MAX_BATCH"] == "7"
        assert "BRAIN_FOREIGN" not in made.environment("brain")
        assert not any(
            key.startswith(("EDGE_", "AUTH_", "METRICS_")) for key in made.environment("brain")
        )
        assert "DEBUG" not in made.environment("brain")
        assert made.environment("edge")["DEBUG"] == "1"
        assert "EDGE_PING_S" not in made.environment("edge")
        made.close()


def test_databases_lie_in_the_directory_whatever_its_name_is(tmp_path: Path):
    ports, claim = reserve()
    with claim:
        made = Stack(tmp_path / "what?now=%41#\n", ports=ports)
        for name in ("brain", "auth", "metrics"):
            address = made.environment(name)[f"{name.upper()}_DATABASE_URL"]
            assert url_of(address).database == str(made.database(name))
        made.close()


def test_a_setting_that_is_wrong_ends_the_start_with_its_sentence():
    with (
        pytest.raises(
            (ProcessDiedError, StartTimeoutError), match="METRICS_RECORDING: must be true or false"
        ),
        private_stack(env={"METRICS_RECORDING": "perhaps"}, services=["metrics"]),
    ):
        pass
