// The report's behaviour: sortable tables, zoomable figures, the trajectory viewer. Its state stands in the page's hash
// (#item=0&a=2&b=5&canvas=0&step=4&sort=-3&zoom=0:2), so that a view can be linked to.
'use strict';

const hash = new URLSearchParams(location.hash.slice(1));
function remember(key, value) {
  hash.set(key, value);
  history.replaceState(null, '', '#' + hash.toString());
}

// --- tables: numbers as numbers, texts as texts, what is no number last

function sortTable(table, column, way) {
  const body = table.tBodies[0];
  const key = row => row.cells[column].textContent;
  const numeric = [...body.rows].some(row => !isNaN(parseFloat(key(row)))) && column > 0;
  const rows = [...body.rows].sort((p, q) => {
    const a = key(p), b = key(q);
    if (!numeric) return way * a.localeCompare(b);
    const x = parseFloat(a), y = parseFloat(b);
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return way * (x - y);
  });
  rows.forEach(row => body.append(row));
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    if (i === column) head.setAttribute('aria-sort', way > 0 ? 'ascending' : 'descending');
    else head.removeAttribute('aria-sort');
  });
}

document.querySelectorAll('table').forEach(table => {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.onclick = () => {
      const way = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
      sortTable(table, column, way);
      remember('sort', (way < 0 ? '-' : '') + (column + 1));
    };
  });
});

// --- figures: the wheel zooms once a figure was clicked (or with Ctrl), dragging moves, a double click shows all

