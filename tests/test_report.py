import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy import stats

from papagaio.report import plot
from papagaio.report.cautions import cautions
from papagaio.report.classes import class_accuracies
from papagaio.report.epochs import _ticks
from papagaio.report.headline import answer, headline
from papagaio.report.numbers import duration, money, nats, ratio, share
from papagaio.report.page import render, write_report
from papagaio.report.plot import spread
from papagaio.report.series import series
from papagaio.scores import Figure
from papagaio.result import CellRecord, CurvePoint, Kind, Result, Scores, read_result
from papagaio.summary import summarise

EXAMPLE = Path(__file__).parent / "data" / "result-example.json"
HOSTILE = "<script>alert('x')</script>\" onerror=\"x"
VOID = {"meta", "link", "img", "br"}


def figure(value: float, reach: float = 0.01, n: int = 590) -> Figure:
    return Figure(value=value, low=value - reach, high=value + reach, n=n)


def cell(
    *,
    kind: Kind = "copy",
    fidelity: float = 0.989,
    budget: int = 4000,
    seed: int = 0,
    **rest: object,
) -> CellRecord:
    scores = Scores(
        accuracy=figure(fidelity - 0.003),
        relative_accuracy=figure((fidelity - 0.003) / 0.995),
        fidelity=figure(fidelity),
        kl=figure(0.0512, 0.004),
    )
    values: dict[str, Any] = {
        "id": f"{kind}-{budget}-{seed}",
        "kind": kind,
        "student": "small",
        "initial": "random",
        "recipe": "recovered-logits",
        "response": "probabilities",
        "budget": budget,
        "seed": seed,
        "seconds": 6.1,
        "epochs": 40,
        "steps": 2500,
        "parameters": 100_000,
        "scores": scores,
        "per_class": [figure(fidelity, 0.03, 59)] * 3,
        "curve": [CurvePoint(epoch=e, loss=1 / e, agreement=1 - 0.5 / e) for e in (1, 20, 40)],
    }
    return CellRecord(**{**values, **rest})


SEEDS = [cell(seed=0, fidelity=0.986), cell(seed=1, fidelity=0.989), cell(seed=2, fidelity=0.992)]


def result(cells: list[CellRecord] | None = None, **changes: object) -> Result:
    cells = SEEDS if cells is None else cells
    values = read_result(EXAMPLE).model_dump(by_alias=True)
    values |= {"cells": cells, "summary": summarise(cells)}
    for name, change in changes.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    return Result.model_validate(values)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.headings: list[int] = []
        self.cells: dict[str, list[str]] = {}
        self.table = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.attributes |= set(named)
        self.links += [named[key] or "" for key in ("src", "href", "xlink:href") if key in named]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = named.get("id") or ""
        if tag in ("td", "th"):
            self.cells.setdefault(self.table, []).append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.cells[self.table][-1] += f" {data.strip()}"


