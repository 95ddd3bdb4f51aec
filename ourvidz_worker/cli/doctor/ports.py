"""Whether the ports on which the processes of a pod tell of themselves are free."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import closing

import httpx

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note
from ourvidz_worker.cli.probing import probe_port
from ourvidz_worker.settings import QwenSettings

_SECONDS = 3.0


async def examine_ports(settings: QwenSettings) -> list[Diagnosis]:
    """The orchestrator's, and those of its workers behind it."""
    first = probe_port("orchestrator", settings)
    if not first:
        return []
    ports = range(first, first + 1 + len(settings.roster.members))
    taken = [port for port in ports if not _is_free(settings.probe_host, port)]
    where = f"{ports[0]} to {ports[-1]} on {settings.probe_host}"
    if not taken:
        return [good("ports", f"the ports {where} are free for probes")]
    strangers = [port for port in taken if not await _answers_as_ours(settings.probe_address(port))]
    if not strangers:
        return [good("ports", f"a pod answers already on the ports {where}")]
    named = ", ".join(map(str, strangers))
    cure = "stop what listens there, or set OURVIDZ_PROBE_PORT to the first of other ports"
    return [note("ports", f"other programs have the ports {named}, where this pod is to answer probes", cure)]


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host, port))
            door.listen(1)
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


async def _answers_as_ours(address: str) -> bool:
    try:
        async with asyncio.timeout(_SECONDS), httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as http:
            told = (await http.get(f"{address}/health")).json()
    except (TimeoutError, httpx.HTTPError, ValueError):
        return False
    return isinstance(told, dict) and {"state", "reason"} <= told.keys()
