"""Signing in at a provider, as a browser goes through it."""

from __future__ import annotations

from typing import Any

from edge.ports import UpstreamError
from tests.support.http_api import SESSION, Api, AuthApi

CALLBACK = "/api/auth/callback?code=c-1&state=s-1"


class Providing(AuthApi):
    """Knows one provider."""

    refusal: UpstreamError | None = None

    async def providers(self) -> dict[str, Any]:
        return {"passwords": False, "providers": [{"id": "school", "label": "School"}]}

    async def begin_sign_in(self, provider_id: str, redirect_uri: str) -> tuple[str, str]:
        self.calls.append((provider_id, redirect_uri))
        return "https://id.school.example/authorize?x=1", "flow-1"

    async def finish_sign_in(
        self, flow: str, state: str, code: str, redirect_uri: str
    ) -> dict[str, Any]:
        self.calls.append((flow, state, code, redirect_uri))
        if self.refusal is not None:
            raise self.refusal
        return dict(SESSION) | {"provider_id": "school"}

    async def logout_address(self, provider_id: str, return_to: str) -> str:
        return "" if provider_id == "plain" else f"https://id.school.example/end?r={return_to}"


def _cookies(answer: Any) -> dict[str, str]:
    return {one.split("=")[0]: one.lower() for one in answer.headers.get_list("set-cookie")}


async def test_a_browser_goes_to_the_provider_with_a_cookie_for_the_way_back() -> None:
    auth = Providing()
    answer = await Api(auth=auth)("GET", "/api/auth/providers/school/start", scheme="https")

    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "https://id.school.example/authorize?x=1",
    )
    assert auth.calls == [("school", "https://edge.example/api/auth/callback")]
    cookie = _cookies(answer)["aivo_flow"]
    assert all(word in cookie for word in ("httponly", "secure", "samesite=lax", "path=/api/auth"))


async def test_back_again_it_is_signed_in_and_the_address_holds_no_secret() -> None:
    auth = Providing()
    answer = await Api(auth=auth)("GET", CALLBACK, headers={"Cookie": "aivo_flow=flow-1"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/#signed-in=school")
    assert auth.calls[0][:3] == ("flow-1", "s-1", "c-1")
    cookies = _cookies(answer)
    assert "refresh-2" in cookies["aivo_refresh"]
    assert "samesite=strict" in cookies["aivo_refresh"]
    assert 'aivo_flow=""' in cookies["aivo_flow"]
    assert "refresh-2" not in answer.text + answer.headers["location"]


async def test_whoever_comes_without_a_good_flow_is_sent_to_the_page_with_a_reason() -> None:
    auth = Providing()
    api = Api(auth=auth)
    without = await api("GET", CALLBACK)
    denied = await api("GET", "/api/auth/callback?error=access_denied&state=s-1")
    auth.refusal = UpstreamError("unauthenticated", "Sign in again.")
    refused = await api("GET", CALLBACK, headers={"Cookie": "aivo_flow=flow-1"})
    for answer in (without, denied, refused):
        assert answer.headers["location"] == "/#sign-in-failed=unauthenticated"
        assert "aivo_refresh" not in _cookies(answer)
    assert len(auth.calls) == 1


async def test_it_tells_how_to_sign_in_and_where_to_sign_out() -> None:
    api = Api(auth=Providing())
    listed = (await api("GET", "/api/auth/providers")).json()
    there = await api("GET", "/api/auth/providers/school/logout")
    here = await api("GET", "/api/auth/providers/plain/logout")
    odd = await api("GET", "/api/auth/providers/No%20Id/start")
    assert listed == {"passwords": False, "providers": [{"id": "school", "label": "School"}]}
    assert there.headers["location"] == "https://id.school.example/end?r=http://edge.example/"
    assert (here.headers["location"], odd.status_code) == ("/", 422)
