"""The studio as a person uses it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import FilePayload, Locator, Page, expect

PATIENCE = 60_000  # milliseconds; a limit, not a time


def sign_in(page: Page) -> None:
    page.get_by_role("button", name="Continue as the demo user").click()
    expect(page.locator("#studio")).to_be_visible()


def loads(picture: Locator) -> None:
    """Return once the whole picture has come from its server; a broken one is complete, but has no width of its own."""
    expect(picture).not_to_have_js_property("naturalWidth", 0)
    expect(picture).to_have_js_property("complete", value=True)


class StudioPage:
    """Labels and texts as they are on the page; `prompt` tells the jobs of a test from others."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def choose(self, family: str, quality: str = "Fast", *, enhanced: bool = False) -> None:
        self.page.get_by_role("radio", name=family, exact=True).check()
        self.page.get_by_role("radio", name=quality, exact=True).check()
        switch = self.page.get_by_role("switch", name="Qwen rewrites")
        if switch.is_enabled():
            switch.set_checked(enhanced)

    def pictures(self, count: int) -> None:
        self.page.get_by_role("radio", name=str(count), exact=True).check()

    def write(self, prompt: str) -> None:
        self.page.get_by_label("Prompt", exact=True).fill(prompt)

    def generate(self, prompt: str) -> None:
        self.write(prompt)
        self.page.get_by_role("button", name="Generate").click()

    def refer(self, role: str, picture: Path | FilePayload) -> str:
        """Fill a slot with a file of this machine; gives the path that it has in the store."""
        with self.page.expect_file_chooser() as chosen:
            self.page.get_by_role("button", name=f"{role}: choose a picture").click()
        with self.page.expect_response(lambda answer: answer.request.method == "POST") as uploaded:
            chosen.value.set_files(picture)
        return str(uploaded.value.json()["Key"])

    def show(self, view: str) -> None:
        """One of the two that a phone has room for."""
        self.page.get_by_role("navigation", name="Views").get_by_role("button", name=view).click()

    def card(self, prompt: str) -> Locator:
        return self.page.locator(".card", has=self.page.locator(".caption .prompt", has_text=prompt))

    def becomes(self, prompt: str, status: str) -> Locator:
        card = self.card(prompt).first
        expect(card).to_have_attribute("data-status", status, timeout=PATIENCE)
        return card

    def open(self, prompt: str) -> Locator:
        self.card(prompt).first.locator(".open").click()
        details = self.page.get_by_role("dialog")
        expect(details).to_be_visible()
        return details

    def fact(self, name: str) -> Locator:
        return self.page.locator("#details dl div", has=self.page.get_by_text(name, exact=True)).locator("dd")

    def plays(self) -> None:
        """Return once the open clip moves."""
        self.page.wait_for_function(
            "() => { const clip = document.querySelector('#details video');"
            " return clip && !clip.paused && clip.videoWidth === 480 && clip.currentTime > 0.1; }"
        )
