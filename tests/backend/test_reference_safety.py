"""A reference's URL comes from outside: it leads where the operator allows it, and nowhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from ourvidz_worker.backend.references.destinations import DestinationRefused, Destinations
from ourvidz_worker.backend.references.hosts import matches
from ourvidz_worker.backend.references.source import HttpReferenceSource
from ourvidz_worker.contract.job import Reference
from ourvidz_worker.errors import BackendUnavailable, ReferenceUnusable
from tests.backend.certificates import certified
from tests.backend.names import Addresses, Names
from tests.backend.pauses import Pauses
from tests.backend.picture_server import PictureServer, picture, redirect, serving
from tests.support.stories import story

URL = "https://project.example"
KEY = "a-very-secret-service-key"
FIELD = "config.first_frame"
HOSTS = ("pictures.example", "*.cdn.example")
PUBLIC, LOOPBACK = ("8.8.4.4",), ("127.0.0.1",)
SECRET_PATH = "/a.png?token=hidden"


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), "red").save(buffer, "PNG")
    return buffer.getvalue()


@asynccontextmanager
async def references(names: Names, **options: Any) -> AsyncIterator[HttpReferenceSource]:
    usual: dict[str, Any] = {
        "url": URL,
        "service_key": KEY,
        "hosts": HOSTS,
        "sleep": Pauses(),
        "resolver": names,
        "retry_seconds": 0,
    }
    source = HttpReferenceSource(**(usual | options))
    try:
        yield source
    finally:
        await source.close()


def reference(source: str) -> Reference:
    return Reference("style", source, 0.7, FIELD)


async def refusal(source: str, names: Names, **options: Any) -> str:
    async with references(names, **options) as fetching:
        with pytest.raises(ReferenceUnusable) as raised:
            await fetching.fetch(reference(source))
    return str(raised.value)


async def project(server: PictureServer, names: Names, path: str, **options: Any) -> tuple[int, ...]:
    """Fetch from a server of this machine that is the project's, under a name of its own."""
    url = f"http://project.test:{server.port}"
    async with references(names, url=url, **options) as fetching:
        return (await fetching.fetch(reference(f"{url}{path}"))).pixels.shape


FORBIDDEN = [
    pytest.param("http://pictures.example", "else than https", id="plain http"),
    pytest.param("http://project.example", "else than https", id="plain http to a project with https"),
    pytest.param("https://evil.example", "leads to evil.example, which is not an allowed host", id="unlisted"),
    pytest.param("https://pictures.example.evil.example", "not an allowed host", id="a longer name"),
    pytest.param("https://cdn.example", "not an allowed host", id="the star's parent"),
    pytest.param("https://pictures.example:8443", "leads to port 8443 of pictures.example", id="another port"),
    pytest.param(
        "https://project.example:8443", "leads to port 8443 of project.example", id="the project's other port"
    ),
    pytest.param("https://127.0.0.1", "not an allowed host", id="loopback"),
    pytest.param("https://127.1", "not an allowed host", id="short loopback"),
    pytest.param("https://2130706433", "not an allowed host", id="decimal loopback"),
    pytest.param("https://0x7f000001", "not an allowed host", id="hexadecimal loopback"),
    pytest.param("https://0177.0.0.1", "no URL", id="octal loopback"),
    pytest.param("https://[::1]", "not an allowed host", id="IPv6 loopback"),
    pytest.param("https://[::ffff:127.0.0.1]", "not an allowed host", id="mapped loopback"),
    pytest.param("https://169.254.169.254", "not an allowed host", id="metadata"),
    pytest.param("https://8.8.8.8", "not an allowed host", id="a public address"),
    pytest.param("https://pictures.example..", "not an allowed host", id="two final dots"),
    pytest.param("https://pictures%2eexample", "not an allowed host", id="an escaped dot"),
    pytest.param("https://p\u0456ctures.example", "not an allowed host", id="a Cyrillic letter"),
    pytest.param("https://pictures\uff0eevil.example", "not an allowed host", id="a wide dot"),
    pytest.param("https://\uff50ictures.example", "no URL", id="a wide letter"),
    pytest.param("https://pictures.example@evil.example", "holds a user name", id="a host as user name"),
    pytest.param("https://u:hidden@pictures.example", "holds a user name", id="a password"),
    pytest.param("https://evil.example\\.cdn.example", "not an allowed host", id="a backslash"),
]


