"""The manifests are held against Kubernetes' own schemas, against what processes read, and against
compose.yaml.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.settings import EdgeSettings
from service_runtime.settings import load
from tests.deploy.composed import OURS, ROOT, SETTINGS, image, make_secrets, port, read, variable

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed: make setup"
)

FOLDER = ROOT / "deploy" / "kubernetes"
SECRETS = "/run/secrets/aivo"
VERSIONS = ("1.30", "1.34")
"""The oldest that has all that is used, and one of today's."""

Manifest = dict[str, Any]


def manifests(*folders: str) -> list[Manifest]:
    """Return everything that is for the cluster, as it stands in these folders."""
    return [
        found
        for folder in folders
        for path in sorted((FOLDER / folder).glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


BASE = manifests("base")
ALL = [*BASE, *manifests("components/autoscaling", "components/ingress", "example")]
WORKLOADS = {
    one["metadata"]["name"]: one for one in BASE if one["kind"] in ("Deployment", "StatefulSet")
}
PODS = {name: one["spec"]["template"]["spec"] for name, one in WORKLOADS.items()}
CONTAINERS = {name: pod["containers"][0] for name, pod in PODS.items()}
SERVICES = {one["metadata"]["name"]: one["spec"] for one in BASE if one["kind"] == "Service"}
POLICIES = {one["metadata"]["name"]: one["spec"] for one in BASE if one["kind"] == "NetworkPolicy"}


def label(one: Manifest) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def environment(name: str) -> dict[str, str]:
    """Return a container's variables; the ConfigMap's one is an administrator's address."""
    return {
        one["name"]: one.get("value", "operator@school.example") for one in CONTAINERS[name]["env"]
    }


def settings_of(name: str, secrets: Path) -> Any:
    environ = {
        key: value.replace(SECRETS, str(secrets)) for key, value in environment(name).items()
    }
    return load(SETTINGS[name], environ, prefix=name.upper())


def ports(name: str) -> dict[str, int]:
    return {one["name"]: one["containerPort"] for one in CONTAINERS[name]["ports"]}


# What Kubernetes takes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", ALL, ids=label)
def test_kubernetes_knows_every_field(one: Manifest, version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    wrong = json.loads(json.dumps(WORKLOADS["edge"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


# What the processes are told


def test_ours_run_from_the_image_and_nothing_else_does() -> None:
    assert set(WORKLOADS) == set(OURS)
    for name, container in CONTAINERS.items():
        assert (container["image"], container["args"]) == ("aivo-realtime", [OURS[name]])
    assert image()["entrypoint"] == ["python", "-m"]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_process_reads_and_compose_sets(
    name: str, secrets: Path
) -> None:
    settings = settings_of(name, secrets)
    assert settings.credential == (secrets / "service-credential").read_text()
    composed = set(read()["services"][name]["environment"])
    # Traces are for clusters that have a collector; proxies are the ingress component's.
    others = {key for key in composed if key.startswith("OTEL_")} | {"EDGE_TRUSTED_PROXIES"}
    assert set(environment(name)) - {"EDGE_DRAIN_NOTICE_S"} == composed - others


@pytest.mark.parametrize("name", OURS)
def test_ports_are_those_that_the_process_listens_on(name: str, secrets: Path) -> None:
    settings = settings_of(name, secrets)
    main = settings.port if name == "edge" else port(settings.listen)
    assert ports(name) == {
        "http" if name == "edge" else "grpc": main,
        "metrics": port(settings.exposition_listen),
    }
    (served,) = SERVICES[name]["ports"]
    assert served["targetPort"] in ports(name)
    assert SERVICES[name]["selector"] == WORKLOADS[name]["spec"]["selector"]["matchLabels"]
    if name != "edge":
        assert served["port"] == main


@pytest.mark.parametrize(
    ("address", "name"),
    [("EDGE_AUTH_ADDRESS", "auth"), ("EDGE_METRICS_ADDRESS", "metrics")],
)
def test_edges_call_services_by_their_names(address: str, name: str) -> None:
    assert environment("edge")[address] == f"{name}:{ports(name)['grpc']}"


def test_edges_name_each_brain_so_that_all_send_a_learner_to_the_same() -> None:
    brain = WORKLOADS["brain"]["spec"]
    assert brain["serviceName"] in SERVICES
    assert environment("edge")["EDGE_BRAIN_ADDRESSES"] == ",".join(
        f"brain-{number}.{brain['serviceName']}:{ports('brain')['grpc']}"
        for number in range(brain["replicas"])
    )


@pytest.mark.parametrize("name", OURS)
def test_probes_ask_where_the_process_listens(name: str) -> None:
    container = CONTAINERS[name]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name == "edge":
            path = "/readyz" if probe == "readinessProbe" else "/healthz"
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        else:
            assert container[probe]["grpc"] == {"port": ports(name)["grpc"]}


@pytest.mark.parametrize("name", OURS)
def test_stopping_is_given_the_time_it_takes(name: str, secrets: Path) -> None:
    hook = CONTAINERS[name].get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    needed = hook["sleep"]["seconds"] + settings_of(name, secrets).drain_s + 5
    assert PODS[name]["terminationGracePeriodSeconds"] >= needed


def test_an_edge_goes_after_balancers_have_heard_of_it() -> None:
    waited = CONTAINERS["edge"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waited >= EdgeSettings().drain_notice_s
    assert environment("edge")["EDGE_DRAIN_NOTICE_S"] == "0"
    assert WORKLOADS["edge"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


# What they keep, and what is kept from them


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_written_but_to_volumes(name: str, secrets: Path) -> None:
    settings = settings_of(name, secrets)
    claims = WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])
    mounts = {one["name"]: one["mountPath"] for one in CONTAINERS[name]["volumeMounts"]}
    kept = [field for field in dataclasses.fields(settings) if ".aivo" in str(field.default)]
    for field in kept:
        value = str(getattr(settings, field.name)).removeprefix("sqlite:///")
        assert value.startswith(f"{mounts['data']}/"), variable(name, field.name)
    assert bool(kept) == bool(claims)
    assert {one["metadata"]["name"] for one in claims} <= set(mounts)
    if claims:  # one file, one writer
        assert WORKLOADS[name]["spec"]["replicas"] == 1
        assert claims[0]["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize("name", OURS)
def test_secrets_come_as_files_and_only_those_that_are_needed(name: str) -> None:
    files = {
        value.removeprefix(f"{SECRETS}/")
        for value in environment(name).values()
        if value.startswith(f"{SECRETS}/")
    }
    (volume,) = [one["secret"] for one in PODS[name]["volumes"] if "secret" in one]
    assert {one["path"] for one in volume["items"]} == files
    assert all(one["key"] == one["path"] for one in volume["items"])
    assert not any("secretKeyRef" in str(one) for one in CONTAINERS[name]["env"])


@pytest.mark.parametrize("name", OURS)
def test_container_can_do_little(name: str) -> None:
    pod, container = PODS[name], CONTAINERS[name]
    user, _, group = image()["user"].partition(":")
    assert pod["securityContext"]["runAsUser"] == int(user)
    assert pod["securityContext"]["runAsGroup"] == int(group)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    # The variables of other services would only be in the way.
    assert pod["enableServiceLinks"] is False
    assert container["resources"]["limits"]["memory"]


# Who reaches whom


def chosen(selector: Manifest) -> set[str]:
    """Return the workloads that a selector picks."""
    names = set(OURS)
    wanted = selector.get("matchLabels", {})
    if "app.kubernetes.io/name" in wanted:
        names &= {wanted["app.kubernetes.io/name"]}
    for expression in selector.get("matchExpressions", ()):
        assert (expression["key"], expression["operator"]) == ("app.kubernetes.io/name", "In")
        names &= set(expression["values"])
    return names


def test_nobody_reaches_anybody_unless_it_is_said() -> None:
    assert chosen(POLICIES["nobody"]["podSelector"]) == set(OURS)
    assert set(POLICIES["nobody"]) == {"podSelector", "policyTypes"}
    assert POLICIES["nobody"]["policyTypes"] == ["Ingress", "Egress"]


def test_edges_reach_services_and_nothing_else_does() -> None:
    (out,) = POLICIES["edge"]["egress"]
    called = {name for one in out["to"] for name in chosen(one["podSelector"])}
    assert called == set(OURS) - {"edge"}
    assert {one["port"] for one in out["ports"]} == {ports(name)["grpc"] for name in called}
    (into,) = POLICIES["services"]["ingress"]
    assert chosen(POLICIES["services"]["podSelector"]) == called
    assert [chosen(one["podSelector"]) for one in into["from"]] == [{"edge"}]
    assert [one["port"] for one in into["ports"]] == ["grpc"]


@pytest.mark.parametrize("name", ["edge", "metrics"])
def test_who_comes_from_elsewhere_comes_from_a_namespace_that_is_named(name: str) -> None:
    (into,) = POLICIES[name]["ingress"]
    for one in into["from"]:
        assert list(one["namespaceSelector"]["matchLabels"]) == ["kubernetes.io/metadata.name"]
    for who in chosen(POLICIES[name]["podSelector"]):
        assert {one["port"] for one in into["ports"]} <= set(ports(who))


# The examples, put together


def render(example: str, folder: Path) -> list[Manifest]:
    """Return what an overlay gives to the cluster."""
    kustomize = shutil.which("kustomize")
    command = [kustomize, "build"] if kustomize else ["kubectl", "kustomize"]
    if not kustomize and shutil.which("kubectl") is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secrets"))
    for one in ("example", example):
        make_secrets(folder / one / "secrets")
    done = subprocess.run(
        [*command, str(folder / example)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """One brain on SQLite."""
    return render("example", tmp_path_factory.mktemp("kubernetes") / "kubernetes")


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """Several brains on PostgreSQL."""
    return render("example-scale", tmp_path_factory.mktemp("scaled") / "kubernetes")


@pytest.mark.parametrize("example", ["rendered", "scaled"])
def test_an_example_is_whole(example: str, request: pytest.FixtureRequest) -> None:
    rendered: list[Manifest] = request.getfixturevalue(example)
    for one in rendered:
        kubernetes_validate.validate(one, VERSIONS[0], strict=True)
    there = {(one["kind"], one["metadata"]["name"]) for one in rendered}
    assert {kind for kind, _ in there} >= {"Ingress", "HorizontalPodAutoscaler", "Secret"}
    text = json.dumps(rendered)
    for kind, name in there:
        if kind in ("Secret", "ConfigMap"):
            assert text.count(f'"{name}"') > 1, f"nobody uses {kind} {name}"
    for one in rendered:
        if one["kind"] in ("Deployment", "StatefulSet"):
            pod = one["spec"]["template"]["spec"]
            (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
            assert ("Secret", secret["secretName"]) in there
            for container in (*pod["containers"], *pod.get("initContainers", ())):
                assert "school.example" in container["image"]
            assert one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"]


def test_the_autoscaler_alone_says_how_many_edges(rendered: list[Manifest]) -> None:
    (scaler,) = [one for one in rendered if one["kind"] == "HorizontalPodAutoscaler"]
    (edge,) = [one for one in rendered if one["kind"] == "Deployment"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == edge["metadata"]["name"]
    assert "replicas" not in edge["spec"]
    (sockets,) = [one["pods"]["metric"] for one in scaler["spec"]["metrics"] if "pods" in one]
    assert f'"{sockets["name"]}"' in (ROOT / "edge" / "metrics.py").read_text(encoding="utf-8")


def test_edges_behind_the_ingress_believe_it(rendered: list[Manifest]) -> None:
    (edge,) = [one for one in rendered if one["kind"] == "Deployment"]
    environ = {
        one["name"]: one["value"]
        for one in edge["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    environ.pop("EDGE_CREDENTIAL_FILE")
    assert load(EdgeSettings, environ, prefix="EDGE").trusted_proxies == ("10.0.0.0/8",)


def test_several_brains_keep_nothing_in_their_pods_and_share_what_is_outside(
    scaled: list[Manifest], secrets: Path
) -> None:
    (brain,) = [one for one in scaled if label(one) == "StatefulSet brain"]
    pod = brain["spec"]["template"]["spec"]
    assert brain["spec"]["replicas"] > 1
    assert "volumeClaimTemplates" not in brain["spec"]
    (container,), (migrating,) = pod["containers"], pod["initContainers"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]} == {"secrets", "tmp"}
    environ = {one["name"]: one["value"] for one in container["env"]}
    assert load(
        SETTINGS["brain"],
        {key: value.replace(SECRETS, str(secrets)) for key, value in environ.items()},
        prefix="BRAIN",
    ).bus_url.startswith("valkey://")
    (volume,) = [one["secret"] for one in pod["volumes"] if "secret" in one]
    files = {value for value in environ.values() if value.startswith(SECRETS)}
    assert {f"{SECRETS}/{one['path']}" for one in volume["items"]} == files
    told = {one["name"]: one["value"] for one in migrating["env"]}
    assert told == {"BRAIN_DATABASE_URL_FILE": environ["BRAIN_DATABASE_URL_FILE"]}
    assert migrating["args"] == ["brain_service", "migrate"]
    assert migrating["securityContext"] == container["securityContext"]


def test_edges_follow_the_name_of_several_brains(scaled: list[Manifest]) -> None:
    (edge,) = [one for one in scaled if label(one) == "Deployment edge"]
    (brains,) = [one for one in scaled if label(one) == "Service brain"]
    environ = {
        one["name"]: one["value"]
        for one in edge["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert environ["EDGE_BRAIN_ADDRESSES"] == f"dns:///brain:{ports('brain')['grpc']}"
    # Without an address of its own the name has all of theirs.
    assert brains["spec"]["clusterIP"] == "None"


def test_brains_alone_reach_databases_and_leave_one_at_a_time(scaled: list[Manifest]) -> None:
    by_label = {label(one): one.get("spec", {}) for one in scaled}
    policy = by_label["NetworkPolicy databases"]
    assert chosen(policy["podSelector"]) == {"brain"}
    (out,) = policy["egress"]
    assert [one["port"] for one in out["ports"]] == [5432, 6379]
    assert by_label["PodDisruptionBudget brain"]["maxUnavailable"] == 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_in_the_cluster_finds_the_figures(tmp_path: Path) -> None:
    jobs = yaml.safe_load((FOLDER / "scrape.yml").read_text(encoding="utf-8"))
    (kept, job, _) = jobs["scrape_configs"][0]["relabel_configs"]
    assert kept["regex"] == "aivo;metrics"
    assert all("metrics" in ports(name) for name in OURS)
    # Alerts ask for jobs called so.
    assert (job["target_label"], job["replacement"]) == ("job", "aivo-$1")
    # Debian's Prometheus knows no Kubernetes; all else of the jobs it does.
    assert [one["role"] for one in jobs["scrape_configs"][0].pop("kubernetes_sd_configs")] == [
        "pod"
    ]
    rules = ROOT / "deploy" / "prometheus" / "alerts.yml"
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(jobs | {"rule_files": [str(rules)]}))
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
