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
from example_results import (
    AT_CHANCE,
    CEILING,
    EXAMPLE,
    FLOOR,
    ONE_CLASS,
    SEEDS,
    cell,
    figure,
    named,
    result,
)
from scipy import stats

from papagaio.controls import CONTROLS
from papagaio.findings.cautions import cautions
from papagaio.findings.headline import headline
from papagaio.findings.references import references
from papagaio.findings.series import series
from papagaio.numbers import duration, listing, money, nats, percent, ratio, share
from papagaio.report import plot
from papagaio.report.classes import class_figures
from papagaio.report.epochs import _ticks
from papagaio.report.page import render, write_report
from papagaio.report.plot import spread
from papagaio.report.showing_less import advice, showing_less
from papagaio.report.together import strongest
from papagaio.result import (
    CandidateRecord,
    CellRecord,
    EnsembleRecord,
    Scores,
    SelectionRecord,
    UnansweredRecord,
    read_result,
)
from papagaio.scores import Figure, rate

HOSTILE = "<script>alert('x')</script>\" onerror=\"x"
VOID = {"meta", "link", "img", "br"}


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
    audited = result(test={"images": 590}, queries={"price": 6.0, "price_total": 14.6955})
    assert headline(audited) == (
        "From 4,000 answers about letters train, a copy names the same class as demo:digits on"
        " 98.9 % of 590 test images (95 % interval 97.7 to 100, 3 seeds) and is right on 98.6 %,"
        " which is 99.1 % of the black box\u2019s own 99.5 %; these answers cost 6.00, and all"
        " 9,797 of the audit 14.70."
    )


@pytest.mark.parametrize(
    ("box", "clause"),
    [
        (
            AT_CHANCE,
            "which means little: the black box is right on 9.7 % of 590 test images, no better",
        ),
        (ONE_CLASS, "the black box names \u201cseven\u201d on 587 of 590 test images"),
    ],
)
def test_no_fidelity_to_a_black_box_that_does_not_work_is_stated_without_saying_so(
    box: dict[str, Any], clause: str
) -> None:
    broken = result([cell(fidelity=1.0)], black_box=box)
    sentence = headline(broken)
    assert "on 100 % of 590 test images" in sentence
    assert clause in sentence
    assert ". " not in sentence.replace("100.0", "")
    assert showing_less(broken) == []
    (caution,) = [one for one in cautions(broken) if "probably used in the wrong way" in one]
    assert cautions(broken)[0] == caution
    for cause in ("scale of the pixels", "order of the colours", "order of the classes"):
        assert cause in caution


def test_no_ratio_to_a_black_box_at_chance_is_printed() -> None:
    scores = Scores(accuracy=figure(0.084), fidelity=figure(0.9))
    at_chance = {"black_box": AT_CHANCE | {"accuracy": figure(0.067)}}
    audited = result([cell(scores=scores)], **at_chance)
    ratio_given = scores.model_copy(update={"relative_accuracy": figure(1.25)})
    assert "125.0 %" not in headline(result([cell(scores=ratio_given)], **at_chance))
    assert "is right on 8.4 %, which means little" in headline(audited)
    assert "own 6.7 %" not in headline(audited)
    shown = Page(render(audited)).cells["summary"][12:]
    assert shown[7].strip() == "\u2013"


def test_the_headline_is_about_the_strongest_copy_that_the_first_response_allows() -> None:
    cells = [
        cell(budget=500, fidelity=0.99),
        cell(fidelity=0.8),
        cell(fidelity=0.85, recipe="thesis"),
        cell(kind=CEILING.kind, fidelity=0.95, budget=9000),
    ]
    assert "the most faithful of 2 copies names" in headline(result(cells))
    assert " on 85.0 % of " in headline(result(cells))
    # Somebody who is shown probabilities can use the label alone, but not the other way round.
    labels = cell(fidelity=0.9, response="label")
    assert " on 90.0 % of " in headline(result([*cells, labels]))
    assert " on 70.0 % of " in headline(result([cell(fidelity=0.7, response="label"), *cells]))


def test_the_cost_is_the_copys_own_only_where_it_learned_from_every_answer() -> None:
    queries = {"spent": 4000, "price": 6.0, "price_total": None}
    every, some = (headline(result([cell(budget=n)], queries=queries)) for n in (4000, 1000))
    assert every.endswith("; these answers cost 6.00.")
    assert some.endswith("; the copies\u2019 4,000 answers cost 6.00.")


