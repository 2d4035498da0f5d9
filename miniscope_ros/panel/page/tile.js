// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// The tile of one scope: its picture, state and light.

import { el, LIGHT_WORDS, setText } from './dom.js';
import { PictureView } from './picture.js';
import { Series } from './plot.js';

const LATE_PERIODS = 8;
const LATE_MS = 1000;
const RATE_SPAN_MS = 2000;

/** One scope as the page knows it. */
export class Tile extends EventTarget {
  constructor(name, connection) {
    super();
    this.name = name;
    this.connection = connection;
    this.scope = null;
    this.controls = [];
    this.view = new PictureView(name);
    this.brightness = new Series();
    this.intervals = new Series();
    this.turns = new Series();
    this.rectangleMeans = new Series();
    this.arrivals = [];
    this.shownAt = -Infinity;
    this.decoding = false;
    this.visible = true;
    this.build();
  }

  build() {
    const button = (text, title, action) => el('button', { type: 'button', title, onclick: action }, text);
    this.title = el('button', { type: 'button', className: 'name', title: 'Select this scope',
      onclick: () => this.select() }, this.name);
    this.state = el('span', { className: 'badge' });
    this.light = el('span', { className: 'light' });
    this.rate = el('span', { className: 'badge', title: 'Pictures per second shown here' });
    this.readout = el('span', { className: 'readout' });
    this.drawButton = button('Rectangle', 'Draw a rectangle: its mean and dF/F are plotted (key R)', () => this.toggleDrawing());
    this.drawButton.ariaPressed = 'false';
    this.dismissButton = button('Dismiss', 'Forget this scope, which is gone', () => this.connection.ask('dismiss', { scope: this.name }));
    this.dismissButton.hidden = true;
    this.enlargeButton = button('Enlarge', 'Enlarge to the whole window, or back (click on the picture)', () => this.enlarge());
    this.enlargeButton.ariaPressed = 'false';
    this.element = el('article', { className: 'tile', ariaLabel: this.name },
      el('div', { className: 'head' }, this.title, el('span', { className: 'space' }), this.rate, this.state, this.light, this.dismissButton),
      this.view.element,
      el('div', { className: 'tools' }, this.drawButton,
        button('−', 'Zoom out (key −)', () => this.view.zoomBy(0.8)),
        button('+', 'Zoom in (key +, or the wheel)', () => this.view.zoomBy(1.25)),
        button('1:1', 'One pixel of the scope is one of the screen', () => this.view.showPixels()),
        button('All', 'The whole picture (key 0)', () => this.view.showAll()), this.enlargeButton));
    this.view.element.append(this.readout);
    this.element.dataset.scope = this.name;
    this.view.addEventListener('read', (event) => setText(this.readout, event.detail));
    this.view.addEventListener('enlarge', () => this.enlarge());
    this.view.addEventListener('rectangle', () => this.rectangleMeans.clear());
    this.element.addEventListener('pointerdown', () => this.select());
    this.element.addEventListener('focusin', () => this.select());
  }

  select() { this.dispatchEvent(new Event('select')); }

  toggleDrawing() {
    if (this.view.rectangle && this.view.drawing) this.view.clearRectangle();
    this.view.drawing = !this.view.drawing;
    this.drawButton.ariaPressed = String(this.view.drawing);
  }

  enlarge() {
    const enlarged = this.element.classList.toggle('enlarged');
    this.enlargeButton.ariaPressed = String(enlarged);
    this.view.showAll();
  }

  // News

  takeScope(scope) {
    this.scope = scope;
    setText(this.state, scope.present ? scope.state : 'gone');
    this.state.className = `badge ${scope.state === 'active' && !scope.silent ? 'good' : 'stale'}`;
    this.dismissButton.hidden = scope.present;
    this.judge();
  }

  takeSamples({ frames, turns }) {
    for (const [time, interval, lost] of frames) this.intervals.add(time, interval, lost);
    for (const turn of turns) this.turns.add(...turn);
  }

  async takePicture(picture) {
    this.decoding = true;
    try {
      const bitmap = await createImageBitmap(picture.jpeg);
      this.view.draw(bitmap);
      bitmap.close();
      this.shownAt = performance.now();
      this.shown = picture;
      this.note(picture);
    } finally {
      this.decoding = false;
      this.connection.send('shown', { scope: this.name });
    }
    this.judge();
  }

  note(picture) {
    const now = performance.now();
    this.arrivals.push(now);
    while (now - this.arrivals[0] > RATE_SPAN_MS) this.arrivals.shift();
    if (this.view.mean !== null) this.brightness.add(picture.stampMs, this.view.mean);
    const mean = this.view.rectangleMean();
    if (mean !== null) this.rectangleMeans.add(picture.stampMs, mean);
    requestAnimationFrame(() => {
      const times = (window.panelTimes ||= []);
      times.push([this.name, picture.stampMs, performance.timeOrigin + performance.now()]);
      if (times.length > 5000) times.shift();
    });
  }

  /** Decide whether the picture is live, and say so. */
  judge() {
    const { scope } = this;
    const now = performance.now();
    while (this.arrivals.length && now - this.arrivals[0] > RATE_SPAN_MS) this.arrivals.shift();
    setText(this.rate, `${(this.arrivals.length / RATE_SPAN_MS * 1000).toFixed(0)}/s`);
    this.view.setCurtain(this.whyNotLive(scope, now));
    const light = this.connection.alive && scope ? scope.light : 'unconfirmed';
    this.light.className = `light ${light}`;
    setText(this.light, LIGHT_WORDS[light]);
    this.light.title = scope ? scope.lightText : '';
  }

  whyNotLive(scope, now) {
    if (!this.connection.alive) return 'NOT LIVE: no connection with the panel';
    if (!scope) return 'asking the scope';
    if (!scope.present) return 'NOT LIVE: this scope is gone';
    if (scope.silent) return 'NOT LIVE: the node reports nothing';
    const device = scope.parts.device;
    if (scope.state !== 'active') {
      return `NOT LIVE: ${scope.state}${device && device.level === 'error' ? `. ${device.message}` : ''}`;
    }
    const period = 1000 / (scope.metadata.rate || 30);
    if (now - this.shownAt > Math.max(LATE_MS, LATE_PERIODS * period)) {
      const why = device && device.level === 'error' ? `. ${device.message}` : '';
      return Number.isFinite(this.shownAt)
        ? `NOT LIVE: no picture for ${((now - this.shownAt) / 1000).toFixed(0)} s${why}` : `no picture yet${why}`;
    }
    return '';
  }
}
