"""HTML pages show text literally and need no other file; tables are aligned."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

from keras_resnet import pages, tables

HOSTILE = """<b>"R&D" 'x'</b>"""


class Reader(HTMLParser):
    """Collects the elements of a page with their attributes, and the text in it."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += [data] if data.strip() else []


def test_text_is_shown_literally_wherever_it_is(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG pixels")
    body = [
        pages.element("h1", HOSTILE),
        pages.table([HOSTILE], [pages.row([pages.element("td", HOSTILE, "name")])]),
        "",
        pages.image(tmp_path / "picture.png", HOSTILE),
    ]
    read = Reader(pages.page(HOSTILE, body))
    assert [text for text in read.text if "{" not in text] == 4 * [HOSTILE]  # the title, and three in the body
    tags = [tag for tag, _ in read.elements]
    assert tags == ["html", "meta", "meta", "title", "style", "h1", "div", "table", "tr", "th", "tr", "td", "img"]
    assert read.elements[-2] == ("td", {"class": "name"})
    attributes = read.elements[-1][1]
    kind, _, data = attributes["src"].partition(",")
    assert (attributes["alt"], kind, base64.b64decode(data)) == (HOSTILE, "data:image/png;base64", b"\x89PNG pixels")


def test_names_are_aligned_to_the_left_and_numbers_to_the_right():
    head, rows = ("name", "n"), (("a", "1"), ("longer", "1,000"))
    assert tables.text_table(head, rows, {1}).splitlines() == ["name        n", "a           1", "longer  1,000"]
    assert tables.text_table(head, rows, {0}).splitlines() == ["  name  n", "     a  1", "longer  1,000"]
    assert tables.text_table(head, rows, [1], markdown=True).splitlines() == [
        "| name   |     n |",
        "| ------ | ----: |",
        "| a      |     1 |",
        "| longer | 1,000 |",
    ]
    assert tables.text_table(head, (), ()) == "name  n"
