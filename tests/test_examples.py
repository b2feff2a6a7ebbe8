"""What the examples show works, against a real system; and what docs/grpc.md says of it is true."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from harness.root import ROOT
from harness.stack import Stack, private_stack
from tests.support.school import PASSWORD, found_school

TIMEOUT_S = 60
BUILD_S = 240

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with private_stack() as made:
        yield made


@pytest.fixture(scope="module")
def node() -> list[str]:
    """How the example in Node is called."""
    if not (ROOT / "examples/node/node_modules/@grpc/grpc-js").is_dir() or not shutil.which("node"):
        pytest.skip("Node or its packages are not there: `make examples` fetches them")
    return ["node", "examples/node/record_and_watch.mjs"]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How the example in Go is called: its code is generated and built first, of modules that are
    on this machine.
    """
    folder = ROOT / "examples/go"
    environ = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=BUILD_S
        )

    if not shutil.which("go") or run("go", "mod", "download").returncode:
        pytest.skip("Go or its modules are not there: `make examples` fetches them")
    program = tmp_path_factory.mktemp("go") / "record_and_watch"
    buf = str(Path(sys.executable).with_name("buf"))
    for command in ([buf, "generate"], ["go", "vet", "./..."], ["go", "build", "-o", str(program)]):
        result = run(*command)
        assert result.returncode == 0, result.stderr
    return [str(program)]


@pytest.fixture(
    params=[
        "python",
        "node",
        pytest.param("go", marks=pytest.mark.timeout(2 * BUILD_S)),
    ]
)
def example(request: pytest.FixtureRequest) -> list[str]:
    """How the example in one language is called."""
    if request.param == "python":
        return [sys.executable, "examples/record_and_watch.py"]
    command: list[str] = request.getfixturevalue(request.param)
    return command


def run_example(
    example: list[str], stack: Stack, credential_file: Path, learner: str = "demo-example"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(*example, "--brain", stack.address("brain")),
            *("--credential-file", str(credential_file), "--learner", learner),
        ],
        cwd=ROOT,
        # The brain is inside, whatever proxy others use.
        env=os.environ
        | {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "grpc_proxy")}
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto/gen'}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_the_example_records_watches_and_reads_a_trace_id_twice(
    stack: Stack, example: list[str], request: pytest.FixtureRequest
):
    learner = f"demo-{request.node.callspec.params['example']}"
    for revision in (1, 2):
        result = run_example(example, stack, stack.credential_file, learner)

        assert result.returncode == 0, result.stderr
        assert f"watching {learner} from revision {revision - 1}" in result.stdout
        assert f"recorded as revision {revision}" in result.stdout
        assert f"the watcher saw revision {revision}" in result.stdout
        assert re.search(r"trace id [0-9a-f]{32}$", result.stdout, re.MULTILINE)


def test_without_the_credential_the_example_is_refused(
    stack: Stack, example: list[str], tmp_path: Path
):
    wrong = tmp_path / "credential"
    wrong.write_text("wrong")
    result = run_example(example, stack, wrong)

    assert result.returncode == 1
    assert "the brain answered UNAUTHENTICATED: the service credential" in re.sub(
        "Unauthenticated", "UNAUTHENTICATED", result.stderr
    )


def test_the_example_says_which_credential_is_missing(
    stack: Stack, example: list[str], tmp_path: Path
):
    result = run_example(example, stack, tmp_path / "none")

    assert result.returncode == 1
    assert result.stderr.startswith("cannot read the service credential")
    assert str(tmp_path / "none") in result.stderr


def commands() -> list[tuple[str, str, str | None]]:
    """Return (address, method, JSON) of each grpcurl command of docs/grpc.md that calls
    something.
    """
    text = (ROOT / "docs/grpc.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(
        r"^grpcurl\b(.*?)(127\.0\.0\.1:\d+)\s+([\w.]+/\w+)$", text, re.MULTILINE | re.DOTALL
    )
    parsed = []
    for options, address, method in found:
        data = re.search(r"-d\s+'(.*?)'", options, re.DOTALL)
        parsed.append((address, method, data[1] if data else None))
    return parsed


SERVICES = {"8001": "brain", "8002": "auth", "8003": "metrics"}


@pytest.mark.parametrize(("address", "method", "data"), commands())
def test_each_call_of_the_documentation_is_accepted(
    stack: Stack, address: str, method: str, data: str | None
):
    """Does what grpcurl does: asks reflection for the method, makes the message of the
    JSON, calls.
    """
    name = SERVICES[address.rpartition(":")[2]]
    service, _, rpc = method.partition("/")
    with Authorized(stack, name) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        described = pool.FindServiceByName(service).FindMethodByName(rpc)
        request = ParseDict(json.loads(data or "{}"), GetMessageClass(described.input_type)())
        path, answer = f"/{service}/{rpc}", GetMessageClass(described.output_type)
        if described.server_streaming:
            stream = channel.unary_stream(path, lambda m: m.SerializeToString(), answer.FromString)(
                request, timeout=10
            )
            assert next(stream) is not None
            stream.cancel()
        else:
            call = channel.unary_unary(path, lambda m: m.SerializeToString(), answer.FromString)
            assert call(request, timeout=10) is not None


def test_each_command_of_the_documentation_brings_the_credential():
    """Even to health, which asks for none: grpcurl looks the call up by reflection, which does."""
    text = (ROOT / "docs/grpc.md").read_text(encoding="utf-8")
    lines = re.findall(r"^grpcurl .*$", text, re.MULTILINE)

    assert len(lines) > 8
    assert [line for line in lines if '-H "$CREDENTIAL"' not in line] == []


def test_the_trace_id_in_the_answer_is_the_one_of_the_callers_traceparent(stack: Stack):
    (data,) = (data for _, method, data in commands() if method.endswith("/RecordInteraction"))
    request = ParseDict(json.loads(data or ""), brain_pb2.RecordInteractionRequest())
    with Authorized(stack, "brain") as channel:
        answer = brain_pb2_grpc.BrainServiceStub(channel).RecordInteraction(request, timeout=10)

    assert answer.trace_id == "0af7651916cd43dd8448eb211c80319c"


def test_health_needs_no_credential(stack: Stack):
    for name in SERVICES.values():
        with grpc.insecure_channel(stack.address(name)) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )

        assert answer.status == health_pb2.HealthCheckResponse.SERVING


class Authorized:
    """A channel whose every call carries the service credential."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._channel = grpc.insecure_channel(stack.address(name))
        self._metadata = stack.metadata

    def __enter__(self) -> grpc.Channel:
        return grpc.intercept_channel(self._channel, _AddMetadata(self._metadata))

    def __exit__(self, *_: object) -> None:
        self._channel.close()


class _AddMetadata(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def _with(self, details):
        return details._replace(metadata=(*(details.metadata or ()), *self._metadata))

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._with(details), requests)


def test_a_program_outside_answers_and_watches(stack: Stack) -> None:
    school = found_school(stack)

    def answer(learner: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "examples/answer_and_watch.py", "--url", stack.http_url),
                *("--email", "ada@school.example", "--learner", learner),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "client", "AIVO_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    done, refused = answer("ada"), answer("ben")

    assert done.returncode == 0, done.stderr
    assert "recorded as revision 3" in done.stdout
    assert done.stdout.rstrip().endswith("the watcher saw revision 3")
    assert refused.returncode == 1
    assert "forbidden" in refused.stderr
    assert not any(secret in done.stderr + refused.stderr for secret in school.secrets)
