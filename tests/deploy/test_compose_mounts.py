"""What compose.yaml mounts: it is there, read-only, and as the containers around ours need it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME

from tests.deploy.composed import (
    OURS,
    ROOT,
    port,
    read,
)
from tests.deploy.test_compose import ALERTS, SCALE, SERVICES, TLS, listen

# What is mounted


@pytest.mark.parametrize(
    "files", [("compose.yaml",), TLS, ALERTS, SCALE], ids=["plain", "tls", "alerts", "scale"]
)
def test_everything_mounted_is_there_and_read_only(files: tuple[str, ...]) -> None:
    for name, service in read(*files)["services"].items():
        for entry in service.get("volumes", ()):
            source, _, *mode = entry.split(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {entry}"
                assert mode == ["ro"], f"{name}: {entry}"


def test_tls_replaces_the_listener_and_adds_certificate_and_key() -> None:
    plain, tls = SERVICES["proxy"], read(*TLS)["services"]["proxy"]
    assert [entry for entry in plain["volumes"] if entry not in tls["volumes"]] == [
        "./deploy/proxy/plain.yaml:/etc/envoy/listener.yaml:ro"
    ]
    assert {key: value for key, value in tls.items() if key not in ("volumes", "secrets")} == {
        key: value for key, value in plain.items() if key != "volumes"
    }
    listener = (ROOT / "deploy" / "proxy" / "tls.yaml").read_text()
    assert set(re.findall(r"/run/secrets/([\w-]+)", listener)) == set(tls["secrets"])


def test_prometheus_scrapes_where_figures_are_shown() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    scraped: set[str] = set()
    for job in config["scrape_configs"]:
        scraped |= {
            f"{name}:{sd['port']}" for sd in job.get("dns_sd_configs", ()) for name in sd["names"]
        }
        scraped |= {
            target for static in job.get("static_configs", ()) for target in static["targets"]
        }
    assert scraped == {f"{name}:{port(listen(name)['metrics'])}" for name in OURS}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; on Debian: prometheus"
)
def test_prometheus_accepts_its_folder_as_mounted(tmp_path: Path) -> None:
    place = tmp_path / "etc"
    place.mkdir()
    for entry in SERVICES["prometheus"]["volumes"]:
        source, target, *_ = entry.split(":")
        if source.startswith("./"):
            assert target.startswith("/etc/prometheus/")
            if (ROOT / source).is_file():
                shutil.copy(ROOT / source, place / Path(target).name)
    (config,) = [
        part for part in SERVICES["prometheus"]["command"] if part.startswith("--config.file=")
    ]
    command = ["promtool", "check", "config", str(place / Path(config).name)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_grafana_gets_its_data_sources_addresses_and_its_dashboards_where_it_looks() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    service = SERVICES["grafana"]
    sources = (provisioning / "datasources" / "datasources.yml").read_text()
    named = set(re.findall(r"\$(\w+)", sources))
    assert named == {"PROMETHEUS_URL", "JAEGER_URL"} <= set(service["environment"])
    providers = yaml.safe_load((provisioning / "dashboards" / "dashboards.yml").read_text())[
        "providers"
    ]
    mounted = {entry.split(":")[1] for entry in service["volumes"]}
    assert {one["options"]["path"] for one in providers} <= mounted
    listening = yaml.safe_load((ROOT / "deploy" / "jaeger" / "jaeger.yaml").read_text())
    page = listening["extensions"]["jaeger_query"]["http"]["endpoint"]
    assert service["environment"]["JAEGER_URL"] == f"http://jaeger:{port(page)}"
    assert service["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


def test_traces_go_where_jaeger_takes_them() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "jaeger" / "jaeger.yaml").read_text())
    taken = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert environment[OTEL_EXPORTER_OTLP_ENDPOINT] == f"http://jaeger:{port(taken)}"
        assert environment[OTEL_SERVICE_NAME] == name
