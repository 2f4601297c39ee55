"""Reading pages in tests: whether they are whole, and whether they stand alone."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

SVG = "{http://www.w3.org/2000/svg}"


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in ("meta", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def read(page: str) -> _Balance:
    """The page's elements."""
    parser = _Balance()
    parser.feed(page)
    parser.close()
    return parser


def pictures(page: str) -> list[ET.Element]:
    """Every SVG of a page, parsed as XML."""
    return [ET.fromstring(text) for text in re.findall(r"<svg .*?</svg>", page, re.DOTALL)]


def assert_page_is_whole(page: str) -> None:
    """Elements are closed, ids are unique, pictures are XML with a title and a description."""
    parser = read(page)
    assert (parser.open, parser.wrong) == ([], [])
    assert len(parser.ids) == len(set(parser.ids))
    for svg in pictures(page):
        assert svg.find(f"{SVG}title") is not None and svg.findtext(f"{SVG}desc")
        assert svg.get("role") == "img"


def assert_page_stands_alone(page: str) -> None:
    """Nothing is fetched and nothing runs."""
    rest = page.replace("http://www.w3.org/2000/svg", "")
    assert read(page).tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "image", "use"})
    assert re.findall(r"https?:|url\(|@import|\bsrc=|\bhref=|\bon\w+=", rest) == []