def test_without_a_copy_the_page_says_so() -> None:
    empty = result([], pictures=[], queries={"spent": 0})
    assert headline(empty) == "No copy has been trained yet."
    assert "No training has finished yet." in render(empty)
    assert "<svg" not in render(empty)


def test_the_headline_leaves_out_what_was_not_scored() -> None:
    unscored = result([cell(scores=Scores())], queries={"price": None})
    assert headline(unscored).endswith("a copy could not be scored.")
    assert Page(render(unscored)).open == []


def ensemble(fidelity: float = 0.995, **changes: Any) -> EnsembleRecord:  # noqa: ANN401
    first = SEEDS[0]
    same = {name: getattr(first, name) for name in ("student", "recipe", "response", "budget")}
    scores = Scores(accuracy=figure(0.991), fidelity=figure(fidelity, 0.004))
    values = same | {"seeds": [0, 1, 2], "scores": scores, "per_class": first.per_class}
    return EnsembleRecord(**(values | changes))


def test_copies_together_stand_beside_one_copy() -> None:
    smaller = [cell(budget=500, seed=seed, fidelity=0.9) for seed in (0, 1)]
    both = [ensemble(), ensemble(0.93, budget=500, seeds=[0, 1])]
    audited = result(SEEDS + smaller, ensembles=both)
    assert strongest(audited, audited.summary[0]) == (
        "3 such copies that answer together reproduce 99.5 % (99.1 to 99.9) of the model\u2019s"
        " decisions, at no further query."
    )
    cells = Page(render(audited)).cells["together"][8:]
    copies, one, many = zip(*(cells[row + 4 : row + 7] for row in (0, 8)), strict=True)
    assert [text.split()[0] for text in (*copies, *one, *many)] == [
        "3", "2", "98.9", "90.0", "99.5", "93.0"
    ]  # fmt: skip


def test_ensembles_and_distilled_students_are_no_copies() -> None:
    student = cell(kind="distilled", fidelity=0.997)
    unanswered = UnansweredRecord(images=3500, near_duplicates=1)
    audited = result([*SEEDS, student], ensembles=[ensemble()], unanswered=unanswered)
    assert headline(audited) == headline(result())
    assert strongest(audited, audited.summary[0]).endswith(
        "at no further query; one student that learned from them reproduces 99.7 % (98.7 to 100)."
    )
    page = render(audited)
    assert "3,500 images that nobody asked about" in page
    assert "1 near-duplicate of test images was left out" in " ".join(page.split())
    assert Page(page).cells["together"][-1].split()[0] == "99.7"


def test_every_control_of_the_table_is_a_reference_with_its_own_figures() -> None:
    values = {control: 0.5 + 0.01 * i for i, control in enumerate(CONTROLS)}
    trained = [cell(kind=control.kind, fidelity=value) for control, value in values.items()]
    shown = {one.name: one for one in references(result([*SEEDS, *trained]))}
    for control, value in values.items():
        one = shown[control.title]
        assert (one.side, one.meaning) == (control.side, control.meaning)
        assert one.fidelity is not None
        assert one.fidelity.value == pytest.approx(value)
    assert list(shown) == ["chance", "majority", *(c.title for c in CONTROLS), "black box"]


def showing(*copies: CellRecord) -> list[tuple[str, str, str, int]]:
    return [
        (one.response, one.copy.response, one.copy.recipe, one.compared)
        for one in showing_less(result(list(copies)))
    ]


def test_a_response_is_credited_with_the_strongest_copy_it_allows() -> None:
    copies = (
        cell(response="label", recipe="labels", fidelity=0.9),
        cell(response="top-3", fidelity=0.8),
        cell(response="top-3", recipe="thesis", fidelity=0.85),
        cell(response="rounded-2", fidelity=0.95),
        cell(response="probabilities", fidelity=0.93),
    )
    # The most informative first. A top-3 does not follow from a rounded answer, the label does.
    assert showing(*copies) == [
        ("probabilities", "rounded-2", "recovered-logits", 5),
        ("rounded-2", "rounded-2", "recovered-logits", 2),
        ("top-3", "label", "labels", 3),
        ("label", "label", "labels", 1),
    ]


def test_responses_are_compared_at_the_largest_budget_common_to_them() -> None:
    many, few = cell(budget=4000), cell(budget=1000, fidelity=0.8)
    label = cell(budget=1000, fidelity=0.7, response="label")
    assert [one.copy.budget for one in showing_less(result([many, few, label]))] == [1000, 1000]
    assert showing(many, label) == []
    assert showing(many, few) == []
    assert "What showing less changes" not in render(result([many, few]))
    assert "What showing less changes" in render(result([many, few, label]))


