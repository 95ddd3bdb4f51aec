"""Only addresses of the public internet are public."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.backend.references.addresses import is_public, resolve
from tests.support.stories import story

PRIVATE_V4 = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
]
PRIVATE_V6 = [
    *("::/128", "::1/128", "::/96", "100::/64", "2001::/32", "2001:db8::/32", "3fff::/20", "5f00::/16"),
    *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "64:ff9b:1::/48"),
]


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "11.0.0.1", "100.63.255.255", "172.32.0.1", "223.255.255.255"),
        *("2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"),
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # most clouds' metadata
        "169.254.170.2",  # a container's credentials
        "100.100.100.200",  # metadata
        "192.0.0.192",  # metadata
        "168.63.129.16",  # platform services
        "fd00:ec2::254",  # metadata over IPv6
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::ffff:a00:1",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "::1",
    ],
)
def test_loopback_private_and_metadata_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("text", ["", "example.com", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3.4.5"])
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@given(st.sampled_from(PRIVATE_V4).flatmap(lambda network: st.ip_addresses(network=network)))
def test_no_special_ipv4_address_is_public_in_any_wrapping(address: IPv4Address | IPv6Address) -> None:
    number = int(address)
    wrappings = (
        f"::ffff:{address}",
        str(IPv6Address(int(IPv6Address("64:ff9b::")) + number)),
        str(IPv6Address(int(IPv6Address("2002::")) + (number << 80))),
        str(IPv6Address(int(IPv6Address("2001::")) + (number << 64) + (number ^ 0xFFFFFFFF))),
        str(IPv6Address(number)),
    )
    assert not is_public(str(address))
    assert not any(map(is_public, wrappings))


@given(st.sampled_from(PRIVATE_V6).flatmap(lambda network: st.ip_addresses(network=network)))
def test_no_special_ipv6_address_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(str(address))


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_special(address: IPv4Address | IPv6Address) -> None:
    translated = isinstance(address, IPv6Address) and address in IPv6Network("64:ff9b::/96")
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if is_public(str(address)) and not translated:
        judged = mapped or address
        assert judged.is_global
        assert not any((judged.is_multicast, judged.is_loopback, judged.is_link_local, judged.is_reserved))


@story
async def test_the_system_s_resolver_gives_each_address_once() -> None:
    found = await resolve("localhost", 80)
    assert found
    assert len(set(found)) == len(found)
    assert all(ip_address(address).is_loopback for address in found)
