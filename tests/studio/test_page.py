"""The page without a pod behind it: signing in, the form, filters, keys, themes, and a backend that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from ourvidz_worker.local.page import STATIC
from tests.studio.studio_page import StudioPage, loads, sign_in
from tests.support.browsing import DESKTOP, PHONE, barriers, opened
from tests.support.embedded import RunningBackend
from tests.support.ports import free_port

IDEAS = json.loads((STATIC / "ideas.json").read_text())
REFUSED = "Failed to load resource"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture
def backend(shared: RunningBackend) -> RunningBackend:
    shared.clear()
    return shared


@pytest.fixture
def page(backend: RunningBackend, browser: Browser) -> Iterator[Page]:
    with opened(browser, backend.url) as page:
        yield page


@pytest.fixture
def studio(page: Page) -> StudioPage:
    sign_in(page)
    return StudioPage(page)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(backend: RunningBackend, browser: Browser, size: tuple[int, int], scheme: str) -> None:
    with opened(browser, backend.url, size=size, scheme=scheme) as page:  # type: ignore[arg-type]
        expect(page.get_by_label("Email")).to_be_focused()
        assert barriers(page) == []
        sign_in(page)
        expect(page.locator("#empty")).to_contain_text("Nothing here yet")
        assert barriers(page) == []


def test_an_empty_gallery_offers_ideas_with_pictures(studio: StudioPage) -> None:
    ideas = studio.page.locator("#empty .ideas button")
    expect(ideas).to_have_count(len(IDEAS))
    for shown, idea in zip(ideas.all(), IDEAS, strict=True):
        loads(shown.locator("img"))
        shown.click()
        expect(studio.page.get_by_label("Prompt", exact=True)).to_have_value(idea["prompt"])


def test_signing_in_and_out(backend: RunningBackend, browser: Browser) -> None:
    with opened(browser, backend.url, expected=REFUSED) as page:
        page.get_by_label("Email").fill("demo@ourvidz.example")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("Invalid login credentials.")
        page.get_by_label("Password").fill(backend.backend.keys.demo_password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#studio")).to_be_visible()
        page.reload()
        expect(page.locator("#studio")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Welcome to the studio")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


def test_a_token_that_has_lapsed_is_renewed(backend: RunningBackend, browser: Browser) -> None:
    with opened(browser, backend.url, expected=REFUSED) as page:
        sign_in(page)
        page.evaluate("""() => {
            const kept = JSON.parse(sessionStorage["ourvidz.session"]);
            sessionStorage["ourvidz.session"] = JSON.stringify({ ...kept, access_token: "spoilt" });
        }""")
        page.reload()
        StudioPage(page).generate("after a long lunch")
        StudioPage(page).becomes("after a long lunch", "queued")


def test_what_is_missing_or_wrong_is_said_at_once(studio: StudioPage, tmp_path: Path) -> None:
    page, notes, big = studio.page, tmp_path / "notes.txt", tmp_path / "big.png"
    notes.write_text("x")
    big.write_bytes(bytes(10 * 1024 * 1024 + 1))
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#problem")).to_have_text("Say what the picture shall show.")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.get_by_label("Seed", exact=True).fill("-4")
    expect(page.locator("#seed-problem")).to_contain_text("A seed is a whole number")
    studio.generate("with a wrong seed")
    expect(page.get_by_label("Seed", exact=True)).to_be_focused()
    expect(page.locator(".card:not(.ghost)")).to_have_count(0)
    for wrong, sentence in ((notes, "notes.txt is no PNG, JPEG or WEBP"), (big, "big.png has more than 10 MiB")):
        with page.expect_file_chooser() as chosen:
            page.get_by_role("button", name="Style: choose a picture").click()
        chosen.value.set_files(wrong)
        expect(page.locator(".notice").last).to_contain_text(sentence)


def test_a_refused_job_leaves_the_gallery_and_says_why(backend: RunningBackend, browser: Browser) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=500, json={"success": False, "error": "Redis queue failed", "details": "out of quota"})

    with opened(browser, backend.url, expected=REFUSED) as page:
        sign_in(page)
        page.route("**/functions/v1/queue-job", refuse)
        StudioPage(page).generate("never queued")
        expect(page.locator("#problem")).to_have_text("Redis queue failed: out of quota")
        expect(StudioPage(page).card("never queued")).to_have_count(0)
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("never queued")


def test_seeds_are_shuffled_locked_and_spent(studio: StudioPage) -> None:
    seed = studio.page.get_by_label("Seed", exact=True)
    studio.page.get_by_role("button", name="Shuffle the seed").click()
    assert seed.input_value().isdigit()
    studio.generate("once")
    studio.becomes("once", "queued")
    expect(seed).to_have_value("")
    studio.page.get_by_role("button", name="Keep this seed").click()
    kept = seed.input_value()
    studio.generate("twice")
    studio.becomes("twice", "queued")
    expect(seed).to_have_value(kept)


def test_filters_by_type_and_status(studio: StudioPage) -> None:
    studio.choose("SDXL image")
    studio.generate("a still")
    studio.choose("WAN video", "High")
    studio.generate("a clip")
    shown, types = studio.page.locator("#shown"), studio.page.get_by_label("Type", exact=True)
    expect(shown).to_have_text("2 jobs")
    types.select_option("video_high")
    expect(studio.card("a still")).to_have_count(0)
    expect(studio.card("a clip")).to_have_count(1)
    expect(shown).to_have_text("1 of 2")
    studio.page.get_by_role("radio", name="Done").check()
    expect(studio.page.locator("#empty")).to_contain_text("No job fits this filter")
    studio.page.get_by_role("button", name="Show all jobs").click()
    expect(shown).to_have_text("2 jobs")


def test_with_the_keyboard_alone(studio: StudioPage) -> None:
    page, keys = studio.page, studio.page.keyboard
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.reload()
    expect(page.locator("#studio")).to_be_visible()
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the prompt")).to_be_focused()
    keys.press("/")
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    keys.type("typed, not clicked")
    keys.press("Control+Shift+Enter")
    expect(page.locator(".version").filter(has_text="Enhanced")).to_contain_text("typed, not clicked, sharp focus")
    keys.press("Control+Enter")
    card = studio.becomes("typed, not clicked", "queued")
    card.locator(".open").focus()
    keys.press("Enter")
    details = page.get_by_role("dialog")
    expect(details.get_by_role("button", name="Close")).to_be_focused()
    for _ in range(6):
        keys.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    keys.press("Escape")
    expect(details).to_be_hidden()
    expect(card.locator(".open")).to_be_focused()
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()


def test_a_theme_is_kept(page: Page) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light or dark").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light


def test_a_backend_that_goes_away_and_comes_back(tmp_path: Path, browser: Browser) -> None:
    port = free_port()
    with RunningBackend(tmp_path, port=port) as first:
        url = first.url
        context = opened(browser, url, expected="net::ERR")
        page = context.__enter__()
        sign_in(page)
        line = page.locator("#line")
        expect(line).to_have_text("Live")
    expect(line).to_have_text("Reconnecting")
    StudioPage(page).generate("into the void")
    expect(page.locator("#problem")).to_have_text("The backend does not answer. Is it still running?")
    with RunningBackend(tmp_path, port=port):
        expect(line).to_have_text("Live", timeout=30_000)
        StudioPage(page).generate("heard again")
        StudioPage(page).becomes("heard again", "queued")
        context.__exit__(None, None, None)


def test_a_studio_that_cannot_begin_offers_to_try_again(backend: RunningBackend, browser: Browser) -> None:
    with opened(browser, backend.url, expected=REFUSED) as page:
        page.route("**/local/config", lambda route: route.abort())
        page.reload()
        expect(page.get_by_role("heading", name="The studio cannot be reached")).to_be_visible()
        assert barriers(page) == []
        page.unroute("**/local/config")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("heading", name="Welcome to the studio")).to_be_visible()
