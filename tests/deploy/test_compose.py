"""compose.yaml is held against what processes and mounted files say: names, ports, secrets, order,
hardening.
"""

from __future__ import annotations

import dataclasses
import re
import stat
from graphlib import TopologicalSorter
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import opentelemetry.sdk.environment_variables as otel_variables
import pytest
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME

from brain_service.settings import BrainSettings
from service_runtime.settings import SettingsError, load
from service_runtime.version import VERSION
from tests.deploy.composed import (
    ENVIRONMENT,
    OURS,
    ROOT,
    SETTINGS,
    image,
    make_secrets,
    port,
    read,
    variable,
)

OTHERS = ("proxy", "jaeger", "prometheus", "grafana")
TLS = ("compose.yaml", "deploy/compose.tls.yaml")
ALERTS = ("compose.yaml", "deploy/compose.alerts.yaml")
SCALE = ("compose.yaml", "deploy/compose.scale.yaml")
SCHOOL = ("compose.yaml", "deploy/compose.school.yaml")

COMPOSE = read()
SERVICES = COMPOSE["services"]
SCALED = read(*SCALE)["services"]
ALL = (
    SERVICES
    | read(*ALERTS)["services"]
    | {name: service for name, service in SCALED.items() if name not in SERVICES}
)
ADDRESSES = {"brain-database", "auth-database", "metrics-database", "brain-bus"}
"""Secrets that hold another one."""


def settings_of(name: str, secrets: Path) -> Any:
    environ = {
        key: str(value).replace("/run/secrets", str(secrets))
        for key, value in SERVICES[name]["environment"].items()
    }
    return load(SETTINGS[name], environ, prefix=name.upper())


def listen(name: str) -> dict[str, str]:
    """Return where a container of ours listens, by purpose."""
    environment = SERVICES[name]["environment"]
    main = (
        f"{environment['HOST']}:{environment['PORT']}"
        if name == "edge"
        else environment[f"{name.upper()}_LISTEN"]
    )
    return {"main": main, "metrics": environment[f"{name.upper()}_EXPOSITION_LISTEN"]}


# What the processes are told


@pytest.mark.parametrize("name", ["brain", "auth", "metrics"])
def test_a_database_url_has_a_password_in_it_and_can_be_given_as_a_file(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("postgresql://aivo:hunter2@db/aivo\n")
    environ = {f"{name.upper()}_DATABASE_URL_FILE": str(tmp_path / "url")}
    settings = load(SETTINGS[name], environ, prefix=name.upper())

    assert settings.database_url == "postgresql://aivo:hunter2@db/aivo"
    assert "hunter2" not in repr(settings)


def test_containers_are_ours_and_those_around_them() -> None:
    assert set(SERVICES) == {*OURS, *OTHERS}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_process_reads(name: str, secrets: Path) -> None:
    settings_of(name, secrets)  # refuses unknown variables of its prefix
    own = {variable(name, field.name) for field in dataclasses.fields(SETTINGS[name])}
    own |= {f"{one}_FILE" for one in own}
    standard = {key for key in vars(otel_variables) if key.startswith("OTEL_")}
    assert {OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME} <= standard
    assert set(SERVICES[name]["environment"]) <= own | standard


def test_unknown_variable_would_be_found(secrets: Path) -> None:
    with pytest.raises(SettingsError, match="BRAIN_LISTENN is not a setting"):
        load(BrainSettings, {"BRAIN_LISTENN": "0.0.0.0:8001"}, prefix="BRAIN")


@pytest.mark.parametrize("name", OURS)
def test_every_process_has_a_credential_and_listens_to_other_containers(
    name: str, secrets: Path
) -> None:
    settings = settings_of(name, secrets)
    assert settings.credential == (secrets / "service-credential").read_text()
    assert all(address.startswith("0.0.0.0:") for address in listen(name).values())


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("EDGE_BRAIN_ADDRESSES", "brain"),
        ("EDGE_AUTH_ADDRESS", "auth"),
        ("EDGE_METRICS_ADDRESS", "metrics"),
    ],
)
def test_edge_calls_where_the_services_listen(variable: str, name: str) -> None:
    assert SERVICES["edge"]["environment"][variable] == f"{name}:{port(listen(name)['main'])}"