@pytest.mark.parametrize(("origin", "says"), FORBIDDEN)
@story
async def test_a_forbidden_url_is_refused_before_its_host_is_looked_up(origin: str, says: str) -> None:
    names = Names({})
    told = await refusal(origin + SECRET_PATH, names)
    assert told.startswith(f"{FIELD} ")
    assert says in told
    assert "hidden" not in told
    assert names.asked == []


@pytest.mark.parametrize(("origin", "says"), FORBIDDEN)
@story
async def test_a_redirect_to_it_is_refused_as_well(origin: str, says: str) -> None:
    names = Names({"project.example": PUBLIC})
    location = (origin + SECRET_PATH).encode()
    with respx.mock:
        respx.get("https://8.8.4.4/storage/v1/object/b/a.png").mock(
            return_value=httpx.Response(302, headers={b"Location": location})
        )
        told = await refusal("b/a.png", names)
    assert told.startswith(f"{FIELD} ")
    assert says in told
    assert "hidden" not in told
    assert names.asked == ["project.example"]


@story
async def test_the_refusal_of_a_host_says_what_to_do() -> None:
    told = await refusal("https://evil.example/a", Names({}))
    assert told.endswith("or ask the operator to add the host to OURVIDZ_REFERENCE_HOSTS")


@story
async def test_a_very_long_host_is_shown_short() -> None:
    assert len(await refusal(f"https://{'a.' * 20_000}example/a", Names({}))) < 600


@pytest.mark.parametrize(
    "source", ["https://pictures.example./a", "https://PICTURES.example/a", "https://a.b.cdn.example/a"]
)
@story
async def test_the_spelling_of_an_allowed_host_does_not_matter(source: str) -> None:
    names = Names({"pictures.example": PUBLIC, "a.b.cdn.example": PUBLIC})
    with respx.mock:
        route = respx.get("https://8.8.4.4/a").mock(return_value=httpx.Response(200, content=png()))
        async with references(names) as fetching:
            await fetching.fetch(reference(source))
    (host,) = names.asked
    assert route.calls.last.request.headers["Host"] == host
    assert route.calls.last.request.extensions["sni_hostname"] == host


@pytest.mark.parametrize(
    "addresses",
    [
        LOOPBACK,
        ("8.8.4.4", "10.0.0.1"),
        ("fd00:ec2::254",),
        ("169.254.169.254",),
        ("::ffff:192.168.0.1",),
        ("fe80::1%eth0",),
    ],
)
@story
async def test_an_allowed_host_with_an_address_inside_is_refused(addresses: Addresses) -> None:
    told = await refusal("https://pictures.example/a", Names({"pictures.example": addresses}))
    assert told == f"{FIELD} leads to pictures.example, which is not on the public internet"


@story
async def test_a_host_is_looked_up_once_and_connected_to_where_it_was_found() -> None:
    """Whoever owns a name may answer with a public address first and with a private one a moment later."""
    names = Names({"pictures.example": [PUBLIC, LOOPBACK]})
    with respx.mock:
        respx.get("https://8.8.4.4/a").mock(return_value=httpx.Response(200, content=png()))
        async with references(names) as fetching:
            await fetching.fetch(reference("https://pictures.example/a"))
    assert names.asked == ["pictures.example"]


@story
async def test_each_hop_is_looked_up_and_checked_anew() -> None:
    names = Names({"pictures.example": [PUBLIC, LOOPBACK]})
    with respx.mock:
        respx.get("https://8.8.4.4/a").mock(return_value=httpx.Response(302, headers={"Location": "/b"}))
        told = await refusal("https://pictures.example/a", names)
    assert "not on the public internet" in told
    assert names.asked == ["pictures.example", "pictures.example"]


@story
async def test_a_repeat_after_a_failure_is_checked_anew() -> None:
    names = Names({"pictures.example": [PUBLIC, LOOPBACK]})
    with respx.mock:
        respx.get("https://8.8.4.4/a").mock(return_value=httpx.Response(503))
        told = await refusal("https://pictures.example/a", names, retry_seconds=3)
    assert "not on the public internet" in told