def test_advice_follows_from_the_intervals() -> None:
    def said(*cells: CellRecord) -> str:
        (sentences,) = advice(showing_less(result(list(cells))))
        return sentences

    full = cell(fidelity=0.95)
    assert said(full, cell(fidelity=0.935, response="label")) == (
        "Showing \u201clabel\u201d instead of \u201cprobabilities\u201d moves the strongest copy"
        " from 95.0 % to 93.5 %, but the intervals overlap: this audit does not show that it helps."
    )
    assert said(full, cell(fidelity=0.96, response="label")) == (
        "Showing \u201clabel\u201d instead of \u201cprobabilities\u201d changes nothing here: the"
        " strongest copy needs no more than that."
    )
    less = cell(fidelity=0.90, response="label")
    assert said(full, less) == (
        "Showing \u201clabel\u201d instead of \u201cprobabilities\u201d lowers the strongest copy"
        " from 95.0 % to 90.0 %."
        " Users no longer see how sure the model is, or any class but the first."
    )
    early = [cell(budget=500, fidelity=0.89), cell(budget=1000, fidelity=0.91)]
    assert said(*early, full, less).split(". ")[1] == (
        "A copier needs 4,000 answers for what 1,000 give with \u201cprobabilities\u201d"
    )
    poor = cell(fidelity=0.90, response="label", undertrained=True)
    assert "Part of this may be due to undertrained copies." in said(full, poor)


@pytest.mark.parametrize(
    ("response", "hidden"),
    [
        ("rounded-2", "differences smaller than 0.01."),
        ("top-3", "any class after the first 3."),
        ("top-1", "any class but the first."),
    ],
)
def test_advice_names_what_users_lose(response: str, hidden: str) -> None:
    (sentence,) = advice(
        showing_less(result([cell(fidelity=0.95), cell(fidelity=0.5, response=response)]))
    )
    assert sentence.endswith(f"Users no longer see {hidden}")


WIDE = [cell(fidelity=0.9, seed=seed) for seed in (0, 1)]
CAUTIONS: list[tuple[dict[str, Any], str]] = [
    ({"black_box": AT_CHANCE}, "probably used in the wrong way"),
    ({"black_box": ONE_CLASS}, "probably used in the wrong way"),
    ({"unchecked": True}, "failed the check"),
    ({"complete": False, "trainings": 7}, "Trainings missing: 4 of 7."),
    (
        {"trainings": 4, "diverged": [{"id": "copy-b", "reason": "loss nan"}]},
        "diverged and have no scores: 1 of 4 (copy-b).",
    ),
    ({"queries": {"interrupted": 64}}, "a request never returned: 64."),
    (
        {"queries": {"canaries": 50, "change": 0.03}},
        "scores of 50 test images that were sent again changed by up to 0.030.",
    ),
    (
        {
            "cells": [
                *(cell(fidelity=0.1, seed=s) for s in (0, 1)),
                cell(kind=FLOOR.kind, fidelity=0.1),
            ]
        },
        "no better than a floor",
    ),
    (
        {"cells": [*SEEDS, cell(budget=9, epochs=5, undertrained=True)]},
        "Undertrained copies: 1 of 4. The shortest training had 5 of its recipe\u2019s 40 epochs.",
    ),
    (
        {"cells": [*SEEDS[:2], SEEDS[2].model_copy(update={"undertrained": True})]},
        "Undertrained copies: 1 of 3, the headline\u2019s among them.",
    ),
    ({"cells": [cell()]}, "Only one seed"),
    (
        {"cells": [*WIDE, cell(kind="distilled", fidelity=0.93)]},
        "give a student distilled from copies a fidelity of 93.0 %, above the interval",
    ),
    (
        {"cells": WIDE, "ensembles": [ensemble(0.95)]},
        "give copies that answer together a fidelity of 95.0 %, above the interval",
    ),
    (
        {"named": named(500, 410, 60, 30)},
        "names two classes (class 0, class 1) on 91.0 % of the transfer images: these images",
    ),
    ({"named": named(500, 0, 0)}, "names one class (class 0) on 100 % of the transfer images"),
    ({"named": named(300, 0)}, "never names 1 of its 2 classes (class 1)"),
    ({"named": named(300, 0, 0, 300, 400)}, "never names 2 of its 5 classes (class 1, class 2)"),
    ({"transfer": {"broken": ["a.jpg", "b.jpg"]}}, "replaced: 2 (a.jpg, b.jpg)."),
    ({"test": {"near_duplicates": 7}}, "look almost the same as a transfer image: 7 of 590."),
    ({"test": {"images": 99}}, "test set is small (99 images)"),
]


