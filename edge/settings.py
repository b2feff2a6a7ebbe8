"""The settings of an edge, with prefix `EDGE_`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import ip_network
from pathlib import Path

from service_runtime.addresses import check_listen, check_target
from service_runtime.grpc_client import ClientSettings
from service_runtime.settings import SettingsError, setting

_MAY_BE_ZERO = frozenset(
    [
        "port",
        "frames_per_s",
        "max_sockets_per_user",
        "max_sockets_per_address",
        "max_connections_per_address",
        "connections_per_s",
        "max_streams_per_user",
        "max_subscriptions",
        "max_rooms",
        "slow_queue",
        "drain_s",
        "drain_notice_s",
        "user_units_per_s",
        "address_failures_per_s",
        "address_requests_per_s",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings(ClientSettings):
    """Read from EDGE_* and, as the guide has them, HOST, PORT and DEBUG."""

    host: str = setting("127.0.0.1", "IP address to listen on; :: takes IPv6 only.", env="HOST")
    port: int = setting(
        8000, "Port of the socket, the HTTP API and the page; 0 takes any free one.", env="PORT"
    )
    reuse_port: bool = setting(
        False,
        "Share the port with other edges on this machine, which set it too: the kernel gives each"
        " connection to one of them.",
    )
    debug: bool = setting(False, "Log every frame's type and every request's path.", env="DEBUG")
    brain_addresses: tuple[str, ...] = setting(
        ("127.0.0.1:8001",),
        "Brains, comma-separated host:port, the same at all edges; dns:///host:port stands for"
        " every address of that name.",
    )
    brain_discovery_s: float = setting(2.0, "Seconds between DNS lookups of brains' names.")
    auth_address: str = setting("127.0.0.1:8002", "Auth service, host:port.")
    metrics_address: str = setting("127.0.0.1:8003", "Metrics service, host:port.")
    server_certificate_file: Path | None = setting(
        None, "PEM certificate chain; serves HTTPS and wss with the key."
    )
    server_key_file: Path | None = setting(None, "PEM private key of the certificate.")
    static_dir: Path | None = setting(
        Path("web/dist/page"), "Folder of the built page, served at /."
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        "Browser origins that may connect besides the same origin; * allows all (for development"
        " only).",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Proxies whose X-Forwarded-For and -Proto are trusted (Forwarded is not read): addresses"
        " and networks (10.0.0.0/8); * trusts everybody.",
    )
    proxy_protocol: bool = setting(
        False,
        "Expect the PROXY protocol's header (version 2) from the trusted proxies; all others are"
        " refused.",
    )
    max_frame_bytes: int = setting(65_536, "Largest frame accepted.")
    max_subscriptions: int = setting(256, "Learners that one socket may subscribe to.")
    max_rooms: int = setting(32, "Rooms that one socket may be in.")
    guardians_see_each_other: bool = setting(
        False, "Show guardians to each other in the rooms of classes."
    )
    frames_per_s: float = setting(
        50.0, "Frames a second that one socket may send on average; 0 for no limit."
    )
    frames_burst: int = setting(100, "Frames that one socket may send at once.")
    user_units_per_s: float = setting(
        4_000.0,
        "What one user may use per second, by all sockets and requests, in units of about 50 µs of"
        " work: a ping costs 1, an interaction 36, a request 71; 0 for no limit.",
    )
    user_units_burst: int = setting(20_000, "The same at once.")
    xapi_homepages: tuple[str, ...] = setting(
        (),
        "Account homePages whose names in xAPI statements are learners' ids; `*` for any.",
    )
    xapi_backfill_s: float = setting(
        366 * 86_400.0,
        "How old an administrator's xAPI statements may be, seconds; for others"
        " BRAIN_MAX_BACKDATE_S counts.",
    )
    address_failures_per_s: float = setting(
        20.0, "Requests per second with bad tokens that one address may make; 0 for no limit."
    )
    address_requests_per_s: float = setting(
        300.0,
        "Requests per second without a good token that one address may make, and twenty times as"
        " many at once: a school's computers may share one; a sign-in counts as twenty; 0 for no"
        " limit.",
    )
    max_in_flight: int = setting(
        16, "Interactions of one socket in flight; beyond, the edge stops reading from it."
    )
    max_pending: int = setting(
        20_000, "Interactions waiting for one brain; beyond, clients get `overloaded`."
    )
    max_batch: int = setting(256, "Interactions in one message to a brain.")
    max_sockets_per_user: int = setting(
        2_000, "Sockets that one user may hold at this edge; 0 for no limit."
    )
    max_sockets_per_address: int = setting(
        10_000, "Sockets that one address may hold at this edge; 0 for no limit."
    )
    max_connections_per_address: int = setting(
        10_000, "HTTP connections that one address may hold, proxies excepted; 0 for no limit."
    )
    connections_per_s: float = setting(
        300.0,
        "New connections a second from one address on average, proxies excepted, and ten times as"
        " many at once; 0 for no limit.",
    )
    max_streams_per_user: int = setting(
        8, "Live HTTP answers that one user may hold at this edge; 0 for no limit."
    )
    authenticate_s: float = setting(10.0, "Seconds within which a socket must authenticate.")
    ping_s: float = setting(25.0, "Seconds without inbound traffic after which the edge pings.")
    ping_max_s: float = setting(50.0, "The same for sockets that have been idle for long.")
    pong_s: float = setting(10.0, "Seconds within which a client must answer a ping.")
    slow_s: float = setting(
        20.0, "Seconds that a client may read too slowly before it is closed with 1013."
    )
    slow_queue: int = setting(
        256, "Frames kept for a slow client besides the newest state per learner."
    )
    upstream_s: float = setting(
        5.0, "Seconds that the edge tries to reach a service on behalf of a frame."
    )
    drain_s: float = setting(30.0, "Seconds over which sockets are closed when the edge stops.")
    drain_notice_s: float = setting(
        5.0,
        "Seconds between an unready /readyz and the first closed socket, so that"
        " balancers notice; counts towards EDGE_DRAIN_S.",
    )
    report_s: float = setting(1.0, "Seconds between reports to the metrics service.")
    recording: bool = setting(
        True, "Send records of frames and their answers to the metrics service."
    )
    record_content: bool = setting(
        False,
        "Also record the content of frames about learners, answers included; never tokens. Think of"
        " consent first.",
    )
    record_queue: int = setting(
        20_000,
        "Recorded frames that may wait for the metrics service (contents count extra); further ones"
        " are dropped.",
    )
    exposition_listen: str = setting(
        "127.0.0.1:8004",
        "Address and port that Prometheus scrapes (metrics without names); `off` for none.",
    )

    def __post_init__(self) -> None:
        """Raise SettingsError for values that cannot work."""
        problems = [
            f"{field.metadata['env'] or f'EDGE_{field.name.upper()}'} must be "
            + ("zero or more" if field.name in _MAY_BE_ZERO else "above zero")
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), int | float)
            and not isinstance(value, bool)
            and (value < 0 or (value == 0 and field.name not in _MAY_BE_ZERO))
        ]
        if self.port > 65_535:
            problems.append("PORT must be at most 65535")
        if self.ping_max_s < self.ping_s:
            problems.append("EDGE_PING_MAX_S must be at least EDGE_PING_S")
        if self.drain_notice_s > self.drain_s:
            problems.append("EDGE_DRAIN_NOTICE_S must be at most EDGE_DRAIN_S")
        if (self.server_certificate_file is None) != (self.server_key_file is None):
            problems.append("EDGE_SERVER_CERTIFICATE_FILE and EDGE_SERVER_KEY_FILE need each other")
        if self.proxy_protocol and self.server_certificate_file is not None:
            problems.append(
                "EDGE_PROXY_PROTOCOL comes before TLS, which then is the proxy's to speak: leave"
                " EDGE_SERVER_CERTIFICATE_FILE unset"
            )
        if self.proxy_protocol and not self.trusted_proxies:
            problems.append("EDGE_PROXY_PROTOCOL needs EDGE_TRUSTED_PROXIES: who may speak it")
        for entry in self.trusted_proxies:
            try:
                entry == "*" or ip_network(entry, strict=False)
            except ValueError:
                problems.append(
                    f"EDGE_TRUSTED_PROXIES: {entry!r} is no address, network (10.0.0.0/8) or *"
                )
        if not self.brain_addresses:
            problems.append("EDGE_BRAIN_ADDRESSES must name a brain")
        for address in self.brain_addresses:
            problems += check_target(address, variable="EDGE_BRAIN_ADDRESSES")
        problems += check_listen(self.exposition_listen, variable="EDGE_EXPOSITION_LISTEN")
        if problems:
            raise SettingsError("\n".join(problems))
