"""How a variable is declared, and the values that may stand in one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from ourvidz_worker.backend.loopback import is_loopback

AnyValue = TypeVar("AnyValue", str, SecretStr)

_VARIABLES = {
    "supabase_url": "SUPABASE_URL",
    "supabase_service_key": "SUPABASE_SERVICE_KEY",
    "redis_rest_url": "UPSTASH_REDIS_REST_URL",
    "redis_rest_token": "UPSTASH_REDIS_REST_TOKEN",
}
_CURES = {
    "SUPABASE_URL": "set it to the project's address, like https://<project>.supabase.co",
    "SUPABASE_SERVICE_KEY": "set it (or SUPABASE_SERVICE_ROLE_KEY) to the project's service role key",
    "UPSTASH_REDIS_REST_URL": "set it to the database's REST address, like https://<name>.upstash.io",
    "UPSTASH_REDIS_REST_TOKEN": "set it to the database's REST token",
}

_SHORTEST_SECRET = 6  # a tenant's number would be struck out of every line
_HEADER_VALUE = re.compile(r"[ -~]+")
WHOLE_SENTENCE = "whole_sentence"  # pydantic names a field whose default is wrong by our name, not the variable's


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and no home folder is known; write the whole path") from None


PathOfHome = Annotated[Path, AfterValidator(_expanded)]
"""`~/models` also where no shell has seen it, as in an environment file."""


def ours(name: str, default: Any, **constraints: Any) -> Any:
    return Field(default=default, validation_alias=f"OURVIDZ_{name}", **constraints)


def state_folder(name: str) -> Path:
    try:
        return Path.home() / ".cache" / "ourvidz_worker" / name
    except RuntimeError:  # no home folder, as in some containers
        return Path(tempfile.gettempdir()) / "ourvidz_worker" / name


def stripped(value: object) -> object:
    """A line end from a secret file would end up in a header."""
    return value.strip() if isinstance(value, str) else value


def address_alone(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("must begin with https:// (or http://)")
    parts = urlsplit(value)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be the address alone: passwords and tokens have variables of their own")
    return value.rstrip("/")


def safe_address(value: str) -> str:
    address = address_alone(value)
    if address.startswith("http://") and not is_loopback(address):
        raise ValueError("must begin with https://, but for this machine itself")
    return address


def header_value(value: SecretStr) -> SecretStr:
    if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
        raise ValueError("holds a character that no header can carry, like a line break or a curly quote")
    return value


def needed(value: AnyValue, known: ValidationInfo, *, elsewhere: tuple[str, ...]) -> AnyValue:
    """A variable that may be empty once all of these lead elsewhere; one that is wrong leads elsewhere, too."""
    if not value and not all(known.data.get(name, "wrong") for name in elsewhere):
        name = _VARIABLES[str(known.field_name)]
        raise PydanticCustomError(WHOLE_SENTENCE, "{name} is not set: {cure}", {"name": name, "cure": _CURES[name]})
    return value


def missing(name: str) -> NoReturn:
    raise PydanticCustomError(WHOLE_SENTENCE, "{name} is not set: {cure}", {"name": name, "cure": _CURES[name]})


def values_of(*held: SecretStr | None) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in held if secret)


def header_secrets(held: SecretStr) -> Iterator[str]:
    """What OpenTelemetry's `name=value,…` holds, as it stands there and as it is sent."""
    text = held.get_secret_value()
    yield text
    for entry in text.split(","):
        value = entry.partition("=")[2].strip()
        for spelling in (value, unquote(value), unquote(value).rpartition(" ")[2]):
            if len(spelling) >= _SHORTEST_SECRET:
                yield spelling


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reached(host: str, port: int) -> str:
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound
    return f"http://{place(anywhere.get(host, host), port)}"