def test_all_share_one_network_port_each() -> None:
    ports = [port(address) for name in OURS for address in listen(name).values()]
    assert sorted(ports) == list(range(8000, 8008))


@pytest.mark.parametrize("name", OURS)
def test_command_is_the_service_and_runs_from_the_image(name: str) -> None:
    assert SERVICES[name]["command"] == [OURS[name]]
    assert image()["entrypoint"] == ["python", "-m"]
    assert (ROOT / OURS[name] / "__main__.py").is_file()
    copied = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"COPY {OURS[name]} ./{OURS[name]}\n" in copied


# What they keep


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_written_but_to_volumes(name: str, secrets: Path) -> None:
    """Whatever lies in `.aivo` by default is set, and everything set lies on a volume; the rest is
    read-only.
    """
    settings = settings_of(name, secrets)
    volumes = [entry.split(":") for entry in SERVICES[name].get("volumes", ())]
    places = [f"{place}/" for source, place, *_ in volumes if source in COMPOSE["volumes"]]
    kept = [field for field in dataclasses.fields(SETTINGS[name]) if ".aivo" in str(field.default)]
    for field in kept:
        value = str(getattr(settings, field.name))
        assert value.removeprefix("sqlite:///").startswith(tuple(places)), variable(
            name, field.name
        )
    assert bool(kept) == bool(places)


def test_no_two_containers_write_to_one_volume() -> None:
    mounted = [
        entry.split(":")[0] for service in SERVICES.values() for entry in service.get("volumes", ())
    ]
    kept = [source for source in mounted if not source.startswith("./")]
    assert sorted(kept) == sorted(COMPOSE["volumes"])


# Secrets


@pytest.mark.parametrize("name", [*OURS, "grafana"])
def test_secrets_come_as_files_only(name: str) -> None:
    service = SERVICES[name]
    files = {key: value for key, value in service["environment"].items() if key.endswith("_FILE")}
    mounted = {
        value.removeprefix("/run/secrets/")
        for value in files.values()
        if value.startswith("/run/secrets/")
    }
    assert mounted == set(service["secrets"])
    for key, value in service["environment"].items():
        assert key in files or not re.search("PASSWORD|SECRET|TOKEN|CREDENTIAL", key), (
            f"{key}={value}"
        )


def test_command_makes_every_secret_and_never_the_same_twice(tmp_path: Path) -> None:
    told = make_secrets(tmp_path / "one")
    assert make_secrets(tmp_path / "one") == told.replace("made ", "kept ")
    make_secrets(tmp_path / "other")
    names = {Path(one["file"]).name for one in read(*SCALE)["secrets"].values()}
    given = {Path(one["file"]).name for one in read(*ALERTS)["secrets"].values()} - names
    assert names | given == {path.name for path in (tmp_path / "one").iterdir()} - {".gitignore"}
    assert [(tmp_path / "one" / name).read_text() for name in given] == ["", ""]
    for name in ADDRESSES:
        password = "valkey-password" if name == "brain-bus" else "postgres-password"
        address = (tmp_path / "one" / name).read_text()
        assert (tmp_path / "one" / password).read_text() in address
        assert address not in told
    for name in names - ADDRESSES:
        one, other = ((tmp_path / folder / name).read_text() for folder in ("one", "other"))
        assert one != other
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", one)
        assert one not in told


