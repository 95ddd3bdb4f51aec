"""The operator's list of hosts."""

from __future__ import annotations

import pytest

from ourvidz_worker.backend.references.hosts import matches, parse_hosts


def test_hosts_are_listed_with_commas() -> None:
    assert parse_hosts(" CDN.example.com, *.example.org ,") == ("cdn.example.com", "*.example.org")
    assert parse_hosts("xn--bcher-kva.example") == ("xn--bcher-kva.example",)


@pytest.mark.parametrize("listed", ["", " ", ","])
def test_no_host_may_be_listed(listed: str) -> None:
    assert parse_hosts(listed) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        "*",
        "*.com",
        "**.example.com",
        "cdn.*.com",
        "localhost",
        "https://cdn.example.com",
        "cdn.example.com/pictures",
        "cdn.example.com:8443",
        "user@cdn.example.com",
        "cdn.example.com.",
        ".example.com",
        "cdn..example.com",
        "-cdn.example.com",
        "bücher.example",
        "10.0.0.1",
        "127.1",
        "[::1]",
        "::1",
        "a b.example.com",
        f"{'a' * 64}.example.com",
        ".".join(["a" * 60] * 5),
    ],
)
def test_each_wrong_entry_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match="name hosts like") as raised:
        parse_hosts(f"cdn.example.com,{wrong},nonsense")
    assert repr(wrong) in str(raised.value)
    assert "'nonsense'" in str(raised.value)
    assert "'cdn.example.com'" not in str(raised.value)


@pytest.mark.parametrize("host", ["cdn.example.com", "a.example.org", "a.b.example.org"])
def test_a_host_matches_by_its_name_or_below_a_star(host: str) -> None:
    assert matches(host, ("cdn.example.com", "*.example.org"))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "a.cdn.example.com",
        "cdn.example.com.evil.example",
        "evilcdn.example.com",
        "example.org",
        "evilexample.org",
        ".example.org",
        "evil\\a.example.org",
        "evil%2fa.example.org",
        "127.0.0.1",
        "::1",
    ],
)
def test_other_hosts_do_not(host: str) -> None:
    assert not matches(host, ("cdn.example.com", "*.example.org"))