@story
async def test_the_project_s_host_may_be_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a developer's machine, with `SUPABASE_URL=http://127.0.0.1:54321`."""

    def no_lookup(host: str, *_: object, **__: object) -> list[object]:
        raise AssertionError(f"{host} was looked up past the resolver")

    names = Names({"project.test": LOOPBACK})
    async with serving({"/a": picture(png())}) as server:
        monkeypatch.setattr(socket, "getaddrinfo", no_lookup)
        assert await project(server, names, "/a") == (4, 6, 3)
    assert names.asked == ["project.test"]
    assert f"Host: project.test:{server.port}\r\n" in server.heads[0]


@story
async def test_a_redirect_from_the_project_to_another_server_of_the_machine_is_refused() -> None:
    names = Names({"project.test": LOOPBACK})
    async with serving({}) as inside, serving({}) as server:
        for target in (
            f"http://127.0.0.1:{inside.port}/a",
            f"http://project.test:{inside.port}/a",
            f"//127.0.0.1:{inside.port}/a",
            f"https://project.test:{inside.port}/a",
        ):
            server.answers["/a"] = redirect(target)
            with pytest.raises(ReferenceUnusable, match=f"^{FIELD} leads to"):
                await project(server, names, "/a")
        assert inside.connections == 0
        assert server.connections == 4


@story
async def test_a_redirect_within_the_project_is_followed() -> None:
    names = Names({"project.test": LOOPBACK})
    async with serving({"/a": redirect("/b?token=x"), "/b?token=x": picture(png())}) as server:
        assert await project(server, names, "/a") == (4, 6, 3)


@story
async def test_the_service_key_goes_to_the_project_s_port_alone() -> None:
    names = Names({"project.test": LOOPBACK})
    async with serving({}) as server:
        url = f"http://project.test:{server.port}"
        server.answers["/storage/v1/object/b/a.png"] = redirect("https://pictures.example/a")
        with respx.mock(using="httpcore", assert_all_called=False) as router:
            router.get(url__startswith=f"http://127.0.0.1:{server.port}").pass_through()
            elsewhere = router.get("https://8.8.4.4/a").mock(return_value=httpx.Response(200, content=png()))
            names = Names({"project.test": LOOPBACK, "pictures.example": PUBLIC})
            async with references(names, url=url) as fetching:
                await fetching.fetch(reference("b/a.png"))
        assert KEY in server.heads[0]
        assert KEY not in str(elsewhere.calls.last.request.headers.raw)


@story
async def test_no_cookie_is_kept() -> None:
    names = Names({"project.test": LOOPBACK})
    answers = {"/a": redirect("/b").replace(b"\r\n\r\n", b"\r\nSet-Cookie: who=me\r\n\r\n"), "/b": picture(png())}
    async with serving(answers) as server:
        await project(server, names, "/a")
    assert not any("cookie" in head.lower() for head in server.heads)


@story
async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would look the name up itself."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with serving({"/a": picture(png())}) as server:
        assert await project(server, Names({"project.test": LOOPBACK}), "/a") == (4, 6, 3)


@story
async def test_another_address_of_the_host_is_tried_when_one_takes_no_connection() -> None:
    names = Names({"project.test": ("127.0.0.2", "127.0.0.1")})
    async with serving({"/a": picture(png())}) as server:
        assert await project(server, names, "/a") == (4, 6, 3)
    assert names.asked == ["project.test"]


@story
async def test_a_host_that_is_not_found_is_a_failure_of_the_network() -> None:
    async with references(Names({})) as fetching:
        with pytest.raises(BackendUnavailable, match=r"from pictures\.example \(the name of the host is not known\)"):
            await fetching.fetch(reference("https://pictures.example/a"))


@story
async def test_looking_a_host_up_counts_against_the_time_limit() -> None:
    async def never(host: str, port: int) -> Addresses:
        await asyncio.Event().wait()
        return ()

    async with references(Names({}), resolver=never, total_seconds=0.05) as fetching:
        with pytest.raises(BackendUnavailable, match=r"from pictures\.example \(TimeoutError\)"):
            await fetching.fetch(reference("https://pictures.example/a"))


