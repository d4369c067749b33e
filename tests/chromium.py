"""A real browser for the tests of the case browser: headless Chromium, driven by Playwright."""

import shutil

import pytest


def program():
    """Where Chromium is; skips the test where it is not installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("install chromium to run this")
    return found


class Seen:
    """A page that is open, and what went wrong on it."""

    def __init__(self, browser, address, width=1400, height=1500, **options):
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        self.context.set_default_timeout(5000)
        self.page, self.wrong, self.asked = self.context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("console", lambda told: self.wrong.append(told.text) if "ecurity" in told.text else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def cells(self):
        """Indices of the patches in sight, in the order seen."""
        return self.page.evaluate(
            """new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then))).then(() =>
            [...document.querySelectorAll('.pane:not([hidden]) .grid .cell')]
            .filter((cell) => cell.style.display !== 'none').map((cell) => [+cell.ariaPosInSet, +cell.dataset.i])
            .sort(([a], [b]) => a - b).map(([, i]) => i))"""
        )

    def cell(self, i):
        return self.page.locator(f".grid .cell[data-i='{i}']:visible").first

    def text(self, selector):
        self.page.locator(selector).first.wait_for()
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def saved(self, press):
        """The text of the file that a button saves."""
        with self.page.expect_download() as download:
            press()
        with open(download.value.path(), encoding="utf-8", newline="") as file:
            return file.read()

    def name_reader(self, name="Anna"):
        self.page.get_by_label("Your name or initials").fill(name)
        self.page.keyboard.press("Enter")