@pytest.mark.parametrize(("changes", "words"), CAUTIONS)
def test_a_caution_comes_first_exactly_where_it_applies(
    changes: dict[str, Any], words: str
) -> None:
    audited = result(**changes)
    assert [words in one for one in cautions(audited)] == [True]
    text = render(audited)
    assert text.index(words) < text.index('id="cost"')


@pytest.mark.parametrize(
    "images",
    [
        (600, 400),
        (400, 400, 200),
        (1, 0, *[1] * 18),
        (0, 0, *[1] * 98),
        (0, 0, 0, 0),
    ],
)
def test_images_that_ask_about_enough_classes_are_not_cautioned_against(
    images: tuple[int, ...],
) -> None:
    cells = [cell(seed=s, per_class=[None] * len(images)) for s in (0, 1)]
    assert cautions(result(cells, named=named(*images))) == []


def test_floors_and_ceilings_are_not_called_undertrained() -> None:
    floor = cell(kind=FLOOR.kind, fidelity=0.1, undertrained=True)
    assert cautions(result([*SEEDS, floor])) == []


def test_the_most_serious_caution_comes_first() -> None:
    audited = result(
        [cell(fidelity=0.1, undertrained=True), cell(kind=FLOOR.kind, fidelity=0.1)],
        trainings=9,
        unchecked=True,
        diverged=[{"id": "copy-b", "reason": "loss nan"}],
        test={"near_duplicates": 7, "images": 50},
        transfer={"broken": ["a.jpg"]},
        queries={"interrupted": 3},
        named=named(9, 9, 0, 0),
        black_box=AT_CHANCE | ONE_CLASS,
    )
    words = [
        "used in the wrong way",
        "failed the check",
        "run is incomplete",
        "diverged",
        "never returned",
        "no better than a floor",
        "Undertrained",
        "Only one seed",
        "reveal little",
        "could not be decoded",
        "look almost the same",
        "test set is small",
    ]
    assert [word in one for word, one in zip(words, cautions(audited), strict=True)] == [True] * 12


def test_a_sound_result_has_no_cautions() -> None:
    assert cautions(result()) == []
    within = [*WIDE, cell(kind="distilled", fidelity=0.905)]
    assert cautions(result(within, ensembles=[ensemble(0.905)])) == []
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
    assert (read.value, read.interval, read.n) == ("98.9 %", "98.1 to 100", "n 590")
    assert nats(Figure(value=0.05, low=-0.01, high=0.11, n=3)).interval == "0 to 0.110"
    assert ratio(Figure(value=1.02, low=0.9997, high=1.04, n=3)).interval == "100.0 to 104.0"


@pytest.mark.parametrize(
    ("hits", "n", "value", "interval"),
    [
        (10_000, 10_000, "100 %", "99.96 to 100"),
        (0, 10_000, "0 %", "0 to 0.04"),
        (9_999, 10_000, "99.99 %", "99.943 to 99.998"),
        (1, 10_000, "0.01 %", "0.002 to 0.057"),
        (5_000, 10_000, "50.0 %", "49.0 to 51.0"),
    ],
)
def test_no_share_is_rounded_to_all_or_nothing(
    hits: int, n: int, value: str, interval: str
) -> None:
    read = share(rate(np.arange(n) < hits))
    assert (read.value, read.interval) == (value, interval)


def test_a_percentage_is_exact_only_where_the_share_is() -> None:
    assert [percent(x) for x in (0, 1e-7, 0.12345, 0.99951, 1)] == [
        "0 %",
        "0.00001 %",
        "12.3 %",
        "99.95 %",
        "100 %",
    ]


def test_a_long_list_is_cut() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing([str(i) for i in range(1007)]) == "0, 1, 2, 3, 4 and 1,002 more"


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


