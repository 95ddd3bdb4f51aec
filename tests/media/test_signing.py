"""C2PA manifests, read back by the library's own reader."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image
from structlog.testing import capture_logs

from ourvidz_worker import __version__
from ourvidz_worker.engines.media.options import MediaOptions, Signing
from ourvidz_worker.engines.media.signing import ManifestSigner
from ourvidz_worker.errors import ConfigurationError, OutputInvalid
from tests.media.orders import encode, every_file, gradient, noise, properties_of, request_for, xmp_of
from tests.support.certificates import Identity, issue

MEDIA_TYPES = {".png": "image/png", ".mp4": "video/mp4", ".webp": "image/webp"}
CREATED = {
    "action": "c2pa.created",
    "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    "softwareAgent": {"name": "ourvidz_worker", "version": __version__},
}
PIXELS = {".png": b"IDAT", ".mp4": b"mdat", ".webp": b"VP8 "}
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def identity() -> Identity:
    return issue()


@pytest.fixture
def signing(identity: Identity, tmp_path: Path) -> Signing:
    certificate, key = identity.write(tmp_path)
    return Signing(certificate, key)


def read(content: bytes, suffix: str, identity: Identity) -> tuple[str, dict[str, Any]]:
    """The verdict of a reader that trusts the root, and the manifest."""
    trust = {"trust": {"trust_anchors": identity.root}, "verify": {"verify_trust": True}}
    with (
        c2pa.Context.from_dict(trust) as context,
        c2pa.Reader(MEDIA_TYPES[suffix], BytesIO(content), context=context) as reader,
    ):
        return reader.get_validation_state(), reader.get_active_manifest()


def verdict(content: bytes, suffix: str, identity: Identity) -> str:
    try:
        return read(content, suffix, identity)[0]
    except c2pa.C2paError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_a_reader_finds_who_made_a_file_and_trusts_it(
    job_type: str, identity: Identity, signing: Signing, tmp_path: Path
) -> None:
    request = request_for(job_type)
    (asset,) = encode(request, tmp_path, options=MediaOptions(signing=signing)).assets
    assert asset.bytes == asset.path.stat().st_size
    for path in every_file(asset):
        state, manifest = read(path.read_bytes(), path.suffix, identity)
        assert state == "Trusted"
        assertions = {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}
        assert assertions.keys() <= {"c2pa.actions.v2", "c2pa.hash.bmff.v3"}  # no copy of the picture
        assert assertions["c2pa.actions.v2"] == {"actions": [CREATED]}
        assert manifest["signature_info"]["common_name"] == "tests leaf"
        assert properties_of(xmp_of(path))["DigitalSourceType"] == CREATED["digitalSourceType"]


def test_signing_changes_no_pixel(signing: Signing, tmp_path: Path) -> None:
    request = request_for()
    (asset,) = encode(request, tmp_path, options=MediaOptions(signing=signing)).assets
    assert np.array_equal(np.asarray(Image.open(asset.path)), gradient(request)[0])


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_a_changed_byte_is_noticed(job_type: str, identity: Identity, signing: Signing, tmp_path: Path) -> None:
    request = request_for(job_type)
    (asset,) = encode(request, tmp_path, frames=noise(request), options=MediaOptions(signing=signing)).assets
    for path in every_file(asset):
        whole = path.read_bytes()
        assert verdict(whole, path.suffix, identity) == "Trusted"
        pixels = whole.index(PIXELS[path.suffix]) + 100
        marks = whole.index(b"trainedAlgorithmicMedia", whole.index(b"<?xpacket"))
        for position in (pixels, marks):
            tampered = bytearray(whole)
            tampered[position] ^= 1
            assert verdict(bytes(tampered), path.suffix, identity) == "Invalid"


def test_without_a_certificate_there_is_no_manifest(identity: Identity, tmp_path: Path) -> None:
    (asset,) = encode(request_for(), tmp_path).assets
    assert "ManifestNotFound" in verdict(asset.path.read_bytes(), ".png", identity)


def without_the_leaf(identity: Identity) -> Identity:
    return Identity(identity.root, identity.key, identity.root)


def with_another_key(identity: Identity) -> Identity:
    return Identity(identity.chain, issue().key, identity.root)


@pytest.mark.parametrize(
    ("unfit", "says"),
    [
        pytest.param(lambda _: issue(valid_from=timedelta(days=-60)), "not valid at time of signing", id="expired"),
        pytest.param(lambda _: issue(valid_from=timedelta(days=1)), "not valid at time of signing", id="not yet valid"),
        pytest.param(lambda _: issue(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "is invalid", id="for a web server"),
        pytest.param(without_the_leaf, "self-signed", id="self-signed"),
        pytest.param(with_another_key, "does not match", id="another key"),
        pytest.param(lambda good: Identity("no certificate", good.key, good.root), "certificate", id="no certificate"),
        pytest.param(lambda good: Identity(good.chain, "no key", good.root), "private key", id="no key"),
        pytest.param(lambda good: Identity("", good.key, good.root), "certificate", id="empty"),
    ],
)
def test_an_unfit_certificate_is_a_sentence_before_the_first_job(
    unfit: Callable[[Identity], Identity], says: str, identity: Identity, tmp_path: Path
) -> None:
    certificate, key = unfit(identity).write(tmp_path)
    with pytest.raises(ConfigurationError, match=says) as raised:
        ManifestSigner(Signing(certificate, key))
    assert all(str(path) in str(raised.value) for path in (certificate, key))
    assert "documentSigning" in str(raised.value)


def test_an_algorithm_of_another_key_is_a_sentence(signing: Signing) -> None:
    with pytest.raises(ConfigurationError, match="OURVIDZ_C2PA_ALGORITHM ps256 cannot sign"):
        ManifestSigner(Signing(signing.certificate, signing.key, "ps256"))


def test_a_missing_file_is_named(signing: Signing, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    with pytest.raises(ConfigurationError, match=f"OURVIDZ_C2PA_CERTIFICATE names {gone}.*No such file"):
        ManifestSigner(Signing(gone, signing.key))
    with pytest.raises(ConfigurationError, match=f"OURVIDZ_C2PA_KEY names {gone}.*No such file"):
        ManifestSigner(Signing(signing.certificate, gone))


def test_a_certificate_that_expires_stops_the_worker_and_fails_no_job(
    signing: Signing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = ManifestSigner(signing)
    late = issue(valid_from=timedelta(days=-60))
    monkeypatch.setattr(signer, "_certificate", late.chain.encode())
    monkeypatch.setattr(signer, "_key", late.key.encode())
    (asset,) = encode(request_for(), tmp_path).assets
    whole = asset.path.read_bytes()
    with pytest.raises(ConfigurationError, match="not valid at time of signing"):
        signer.sign(asset.path, "image/png")
    assert asset.path.read_bytes() == whole


def test_a_file_that_cannot_be_signed_is_its_own_fault(signing: Signing, tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(b"no picture")
    with pytest.raises(OutputInvalid, match=r"0\.png cannot be signed"):
        ManifestSigner(signing).sign(path, "image/png")


def test_a_timestamp_service_out_of_reach_costs_the_timestamp_alone(
    identity: Identity, signing: Signing, tmp_path: Path
) -> None:
    stamped = Signing(signing.certificate, signing.key, timestamp_url=NOBODY)
    with capture_logs() as lines:
        assets = encode(request_for(num_images=3), tmp_path, options=MediaOptions(signing=stamped)).assets
    assert [line["event"] for line in lines] == ["c2pa_timestamp_missing"]  # and nobody waits for it again and again
    for asset in assets:
        assert verdict(asset.path.read_bytes(), ".png", identity) == "Trusted"


def test_the_key_is_in_no_text(identity: Identity, signing: Signing, tmp_path: Path) -> None:
    secret = identity.key.splitlines()[1]
    options = MediaOptions(signing=Signing(signing.certificate, signing.key, timestamp_url=NOBODY))
    with capture_logs() as lines:
        (asset,) = encode(request_for(), tmp_path, options=options).assets
    swapped = Signing(signing.key, signing.certificate)
    with pytest.raises(ConfigurationError) as raised:
        ManifestSigner(swapped)
    told = f"{lines}{raised.value!r}{ManifestSigner(signing)!r}{options!r}".encode() + asset.path.read_bytes()
    assert secret.encode() not in told
