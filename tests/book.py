#!/usr/bin/env python3
"""Checks that each relative link in a folder of HTML pages leads to a file, and its anchor to an element: `book.py FOLDER`."""

import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src", "srcset") and value:
                self.links.append(value)
            elif name == "id":
                self.anchors.add(value)


def main(folder):
    # One page has all others in it, for printing; the other shows where nothing is, at any depth.
    left_out = {"print.html", "404.html", "toc.html"}
    pages = {path: Page(path) for path in pathlib.Path(folder).resolve().rglob("*.html") if path.name not in left_out}
    checked, wrong = 0, []
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            checked += 1
            to = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            if not to.is_file() or parts.fragment and to in pages and parts.fragment not in pages[to].anchors:
                wrong.append(f"{path.relative_to(pathlib.Path(folder).resolve())}: {link}")
    print("\n".join(sorted(set(wrong))), file=sys.stderr)
    print(f"{len(pages)} pages, {checked} links")
    print(f"{1 if pages and checked and not wrong else 0} passed, {1 if wrong or not checked else 0} failed")
    sys.exit(bool(wrong) or not checked)


main(*sys.argv[1:])
