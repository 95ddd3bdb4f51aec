"""The fields of KEDA's resources that are documented, and no others.

Facts: keda.sh/docs/2.22/reference/scaledobject-spec, keda.sh/docs/2.22/concepts/authentication and
keda.sh/docs/2.22/scalers/redis-lists, read 2026-11-26. Values in a trigger's metadata are strings.
"""

from __future__ import annotations

from typing import Any


def _object(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"type": "object", "additionalProperties": {"type": "string"}}
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "keda.sh/v1alpha1"},
        kind={"const": kind},
        metadata=_object(("name",), name=NAME, namespace=NAME, labels=labels, annotations=labels),
        spec=spec,
    )


NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "string", "pattern": r"^\d+$"}
TRUTH = {"enum": ["true", "false"]}
TEXT = {"type": "string", "minLength": 1}

SCALING_RULES = _object(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
    policies={
        "type": "array",
        "items": _object(
            ("type", "value", "periodSeconds"),
            type={"enum": ["Pods", "Percent"]},
            value={"type": "integer", "minimum": 1},
            periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
        ),
    },
)

REDIS_TRIGGER = _object(
    ("type", "metadata"),
    type={"const": "redis"},
    name=NAME,
    useCachedMetrics={"type": "boolean"},
    metricType={"enum": ["AverageValue", "Value"]},
    metadata=_object(
        ("listName", "listLength"),
        address=TEXT,
        host=TEXT,
        port=NUMBER,
        addressFromEnv=TEXT,
        hostFromEnv=TEXT,
        portFromEnv=TEXT,
        usernameFromEnv=TEXT,
        passwordFromEnv=TEXT,
        listName=TEXT,
        listLength=NUMBER,
        activationListLength=NUMBER,
        enableTLS=TRUTH,
        unsafeSsl=TRUTH,
        databaseIndex=NUMBER,
    ),
    authenticationRef=_object(
        ("name",), name=NAME, kind={"enum": ["TriggerAuthentication", "ClusterTriggerAuthentication"]}
    ),
)

SCALED_OBJECT = _resource(
    "ScaledObject",
    _object(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=_object(("name",), apiVersion=TEXT, kind=TEXT, name=NAME, envSourceContainerName=NAME),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        initialCooldownPeriod=COUNT,
        idleReplicaCount=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        fallback=_object(("failureThreshold", "replicas"), failureThreshold=COUNT, replicas=COUNT, behavior=TEXT),
        advanced=_object(
            restoreToOriginalReplicaCount={"type": "boolean"},
            horizontalPodAutoscalerConfig=_object(
                name=NAME, behavior=_object(scaleUp=SCALING_RULES, scaleDown=SCALING_RULES)
            ),
        ),
        triggers={"type": "array", "minItems": 1, "items": REDIS_TRIGGER},
    ),
)

TRIGGER_AUTHENTICATION = _resource(
    "TriggerAuthentication",
    _object(
        ("secretTargetRef",),
        secretTargetRef={
            "type": "array",
            "minItems": 1,
            "items": _object(
                ("parameter", "name", "key"),
                # what the redis scaler takes from an authentication
                parameter={"enum": ["address", "host", "port", "username", "password", "tls", "ca"]},
                name=NAME,
                key=TEXT,
            ),
        },
    ),
)

SCHEMAS = {"ScaledObject": SCALED_OBJECT, "TriggerAuthentication": TRIGGER_AUTHENTICATION}
