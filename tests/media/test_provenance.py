"""Every file says that a model made it, and nothing of its job that nobody asked to have in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ourvidz_worker import __version__
from ourvidz_worker.engines.media.options import EMBEDDABLE, Embeddable, MediaOptions
from ourvidz_worker.engines.media.provenance import xmp_packet
from tests.media.orders import MODEL, boxes, chunks, encode, every_file, properties_of, request_for, xmp_of

BY_DEFAULT = {
    "DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    "CreatorTool": f"ourvidz_worker {__version__}",
    "AISystemUsed": MODEL,
}
TOLD: dict[Embeddable, tuple[str, str]] = {
    "prompt": ("AIPromptInformation", "a lighthouse"),
    "user_id": ("UserId", "user-1"),
    "job_id": ("JobId", "job-1"),
    "seed": ("Seed", "7"),
}


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_files_and_thumbnails_say_what_made_them_and_no_more(job_type: str, tmp_path: Path) -> None:
    (asset,) = encode(request_for(job_type), tmp_path).assets
    for path in every_file(asset):
        assert properties_of(xmp_of(path)) == BY_DEFAULT
        content = path.read_bytes()
        assert not any(word in content for word in (b"lighthouse", b"user-1", b"job-1"))


@pytest.mark.parametrize("wish", EMBEDDABLE)
@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_what_is_asked_for_is_embedded_alone(job_type: str, wish: Embeddable, tmp_path: Path) -> None:
    options = MediaOptions(embed=frozenset({wish}))
    (asset,) = encode(request_for(job_type), tmp_path, options=options).assets
    for path in every_file(asset):
        assert properties_of(xmp_of(path)) == BY_DEFAULT | dict([TOLD[wish]])


def test_each_picture_of_a_batch_names_its_own_seed(tmp_path: Path) -> None:
    options = MediaOptions(embed=frozenset({"seed"}))
    assets = encode(request_for(num_images=3), tmp_path, options=options).assets
    assert [properties_of(xmp_of(asset.path))["Seed"] for asset in assets] == ["7", "8", "9"]


def test_readers_of_png_meet_the_marks_before_the_pixels(tmp_path: Path) -> None:
    (asset,) = encode(request_for(), tmp_path).assets
    kinds = [kind for kind, _ in chunks(asset.path)]
    assert kinds.index(b"iTXt") < kinds.index(b"IDAT")
    texts = {kind: content for kind, content in chunks(asset.path) if kind in (b"iTXt", b"tEXt")}
    assert texts[b"iTXt"].startswith(b"XML:com.adobe.xmp\0\0\0\0\0<?xpacket")  # not compressed, no language
    assert texts[b"tEXt"] == f"Software\0ourvidz_worker {__version__}".encode()


def test_the_marks_of_an_mp4_leave_its_index_in_front(tmp_path: Path) -> None:
    (asset,) = encode(request_for("video_fast"), tmp_path).assets
    assert [kind for kind, _ in boxes(asset.path)] == [b"ftyp", b"moov", b"free", b"mdat", b"uuid"]


@given(st.text())
@example("</rdf:Description><Iptc4xmpExt:DigitalSourceType>a photograph</Iptc4xmpExt:DigitalSourceType>")
@example('<?xpacket end="w"?>')
@example("]]> <!-- <![CDATA[ &lt; &#0;")
@example('" xmlns:x="elsewhere')
@example("line\r\nline\rline\n\ttab")
@example("\x00\x1b[31m\ud800\ufffe")
def test_no_prompt_breaks_the_packet_or_reads_as_another(prompt: str) -> None:
    told = properties_of(xmp_packet(MODEL, {"prompt": prompt}))
    assert told.keys() == BY_DEFAULT.keys() | {"AIPromptInformation"}
    assert told["DigitalSourceType"] == BY_DEFAULT["DigitalSourceType"]
    read = told["AIPromptInformation"]
    assert len(read) == len(prompt)
    assert all(seen in (said, "\ufffd") for seen, said in zip(read, prompt, strict=True))
    if prompt.isprintable():
        assert read == prompt


def test_the_packet_is_utf_8_with_the_marks_that_scanners_look_for() -> None:
    packet = xmp_packet(MODEL, {"prompt": "灯塔 🌊"}).encode()
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith(b'<?xpacket end="r"?>')
    assert "灯塔 🌊".encode() in packet
