"""Whole sessions in a browser, against a real orchestrator and its two workers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, expect

from tests.studio.stage import Stage, running_stage
from tests.studio.studio_page import PATIENCE, StudioPage, loads, sign_in
from tests.support.browsing import PHONE, barriers, opened

KINDS = {
    "sdxl_image_fast": ("SDXL image", "Fast", False),
    "sdxl_image_high": ("SDXL image", "High", False),
    "image_fast": ("WAN image", "Fast", False),
    "image_high": ("WAN image", "High", False),
    "image7b_fast_enhanced": ("WAN image", "Fast", True),
    "image7b_high_enhanced": ("WAN image", "High", True),
    "video_fast": ("WAN video", "Fast", False),
    "video_high": ("WAN video", "High", False),
    "video7b_fast_enhanced": ("WAN video", "Fast", True),
    "video7b_high_enhanced": ("WAN video", "High", True),
}


def picture(colour: str) -> FilePayload:
    content = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(content, "PNG")
    return {"name": f"{colour}.png", "mimeType": "image/png", "buffer": content.getvalue()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def studio(stage: Stage, browser: Browser) -> Iterator[StudioPage]:
    with opened(browser, stage.url) as page:
        sign_in(page)
        yield StudioPage(page)


@pytest.fixture
def phone(stage: Stage, browser: Browser) -> Iterator[StudioPage]:
    with opened(browser, stage.url, size=PHONE, scheme="light", has_touch=True) as page:
        sign_in(page)
        yield StudioPage(page)


def test_every_kind_comes_back_as_what_was_asked_for(studio: StudioPage) -> None:
    for name, kind in KINDS.items():
        studio.choose(*kind[:2], enhanced=kind[2])
        expect(studio.page.locator("#facts code")).to_have_text(name)
        studio.generate(f"the kind {name}")
    for name, (family, _, enhanced) in KINDS.items():
        card = studio.becomes(f"the kind {name}", "completed")
        loads(card.locator(".cell img"))
        details = studio.open(f"the kind {name}")
        expect(studio.fact("Type")).to_have_text(name)
        expect(studio.fact("Model")).to_have_text("testcard")
        expect(studio.fact("Generated in")).to_contain_text("s (expected")
        if enhanced:
            expect(details).to_contain_text("Your words")
        if family == "WAN video":
            studio.plays()
        studio.page.keyboard.press("Escape")
        expect(details).to_be_hidden()


def test_a_batch_is_a_grid_whose_pictures_have_seeds_in_a_row(studio: StudioPage) -> None:
    studio.choose("SDXL image")
    studio.pictures(3)
    studio.page.get_by_label("Seed", exact=True).fill("4100")
    studio.generate("three lemons")
    card = studio.becomes("three lemons", "completed")
    expect(card.locator(".cell img")).to_have_count(3)
    studio.open("three lemons")
    seed = studio.fact("Seed").locator("code")
    for turned in ("4100", "4101", "4102"):
        expect(seed).to_have_text(turned)
        if turned != "4102":
            studio.page.keyboard.press("ArrowRight")
    with studio.page.expect_download() as download:
        studio.page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "three-lemons-4102.png"
    with Image.open(download.value.path()) as downloaded:
        assert downloaded.size == (1024, 1024)


def test_how_far_it_is_with_a_preview_and_places_in_line(stage: Stage, studio: StudioPage) -> None:
    studio.choose("SDXL image")
    with stage.held():
        for word in ("first", "second", "third", "fourth"):
            studio.generate(f"the {word} of a line")
        drawn = studio.card("the first of a line")
        expect(drawn.locator(".more")).to_have_text("step 3 of 15", timeout=PATIENCE)
        expect(drawn.locator(".word")).to_have_text("Generating")
        expect(drawn.locator(".preview")).to_be_visible(timeout=PATIENCE)
        loads(drawn.locator(".preview"))
        assert float(drawn.locator(".bar").evaluate("(bar) => bar.style.getPropertyValue('--share')")) == 3 / 15
        expect(studio.card("the third of a line").locator(".more")).to_have_text("Next in line")
        expect(studio.card("the fourth of a line").locator(".more")).to_have_text("2nd in line")
        expect(studio.page.get_by_role("list", name="Workers")).to_contain_text("sdxl busy")
        assert barriers(studio.page) == []
    for word in ("first", "second", "third", "fourth"):
        studio.becomes(f"the {word} of a line", "completed")
    assert studio.page.evaluate("performance.getEntriesByType('navigation').length") == 1


def test_running_and_waiting_jobs_are_cancelled(stage: Stage, studio: StudioPage) -> None:
    studio.choose("SDXL image")
    with stage.held():
        for word in ("drawn", "next", "waiting"):
            studio.generate(f"a {word} job to stop")
        drawn, waiting = studio.card("a drawn job to stop"), studio.card("a waiting job to stop")
        expect(drawn.locator(".more")).to_have_text("step 3 of 15", timeout=PATIENCE)
        expect(waiting.locator(".more")).to_have_text("Next in line")
        waiting.get_by_role("button", name="Cancel this job").click()
        studio.becomes("a waiting job to stop", "cancelled")
        drawn.get_by_role("button", name="Cancel this job").click()
        expect(drawn.locator(".word")).to_have_text("Cancelling")
        studio.becomes("a drawn job to stop", "cancelled")
    studio.becomes("a next job to stop", "completed")


def test_a_failed_job_says_why_and_is_retried(stage: Stage, studio: StudioPage) -> None:
    studio.choose("SDXL image")
    path = studio.refer("Style", picture("navy"))
    content = stage.remove(path)
    studio.generate("a harbour in a lost style")
    failed = studio.becomes("a harbour in a lost style", "failed")
    expect(failed.locator(".more")).to_contain_text("reference")
    assert barriers(studio.page) == []
    stage.put(path, content)
    failed.get_by_role("button", name="Retry this job").click()
    studio.becomes("a harbour in a lost style", "completed")
    expect(studio.card("a harbour in a lost style")).to_have_count(2)


def test_references_come_from_files_and_from_the_gallery(studio: StudioPage) -> None:
    studio.choose("SDXL image")
    studio.refer("Style", picture("teal"))
    studio.page.get_by_label("Strength of the style reference").fill("0.4")
    studio.generate("a teal bay")
    card = studio.becomes("a teal bay", "completed")
    card.locator(".stage").drag_to(studio.page.locator('.slot[data-role="composition"]'))
    expect(studio.page.get_by_alt_text("Composition reference")).to_be_visible()
    details = studio.open("a teal bay")
    used = details.locator(".used li")
    expect(used).to_contain_text(re.compile("Style.*strength 0.4", re.DOTALL))
    loads(used.locator("img"))
    details.get_by_text("Use as reference").click()
    details.get_by_role("button", name="Start frame").click()
    expect(studio.page.locator("#facts code")).to_have_text("video_fast")
    expect(studio.page.get_by_alt_text("Start frame reference")).to_be_visible()
    studio.generate("the bay comes to life")
    studio.becomes("the bay comes to life", "completed")
    details = studio.open("the bay comes to life")
    expect(details.locator(".used li")).to_contain_text(["Style", "Composition", "Start frame"])
    studio.plays()


def test_again_with_the_same_settings(studio: StudioPage) -> None:
    studio.choose("SDXL image", "High")
    studio.write("a glass orchard")
    studio.page.get_by_role("button", name="Enhance", exact=True).click()
    versions = studio.page.locator(".version")
    expect(versions.filter(has_text="Yours")).to_contain_text("a glass orchard")
    expect(versions.filter(has_text="Enhanced")).to_contain_text("a glass orchard, sharp focus")
    studio.page.get_by_text("Leave out").click()
    studio.page.get_by_label("Negative prompt").fill("birds")
    studio.page.get_by_role("button", name="Generate").click()
    studio.becomes("a glass orchard", "completed")
    studio.page.reload()
    details = studio.open("a glass orchard")
    expect(details).to_contain_text("Your words")
    expect(details).to_contain_text("Enhanced words")
    expect(details).to_contain_text("birds")
    seed = studio.fact("Seed").locator("code").inner_text()
    details.get_by_role("button", name="Again with these settings").click()
    expect(studio.page.locator("#facts code")).to_have_text("sdxl_image_high")
    expect(studio.page.get_by_label("Seed", exact=True)).to_have_value(seed)
    expect(studio.page.get_by_role("button", name="Keep this seed")).to_have_attribute("aria-pressed", "true")
    expect(studio.page.get_by_label("Negative prompt")).to_have_value("birds")
    expect(studio.page.get_by_label("Prompt", exact=True)).to_have_value(re.compile("a glass orchard, sharp focus"))
    expect(versions.filter(has_text="Yours")).to_contain_text("a glass orchard")


def test_a_session_on_a_phone(stage: Stage, phone: StudioPage) -> None:
    assert barriers(phone.page) == []
    phone.choose("WAN video")
    phone.refer("End frame", picture("olive"))
    phone.generate("waves on a phone")
    expect(phone.page.locator("#gallery")).to_be_visible()
    phone.becomes("waves on a phone", "completed")
    assert barriers(phone.page) == []
    details = phone.open("waves on a phone")
    phone.plays()
    assert barriers(phone.page) == []
    details.get_by_role("button", name="Close").click()
    phone.show("Create")
    phone.choose("SDXL image")
    with stage.held():
        phone.generate("a phone changes its mind")
        card = phone.card("a phone changes its mind")
        expect(card.locator(".preview")).to_be_visible(timeout=PATIENCE)
        expect(phone.page.locator("#active")).to_have_text("1")
        card.get_by_role("button", name="Cancel this job").click()
        phone.becomes("a phone changes its mind", "cancelled")
    card.get_by_role("button", name="Retry this job").click()
    phone.becomes("a phone changes its mind", "completed")
