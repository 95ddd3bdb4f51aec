"""The operator's page in a browser: what it shows, what it does, and that everybody can use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.applications import Starlette

from ourvidz_worker.cli.operate.server import SHARED
from ourvidz_worker.local.server import LocalServer
from ourvidz_worker.operate.guard import Guard
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.operate.page import OperatorPage
from tests.operate.scene import Scene
from tests.operate.scripted_pod import BUSY
from tests.support.browsing import DESKTOP, PHONE, barriers, chromium, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def row(page: Page, table: str, text: str) -> Locator:
    return page.locator(f"#{table} tbody tr", has_text=text)


def answers(page: Page, button: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=button).click()


def told(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#told")).to_contain_text(text)


def filled(scene: Scene) -> tuple[str, str, str]:
    """A dead letter of a job that is over, one of a job that is not, and a parked result."""
    over, waiting, parked = scene.submit(), scene.submit("video_fast"), scene.submit()
    scene.bury(scene.taken(), "parked as well")
    scene.park(parked)
    scene.bury(scene.taken("wan_queue"), queue="wan_queue")
    scene.bury(scene.taken())
    scene.status_becomes(over, "completed")
    return over, waiting, parked


def test_everything_is_on_one_page(scene: Scene, browser: Browser) -> None:
    filled(scene)
    scene.submit("sdxl_image_high")
    with opened(browser, scene.url) as page:
        expect(page.locator("#verdict h2")).to_have_text("2 things need you")
        queue = page.locator(".queue", has_text="sdxl_queue")
        expect(queue.locator("strong")).to_have_text("1")
        expect(queue).to_contain_text("about 8 s")
        wan = page.locator(".worker").filter(has=page.get_by_role("heading", name="wan", exact=True))
        expect(wan).to_contain_text("Generating · step 12 of 25 · attempt 2")
        expect(wan.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "48")
        expect(page.locator(".memory")).to_contain_text("wan · text encoder11.4 GB, idle")
        expect(page.locator("#failures")).to_contain_text("out_of_memory")
        expect(page.get_by_role("link", name="Studio")).to_be_visible()
        scene.pod.status = {**BUSY, "uptime_seconds": 99_999.0}
        expect(page.locator(".about")).to_contain_text("27 h")  # and nothing has moved by then


def test_what_changes_is_shown_without_a_reload(scene: Scene, browser: Browser) -> None:
    with opened(browser, scene.url) as page:
        expect(page.locator("#verdict h2")).to_have_text("All is well")
        scene.submit()
        expect(page.locator(".queue strong").first).to_have_text("1")
        scene.pod.status = {**BUSY, "workers": {"sdxl": {**BUSY["workers"]["sdxl"], "state": "FAILED"}}}  # type: ignore[index]
        expect(page.locator("#verdict")).to_contain_text("The sdxl worker cannot work")
        scene.pod.status = b"<html>"
        expect(page.locator("#pods")).to_contain_text("is no pod")
        page.evaluate("window.shifts = []")  # what is new takes its room


def test_letters_are_kept_queued_again_or_dropped(scene: Scene, browser: Browser) -> None:
    over, waiting, parked = filled(scene)
    with opened(browser, scene.url) as page:
        requeue = row(page, "dead", waiting).get_by_role("button", name="Requeue")
        requeue.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(requeue).to_be_focused()
        assert scene.redis("LLEN", "wan_queue") == 0
        requeue.click()
        answers(page, "Queue again")
        told(page, "Queued again on wan_queue")
        assert scene.redis("LLEN", "wan_queue") == 1

        row(page, "dead", over).get_by_role("button", name="Requeue").click()
        answers(page, "Queue again")
        expect(page.get_by_role("dialog")).to_contain_text("as completed already")
        assert scene.redis("LLEN", "sdxl_queue") == 0, "a job that is over runs again only on insistence"
        answers(page, "Queue it all the same")
        told(page, "Queued again on sdxl_queue")
        expect(row(page, "dead", over)).to_have_count(0)
        assert scene.redis("LLEN", "sdxl_queue") == 1

        row(page, "dead", parked).get_by_role("button", name="Drop").click()
        answers(page, "Drop")
        told(page, "The letter is dropped")
        expect(page.locator("#dead")).to_be_hidden()
        assert scene.redis("LLEN", "sdxl_queue:dead") == 0


def test_results_are_sent_again_or_dropped_and_jobs_cancelled(scene: Scene, browser: Browser) -> None:
    _, waiting, parked = filled(scene)
    scene.park(waiting)
    job_id = scene.submit()
    with opened(browser, scene.url) as page:
        row(page, "parked", parked).get_by_role("button", name="Resend").click()
        answers(page, "Send again")
        told(page, "Delivered as completed, dead letter dropped")
        assert scene.status_of(parked) == "completed"
        row(page, "parked", waiting).get_by_role("button", name="Drop").click()
        answers(page, "Drop")
        told(page, "The result is dropped")
        expect(page.locator("#parked")).to_be_hidden()
        assert scene.spool.parked() == []
        page.get_by_role("button", name=f"Cancel sdxl_image_fast {job_id}").click()
        answers(page, "Cancel job")
        told(page, f"Job {job_id} is cancelled")
    assert scene.redis("GET", f"worker:cancel:{job_id}") == b"operator"


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"]
)
def test_everybody_can_use_it(
    scene: Scene, browser: Browser, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    filled(scene)
    with opened(browser, scene.url, size=size, scheme=scheme) as page:
        expect(page.locator("#dead tbody tr")).to_have_count(3)
        assert barriers(page) == []


def test_a_page_without_its_token_is_locked(scene: Scene, browser: Browser) -> None:
    lookout = Lookout([scene.pod.address], None, desk_seconds=1, problem="the backend is not known")

    async def watch() -> Lookout:
        return lookout

    page_of = OperatorPage(watch, Guard("the-token"), shared=SHARED)
    server = LocalServer(Starlette(routes=page_of.routes()), "127.0.0.1", 0)
    scene.loop.run(server.start())
    url = f"http://127.0.0.1:{server.port}/operator"
    try:
        with opened(browser, f"{url}#token=the-token") as page:
            expect(page.locator("#verdict")).to_contain_text("The backend is not known")
            assert page.url == url, "the token is out of sight"
            expect(page.get_by_role("link", name="Studio")).to_be_hidden()
        with opened(browser, url, size=PHONE, expected="401") as page:
            expect(page.get_by_role("heading", name="This page needs its token")).to_be_visible()
            page.get_by_role("textbox", name="Token").fill("wrong")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_have_text("That is not the token of this page.")
            page.get_by_role("textbox", name="Token").fill("the-token")
            page.keyboard.press("Enter")
            expect(page.locator(".worker")).to_have_count(3)
    finally:
        scene.loop.run(server.stop())
        scene.loop.run(lookout.close())
