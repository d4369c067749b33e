"""The case browser's page in headless Chromium: time to the first patch, frames while scrolling, memory.

A made study of one case of 3,000 patches (thumbnails of 96 px that compress as tissue does), opened from disk. Frames
are counted while the page scrolls through all patches, by attention and in the order of a blinded reading; both need
all sheets on each screen.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import browser_data
import chromium
from playwright.sync_api import sync_playwright

FIRST, MEMORY, FRAME = 1000, 300, 1000 / 60  # ms, MB, ms
SCROLL = """(seconds) => new Promise((resolve) => {
  const pane = document.querySelector('.panes');
  const [times, begin] = [[], performance.now()];
  const step = (now) => {
    times.push(now);
    const part = (performance.now() - begin) / 1000 / seconds;
    pane.scrollTop = part * (pane.scrollHeight - pane.clientHeight);
    part < 1 ? requestAnimationFrame(step) : resolve(times);
  };
  requestAnimationFrame(step);
})"""
# Milliseconds from the start of loading until a frame shows a patch whose sheet is decoded.
SHOWN = """() => {
  const look = async () => {
    const thumb = document.querySelector('.pane .grid .cell .thumb');
    if (!thumb) return requestAnimationFrame(look);
    const sheet = new Image();
    sheet.src = /url\\("(.*)"\\)/.exec(getComputedStyle(thumb).backgroundImage)[1];
    await sheet.decode();
    requestAnimationFrame(() => requestAnimationFrame((now) => (window.shown = now)));
  };
  look();
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=8, help="of scrolling")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        third = args.patches // 3
        slices = {(0, "A1"): third, (1, "B1"): third, (2, "C1"): args.patches - 2 * third}
        cases = (("1", "01", 1, (0.7, 0.3), slices, {"placed": True}), *browser_data.CASES[1:3])
        study = browser_data.Study(Path(folder), cases, px=96, tissue=True)
        browser = playwright.chromium.launch(executable_path=chromium.program(), args=["--no-sandbox"])
        first = [first_patch(browser, study) for _ in range(args.repeats)]
        print(f"first patch of {args.patches:,}: {np.median(first):.0f} ms (most {max(first):.0f}), limit {FIRST}")
        for name, hash_ in (("by attention", "#case=1"), ("blinded", "#case=1&blind=1")):
            frames, memory = scrolled(browser, study, hash_, args.seconds)
            slow, late = np.quantile(frames, 0.95), (frames > 1.5 * FRAME).mean()
            print(f"scrolling {name}: {1000 / frames.mean():.1f} frames/s, 95% within {slow:.1f} ms, {late:.1%} late")
            print(f"    memory {memory:.0f} MB, limit {MEMORY}")
        browser.close()


def first_patch(browser, study):
    """Milliseconds from the start of loading until a patch is on the page of a browser that was never there."""
    seen = opened(browser, study, "#case=1")
    took = seen.page.evaluate("window.shown")
    seen.context.close()
    return took


def opened(browser, study, hash_):
    """A page that shows its patches."""
    seen = chromium.Seen(browser, "about:blank", height=900)
    seen.page.add_init_script(f"({SHOWN})()")
    seen.page.goto(study.address(hash_))
    while not seen.page.evaluate("window.shown"):
        seen.page.wait_for_timeout(20)
    return seen


def scrolled(browser, study, hash_, seconds):
    """Milliseconds of each frame while scrolling through all patches, and MB of the page's process afterwards."""
    seen = opened(browser, study, hash_)
    times = seen.page.evaluate(SCROLL, seconds)
    largest = max(resident(one["id"]) for one in processes(browser) if one["type"] == "renderer")
    seen.context.close()
    return np.diff(times), largest


def processes(browser):
    return browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]


def resident(process):
    """Proportional set size in MB: memory that is shared counts by its share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