def test_a_figure_of_zero_is_not_a_missing_one() -> None:
    zero = Scores(accuracy=figure(0, 0), fidelity=figure(0, 0))
    shown = Page(render(result([*SEEDS, cell(kind=FLOOR.kind, scores=zero)])))
    rows = np.reshape(shown.cells["references"][5:], (-1, 5)).tolist()
    absent = {name.strip() for name, _, meaning, *_ in rows if "Not in this audit" in meaning}
    assert absent == {control.title for control in CONTROLS} - {FLOOR.title}
    (floor,) = (row for row in rows if row[0].strip() == FLOOR.title)
    assert [text.split()[:2] for text in floor[3:]] == [["0", "%"]] * 2


def test_each_class_shows_how_often_it_was_named_and_the_mean_accuracy_of_the_headlines_copy() -> (
    None
):
    def copy(seed: int, *accuracies: float | None) -> CellRecord:
        figures = [None if one is None else figure(one, 0.1, 50) for one in accuracies]
        return cell(seed=seed, per_class=figures)

    other = cell(recipe="thesis", fidelity=0.5, per_class=[figure(0, 0)] * 3)
    audited = result(
        [other, copy(0, 0.59, None, 0.9), copy(1, 0.61, None, 0.9)],
        named=[
            {"name": "cat", "images": 30},
            {"name": "dog", "images": 0},
            {"name": "2", "images": 60},
        ],
    )
    lines = class_figures(audited)
    assert [(one.name, one.named, one.part) for one in lines] == [
        ("cat", 30, 0.5),
        ("dog", 0, 0.0),
        ("2", 60, 1.0),
    ]
    # A class without test images has no figure.
    assert [one.accuracy and round(one.accuracy.value, 6) for one in lines] == [0.6, None, 0.9]
    cat = lines[0].accuracy
    assert cat is not None
    # Student's t over two seeds and the uncertainty from the images, in quadrature.
    reach = np.hypot(stats.t.ppf(0.975, 1) * 0.01, 0.1)
    assert (cat.low, cat.high) == pytest.approx((0.6 - reach, 0.6 + reach))
    shown = np.reshape(Page(render(audited)).cells["classes"][3:], (-1, 3)).tolist()
    assert [[text.split()[0] for text in row] for row in shown] == [
        ["cat", "30", "60.0"],
        ["dog", "0", "\u2013"],
        ["2", "60", "90.0"],
    ]


def test_the_classes_named_are_shown_before_any_copy_is_trained() -> None:
    shown = Page(render(result([], named=named(3, 1)))).cells["classes"][3:]
    assert [text.strip() for text in shown] == ["class 0", "3", "\u2013", "class 1", "1", "\u2013"]


def facts(text: str) -> dict[str, str]:
    cells = [one.strip() for one in Page(text).cells[""]]
    return dict(zip(cells[::2], cells[1::2], strict=True))


def test_what_a_copier_pays_is_shown_beside_what_the_owner_paid() -> None:
    queries = {"spent": 4000, "total": 9797, "price": 4.0, "price_total": 12.0}
    shown = np.reshape(Page(render(result(queries=queries))).cells["queries"][3:], (-1, 3))
    assert [[text.strip() for text in row] for row in shown.tolist()] == [
        ["what a copier pays", "4,000", "4.00"],
        ["all queries of this audit", "9,797", "12.00"],
    ]
    free = render(result(queries={"price": None, "price_total": None}))
    assert [one.strip() for one in Page(free).cells["queries"][5::3]] == ["not given"] * 2


def test_the_page_shows_what_was_chosen_from_the_transfer_set() -> None:
    transfer = {
        "images": 4000,
        "entries": 1_000_000,
        "skipped": {".heic": 12, "._x.jpg": 1},
        "rotated": 31,
        "broken": ["a.jpg"],
        "repeated": 9,
    }
    shown = Page(render(result(transfer=transfer))).cells[""]
    words = " | ".join(one.strip() for one in shown)
    for fact in (
        "chosen | 4,000 images of 1,000,000",
        "broken | 1 file replaced: a.jpg",
        "repeated | 9 images replaced by others",
        "skipped | 12 files named .heic",
        "skipped | 1 file named ._x.jpg",
        "EXIF rotation | 31 images with one",
    ):
        assert fact in words


def test_the_page_shows_what_ran() -> None:
    shown = facts(
        render(
            result(
                packages={"torch": "2.11.0"},
                revision={"commit": "abc123", "dirty": True},
                machine={"precision": "bfloat16", "precision_reason": "chosen by timing, 0.5"},
            )
        )
    )
    assert shown["precision"] == "bfloat16: chosen by timing, 0.5"
    assert shown["torch"] == "2.11.0"
    assert shown["parallel"].endswith(" at a time, 1 thread each")
    assert shown["revision"] == "abc123, with uncommitted changes"
    assert facts(render(result(revision=None)))["revision"] == "not a source checkout"


