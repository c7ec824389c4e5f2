"""The addresses of devices, by their number: nobody's real machine has such a one."""

import socket
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from engine.simulators.metal.devices import Device

# Networks for documentation, benchmarks and private use.
PUBLIC_IPV4 = int(IPv4Address("198.18.0.0"))
PUBLIC_IPV4_PAIRS = 2**16
PUBLIC_IPV6 = int(IPv6Address("2001:db8:1:2::"))
PRIVATE_IPV4 = int(IPv4Address("10.64.0.0"))
PRIVATE_IPV4_PAIRS = 2**21


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A network of two addresses: the first is its gateway, the second the device's own."""

    network: str
    address: str


def public4(number: int) -> Pair:
    """Answer the public IPv4 network of the device with this number."""
    return _pair4(PUBLIC_IPV4 + 2 * (number % PUBLIC_IPV4_PAIRS))


def public6(number: int) -> Pair:
    """Answer the public IPv6 network of the device with this number."""
    first = PUBLIC_IPV6 + 2 * number
    return Pair(network=_ipv6(first), address=_ipv6(first + 1))


def private4(number: int) -> Pair:
    """Answer the private IPv4 network of the device with this number."""
    return _pair4(PRIVATE_IPV4 + 2 * (number % PRIVATE_IPV4_PAIRS))


def public_address(device: Device) -> str | None:
    """Answer the public IPv4 address, once there is one."""
    there = device.addressed and "public4" in device.order.addresses
    return public4(device.number).address if there else None


def private_address(device: Device) -> str | None:
    """Answer the private IPv4 address, once there is one."""
    return private4(device.number).address if device.addressed else None


@lru_cache(maxsize=4096)
def _pair4(first: int) -> Pair:
    return Pair(network=_ipv4(first), address=_ipv4(first + 1))


def _ipv4(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))


def _ipv6(number: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))
