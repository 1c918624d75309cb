"""A Ray cluster that this process speaks to. It obeys whoever reaches its ports: nobody but its own nodes may."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from stylecore.errors import OptionError

HERE = "local"  # in the place of an address: a new cluster of this machine
CONNECT_S = 4.0  # to connect, and as long for an answer
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # RFC 9113: preface, empty SETTINGS
SETTINGS = 4  # the type of the frame that every HTTP/2 server, and so gRPC, answers with
NO_ANSWER = "No Ray cluster answers at '{}': start one with ray start --head."


def connect(address: str) -> Any:
    """The package `ray`, connected.

    Args:
        address: `host:port` of the head, "auto" for a cluster of this machine, or "local" for a new one here.

    Raises:
        OptionError: Ray is missing, or no cluster of its version answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise OptionError("Ray is not installed: pip install 'stylecore[ray]'.") from error
    if ray.is_initialized():
        return ray
    _check_answer(address)
    options: dict[str, Any] = {"include_dashboard": False} if address == HERE else {"address": address}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if "ersion mismatch" in str(error):
            raise OptionError(
                f"The cluster has another version of Ray or Python than {ray.__version__} here."
            ) from error
        raise OptionError(NO_ANSWER.format(address)) from error
    return ray


def _check_answer(address: str) -> None:
    """Raise an OptionError soon where nobody speaks gRPC: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal() or os.environ.get("RAY_USE_TLS") == "1":
        return
    try:
        with socket.create_connection((host, int(port)), CONNECT_S) as connection:
            connection.sendall(GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise OptionError(NO_ANSWER.format(address)) from error
    if answer[3:4] != bytes([SETTINGS]):
        raise OptionError(NO_ANSWER.format(address))
