"""What a browser made of a report against the run's file.  report_dom.py DOM.html RUN.h5 LEFT RIGHT STEP ITEM SORT_COLUMN
Left and right: places in the lists of samplers. Prints nothing when all is well."""
import sys
from html.parser import HTMLParser

import h5py
import numpy as np


class Page(HTMLParser):
    VOID = {"meta", "input", "br", "img", "link", "hr"}

    def __init__(self):
        super().__init__()
        self.open, self.panes, self.rows, self.viewbox, self.options = [], [], [], [], {}
        self.cell = self.select = None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        classes = (attributes.get("class") or "").split()
        if tag not in self.VOID:
            self.open.append(tag)
        if "pane" in classes:
            self.panes.append([])
        if "cell" in classes and self.panes and attributes.get("title"):
            self.cell = {"classes": classes, "title": attributes["title"], "text": ""}
            self.panes[-1].append(self.cell)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag == "svg":
            self.viewbox.append([float(v) for v in attributes["viewbox"].split()])
        if tag == "select":
            self.select = self.options.setdefault(attributes["name"], [])
        if tag == "option":
            self.select.append("")

    def handle_endtag(self, tag):
        if tag == "span":
            self.cell = None
        while self.open and self.open.pop() != tag:  # the browser closes everything; anything left open is popped here
            pass

    def handle_data(self, data):
        if self.cell is not None:
            self.cell["text"] += data
        if self.open and self.open[-1] == "td":
            self.rows[-1][-1] += data
        if self.open and self.open[-1] == "option":
            self.select[-1] += data


def expected(run, config, item, step):
    """Tokens, entropies, accepted and the final tokens of a recorded first canvas after `step` steps."""
    f = run
    sample = int(np.flatnonzero((f["samples/config_idx"][:] == config) & (f["samples/item_idx"][:] == item) & (f["samples/repeat"][:] == 0))[0])
    first_canvas = f["samples/canvas_begin"][sample]
    begin, n = int(f["canvases/step_begin"][first_canvas]), int(f["canvases/num_steps"][first_canvas])
    rows = [int(np.flatnonzero(f["positions/step_row"][:] == begin + k)[0]) for k in range(n)]
    at = f["positions/begin"][:]
    part = lambda name, k: f["positions/" + name][at[rows[k]]:at[rows[k] + 1]]
    taken = min(step, n)
    tokens = part("canvas_out", taken - 1) if taken else part("canvas_in", 0)
    later = np.stack([part("canvas_out", k) for k in range(taken, n)]) if taken < n else tokens[None]
    return tokens, (part("entropy_nats", taken - 1), part("accepted", taken - 1)) if taken else None, (later == tokens).all(0)


page = Page()
page.feed(open(sys.argv[1]).read())
run = h5py.File(sys.argv[2])
left, right, step, item_place, column = (int(a) for a in sys.argv[3:8])
recorded = run["positions/step_row"][:]
sample_of = run["canvases/sample_idx"][:][run["steps/canvas_row"][:][recorded]]
items = np.unique(run["samples/item_idx"][:][sample_of])
item = int(items[item_place])
assert page.options["item"][item_place].startswith(run["items/item_id"].asstr()[item]), page.options["item"]
configs = np.unique(run["samples/config_idx"][:][sample_of])
assert len(page.options["a"]) == len(configs), (page.options["a"], configs)
assert len(page.panes) == 2
for pane, place in zip(page.panes, (left, right)):
    tokens, now, settled = expected(run, int(configs[place]), item, step)
    assert [int(cell["text"]) for cell in pane] == tokens.tolist(), (pane, tokens)
    for p, cell in enumerate(pane):
        assert ("settled" in cell["classes"]) == bool(settled[p]), (place, p)
        if now:
            assert f"entropy {now[0][p]:.3f} nats" in cell["title"] or f"entropy {float(f'{now[0][p]:.4g}'):.3f} nats" in cell["title"], (cell["title"], now[0][p])
            assert ("accepted" in cell["classes"]) == bool(now[1][p]), (place, p)
rows = [row for row in page.rows if row]
assert len(rows) == len(run["config/settings"]), len(rows)
shown = [float(row[abs(column) - 1]) for row in rows if row[abs(column) - 1][:1].isdigit()]
assert shown == sorted(shown, reverse=column < 0) and len(set(shown)) > 1, shown
assert page.viewbox[1][2] * 2 == page.viewbox[2][2] or page.viewbox[1][2] < page.viewbox[2][2], page.viewbox
