"""Who holds what of each card of a pod, and what of it is free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ourvidz_worker.operate.reading import entries, number, table, text
from ourvidz_worker.operate.workers import device_of


def card_facts(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each device that is known or held; sizes are in GB of 10^9 bytes, None where no driver tells."""
    known = {text(card, "device") or f"cuda:{index}": card for index, card in enumerate(entries(status, "cards"))}
    first = next(iter(known), None)
    held: dict[str, list[dict[str, Any]]] = {device: [] for device in known}
    for name, worker in table(status, "workers").items():
        if isinstance(worker, dict):
            device = device_of(worker) or first or "cuda:0"
            held.setdefault(device, []).extend(_holdings(name, worker))
    return [_card(device, known.get(device, {}), holders) for device, holders in held.items() if holders or known]


def _holdings(worker: str, told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    card = table(told, "card")
    components = 0.0
    for component in entries(card, "components"):
        gb = number(component, "gb") or 0.0
        components += gb
        name = text(component, "name") or "component"
        yield {"worker": worker, "component": name, "gb": gb, "in_use": bool(component.get("in_use"))}
    workspace = round((number(card, "gb") or 0.0) - components, 3)
    if workspace > 0:
        yield {"worker": worker, "component": "workspace", "gb": workspace, "in_use": True}


def _card(device: str, told: Mapping[str, Any], holders: list[dict[str, Any]]) -> dict[str, Any]:
    used, total = number(told, "used_gb"), number(told, "total_gb")
    held = round(sum(holder["gb"] for holder in holders), 3)
    return {
        "device": device,
        "name": text(told, "name"),
        "total_gb": total,
        "used_gb": used,
        "free_gb": None if total is None or used is None else round(max(0.0, total - used), 3),
        "held_gb": held,
        # CUDA contexts, caches of the allocator, and whatever else runs on this card.
        "other_gb": None if used is None else round(max(0.0, used - held), 3),
        "holders": sorted(holders, key=lambda holder: -holder["gb"]),
    }