def test_secrets_are_behind_a_folder_that_only_its_owner_enters(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for path in secrets.iterdir():
        assert path.name == ".gitignore" or not path.stat().st_mode & 0o022
    assert (secrets / ".gitignore").read_text() == "*\n"


def test_there_is_no_default_administrator() -> None:
    with pytest.raises(LookupError, match="first administrator"):
        read(environ={})


# In which order they live and die


def test_everybody_waits_for_those_it_calls() -> None:
    graph = {name: set(service.get("depends_on", ())) for name, service in SERVICES.items()}
    TopologicalSorter(graph).prepare()  # refuses circles
    assert graph["proxy"] == {"edge"}
    assert graph["edge"] == {"brain", "auth", "metrics"}
    assert graph["grafana"] == {"prometheus", "jaeger"}
    # Traces and metrics are dropped when nobody takes them: that is no reason to wait, or not to
    # start.
    assert not any(graph[name] & {"jaeger", "prometheus"} for name in OURS)


@pytest.mark.parametrize("name", ["proxy", *OURS])
def test_who_is_waited_for_has_a_health_check(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == "service_healthy"
        assert SERVICES[needed]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_stopping_is_given_the_time_it_takes(name: str, secrets: Path) -> None:
    grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= settings_of(name, secrets).drain_s + 5


def test_every_engine_since_20_10_takes_the_health_checks() -> None:
    """An engine before 25 refuses a container whose check has a `start_interval`."""
    checks = [service["healthcheck"] for service in ALL.values() if "healthcheck" in service]
    known = {"test", "interval", "timeout", "retries", "start_period"}
    assert all(set(check) <= known for check in checks)


@pytest.mark.parametrize("name", OURS)
def test_health_is_asked_where_the_process_listens(name: str) -> None:
    target = SERVICES[name]["healthcheck"]["test"][-1]
    asked = f"http://127.0.0.1:{port(listen(name)['main'])}/readyz"
    assert target == (asked if name == "edge" else f"127.0.0.1:{port(listen(name)['main'])}")


# Who reaches whom


def test_only_the_proxy_is_reached_from_outside() -> None:
    published = {name: service["ports"] for name, service in ALL.items() if "ports" in service}
    assert published.pop("proxy") == ["8000:8000"]
    assert all(
        entry.startswith("127.0.0.1:") for entries in published.values() for entry in entries
    )
    assert not set(published) & set(OURS)


def test_callers_share_a_network_with_those_they_call_and_the_proxy_meets_edges_only() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    for name, service in SERVICES.items():
        assert networks[name] <= set(COMPOSE["networks"])
        for other in service.get("depends_on", ()):
            assert networks[name] & networks[other], f"{name} cannot reach {other}"
    assert all(networks[name] & networks["prometheus"] & networks["jaeger"] for name in OURS)
    assert {name for name in SERVICES if networks[name] & networks["proxy"]} == {"proxy", "edge"}
    assert COMPOSE["networks"]["services"]["internal"] is True


def test_edges_believe_the_proxy_and_nobody_else(secrets: Path) -> None:
    proxy = SERVICES["proxy"]["networks"]["front"]["ipv4_address"]
    assert settings_of("edge", secrets).trusted_proxies == (proxy,)
    assert "*" not in settings_of("edge", secrets).allowed_origins


@pytest.mark.parametrize("environ", [{}, {"AIVO_FRONT": "10.9.8"}], ids=["default", "moved"])
def test_the_proxys_address_is_one_that_the_engine_gives_to_nobody_else(
    environ: dict[str, str],
) -> None:
    compose = read(environ=ENVIRONMENT | environ)
    (pool,) = compose["networks"]["front"]["ipam"]["config"]
    services = compose["services"]
    proxy = ip_address(services["proxy"]["networks"]["front"]["ipv4_address"])
    network, given_away = ip_network(pool["subnet"]), ip_network(pool["ip_range"])
    assert proxy in network
    assert proxy not in (network.network_address, ip_address(pool["gateway"]))
    assert proxy not in given_away
    assert given_away.subnet_of(network)
    assert ip_address(pool["gateway"]) not in given_away
    assert services["edge"]["environment"]["EDGE_TRUSTED_PROXIES"] == str(proxy)
    if environ:
        assert "172.30.77" not in str(compose)


# Hardening and pins


@pytest.mark.parametrize("name", ALL)
def test_container_can_do_little(name: str) -> None:
    service = ALL[name]
    assert service.get("read_only", False) is (name != "postgres"), "its socket is in the image"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert any(entry.startswith("/tmp:") for entry in service["tmpfs"])
    assert service["restart"] == ("no" if name.endswith("-migrate") else "unless-stopped")
    assert service["logging"]["options"]["max-size"]
    # Other images have a user of their own, who owns their volumes.
    theirs = ("prometheus", "grafana", "alertmanager")
    expected = {"postgres": "postgres"} | dict.fromkeys(theirs)
    assert service.get("user") == expected.get(name, "10001:10001")


@pytest.mark.parametrize("name", ALL)
def test_image_is_pinned_to_a_whole_version(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?$", ALL[name]["image"])


def test_ours_are_one_image_built_once() -> None:
    assert len({SERVICES[name]["image"] for name in OURS}) == 1
    assert [name for name in SERVICES if "build" in SERVICES[name]] == ["edge"]
    assert image()["user"] == SERVICES["edge"]["user"]
    assert SERVICES["edge"]["image"].endswith(f":{VERSION}")


# Scaled out


def test_scaled_out_services_read_their_addresses_from_files(secrets: Path) -> None:
    for name in ("brain", "auth", "metrics"):
        environ = {
            key: str(value).replace("/run/secrets", str(secrets))
            for key, value in SCALED[name]["environment"].items()
        }
        settings = load(SETTINGS[name], environ, prefix=name.upper())
        assert settings.database_url.startswith("postgresql://aivo:")
        assert settings.database_url.endswith(f"@postgres/{name}")
        migrate = SCALED[f"{name}-migrate"]
        assert migrate["command"] == [OURS[name], "migrate"]
        assert SCALED[name]["depends_on"][f"{name}-migrate"] == {
            "condition": "service_completed_successfully"
        }
        assert f"CREATE DATABASE {name};" in (ROOT / "deploy/postgres/databases.sql").read_text()
    assert SCALED["edge"]["environment"]["EDGE_BRAIN_ADDRESSES"] == "dns:///brain:8001"
    assert [SCALED[name]["deploy"]["replicas"] for name in ("edge", "brain", "auth")] == [3, 2, 2]


# A school's own people


def school_of(name: str, secrets: Path, **env: str) -> Any:
    """Return the settings of a container of ours with compose.school.yaml and this .env."""
    service = read(*SCHOOL, environ=ENVIRONMENT | env)["services"][name]
    environ = {
        key: str(value).replace("/run/secrets", str(secrets))
        for key, value in service["environment"].items()
    }
    return load(SETTINGS[name], environ, prefix=name.upper())


def test_a_school_switches_on_what_it_uses_and_nothing_else(secrets: Path) -> None:
    auth, brain, edge = (school_of(name, secrets) for name in ("auth", "brain", "edge"))
    assert (auth.trusted_issuers, auth.passwords, brain.webhooks) == (None, True, None)
    assert edge.xapi_homepages == ()

    env = {
        "AIVO_ISSUERS": "/school/issuers.toml",
        "AIVO_WEBHOOKS": "/school/webhooks.toml",
        "AIVO_PASSWORDS": "false",
        "AIVO_XAPI_HOMEPAGES": "https://lms.school.example",
    }
    auth, brain, edge = (school_of(name, secrets, **env) for name in ("auth", "brain", "edge"))
    assert (auth.trusted_issuers, auth.passwords) == (Path("/school/issuers.toml"), False)
    assert brain.webhooks == Path("/school/webhooks.toml")
    assert edge.xapi_homepages == ("https://lms.school.example",)


def test_only_who_asks_outside_gets_there_and_the_folder_cannot_be_written() -> None:
    whole = read(*SCHOOL)
    outside = {name for name, one in whole["services"].items() if "outside" in one["networks"]}
    assert outside == {"auth", "brain"}
    assert whole["networks"]["services"] == {"internal": True}
    for name in outside:
        service = whole["services"][name]
        assert "./deploy/school:/school:ro" in service["volumes"]
        assert "services" in service["networks"]
        assert "ports" not in service
