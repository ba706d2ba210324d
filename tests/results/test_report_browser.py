"""The report in a browser: nothing overflows, nothing runs but its own script, headings sort."""

import base64
import json
import shutil

import pytest
from hostile_labels import relabelled

import crossed_jax as cj
from crossed_jax.results import plots
from crossed_jax.results.report import report
from crossed_jax.results.tables import tables_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
WIDTHS = (390, 1280)

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium is not installed")


@pytest.fixture(scope="module")
def page(screen_fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    tree = relabelled(screen_fit, "gene")
    assert plots.save_figures(tree, folder / "figures") == {}
    pictures = {path.stem: path.read_bytes() for path in (folder / "figures").iterdir()}
    tables = tables_of(tree)._replace(hits=cj.interactions(tree).sort("lfsr")[:60])
    path = folder / "report.html"
    path.write_text(report(tree, pictures, tables=tables), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_width_and_minds_its_own_business(browser, page, width):
    browser.get_log("performance")
    opened(browser, page, width)
    widths = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    needed, there = browser.execute_script(widths)
    assert needed == there <= width
    wide = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter(x => !x.closest('.box'))"
        ".filter(x => x.getBoundingClientRect().right > innerWidth + 1).map(x => x.outerHTML)"
    )
    assert wide == []
    assert browser.get_log("browser") == []
    assert "owned" not in browser.title.split("'")[0]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    shown = browser.execute_script(
        "return [...document.images].every(x => x.complete && x.naturalWidth > 100)"
    )
    assert shown
    assert browser.execute_script("return document.scripts.length") == 1


@pytest.mark.parametrize("press", ["click", "key"])
def test_a_heading_sorts_its_table(browser, page, press):
    opened(browser, page, 1280)

    def column(number):
        return browser.execute_script(
            "return [...document.querySelector('table.sortable').tBodies[0].rows]"
            f".map(row => row.cells[{number}].dataset.key)"
        )

    heading = "table.sortable th:nth-child(4)"
    button = browser.find_element("css selector", f"{heading} button")
    before = column(3)
    for order in ("ascending", "descending"):
        button.click() if press == "click" else button.send_keys("\ue007")
        assert browser.find_element("css selector", heading).get_attribute("aria-sort") == order
        means = list(map(float, column(3)))
        assert means == sorted(means, reverse=order == "descending")
        assert sorted(column(3)) == sorted(before)
    assert column(3) != before


def test_the_page_prints(browser, page):
    opened(browser, page, 1280)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
