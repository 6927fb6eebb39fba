"""The table of networks, also in the guide to them."""

from pathlib import Path

from keras_resnet.analysis.summary import COLUMNS, describe, table
from keras_resnet.models.catalog import ARCHITECTURES, find
from keras_resnet.tables import text_table

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "networks.md"


def test_the_guide_has_the_table_of_every_network():
    text = GUIDE.read_text(encoding="utf-8")
    printed = text.split("<!-- networks -->\n")[1].split("<!-- /networks -->")[0]
    assert printed.strip() == table([describe(network) for network in ARCHITECTURES.values()], markdown=True)


def test_a_papers_numbers_are_listed_only_for_the_papers_own_network():
    row = describe(find("resnet34"))
    assert (row["paper_macs"], row["macs"]) == ("3.6e9", 3_663_761_408)
    assert describe(find("resnet34"), {"shortcut": "C"})["paper_macs"] == ""
    assert describe(find("resnet34"), classes=10)["paper_macs"] == ""
    assert describe(find("resnet34"), image_size=448)["paper_macs"] == ""


def test_a_larger_image_costs_in_proportion_to_its_area():
    convolutions = {size: describe(find("resnet20"), classes=1, image_size=size)["macs"] - 64 for size in (32, 64)}
    assert convolutions[64] == 4 * convolutions[32]


def test_columns_are_aligned():
    lines = table([describe(find(name)) for name in ("resnet20", "resnet1001v2")]).splitlines()
    assert len(lines) == 3
    assert [head for head in COLUMNS.values() if head != "ms" and head not in lines[0]] == []
    assert lines[1].index("basic") == lines[2].index("bottleneck") == lines[0].index("unit")


def test_a_column_of_milliseconds_appears_if_a_network_was_measured():
    measured, not_measured = describe(find("resnet20")), describe(find("resnet56"))
    assert "ms" not in table([measured, not_measured]).split()
    lines = table([measured | {"latency": "4.25"}, not_measured | {"latency": ""}]).splitlines()
    assert lines[0].endswith("  ms")
    assert lines[1].endswith("4.25")


def test_columns_are_as_wide_as_their_longest_entry():
    rows = [("a", "1", "x"), ("a longer one", "10", "")]
    assert text_table(("name", "n", ""), rows, {1}).splitlines() == [
        "name           n",
        "a              1  x",
        "a longer one  10",
    ]
    assert text_table(("name", "n", ""), rows, {1}, markdown=True).splitlines()[:2] == [
        "| name         |  n |   |",
        "| ------------ | -: | - |",
    ]
