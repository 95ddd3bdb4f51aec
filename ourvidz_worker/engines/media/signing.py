"""C2PA manifests: signed statements inside a file that a model made it, which no later change survives unnoticed."""

from __future__ import annotations

import json
import time
from io import BytesIO
from pathlib import Path

import structlog
from c2pa import Builder, C2paError, C2paSignerInfo, Context, Signer
from PIL import Image

from ourvidz_worker import __version__
from ourvidz_worker.engines.media.options import Signing
from ourvidz_worker.engines.media.provenance import DIGITAL_SOURCE_TYPE
from ourvidz_worker.errors import ConfigurationError, OutputInvalid

_AGENT = {"name": "ourvidz_worker", "version": __version__}
_CREATED = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE, "softwareAgent": _AGENT}
_MANIFEST = json.dumps(
    {
        "claim_generator_info": [_AGENT],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_CREATED]}}],
    }
)
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}  # the library would put a copy of the picture into it
_TIMESTAMP_PAUSE = 300.0  # a service that hangs costs half a minute for each file
_NEEDS = (
    "give a PEM chain whose first certificate is not self-signed, is valid today and is meant for emailProtection or "
    "documentSigning, its unencrypted PKCS #8 key, and the algorithm of that key"
)


class ManifestSigner:
    """Signs files in place; usable from any thread. Raises `ConfigurationError` when it cannot."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        self._certificate = _read("OURVIDZ_C2PA_CERTIFICATE", signing.certificate)
        self._key = _read("OURVIDZ_C2PA_KEY", signing.key)
        self._timestamps_from = 0.0
        self._prove()

    def sign(self, path: Path, media_type: str) -> None:
        """Raises `OutputInvalid` when this file cannot be signed, `ConfigurationError` when no file can any more."""
        try:
            signed = self._signed(path.read_bytes(), media_type)
        except C2paError as error:
            self._prove()  # the certificate may have expired since
            raise OutputInvalid(f"{path.name} cannot be signed: {error}") from error
        path.write_bytes(signed)

    def _signed(self, content: bytes, media_type: str) -> bytes:
        """With a timestamp if one is to be had: a finished result is worth more."""
        url = self._signing.timestamp_url
        if url and time.monotonic() >= self._timestamps_from:
            try:
                return self._attempt(content, media_type, url)
            except C2paError as error:
                self._timestamps_from = time.monotonic() + _TIMESTAMP_PAUSE
                structlog.get_logger().warning("c2pa_timestamp_missing", problem=str(error))
        return self._attempt(content, media_type, None)

    def _attempt(self, content: bytes, media_type: str, timestamp_url: str | None) -> bytes:
        identity = C2paSignerInfo(self._signing.algorithm, self._certificate, self._key, timestamp_url)
        signed = BytesIO()
        with (
            Context.from_dict(_SETTINGS) as context,
            Signer.from_info(identity) as signer,
            Builder(_MANIFEST, context=context) as builder,
        ):
            builder.sign(signer, media_type, BytesIO(content), signed)
        return signed.getvalue()

    def _prove(self) -> None:
        """Sign a picture of one pixel: whatever is wrong shows before the first job."""
        pixel = BytesIO()
        Image.new("RGB", (1, 1)).save(pixel, format="PNG")
        try:
            self._attempt(pixel.getvalue(), "image/png", None)
        except C2paError as error:
            raise ConfigurationError(
                f"OURVIDZ_C2PA_CERTIFICATE {self._signing.certificate} with OURVIDZ_C2PA_KEY {self._signing.key} and "
                f"OURVIDZ_C2PA_ALGORITHM {self._signing.algorithm} cannot sign: {_NEEDS} (the reason: {error})"
            ) from None


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} names {path}, which cannot be read ({error.strerror}): mend that") from None
