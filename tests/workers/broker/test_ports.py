"""Free ports."""

from __future__ import annotations

import socket

from workers.broker.ports import HOST, free_ports, is_free


def test_free_ports_can_be_listened_on() -> None:
    ports = free_ports(4)
    assert len(set(ports)) == 4
    for port in ports:
        with socket.create_server((HOST, port)):
            assert not is_free(port)


def test_outgoing_connections_do_not_take_them() -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        given = probe.getsockname()[1]
    assert max(free_ports(50)) < given


def test_avoided_ports_are_not_given() -> None:
    avoid = range(15_000, 32_000)
    assert not set(free_ports(3, avoid)) & set(avoid)