@story
async def test_all_hops_share_one_time_limit() -> None:
    class Slow(Names):
        async def __call__(self, host: str, port: int) -> Addresses:
            await asyncio.sleep(0.04)
            return await super().__call__(host, port)

    names = Slow({"pictures.example": PUBLIC})
    with respx.mock:
        respx.get("https://8.8.4.4/a").mock(return_value=httpx.Response(302, headers={"Location": "/a"}))
        async with references(names, total_seconds=0.1) as fetching:
            with pytest.raises(BackendUnavailable, match="TimeoutError"):
                await fetching.fetch(reference("https://pictures.example/a"))


@story
async def test_the_certificate_is_checked_for_the_name_of_the_host(tmp_path: Path) -> None:
    """Though the connection goes to an address."""
    names = Names({"project.test": LOOPBACK})
    server_tls, client_tls = certified("project.test", tmp_path)
    async with serving({"/a": picture(png())}, tls=server_tls) as server:
        url = f"https://project.test:{server.port}"
        async with references(names, url=url, ssl_context=client_tls) as fetching:
            assert (await fetching.fetch(reference(f"{url}/a"))).pixels.shape == (4, 6, 3)
    assert f"Host: project.test:{server.port}\r\n" in server.heads[0]


@story
async def test_a_certificate_for_another_host_is_no_certificate(tmp_path: Path) -> None:
    names = Names({"project.test": LOOPBACK})
    server_tls, client_tls = certified("other.test", tmp_path)
    async with serving({"/a": picture(png())}, tls=server_tls) as server:
        url = f"https://project.test:{server.port}"
        async with references(names, url=url, ssl_context=client_tls) as fetching:
            with pytest.raises(BackendUnavailable, match="the certificate of the host is not valid"):
                await fetching.fetch(reference(f"{url}/a"))
    assert server.heads == []


@story
async def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    names = Names({"project.test": LOOPBACK})
    server_tls, _ = certified("project.test", tmp_path)
    async with serving({"/a": picture(png())}, tls=server_tls) as server:
        url = f"https://project.test:{server.port}"
        async with references(names, url=url) as fetching:
            with pytest.raises(BackendUnavailable, match="the certificate of the host is not valid"):
                await fetching.fetch(reference(f"{url}/a"))


@story
async def test_no_connection_is_used_twice() -> None:
    """Two hosts may share an address; a connection that was verified for one must not serve the other."""
    names = Names({"project.test": LOOPBACK})
    async with serving({"/a": picture(png())}) as server:
        url = f"http://project.test:{server.port}"
        async with references(names, url=url) as fetching:
            for _ in range(3):
                await fetching.fetch(reference(f"{url}/a"))
        assert server.connections == 3


PIECES = st.sampled_from(
    [
        *("project.example", "pictures.example", "x.cdn.example", "evil.example", "127.0.0.1", "[::1]", "0x7f.1"),
        *("@", ":", "/", "\\", "#", "?", ".", "..", "%2e", "%40", "\uff0e", "\u3002", "\u0456", "\u212a"),
        *(":443", ":80", ":8000", ":8443", "http", "https", "://", "user"),
    ]
)


@given(
    scheme=st.sampled_from(["https://", "http://", "HTTPS://", "https:", "//", ""]), pieces=st.lists(PIECES, max_size=7)
)
@example(scheme="https://", pieces=["\u0456", "x.cdn.example"])
def test_no_spelling_of_a_url_leads_to_a_host_that_is_not_allowed(scheme: str, pieces: list[str]) -> None:
    asked: list[tuple[str, int]] = []

    async def resolver(host: str, port: int) -> Addresses:
        asked.append((host, port))
        return PUBLIC

    destinations = Destinations(project=httpx.URL("http://project.example:8000"), hosts=HOSTS, resolve=resolver)
    try:
        found = asyncio.run(destinations.find(httpx.URL(scheme + "".join(pieces))))
    except (DestinationRefused, httpx.InvalidURL):
        assert asked == []
        return
    ((host, port),) = asked
    assert found.url.raw_host.decode() == host
    if host == "project.example":
        assert (found.url.scheme, port) in {("http", 8000), ("https", 443)}
    else:
        assert matches(host, HOSTS)
        assert (found.url.scheme, port) == ("https", 443)
