"""The page of a report, as text."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_names import HOSTILE_NAMES, Reader
from report_runs import make_run

from onelook.callbacks.run_facts import SplitFacts
from onelook.reports.report import SECTIONS, report_page
from onelook.reports.run_record import RunRecord

HARMLESS = {
    "html", "head", "meta", "title", "style", "script", "body", "header", "main", "footer", "nav", "section", "a",
    "h1", "h2", "h3", "p", "b", "bdi", "code", "dl", "div", "dt", "dd", "small", "span", "label", "input", "output",
    "button", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "ul", "li",
    "svg", "line", "text", "polyline", "circle", "rect", "image",
}  # fmt: skip
UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def empty_run(**files: str) -> RunRecord:
    return RunRecord(Path("/runs/old"), "old", settings={"epochs": 3}, absent=files)


def test_a_report_has_all_its_sections_and_links_to_them() -> None:
    read = Reader(report_page([make_run()]))
    sections = [a["id"] for tag, a in read.tags if tag == "section"]
    links = [a["href"] for tag, a in read.tags if tag == "a"]
    assert sections == [identity for identity, _ in SECTIONS]
    assert links == [f"#{identity}" for identity in sections]


@pytest.mark.parametrize("num_runs", [1, 3])
def test_identities_are_used_once(num_runs: int) -> None:
    runs = [make_run(f"run {number}", seed=number) for number in range(num_runs)]
    found = [a["id"] for _, a in Reader(report_page(runs)).tags if "id" in a]
    assert len(found) == len(set(found))


def test_hostile_names_of_classes_files_and_runs_are_text() -> None:
    """Fifty names, each wherever words of users can stand: the same elements as with harmless ones."""
    plain = [tag for tag, _ in Reader(report_page([make_run()])).tags]
    assert set(plain) <= HARMLESS
    for name in HOSTILE_NAMES:
        page = report_page([make_run(name, names=(name, f"other {name}"), text=name)])
        read = Reader(page)
        assert [tag for tag, _ in read.tags] == plain, name
        assert not [key for _, a in read.tags for key in a if key.startswith("on") or key == "style"], name
        assert sum(UNWRITABLE.sub("\ufffd", name) in text for text in read.texts) > 20, name
        page.encode("utf-8")


def test_hostile_names_stay_text_where_runs_are_compared() -> None:
    runs = [make_run(name, names=HOSTILE_NAMES, text=name) for name in HOSTILE_NAMES[:2]]
    read = Reader(report_page(runs))
    assert {tag for tag, _ in read.tags} <= HARMLESS
    for name in HOSTILE_NAMES:
        assert any(UNWRITABLE.sub("\ufffd", name) in text for text in read.texts), name


def test_the_same_runs_give_the_same_text() -> None:
    assert report_page([make_run(), make_run("b", seed=1)]) == report_page([make_run(), make_run("b", seed=1)])


def test_numbers_of_the_run_are_in_the_report() -> None:
    run = make_run()
    assert run.metrics is not None
    text = report_page([run])
    for value in (run.metrics.map50_95, run.metrics.precision, float(run.metrics.class_ap50[1])):
        assert f">{value:.3f}<" in text
    assert "20, best 19" in text and "1:02" in text


def test_settings_that_differ_stand_first_and_are_marked() -> None:
    runs = [make_run("a", lr0=0.01), make_run("b", lr0=0.02, seed=1)]
    section = report_page(runs).split('<section id="settings">')[1].split("<details>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
    assert len(rows) == 2 and "<code>lr0</code>" in rows[1]
    assert '<td class="differs"><bdi>0.02</bdi></td>' in rows[1]
    alike = report_page([make_run("a"), make_run("b")])
    assert "All runs have the same settings." in alike


def test_settings_of_one_run_are_compared_with_the_defaults() -> None:
    section = report_page([make_run(imgsz=320)]).split('<section id="settings">')[1].split("<details>")[0]
    names = re.findall(r"<code>(.*?)</code>", section)
    assert names == ["data", "epochs", "imgsz", "name"]


def test_the_best_number_of_each_column_is_marked() -> None:
    runs = [make_run("a"), make_run("b", seed=3)]
    best = max(runs, key=lambda run: run.metrics.map50_95 if run.metrics else 0.0)
    section = report_page(runs).split('<section id="summary">')[1].split("</section>")[0]
    row = next(row for row in re.findall(r"<tr>.*?</tr>", section, re.DOTALL) if f"<bdi>{best.label}</bdi>" in row)
    assert f'<td class="number best">{best.metrics.map50_95:.3f}</td>' in row  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"results.csv": ""}, "<code>results.csv</code> is not in the run folder, so there are no curves."),
        (
            {"results.csv": "line 1 <b>"},
            "<code>results.csv</code> cannot be used: <bdi>line 1 &lt;b&gt;</bdi>, so there",
        ),
        ({"metrics.npz": ""}, "<code>metrics.npz</code> is not in the run folder, so there are no final numbers"),
        ({"examples.json": ""}, "<code>examples.json</code> is not in the run folder, so there are no images"),
        ({"run.json": ""}, "<code>run.json</code> is not in the run folder, so there are no warnings."),
        ({"labels.json": ""}, "<code>labels.json</code> is not in the run folder, so there is no account"),
        ({"speed.csv": ""}, "<code>speed.csv</code> is not in the run folder, so there is no speed over time."),
    ],
)
def test_a_report_says_what_is_absent(files: dict[str, str], sentence: str) -> None:
    assert sentence in report_page([empty_run(**files)])


def test_a_run_that_lacks_everything_can_be_compared_with_one_that_has_all() -> None:
    runs = [empty_run(), make_run()]
    assert len(Reader(report_page(runs)).tags) > 100
    assert len(Reader(report_page(runs[::-1])).tags) > 100


def test_runs_without_a_number_are_no_best_ones() -> None:
    run = make_run()
    assert run.metrics is not None
    nothing = replace(run, label="b", metrics=replace(run.metrics, map50_95=math.nan))
    section = report_page([nothing, run]).split('<section id="summary">')[1].split("</section>")[0]
    assert '<td class="number">–</td>' in section


@pytest.mark.parametrize(
    "num_classes", [1, 80, pytest.param(365, marks=pytest.mark.slow), pytest.param(1203, marks=pytest.mark.slow)]
)
def test_many_classes_make_a_page_of_less_than_5_mb(num_classes: int) -> None:
    names = tuple(f"class number {number}" for number in range(num_classes))
    page = report_page([make_run(names=names)])
    assert len(page.encode()) < 3_000_000
    assert (f"The matrix of {num_classes} classes is not shown" in page) == (num_classes > 60)


def test_classes_without_labels_are_named() -> None:
    page = report_page([make_run(names=("bee", "wasp", "fly"))])
    assert "Without labels in train: <bdi>wasp</bdi>, <bdi>fly</bdi>" in page


def test_data_image_size_and_start_of_a_run_are_in_its_summary() -> None:
    def summary(*runs: RunRecord) -> str:
        return report_page(runs).split('<section id="summary">')[1].split("</section>")[0]

    scratch, tuned = make_run("a", imgsz=320), make_run("b", weights="bees.safetensors", data="hive.yaml")
    assert "Data <bdi>plain</bdi>, image size 320 px, start <bdi>random weights</bdi>." in summary(scratch)
    assert "start <bdi>bees.safetensors</bdi>." in summary(tuned)
    both = summary(scratch, tuned)
    for text in ("320 px", "640 px", "random weights", "bees.safetensors", "hive.yaml"):
        assert f"<td><bdi>{text}</bdi></td>" in both
    assert '<th scope="col">start</th>' in both, "words stand at the left"


def test_runs_on_other_images_or_labels_are_not_compared_without_a_warning() -> None:
    warning = "The runs differ in their images or labels"
    runs = [make_run("a"), make_run("b", seed=1)]
    assert warning not in report_page(runs)
    facts = runs[1].facts
    assert facts is not None
    more = replace(facts, splits={**facts.splits, "train": SplitFacts(101, facts.splits["train"].labels)})
    assert warning in report_page([runs[0], replace(runs[1], facts=more)])
    assert warning not in report_page([runs[0], replace(runs[1], facts=None)])


def test_runs_without_an_account_of_their_data_are_not_called_the_same() -> None:
    page = report_page([empty_run(), replace(empty_run(), label="older")])
    assert page.count("so there is no account of images and labels.") == 2 and "The same as in" not in page


def test_tables_are_named_for_readers_of_the_screen() -> None:
    named = [a["aria-label"] for _, a in Reader(report_page([make_run()])).tags if a.get("role") == "region"]
    assert "Reasons in split plain" in named and all(" " in (name or "") for name in named)
