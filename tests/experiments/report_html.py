"""A report as it was written: elements nest, and nothing points outside.  report_html.py REPORT.html"""
import json
import sys
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "img", "link", "hr"}
OPTIONAL_END = {"p", "tr", "td", "th", "thead", "tbody", "option"}  # HTML lets their end tags out


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.counts, self.data, self.inside = [], {}, None, ""

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "action", "data") or name.endswith(":href"):
                assert value.startswith("#"), (tag, name, value)
        self.data = dict(attributes).get("id") == "trajectories"

    def handle_startendtag(self, tag, attributes):  # SVG
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        while self.open[-1] != tag:
            skipped = self.open.pop()
            assert skipped in OPTIONAL_END, f"</{tag}> closes <{skipped}>"
        self.open.pop()

    def handle_data(self, text):
        if self.data and self.open[-1] == "script":
            self.inside += text


text = open(sys.argv[1], encoding="utf-8").read()
assert "://" not in text, text[max(0, text.index("://") - 60):][:120]
page = Page()
page.feed(text)
page.close()
assert not page.open, page.open
assert page.counts["html"] == page.counts["body"] == page.counts["table"] == 1 and page.counts["svg"] >= 3, page.counts
if page.inside:
    print(len(json.loads(page.inside)["list"]))