def svgs(text: str) -> list[ET.Element]:
    parts = text.split("<svg")[1:]
    return [ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>") for part in parts]  # noqa: S314


def test_the_headline_is_one_exact_sentence() -> None:
    audited = result(test={"images": 590}, queries={"price": 6.0})
    assert headline(audited) == (
        "From 4,000 answers about letters train, a copy names the same class as demo:digits on"
        " 98.9 % of 590 test images (95 % interval 97.7 to 100.0, 3 seeds) and is right on 98.6 %,"
        " which is 99.1 % of the black box\u2019s own 99.5 %; its queries cost 6.00."
    )


def test_the_headline_is_about_the_first_copies_with_the_largest_budget() -> None:
    cells = [
        cell(budget=500, fidelity=0.7),
        cell(fidelity=0.8),
        cell(fidelity=0.9, response="label"),
        cell(kind="ceiling:own-data", fidelity=0.95, budget=9000),
    ]
    assert " on 80.0 % of " in headline(result(cells))


def test_of_several_recipes_the_headline_is_about_the_default_one() -> None:
    cells = [
        cell(recipe="thesis", fidelity=0.95),
        cell(fidelity=0.9),
        cell(recipe="thesis", budget=100, fidelity=0.6),
        cell(budget=100, fidelity=0.7),
    ]
    assert " on 90.0 % of " in headline(result(cells))
    assert "; 100 answers already give 70.0 %." in answer(result(cells))
    assert " on 95.0 % of " in headline(result(cells[:1]))


def test_the_cost_is_the_copys_own_only_where_it_learned_from_every_answer() -> None:
    queries = {"spent": 4000, "price": 6.0}
    every, some = (headline(result([cell(budget=n)], queries=queries)) for n in (4000, 1000))
    assert every.endswith("; its queries cost 6.00.")
    assert some.endswith("; the audit\u2019s 4,000 queries cost 6.00.")


def test_without_a_copy_the_page_says_so() -> None:
    empty = result([], pictures=[], queries={"spent": 0})
    assert headline(empty) == "No copy has been trained yet."
    assert "No training has ended yet." in render(empty)
    assert "<svg" not in render(empty)


def test_the_headline_leaves_out_what_was_not_scored() -> None:
    unscored = result([cell(scores=Scores())], queries={"price": None})
    assert headline(unscored).endswith("a copy could not be scored.")
    assert "Nothing can be said" in answer(unscored)
    assert Page(render(unscored)).open == []


def test_the_answer_sets_the_copy_against_floor_ceiling_and_smallest_budget() -> None:
    cells = [
        *SEEDS,
        cell(budget=250, fidelity=0.812),
        cell(kind="floor:shuffled", fidelity=0.104),
        cell(kind="ceiling:own-data", fidelity=0.993),
    ]
    assert answer(result(cells)) == (
        "Somebody with 4,000 answers can make 98.9 % of the black box\u2019s decisions without it,"
        " against 10.4 % for a student of shuffled answers and 99.3 % for a student of answers"
        " about the owner\u2019s own data; 250 answers already give 81.2 %."
    )


def test_a_copy_at_its_floor_is_no_finding() -> None:
    audited = result([cell(fidelity=0.11), cell(kind="floor:shuffled", fidelity=0.104)])
    assert answer(audited).startswith("This audit does not show it")


def test_a_copy_is_held_against_the_floor_that_is_hardest_to_beat() -> None:
    floors = [cell(kind="floor:shuffled", fidelity=0.1), cell(kind="floor:noise", fidelity=0.9)]
    above = answer(result([*SEEDS, *floors]))
    assert ", against 90.0 % for a student of answers about pure noise." in above
    assert "shuffled" not in above
    # 90 % is within reach of 91 %.
    below = answer(result([cell(fidelity=0.91), *floors]))
    assert below.startswith("This audit does not show it")
    assert "than a student of answers about pure noise may reach" in below


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"complete": False}, "run is incomplete"),
        ({"black_box": {"accuracy": figure(0.05)}}, "hardly ever right"),
        ({"test": {"near_duplicates": 7}}, "7 of 590 test images"),
        ({"cells": [cell()]}, "Only one seed"),
        (
            {
                "cells": [
                    *(cell(fidelity=0.1, seed=s) for s in (0, 1)),
                    cell(kind="floor:shuffled", fidelity=0.1),
                ]
            },
            "not above the floor",
        ),
        ({"queries": {"interrupted": 64}}, "64 images went out"),
        ({"test": {"images": 99}}, "test set is small (99 images)"),
    ],
)
def test_a_warning_stands_first_exactly_where_it_applies(
    changes: dict[str, Any], said: str
) -> None:
    warned = result(**changes)
    assert [said in one for one in cautions(warned)] == [True]
    text = render(warned)
    assert text.index(said) < text.index('class="lead"')


@pytest.mark.parametrize(
    ("classes", "accuracy", "warned"),
    [(10, 0.2, True), (10, 0.21, False), (3, 0.0, True), (2, 0.5, False)],
)
def test_a_black_box_that_is_hardly_ever_right_is_warned_of(
    classes: int, accuracy: float, *, warned: bool
) -> None:
    audited = result(black_box={"classes": classes, "accuracy": figure(accuracy)})
    assert ["hardly ever right" in said for said in cautions(audited)] == [True] * warned


def test_the_gravest_warning_stands_first() -> None:
    audited = result(
        [cell(fidelity=0.1), cell(kind="floor:noise", fidelity=0.1)],
        complete=False,
        test={"near_duplicates": 7, "images": 50},
        queries={"interrupted": 3},
        black_box={"accuracy": figure(0.05)},
    )
    words = [
        "run is incomplete",
        "hardly ever right",
        "stand nearly the same",
        "Only one seed",
        "not above the floor",
        "never returned",
        "test set is small",
    ]
    assert [word in one for word, one in zip(words, cautions(audited), strict=True)] == [True] * 7


def test_a_sound_result_has_no_warnings() -> None:
    assert cautions(result()) == []
    assert "Before you trust" not in render(result())


