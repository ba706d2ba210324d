"""The report: what it tells, in which order, and that labels are only ever text in it."""

import html
from html.parser import HTMLParser

import pytest
from hostile_labels import HOSTILE, relabelled
from synthetic_tree import synthetic_tree

import crossed_jax as cj
from crossed_jax.results.report import contents, lines, report
from crossed_jax.results.report.numbers import decimals_for, fixed, percent, rate
from crossed_jax.results.tables import tables_of

PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452000003000000020008060000001f15c489")


class Page(HTMLParser):
    """Text, tags and attributes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.headings, self.text, self.silent = [], [], "", 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.silent += tag in ("script", "style")
        if tag in ("h1", "h2"):
            self.start = len(self.text)

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")
        if tag in ("h1", "h2"):
            self.headings.append(self.text[self.start :])

    def handle_data(self, data):
        self.text += "" if self.silent else data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def post():
    return synthetic_tree()[0]


def test_both_verdicts_come_first(post):
    assert Page(report(post)).headings == [
        *("logfc by gene and cell_line", "✓ Converged", "Not examined"),
        *("What was fitted", "Where the variance comes from", "Strongest effects"),
        *("Data and predictions", "The ridge", "Parameters", "How to read it", "How to cite"),
    ]


def test_a_screen_has_its_hits_and_lines(screen_fit):
    headings = Page(report(screen_fit)).headings
    place = headings.index("Strongest effects")
    assert headings[place + 1 : place + 3] == ["Hits", "Slope and noise of each line"]


def test_what_was_fitted_is_told(screen_fit):
    told = contents.fitted(screen_fit)
    assert told["Factors"] == "gene (30 levels), line (6 levels)"
    assert told["Draws"] == "2 chains × 150, after 150 of warm-up each"
    assert told["Seed"] == "0"
    assert "a slope of each line on the gene effects" in told["Model"]
    assert "noise SDs by gene and line; an interaction of gene and line" in told["Model"]
    assert told["Version"].startswith("crossed-jax ")
    page = html.unescape(report(screen_fit))
    assert all(value in page for value in told.values())


@pytest.mark.parametrize(
    ("fits", "word"), [(True, "No departure found"), (False, "does not fit"), (None, "Not")]
)
def test_a_verdict_is_told_in_its_words(post, fits, word):
    """Draws that are not to be trusted can show a departure, and no fit."""
    misfits = ("levels <b> of gene differ.",) if fits is False else ()
    diagnosis = cj.diagnose(post)._replace(
        converged=False, reasons=("R-hat is 2.",), warnings=("A & B.",), fits=fits, misfits=misfits
    )
    draws, model = contents.verdicts(diagnosis)
    assert (draws["good"], draws["word"]) == (False, "Not converged")
    assert model["good"] is (False if fits is False else None)
    assert word in model["word"]
    text = Page(report(post, tables=tables_of(post)._replace(diagnosis=diagnosis))).text
    assert all(told in text for told in ("R-hat is 2.", "A & B.", *misfits))


def test_few_levels_are_all_told_and_of_many_the_extremes():
    tree, _ = synthetic_tree({"gene": 60, "cell_line": 5}, replicates=1, draws=20)
    many, few = contents.effects_by_factor(cj.effects(tree))
    table = cj.effects(tree).filter(factor="gene").sort("mean", descending=True)
    assert [[row["level"] for row in side] for side in many["sides"]] == [
        table["level"][:10].to_list(),
        table["level"][-10:].to_list(),
    ]
    assert many["between"] == 40
    assert few["between"] == 0
    assert len(few["sides"][0]) == 5
    page = Page(report(tree))
    assert "10 highest and 10 lowest of 60 levels" in page.text
    assert "40 levels between" in page.text


def test_hits_are_cut_and_where_the_rest_is_is_told(screen_fit, monkeypatch):
    called = cj.interactions(screen_fit).sort("lfsr")[:12]
    shown = contents.hits_shown(called, screen_fit)
    assert shown["number"] == len(shown["rows"]) == 12
    assert [row[0][0] for row in shown["rows"]] == called["gene"].to_list()
    assert [row[6][1] for row in shown["rows"]] == called["lfsr"].to_list()
    tables = tables_of(screen_fit)._replace(hits=called)
    assert "12 cells have an interaction" in Page(report(screen_fit, tables=tables)).text
    monkeypatch.setattr(contents, "MOST_HITS", 5)
    page = Page(report(screen_fit, tables=tables))
    assert "The 5 surest are below; all are in hits.csv" in page.text
    assert "No cell" in Page(report(screen_fit, tables=tables._replace(hits=called[:0]))).text


def test_every_line_has_its_slope_and_noise(screen_fit):
    shown = lines.lines_shown(screen_fit)
    assert {row[0][0] for row in shown["rows"]} == set(screen_fit["posterior"]["line"].values)
    table = {row["level"]: row for row in cj.effects(screen_fit).filter(factor="line").to_dicts()}
    for row in shown["rows"]:
        own = table[row[0][0]]
        assert [row[1][1], row[3][1]] == pytest.approx([own["slope"], own["noise_sd"]])
    assert lines.lines_shown(synthetic_tree()[0]) is None


def test_a_line_that_stands_out_is_named(screen_fit):
    tree = screen_fit.copy()
    posterior = tree["posterior"].to_dataset()
    posterior["line_slope"] = posterior["line_slope"].copy()
    posterior["line_slope"][..., 2] *= 100
    tree["posterior"] = type(tree)(posterior)
    shown = lines.lines_shown(tree)
    assert shown["outliers"] == [shown["rows"][0][0][0]] == [str(posterior["line"].values[2])]
    assert shown["rows"][0][-1][0] == "high slope"


def test_figures_lie_in_the_page_and_those_left_out_are_told(post):
    page = Page(report(post, {"effects": PIXEL}, {"ridge": "no <draws>"}))
    (image,) = page.named("img")
    assert image["src"].startswith("data:image/png;base64,iVBOR")
    assert (image["width"], image["height"]) == ("768", "512")
    assert image["alt"]
    assert "Not drawn: ridge (no <draws>)." in page.text
    assert "without figures" in Page(report(post)).text


@pytest.mark.parametrize("factor", ["gene", "line"])
def test_labels_are_text_whatever_they_are(screen_fit, factor):
    tree = relabelled(screen_fit, factor) if factor == "gene" else screen_fit.copy()
    tree.attrs["response"] = HOSTILE[0]
    tree.attrs["source"] = f"{HOSTILE[3]} half \ud800 a character"
    plain, page = (
        Page(report(fit, tables=tables_of(fit)._replace(hits=cj.interactions(fit))))
        for fit in (screen_fit, tree)
    )
    assert [name for name, _ in page.tags] == [name for name, _ in plain.tags]
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert HOSTILE[0] in page.text
    assert f"{HOSTILE[3]} half ? a character" in page.text
    if factor == "gene":
        assert all(label in page.text for label in HOSTILE[:5])
        assert "W" * 59 + "…" in page.text
        assert "nul   line break tab" in page.text


def test_nothing_is_asked_of_the_network(screen_fit):
    page = Page(report(screen_fit, {"effects": PIXEL}))
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    policy = next(each["content"] for each in page.named("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; ")


def test_a_fit_that_kept_a_summary_has_a_report():
    kinds = {"draws": 20, "parameterization": "collapsed", "keep_effects": "summary"}
    tree, _ = synthetic_tree({"gene": 60, "cell_line": 5}, replicates=1, **kinds)
    assert "10 highest and 10 lowest" in report(tree)


def test_a_design_matrix_has_no_ridge_and_no_pooling():
    text = Page(report(synthetic_tree(parameterization="design_matrix")[0])).text
    assert "ridge" not in text
    assert "pool" not in text


def test_what_is_no_fit_is_refused():
    with pytest.raises(cj.InputError, match="report takes the tree that fit returns"):
        report({})


def test_numbers_have_the_digits_that_are_known():
    assert [decimals_for(sds) for sds in ([0.0052], [0.34], [12.0], [300.0], [None], [1e-12])] == [
        *(4, 2, 0, 0, 2, None)
    ]
    assert fixed(-0.0004, 2) == "0.00"
    assert fixed(-1234.5, 1) == "−1,234.5"
    assert [fixed(x) for x in (0.0, 1.23456, 1e-9, float("nan"), None)] == [
        *("0", "1.23", "1.00e−09", "–", "–")
    ]
    assert [rate(x) for x in (0.04567, 2e-5, 0.0)] == ["0.046", "2e−05", "<1e−12"]
    assert [percent(x) for x in (0.2817, 1e-5, 0.0, None)] == ["28.2%", "<0.1%", "0.0%", "–"]
