"""Pages in Debian's Chromium that keep quiet on their console and do not jump about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
DESKTOP = (1440, 900)
PHONE = (360, 740)
GOOD_SHIFT = 0.1  # "good" of web.dev's Cumulative Layout Shift
SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const { value, hadRecentInput, sources } of list.getEntries()) {
            const moved = sources.map(({ node }) => node?.id || node?.className || node?.nodeName);
            if (!hadRecentInput) window.shifts.push({ value, moved });
        }
    }).observe({ type: "layout-shift", buffered: true });
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "dark",
    expected: str = "",
    **context_options: Any,
) -> Iterator[Page]:
    """A page that must not complain in its console, except about what `expected` is part of, nor move by itself."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", **context_options
    )
    context.add_init_script(SHIFTS)
    page = context.new_page()
    complaints: list[str] = []

    def heard(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning") and not (expected and expected in said.text):
            complaints.append(f"{said.text} {said.location}")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    try:
        yield page
        assert complaints == []
        shifts = page.evaluate("window.shifts")
        assert sum(shift["value"] for shift in shifts) < GOOD_SHIFT, shifts
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out at the side"
    finally:
        context.close()


def barriers(page: Page) -> list[Mapping[str, Any]]:
    """What axe finds of serious or critical impact, each with the elements concerned."""
    found = Axe().run(page).response["violations"]
    return [
        {"rule": each["id"], "where": [node["target"] for node in each["nodes"]]}
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