def test_the_summary_table_shows_the_numbers_of_the_result() -> None:
    audited = read_result(EXAMPLE)
    shown = Page(render(audited)).cells["summary"][12:]
    assert len(shown) == 12 * len(audited.summary)
    for i, row in enumerate(audited.summary):
        cells = [text.split() for text in shown[12 * i : 12 * i + 12]]
        assert cells[0] == [row.kind]
        assert cells[4:6] == [[f"{row.budget:,}"], [str(row.seeds)]]
        forms = [
            (row.accuracy, share),
            (row.relative_accuracy, ratio),
            (row.fidelity, share),
            (row.fidelity_where_wrong, share),
            (row.kl, nats),
        ]
        for text, (one, form) in zip(cells[6:11], forms, strict=True):
            assert one is not None
            read = form(one)
            assert text == f"{read.value} {read.interval} {read.n}".split()
        assert cells[11] == [f"{row.seconds:.1f}"]


def test_a_figure_is_shown_with_its_interval_and_its_n() -> None:
    read = share(Figure(value=0.989, low=0.9814, high=1.002, n=590))
    assert (read.value, read.interval, read.n) == ("98.9 %", "98.1 to 100.0", "n 590")
    assert nats(Figure(value=0.05, low=-0.01, high=0.11, n=3)).interval == "0.000 to 0.110"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125.4, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (26_000, "7 h 13 min"),
    ],
)
def test_a_duration_is_read_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("price", "words"),
    [(0, "0.00"), (0.0042, "0.0042"), (0.01, "0.01"), (1234.5, "1,234.50")],
)
def test_a_price_is_read_to_the_hundredth_unless_it_is_smaller(price: float, words: str) -> None:
    assert money(price) == words


def test_a_figure_of_nought_is_no_absence() -> None:
    nought = Scores(accuracy=figure(0, 0), fidelity=figure(0, 0))
    shown = Page(render(result([*SEEDS, cell(kind="floor:shuffled", scores=nought)])))
    rows = np.reshape(shown.cells["references"][5:], (-1, 5)).tolist()
    absent = {name.strip() for name, _, meaning, *_ in rows if "Not in this audit" in meaning}
    assert absent == {"noise", "true labels", "own data"}
    (shuffled,) = (row for row in rows if row[0].strip() == "shuffled")
    assert [text.split()[:2] for text in shuffled[3:]] == [["0.0", "%"]] * 2


def test_classes_stand_by_their_names_with_the_mean_over_seeds_of_the_headlines_copy() -> None:
    def copy(seed: int, *accuracies: float | None) -> CellRecord:
        found = [None if one is None else figure(one, 0.1, 50) for one in accuracies]
        return cell(seed=seed, per_class=found)

    other = cell(recipe="thesis", per_class=[figure(0, 0)] * 3)
    audited = result(
        [other, copy(0, 0.59, None, 0.9), copy(1, 0.61, None, 0.9)],
        black_box={"class_names": ["cat", "dog"], "classes": 3},
    )
    found = class_accuracies(audited)
    # A class without a name is called by its number, and one without images has no figure.
    assert [one.name for one in found] == ["cat", "dog", "2"]
    assert [one.accuracy and round(one.accuracy.value, 6) for one in found] == [0.6, None, 0.9]
    cat = found[0].accuracy
    assert cat is not None
    # Student's t over two seeds, and the doubt over images, in quadrature.
    reach = np.hypot(stats.t.ppf(0.975, 1) * 0.01, 0.1)
    assert (cat.low, cat.high) == pytest.approx((0.6 - reach, 0.6 + reach))
    shown = Page(render(audited)).cells["classes"][2:]
    assert [text.split()[:1] for text in shown[::2]] == [["cat"], ["dog"], ["2"]]
    assert [text.split()[:1] for text in shown[1::2]] == [["60.0"], ["\u2013"], ["90.0"]]


def test_what_comes_from_outside_is_escaped() -> None:
    hostile = result(
        [cell(student=HOSTILE, response=HOSTILE), cell(student="b", recipe=HOSTILE, budget=9)],
        command=HOSTILE,
        authorised_by=HOSTILE,
        black_box={"name": HOSTILE, "class_names": [HOSTILE] * 10, "identity": HOSTILE},
        transfer={"name": HOSTILE},
        pictures=[{"png": HOSTILE, "named": HOSTILE, "share": 1.0}],
        settings={HOSTILE: [HOSTILE]},
    )
    text = render(hostile)
    assert "<script" not in text
    assert Page(text).open == []
    assert "onerror" not in Page(text).attributes
    assert len(svgs(text)) == 2


def test_the_page_needs_nothing_from_outside() -> None:
    text = render(read_result(EXAMPLE))
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text
    links = Page(text).links
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)


def test_the_page_is_well_formed_and_its_headings_are_in_order() -> None:
    page = Page(render(read_result(EXAMPLE)))
    assert page.open == []
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(page.headings))


