"""What RunPod's REST API v2 (https://api.runpod.io/v2) takes as bodies, as JSON Schema of our own.

From github.com/runpod/docs, read 2026-11-26: api-reference-v2/openapi.json (`CreateTemplateRequest`,
`CreatePodRequest`, `CreateEndpointRequest`) for the fields, and references/gpu-types.mdx for the cards and pools. The
API refuses fields that it does not know, as these do. What it says in prose alone is here, too: one of `gpu` and
`cpu`, a floor of CUDA or a set, one kind of mount, no `idleTimeout` where a queue scales by its requests.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

# The cards that hold all three workers: id, and memory in GB.
CARDS = {
    "NVIDIA A40": 48, "NVIDIA L40": 48, "NVIDIA L40S": 48, "NVIDIA RTX 6000 Ada Generation": 48, "NVIDIA RTX A6000": 48,
    "NVIDIA A100 80GB PCIe": 80, "NVIDIA A100-SXM4-80GB": 80, "NVIDIA H100 80GB HBM3": 80, "NVIDIA H100 PCIe": 80,
    "NVIDIA H100 NVL": 94, "NVIDIA RTX PRO 6000 Blackwell Server Edition": 96,
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": 96, "NVIDIA H200": 141, "NVIDIA H200 NVL": 143,
    "NVIDIA B200": 180, "NVIDIA B300 SXM6 AC": 288,
}  # fmt: skip
POOLS = {
    "AMPERE_16": 16, "AMPERE_24": 24, "ADA_24": 24, "AMPERE_48": 48, "ADA_48_PRO": 48, "AMPERE_80": 80,
    "ADA_80_PRO": 80, "HOPPER_141": 141,
}  # fmt: skip

_TEXT: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_CUDA: Schema = {"type": "string", "pattern": r"^\d+\.\d+$"}
_CPU: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "vcpuCount"],
    "properties": {"id": _TEXT, "vcpuCount": {"type": "integer", "minimum": 2}},
}


def _at_least(minimum: int) -> Schema:
    return {"type": "integer", "minimum": minimum}


def _list_of(items: Schema, **rules: Any) -> Schema:
    return {"type": "array", "items": items, **rules}


def _object(properties: Schema, *required: str, **rules: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **rules,
    }


_CONTAINER: Schema = {
    "name": _TEXT,
    "image": {"type": "string"},
    "args": {"type": "string"},
    "disk": _at_least(1),
    "env": {"type": "object", "additionalProperties": {"type": "string"}},
    "ports": _list_of({"type": "string", "pattern": r"^\d+/(http|tcp)$"}),
    "registry": {"type": ["string", "null"]},
}
_CUDA_OF_A_CARD: Schema = {"allowedCudaVersions": _list_of(_CUDA), "minCudaVersion": _CUDA}
_A_FLOOR_OR_A_SET: Schema = {
    "not": {
        "required": ["allowedCudaVersions", "minCudaVersion"],
        "properties": {"allowedCudaVersions": {"minItems": 1}},
    }
}
_CONSOLE: Schema = {"startSsh": _FLAG, "startJupyter": _FLAG}
_PERSISTENT = _object({"size": _at_least(10), "path": _TEXT}, "size", "path")
_NETWORK = _object({"volumeId": _TEXT, "path": _TEXT}, "volumeId", "path")
_IMAGE_OR_TEMPLATE: Schema = {"anyOf": [{"required": ["image"]}, {"required": ["templateId"]}]}
_CARD_OR_CPU: Schema = {"oneOf": [{"required": ["gpu"]}, {"required": ["cpu"]}]}
_BY_DELAY = _object(
    {"type": {"const": "QUEUE_DELAY"}, "queueDelay": {"type": "number", "minimum": 0.5}}, "type", "queueDelay"
)
_BY_REQUESTS = _object({"type": {"const": "REQUEST_COUNT"}, "requestCount": _at_least(1)}, "type", "requestCount")

TEMPLATE: Schema = _object(
    {
        **_CONTAINER,
        **_CONSOLE,
        "allowedCudaVersions": _list_of(_CUDA),
        "category": {"enum": ["CPU", "NVIDIA", "AMD"]},
        "mounts": _object({"persistent": _PERSISTENT}),
        "public": _FLAG,
        "serverless": _FLAG,
    },
    "name",
    "image",
)
POD: Schema = _object(
    {
        **_CONTAINER,
        **_CONSOLE,
        "templateId": _TEXT,
        "cloud": {"enum": ["SECURE", "COMMUNITY"]},
        "cpu": _CPU,
        "dataCenterIds": _list_of(_TEXT),
        "globalNetworking": _FLAG,
        "gpu": _object(
            {
                "id": {"enum": list(CARDS)},
                "count": _at_least(1),
                "minRamPerGpu": _at_least(1),
                "minVcpuCountPerGpu": _at_least(1),
                **_CUDA_OF_A_CARD,
            },
            "id",
            **_A_FLOOR_OR_A_SET,
        ),
        "mounts": _object({"persistent": _PERSISTENT, "network": _list_of(_NETWORK, minItems=1, maxItems=1)})
        | {"maxProperties": 1},
    },
    "name",
    allOf=[_IMAGE_OR_TEMPLATE, _CARD_OR_CPU],
)
ENDPOINT: Schema = _object(
    {
        **_CONTAINER,
        "templateId": _TEXT,
        "type": {"enum": ["QUEUE", "LOAD_BALANCER"]},
        "cpu": _list_of(_CPU, minItems=1, uniqueItems=True),
        "gpu": _object(
            {
                "pools": _list_of({"enum": list(POOLS)}, minItems=1),
                "excludedTypes": _list_of({"enum": list(CARDS)}, uniqueItems=True),
                "count": _at_least(1),
                **_CUDA_OF_A_CARD,
            },
            "pools",
            **_A_FLOOR_OR_A_SET,
        ),
        "dataCenterIds": _list_of(_TEXT),
        "flashboot": {"enum": ["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"]},
        "networkVolumes": _list_of(_TEXT),
        "scaling": {"oneOf": [_BY_DELAY, _BY_REQUESTS]},
        "timeout": {"type": "integer"},  # milliseconds
        "workers": _object(
            {
                "min": _at_least(0),
                "max": _at_least(0),
                "idleTimeout": {"type": "integer", "minimum": 1, "maximum": 3600},  # seconds
            }
        ),
    },
    "name",
    "type",
    "scaling",
    allOf=[
        _IMAGE_OR_TEMPLATE,
        _CARD_OR_CPU,
        {
            "if": {"properties": {"type": {"const": "LOAD_BALANCER"}}},
            "then": {"properties": {"scaling": _BY_REQUESTS}},
            "else": {
                "if": {"properties": {"scaling": _BY_REQUESTS}},
                "then": {"properties": {"workers": {"properties": {"idleTimeout": False}}}},
            },
        },
    ],
)
# The file's name, and what POST /v2/templates, /v2/pods and /v2/serverless take.
SCHEMAS = {"template.json": TEMPLATE, "pod.json": POD, "endpoint.json": ENDPOINT}