class Zoom {
  constructor(figure) {
    this.figure = figure;
    this.svg = figure.querySelector('svg');
    this.whole = this.svg.viewBox.baseVal.width ? this.box() : { x: 0, y: 0, w: this.svg.width.baseVal.value, h: this.svg.height.baseVal.value };
    this.view = { ...this.whole };
    const bar = document.createElement('div');
    bar.className = 'zoom';
    for (const [text, title, act] of [['+', 'larger', () => this.scale(1.5)], ['\u2212', 'smaller', () => this.scale(1 / 1.5)], ['\u2922', 'whole figure', () => this.reset()]]) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = text;
      button.title = title;
      button.onclick = act;
      bar.append(button);
    }
    figure.append(bar);
    this.svg.addEventListener('click', () => figure.classList.add('active'));
    figure.addEventListener('mouseleave', () => figure.classList.remove('active'));
    this.svg.addEventListener('dblclick', () => this.reset());
    this.svg.addEventListener('wheel', event => this.wheel(event), { passive: false });
    this.svg.addEventListener('pointerdown', event => this.drag(event));
  }
  box() {
    const b = this.svg.viewBox.baseVal;
    return { x: b.x, y: b.y, w: b.width, h: b.height };
  }
  apply() {
    const v = this.view;
    this.svg.setAttribute('viewBox', `${v.x} ${v.y} ${v.w} ${v.h}`);
  }
  reset() {
    this.view = { ...this.whole };
    this.apply();
  }
  /// The point (fx, fy), as fractions of the picture, stays where it is.
  scale(factor, fx = 0.5, fy = 0.5) {
    const v = this.view, w = Math.min(this.whole.w, Math.max(this.whole.w / 40, v.w / factor)), h = w * this.whole.h / this.whole.w;
    this.view = { x: v.x + (v.w - w) * fx, y: v.y + (v.h - h) * fy, w, h };
    this.keepInside();
    this.apply();
  }
  keepInside() {
    const v = this.view, o = this.whole;
    v.x = Math.min(Math.max(v.x, o.x), o.x + o.w - v.w);
    v.y = Math.min(Math.max(v.y, o.y), o.y + o.h - v.h);
  }
  wheel(event) {
    if (!event.ctrlKey && !this.figure.classList.contains('active')) return;
    event.preventDefault();
    const place = this.svg.getBoundingClientRect();
    this.scale(Math.exp(-event.deltaY * 0.002), (event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
  }
  drag(event) {
    if (this.view.w >= this.whole.w) return;
    const from = { x: event.clientX, y: event.clientY, view: { ...this.view } }, place = this.svg.getBoundingClientRect();
    const move = e => {
      this.view = { ...from.view, x: from.view.x - (e.clientX - from.x) / place.width * from.view.w, y: from.view.y - (e.clientY - from.y) / place.height * from.view.h };
      this.keepInside();
      this.apply();
    };
    const stop = () => {
      removeEventListener('pointermove', move);
      removeEventListener('pointerup', stop);
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', stop);
  }
}
const zooms = [...document.querySelectorAll('figure')].map(figure => new Zoom(figure));

// --- trajectories: two samplers side by side on one item, one slider of steps

class Pane {
  constructor(node, data) {
    this.data = data;
    this.node = node;
    this.title = node.querySelector('h3');
    this.status = node.querySelector('.status');
    this.canvas = node.querySelector('.canvas');
    this.text = node.querySelector('.text');
  }
  word(id) {
    const text = this.data.tokens ? this.data.tokens[id] : undefined;
    return text === undefined || text === '' ? String(id) : text.replace(/\n/g, '\u23ce').replace(/\t/g, '\u21e5');
  }
  /// State after `step` steps (0: what the first step saw) of one canvas.
  show(trajectory, canvasIndex, step) {
    this.title.textContent = trajectory.label;
    this.title.title = trajectory.settings;
    const canvas = trajectory.canvases[canvasIndex];
    this.canvas.replaceChildren();
    if (!canvas) {
      this.status.textContent = `this sample has ${trajectory.canvases.length} canvas(es)`;
      return;
    }
    const taken = Math.min(step, canvas.steps.length), now = taken > 0 ? canvas.steps[taken - 1] : null;
    const before = taken > 1 ? canvas.steps[taken - 2].out : canvas.start, tokens = now ? now.out : canvas.start;
    let changed = 0, settled = 0;
    tokens.forEach((id, p) => {
      const cell = document.createElement('span'), done = canvas.steps.slice(taken).every(later => later.out[p] === id);
      const differs = now && before[p] !== id, accepted = now && now.acc[p] === '1';
      changed += differs ? 1 : 0;
      settled += done ? 1 : 0;
      cell.className = 'cell ' + (done ? 'settled' : 'open') + (accepted ? ' accepted' : '') + (differs ? ' changed' : '');
      cell.textContent = this.word(id);
      if (now) cell.style.backgroundColor = shade(now.ent[p] / this.data.most_entropy);
      cell.title = this.describe(p, id, now, done);
      cell.onmouseenter = () => { document.querySelector('#viewer .hover').textContent = trajectory.label + ' \u2014 ' + cell.title.replace(/\n/g, '; '); };
      this.canvas.append(cell);
    });
    const mean = now ? now.ent.reduce((a, b) => a + b, 0) / now.ent.length : 0;
    this.status.textContent = now
      ? `after step ${taken - 1} (temperature ${now.t}): mean entropy ${mean.toFixed(3)} nats, ${[...now.acc].filter(c => c === '1').length} accepted, ${changed} changed, ${settled} of ${tokens.length} settled` +
        (taken === canvas.steps.length ? `; ended after ${taken} steps${canvas.stop ? ' (' + canvas.stop + ')' : ''}` : '')
      : `start canvas (noise), ${settled} of ${tokens.length} already as they end`;
    this.text.textContent = (this.data.tokens ? 'text: ' : 'tokens: ') + trajectory.tokens.map(id => this.word(id)).join(this.data.tokens ? '' : ' ');
  }
  describe(position, id, now, done) {
    const name = other => `${other}` + (this.data.tokens ? ` "${this.word(other)}"` : '');
    const lines = [`position ${position}: token ${name(id)}`];
    if (now) lines.push(`entropy ${now.ent[position].toFixed(3)} nats`, `argmax ${name(now.arg[position])}`, `candidate ${name(now.cand[position])}`, now.acc[position] === '1' ? 'accepted' : 'not accepted');
    lines.push(done ? 'does not change any more' : 'changes later');
    return lines.join('\n');
  }
}

/// White where the model is sure, darker with entropy: readable under black text.
function shade(fraction) {
  const f = Math.max(0, Math.min(1, fraction));
  return `rgb(${255 - 75 * f}, ${255 - 60 * f}, ${255 - 20 * f})`;
}

class Viewer {
  constructor(node, data) {
    this.node = node;
    this.data = data;
    this.panes = [...node.querySelectorAll('.pane')].map(pane => new Pane(pane, data));
    this.field = name => node.querySelector(`[name=${name}]`);
    this.items = [];  // lists of indices into data.list that share item, repeat and seed
    const places = new Map();
    data.list.forEach((t, i) => {
      const key = `${t.item}, repeat ${t.repeat}, seed ${t.seed}`;
      if (!places.has(key)) {
        places.set(key, this.items.length);
        this.items.push([]);
        this.field('item').append(new Option(key, places.get(key)));
      }
      this.items[places.get(key)].push(i);
    });
    this.field('item').onchange = () => this.choose(+this.field('item').value);
    for (const name of ['a', 'b', 'canvas']) this.field(name).onchange = () => this.update();
    this.field('step').oninput = () => this.update();
    node.querySelector('.play').onclick = () => this.play();
    this.choose(this.asked('item', 0, this.items.length));
  }
  asked(name, otherwise, count) {
    const value = hash.has(name) ? Number(hash.get(name)) : otherwise;
    return Number.isInteger(value) && value >= 0 && value < count ? value : otherwise;
  }
  /// The longest canvases and most steps show most: the first sampler of these, and the next one beside it.
  defaults(list) {
    const size = i => this.data.list[i].canvases[0].start.length * 1e6 + this.data.list[i].canvases[0].steps.length;
    const order = list.map((_, k) => k).sort((p, q) => size(list[q]) - size(list[p]) || p - q);
    const a = order[0], other = order.find(k => this.data.list[list[k]].series !== this.data.list[list[a]].series);
    return [a, other === undefined ? order[Math.min(1, order.length - 1)] : other];
  }
  choose(item) {
    const list = this.items[item];
    this.field('item').value = item;
    const [a, b] = this.defaults(list);
    for (const [name, otherwise] of [['a', a], ['b', b]]) {
      const kept = this.field(name).value;
      this.field(name).replaceChildren(...list.map((t, k) => new Option(this.data.list[t].label, k)));
      this.field(name).value = kept !== '' && +kept < list.length ? kept : this.asked(name, otherwise, list.length);
    }
    this.update(this.asked('step', null, 1e9));
  }
  update(step) {
    const list = this.items[+this.field('item').value], pair = ['a', 'b'].map(name => this.data.list[list[+this.field(name).value]]);
    const canvases = Math.max(...pair.map(t => t.canvases.length)), select = this.field('canvas');
    const canvas = Math.min(select.options.length ? +select.value : this.asked('canvas', 0, canvases), canvases - 1);
    select.replaceChildren(...Array.from({ length: canvases }, (_, k) => new Option(`canvas ${k}`, k)));
    select.value = canvas;
    select.parentElement.hidden = canvases < 2;
    const most = Math.max(...pair.map(t => t.canvases[canvas] ? t.canvases[canvas].steps.length : 0)), slider = this.field('step');
    slider.max = most;
    if (typeof step === 'number') slider.value = Math.min(step, most);
    const now = Math.min(+slider.value, most);
    this.node.querySelector('.now').textContent = `${now} of ${most} steps`;
    pair.forEach((trajectory, i) => this.panes[i].show(trajectory, canvas, now));
    this.node.querySelector('.noise').textContent = noiseText(pair.map(t => t.canvases[canvas]), canvas);
    for (const name of ['item', 'a', 'b', 'canvas']) hash.set(name, this.field(name).value);
    remember('step', now);
  }
  play() {
    const slider = this.field('step'), button = this.node.querySelector('.play');
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = null;
      button.textContent = 'play';
      return;
    }
    if (+slider.value >= +slider.max) this.update(0);
    button.textContent = 'pause';
    this.timer = setInterval(() => {
      if (+slider.value >= +slider.max) return this.play();
      this.update(+slider.value + 1);
    }, 350);
  }
}

/// Whether two canvases really begin with the same noise.
function noiseText([a, b], canvas) {
  if (!a || !b) return '';
  const both = Math.min(a.start.length, b.start.length), equal = a.start.slice(0, both).filter((id, p) => id === b.start[p]).length;
  const whole = a.start.length === b.start.length ? 'both start canvases' : `the first ${both} positions of both start canvases`;
  if (equal === both) return `${whole} are the same`;
  return `${whole} agree at ${equal} of ${both} positions` + (canvas > 0 ? ' (later canvases follow texts that differ)' : '');
}

const holder = document.getElementById('trajectories');
const viewer = holder ? new Viewer(document.getElementById('viewer'), JSON.parse(holder.textContent)) : null;
if (hash.has('sort')) {
  const column = Number(hash.get('sort')), table = document.querySelector('table');
  if (Number.isInteger(column) && column !== 0 && Math.abs(column) <= table.tHead.rows[0].cells.length) sortTable(table, Math.abs(column) - 1, Math.sign(column));
}
if (hash.has('zoom')) {
  const [figure, factor] = hash.get('zoom').split(':').map(Number);
  if (zooms[figure] && factor > 0) zooms[figure].scale(factor);
}
