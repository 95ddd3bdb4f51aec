"""The secrets of one data folder, and the tokens signed with them."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import jwt

Role = Literal["anon", "authenticated", "service_role"]

ALGORITHM = "HS256"
TEN_YEARS = 10 * 365 * 24 * 3600


class BadToken(Exception):
    """A token that is malformed, signed with another secret, or expired; the message says which."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling: a project key (`anon`, `service_role`) or a signed-in user."""

    role: Role
    user_id: str | None = None

    @property
    def is_service(self) -> bool:
        return self.role == "service_role"


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Made at the first start of a data folder and kept there, so that exported environments stay valid."""

    jwt_secret: str
    redis_token: str
    callback_secret: str
    demo_password: str
    qwen_token: str
    anon_key: str
    service_key: str

    @classmethod
    def load(cls, path: Path) -> Keys:
        """Read the secrets from `path`, and make there (mode 0600) what it does not hold yet."""
        kept = json.loads(path.read_text()) if path.exists() else {}
        keys = cls._fresh(kept.get("jwt_secret") or secrets.token_urlsafe(48))
        keys = replace(keys, **kept)
        if asdict(keys) != kept:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(asdict(keys), file)
        return keys

    @classmethod
    def _fresh(cls, jwt_secret: str) -> Keys:
        return cls(
            jwt_secret=jwt_secret,
            redis_token=secrets.token_urlsafe(32),
            callback_secret=secrets.token_urlsafe(32),
            demo_password=secrets.token_urlsafe(12),
            qwen_token=secrets.token_urlsafe(32),
            anon_key=_signed(jwt_secret, {"role": "anon"}, TEN_YEARS),
            service_key=_signed(jwt_secret, {"role": "service_role"}, TEN_YEARS),
        )

    def sign(self, claims: Mapping[str, object], lifetime: int) -> str:
        """A token with these claims that expires in `lifetime` seconds."""
        return _signed(self.jwt_secret, claims, lifetime)

    def verify(self, token: str) -> dict[str, object]:
        """The claims of a token of ours.

        Raises `BadToken` with a word on what is wrong: malformed, wrong signature, or expired.
        """
        try:
            claims: dict[str, object] = jwt.decode(
                token, self.jwt_secret, algorithms=[ALGORITHM], options={"verify_aud": False}
            )
        except jwt.ExpiredSignatureError as error:
            raise BadToken("jwt expired") from error
        except jwt.InvalidSignatureError as error:
            raise BadToken("invalid signature") from error
        except jwt.InvalidTokenError as error:
            raise BadToken("jwt malformed") from error
        return claims

    def identify(self, token: str) -> Identity:
        """Who the bearer of a token is. Raises `BadToken`."""
        claims = self.verify(token)
        match claims.get("role"):
            case "service_role":
                return Identity("service_role")
            case "anon":
                return Identity("anon")
            case "authenticated":
                if not isinstance(user_id := claims.get("sub"), str) or not user_id:
                    raise BadToken("missing sub claim")
                return Identity("authenticated", user_id)
            case role:
                raise BadToken(f'role "{role}" does not exist')


def _signed(secret: str, claims: Mapping[str, object], lifetime: int) -> str:
    now = int(time.time())
    return jwt.encode(
        {"iss": "ourvidz-local", **claims, "iat": now, "exp": now + lifetime}, secret, algorithm=ALGORITHM
    )