def test_the_curves_have_a_title_a_description_and_every_reference() -> None:
    budget, epoch = svgs(render(read_result(EXAMPLE)))
    for svg in (budget, epoch):
        assert svg.get("role") == "img"
        assert (svg.get("aria-labelledby") or "").split() == [one.get("id") for one in svg[:2]]
        assert all(one.text for one in svg[:2])
    words = " ".join(budget.itertext())
    for name in ("chance", "majority", "shuffled", "noise", "true labels", "own data"):
        assert name in words


def test_one_budget_is_drawn_as_points() -> None:
    budget, _ = svgs(render(result()))
    marks = budget.findall("g[@class='series colour-0']")[0]
    assert marks.find("polyline") is None
    assert len(marks.findall("path[@class='marker']")) == 1


def test_the_budget_curve_shows_fidelity_and_its_interval_by_the_budgets_logarithm() -> None:
    fidelities = {100: 0.25, 1000: 0.5, 10_000: 0.75}
    budget, _ = svgs(render(result([cell(budget=b, fidelity=f) for b, f in fidelities.items()])))
    marks = budget.findall("g[@class='series colour-0']")[0]

    def numbers(kind: str, attribute: str) -> list[list[float]]:
        drawn = [one.get(attribute, "") for one in marks.findall(f"path[@class='{kind}']")]
        return [[float(number) for number in re.findall(r"-?[\d.]+", text)] for text in drawn]

    def share_at(y: float) -> float:
        return (plot.BOTTOM - y) / (plot.BOTTOM - plot.TOP)

    x, y = zip(*numbers("marker", "transform"), strict=True)
    assert [share_at(one) for one in y] == pytest.approx(list(fidelities.values()), abs=1e-3)
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert plot.LEFT < x[0] < x[1] < x[2] < plot.RIGHT
    # Left end, height, along the low end, back, up, back, along the high end.
    bars = [
        (share_at(low), share_at(high)) for _, low, _, _, _, high, *_ in numbers("interval", "d")
    ]
    assert bars == [pytest.approx((f - 0.01, f + 0.01), abs=1e-3) for f in fidelities.values()]


def test_epochs_are_ticked_at_a_few_round_numbers_inside_the_plot() -> None:
    for last in range(1, 3000):
        places, texts = zip(*_ticks(last), strict=True)
        epochs = [int(text) for text in texts]
        assert list(places) == [epoch / last for epoch in epochs]
        (step,) = {after - before for before, after in pairwise(epochs)}
        assert str(step).rstrip("0") in {"1", "2", "5"}
        assert (epochs[0], epochs[-1]) == (0, last // step * step)
        assert min(last, 2) < len(epochs) <= 6


def test_lines_are_labelled_by_the_least_that_tells_them_apart() -> None:
    cells = [
        cell(recipe=r, response=p) for r, p in (("a", "label"), ("b", "top-1"), ("a", "top-1"))
    ]
    assert [one.label for one in series(result(cells[:2]))] == ["label", "top-1"]
    assert [one.label for one in series(result(cells))] == ["label, a", "top-1, b", "top-1, a"]


@pytest.mark.parametrize("wanted", [[40, 41, 42], [330, 336, 337, 338], [100], [], [60, 200, 201]])
def test_labels_keep_their_distance_and_stay_in_the_plot(wanted: list[float]) -> None:
    placed = spread(wanted, 20)
    assert len(placed) == len(wanted)
    assert all(b - a >= 20 for a, b in pairwise(placed))
    assert all(20 <= one <= 338 for one in placed)


def test_a_report_is_written_as_a_file(tmp_path: Path) -> None:
    write_report(result(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(result())


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("size", ["1200,2400", "500,2400"])
def test_a_browser_shows_the_page(tmp_path: Path, size: str) -> None:
    write_report(read_result(EXAMPLE), tmp_path / "report.html")
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync"
    switches += " disable-background-networking disable-component-update"
    browser = [
        shutil.which("chromium") or "",
        *(f"--{switch}" for switch in switches.split()),
        f"--user-data-dir={tmp_path / 'browser'}",
        f"--window-size={size}",
    ]
    page = (tmp_path / "report.html").as_uri()
    picture = tmp_path / "page.png"
    subprocess.run(
        [*browser, f"--screenshot={picture}", page], check=True, capture_output=True, timeout=120
    )
    dumped = subprocess.run(
        [*browser, "--dump-dom", page], check=True, capture_output=True, timeout=120
    )
    assert "Is the model in danger?" in dumped.stdout.decode()
    pixels = inflated(picture.read_bytes())
    assert len(set(pixels[:: 4 * 97])) > 8


def inflated(png: bytes) -> bytes:
    at, data = 8, b""
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(data)