@pytest.mark.parametrize(("executor", "words"), [("ray", "a Ray cluster"), ("slurm", "Slurm")])
def test_trainings_on_a_cluster_are_not_said_to_run_on_this_machine(
    executor: str, words: str
) -> None:
    shown = facts(render(result(machine={"executor": executor})))["parallel"]
    assert words in shown
    assert "at a time" not in shown


def test_every_setting_is_shown_with_what_was_given() -> None:
    audited = result(settings={}, settings_given={"device": "auto"})
    audited = audited.model_copy(update={"settings": {"device": "cpu", "batch": 64}})
    shown = [one.strip() for one in Page(render(audited)).cells["settings"][3:]]
    assert shown[:6] == ["device", '"cpu"', '"auto"', "batch", "64", "default"]


def test_the_choice_of_the_recipe_is_shown_with_its_evidence() -> None:
    candidates = [
        CandidateRecord(
            augmentation=a, fidelity=figure(f, 0.02, 800), loss=loss, epochs=8, seconds=1
        )
        for a, f, loss in (([], 0.958, 0.213), (["crop", "flip"], 0.788, 0.702))
    ]
    other = {"changes": {"loss": "centred-l1", "least_steps": 9}}
    candidates.append(candidates[1].model_copy(update=other))
    selection = SelectionRecord(chosen=[], held_out=800, share=0.32, candidates=candidates)
    text = render(result([cell(selection=selection), cell(budget=9)]))
    words = " ".join(text.split())
    assert "each scored on 800 answers held out from its budget" in words
    assert "they took 32.0 % of the steps" in words
    assert "chose each: none 1." in words
    shown = np.reshape(Page(text).cells["selection"][5:], (-1, 5))
    assert [[one.strip() for one in row] for row in shown.tolist()] == [
        ["none (chosen)", "95.8 % 93.8 to 97.8 n 800", "0.213", "8", "1.0"],
        ["crop + flip", "78.8 % 76.8 to 80.8 n 800", "0.702", "8", "1.0"],
        [
            "crop + flip; loss centred-l1, least steps 9",
            *("78.8 % 76.8 to 80.8 n 800", "0.702", "8", "1.0"),
        ],
    ]
    assert "short copy on held-out answers: 95.8 %." in words
    given = render(result([cell(augmentation=["crop", "flip"])]))
    assert "used this augmentation: crop + flip. Its recipe was not chosen" in given


def test_trainings_that_diverged_are_listed_with_their_reason() -> None:
    text = render(result(diverged=[{"id": "copy-b", "reason": "the loss was nan in epoch 3"}]))
    assert "<code>copy-b</code>: the loss was nan in epoch 3" in text


def test_what_comes_from_outside_is_escaped() -> None:
    hostile = result(
        [cell(student=HOSTILE, response=HOSTILE), cell(student="b", recipe=HOSTILE, budget=9)],
        command=HOSTILE,
        authorised_by=HOSTILE,
        black_box={
            "name": HOSTILE,
            "identity": HOSTILE,
            "most_named": {"name": HOSTILE, "images": 1},
        },
        transfer={"name": HOSTILE, "broken": [HOSTILE]},
        named=[{"name": HOSTILE, "images": 1}] * 10,
        diverged=[{"id": HOSTILE, "reason": HOSTILE}],
        packages={HOSTILE: HOSTILE},
        revision={"commit": HOSTILE, "dirty": False},
        pictures=[{"png": HOSTILE, "named": HOSTILE, "share": 1.0}],
        settings={HOSTILE: [HOSTILE]},
    )
    text = render(hostile)
    assert text.count("<script") == 1
    assert Page(text).open == []
    assert "onerror" not in Page(text).attributes
    assert len(svgs(text)) == 2


def test_the_page_needs_nothing_from_outside() -> None:
    text = render(read_result(EXAMPLE))
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert text.count("<script") == 1
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
    for name in ("chance", "majority", *(control.title for control in CONTROLS)):
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


def test_lines_are_labelled_by_the_least_that_distinguishes_them() -> None:
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
    assert "What showing less changes" in dumped.stdout.decode()
    pixels = inflated(picture.read_bytes())
    assert len(set(pixels[:: 4 * 97])) > 8


def inflated(png: bytes) -> bytes:
    at, data = 8, b""
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    return zlib.decompress(data)
