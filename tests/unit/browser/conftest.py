import browser_data
import chromium
import pytest


@pytest.fixture(scope="module")  # a program that is forked while it runs, by tests of other files, keeps it from ending
def browser():
    program = chromium.program()
    sync = pytest.importorskip("playwright.sync_api", reason="pip install playwright to run this")
    with sync.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    return browser_data.Study(tmp_path_factory.mktemp("browsed"))


@pytest.fixture
def visit(browser, study):
    """Open the page at an address after the #, each time as a new browser; at the end nothing may have gone wrong."""
    seen = []

    def open_page(hash_="", width=1400, height=1500, address=None, **options):
        seen.append(chromium.Seen(browser, address or study.address(hash_), width, height, **options))
        return seen[-1]

    yield open_page
    for one in seen:
        one.context.close()
        assert one.wrong == []
