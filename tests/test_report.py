import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from papagaio.report.cautions import cautions
from papagaio.report.headline import answer, headline
from papagaio.report.numbers import nats, ratio, share
from papagaio.report.page import render, write_report
from papagaio.report.plot import spread
from papagaio.report.series import series
from papagaio.result import CellRecord, CurvePoint, Figure, Kind, Result, Scores, read_result
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"complete": False}, "run is incomplete"),
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
