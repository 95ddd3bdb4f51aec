from __future__ import annotations

import re
import socket

import pytest

from ourvidz_worker.backend.queue.keys import QueueKeys, lease_key, new_owner


def test_the_names_are_those_of_the_protocol() -> None:
    keys = QueueKeys("wan_queue")
    assert keys.held("pod-1") == "wan_queue:held:pod-1"
    assert keys.dead == "wan_queue:dead"
    assert keys.owner_of("wan_queue:held:a:b") == "a:b"
    assert lease_key("pod-1") == "worker:lease:pod-1"


def test_a_queue_name_is_no_pattern() -> None:
    assert QueueKeys("jobs[1]*?").held_by_anyone == r"jobs\[1\]\*\?:held:*"


def test_every_start_of_a_process_is_another_owner() -> None:
    assert new_owner() != new_owner()


@pytest.mark.parametrize("pod", ["abc123", "a pod/with:odd*names", "x" * 500])
def test_an_owner_is_named_after_its_pod_in_safe_characters(monkeypatch: pytest.MonkeyPatch, pod: str) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", pod)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,73}", new_owner())
    assert new_owner().startswith(pod[0])


def test_without_a_pod_the_host_names_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_POD_ID", raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu.box")
    assert new_owner().startswith("gpu.box-")
