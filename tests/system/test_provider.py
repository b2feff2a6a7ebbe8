"""A browser signs in at a real provider, and out again, through the real processes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.auth_service.test_sign_in import configured, provider
from tests.support.socket import open_socket
from tests.system.conftest import running_school

__all__ = ["provider"]


async def test_a_browser_signs_in_at_a_provider_and_is_live(provider: str, tmp_path: Path) -> None:
    (tmp_path / "client.secret").write_text("a secret of the client")
    path = tmp_path / "issuers.toml"
    path.write_text(configured(provider))
    with running_school(AUTH_TRUSTED_ISSUERS=str(path)) as school:
        edge = school.stack.http_url
        async with httpx.AsyncClient(base_url=edge) as browser:
            offered = (await browser.get("/api/auth/providers")).json()["providers"]
            assert offered == [{"id": "school", "label": "Sign in with school"}]
            sent = await browser.get("/api/auth/providers/school/start")
            there = await browser.post(
                sent.headers["location"], data={"sub": "tess@school.example"}
            )
            back = await browser.get(there.headers["location"])
            assert back.headers["location"] == "/#signed-in=school"
            # The page takes up what the cookie holds, as after any reload.
            session = (await browser.post("/api/auth/refresh")).json()
            # What went through addresses, cookies and answers is in no log.
            came = urlsplit(there.headers["location"])
            went = urlsplit(sent.headers["location"])
            school.secrets.update(parse_qs(came.query)["code"], parse_qs(went.query)["nonce"])
            school.secrets.update((session["access_token"], "a secret of the client"))
            school.secrets.update(cookie.value for cookie in browser.cookies.jar if cookie.value)
            assert session["user"]["role"] == "teacher"
            async with open_socket(school.stack.ws_url, session["access_token"]) as socket:
                out = await browser.post(
                    "/api/auth/logout",
                    headers={"Authorization": f"Bearer {session['access_token']}"},
                )
                assert out.status_code == 204
                assert await socket.until_closed() == 4403
            end = await browser.get("/api/auth/providers/school/logout")
            assert end.headers["location"].startswith(provider)
            again = await browser.get(there.headers["location"])
            assert again.headers["location"].startswith("/#sign-in-failed=")
