"""The pages in pictures, for the README: `scripts/screenshots/take [FOLDER]`.

A whole session is played on the embedded backend and a real orchestrator, whose workers draw with the demo models.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Self

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from ourvidz_worker.cli.operate.embedded_page import operated
from scripts.demo_models.painting import paint
from scripts.demo_models.scenes import Scene, Thing, laid_out
from tests.studio.stage import Stage, running_stage
from tests.studio.studio_page import PATIENCE, StudioPage, sign_in
from tests.support.browsing import PHONE, chromium, opened
from tests.support.embedded import RunningBackend

FOLDER = Path(__file__).parents[2] / "scripts" / "screenshots"
LARGEST_BYTES = 250_000
SEEN_ARE_LOADED = """() => [...document.images].every(
    (picture) => picture.complete || !picture.checkVisibility() || picture.getBoundingClientRect().top > innerHeight
)"""
QUALITIES = (90, 84, 78, 70, 60)
BATCH = "A red windmill on a meadow at sunset, oil painting"
SCENES = (
    ("SDXL image", "Fast", 1, 4212, "A red lighthouse on a green hill at dusk, two gulls"),
    ("SDXL image", "High", 6, 1310, BATCH),
    ("WAN image", "High", 1, 511, "A blue house in the snow, in the morning"),
    ("WAN video", "Fast", 1, 910, "A purple balloon rises in the desert at noon"),
    ("SDXL image", "Fast", 3, 722, "A yellow castle by the sea at night, crescent moon"),
    ("WAN image", "Fast", 1, 83, "A red sun and a large green cactus in the desert"),
    ("SDXL image", "High", 1, 1208, "Two white boats on the sea, a green balloon"),
)
RUNNING = (
    ("WAN video", "Fast", 1, 64, "A red boat sails to the left, on the sea, at dusk"),
    ("WAN image", "Fast", 1, 37, "A white cloud over a green hill"),
    ("WAN image", "High", 1, 77, "A blue flower on a meadow, thick fog"),
)
STYLE = Scene((Thing("mountain", "purple", size="large"), Thing("sun", "orange")), time="dusk", style="painterly")
ROOMY = (1440, 1000)


class OperatedBackend(RunningBackend):
    """With the operator's page."""

    def __init__(self, data: Path, *, pods: Any = (), **options: Any) -> None:
        super().__init__(data, pods=pods, **options)
        self._pods = pods
        self._pages = AsyncExitStack()

    def __enter__(self) -> Self:
        self._loop.start()
        self.run(self._begin())
        return self

    async def _begin(self) -> None:
        await self._pages.enter_async_context(operated(self.backend, pods=self._pods, variables={}))
        await self.backend.start()

    async def _finish(self) -> None:
        await self.backend.stop()
        await self._pages.aclose()

    def _end(self) -> None:
        try:
            self.run(self._finish())
        finally:
            self._loop.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/screenshots/take", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where they go (default: %(default)s)")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    variables = {"WORKER_MODULE": "tests.studio.held_worker", "OURVIDZ_MODELS": "demo"}
    with (
        tempfile.TemporaryDirectory(prefix="ourvidz-") as scratch,
        running_stage(Path(scratch), backend_class=OperatedBackend, variables=variables) as stage,
        chromium() as browser,
    ):
        take(stage, browser, folder)


def take(stage: Stage, browser: Browser, folder: Path) -> None:
    with opened(browser, stage.url, size=ROOMY) as page:
        sign_in(page)
        studio = StudioPage(page)
        for scene in SCENES:
            _generate(studio, *scene)
        for *_, prompt in SCENES:
            studio.becomes(prompt, "completed")
        with stage.held():
            for scene in RUNNING:
                _generate(studio, *scene)
            _prepare(studio)
            _settled(studio)
            _keep(page, folder / "studio-dark.webp")
            page.get_by_role("button", name="Light or dark").click()
            _keep(page, folder / "studio-light.webp")
            page.goto(f"{stage.url}/operator")
            expect(page.locator(".worker", has_text="wan")).to_contain_text("busy", timeout=PATIENCE, ignore_case=True)
            page.get_by_role("button", name="Light or dark").click()
            _keep(page, folder / "operator.webp")
            _phone(stage, browser, folder)
        page.goto(stage.url)
        studio.becomes(RUNNING[-1][-1], "completed")
        studio.open(BATCH)
        _keep(page, folder / "details.webp")


def _phone(stage: Stage, browser: Browser, folder: Path) -> None:
    """The form and the gallery, side by side."""
    with opened(browser, stage.url, size=PHONE, device_scale_factor=2) as page:
        sign_in(page)
        studio = StudioPage(page)
        studio.choose("WAN video")
        studio.write(SCENES[3][-1])
        form = _picture(page)
        studio.show("Gallery")
        _settled(studio)
        studio.card(RUNNING[0][-1]).evaluate("(card) => scrollTo(0, card.offsetTop - 72)")
        gallery = _picture(page)
    gap = 48
    both = Image.new("RGB", (form.width * 2 + gap, form.height), (128, 128, 140))
    both.paste(form, (0, 0))
    both.paste(gallery, (form.width + gap, 0))
    _write(both, folder / "phone.webp")


def _generate(studio: StudioPage, family: str, quality: str, count: int, seed: int, prompt: str) -> None:
    studio.choose(family, quality)
    if family != "WAN video":
        studio.pictures(count)
    studio.page.get_by_label("Seed", exact=True).fill(str(seed))
    studio.generate(prompt)


def _prepare(studio: StudioPage) -> None:
    """A form that somebody is at work on."""
    style = io.BytesIO()
    Image.fromarray(paint(STYLE, laid_out(STYLE, Random(1), 4 / 3), 320, 240)).save(style, "PNG")
    studio.choose("SDXL image", "High")
    studio.pictures(6)
    studio.refer("Style", {"name": "style.png", "mimeType": "image/png", "buffer": style.getvalue()})
    studio.write("A bridge and a tree")
    studio.page.get_by_role("button", name="Enhance", exact=True).click()
    expect(studio.page.locator(".version")).to_have_count(2)
    studio.page.get_by_role("heading", name="Gallery").click()


def _settled(studio: StudioPage) -> None:
    running = studio.card(RUNNING[0][-1])
    expect(running.locator(".more")).to_contain_text("of 25", timeout=PATIENCE)
    expect(running.locator(".preview")).to_be_visible(timeout=PATIENCE)
    expect(studio.card(RUNNING[-1][-1]).locator(".more")).to_have_text("Next in line")
    expect(studio.page.locator(".notice")).to_have_count(0, timeout=PATIENCE)


def _keep(page: Page, path: Path) -> None:
    _write(_picture(page), path)


def _picture(page: Page) -> Image.Image:
    page.wait_for_function(SEEN_ARE_LOADED)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def _write(picture: Image.Image, path: Path) -> None:
    for quality in QUALITIES:
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=quality, method=6)
        if content.tell() < LARGEST_BYTES:
            path.write_bytes(content.getvalue())
            print(f"{path} {content.tell() // 1000} kB")  # noqa: T201 - says what was made
            return
    raise ValueError(f"{path.name} has more than {LARGEST_BYTES} bytes in every quality")


if __name__ == "__main__":
    main()
