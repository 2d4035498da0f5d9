// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// A picture with zoom, cross-hair and a rectangle; and what its pixels tell.

import { el } from './dom.js';

const MOST_ZOOM = 32;
const STATISTICS_MS = 100;

/** Return the grey level of a pixel in RGBA data. */
function grey(data, at) {
  return Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
}

/** Shows pictures; events: read (detail: text), rectangle, enlarge. */
export class PictureView extends EventTarget {
  constructor(name) {
    super();
    this.image = el('canvas', { className: 'image', width: 1, height: 1 });
    this.cover = el('canvas', { className: 'cover' });
    this.curtain = el('div', { className: 'curtain' }, 'no picture yet');
    this.element = el('div', { className: 'picture not-live', tabIndex: 0, role: 'img',
      ariaLabel: `Live picture of ${name}` }, this.image, this.cover, this.curtain);
    this.context = this.image.getContext('2d', { willReadFrequently: true });
    this.zoom = 1;
    this.shift = [0, 0];
    this.cross = null;
    this.rectangle = null;
    this.drawing = false;
    this.statisticsAt = 0;
    this.counts = new Uint32Array(256);
    this.mean = null;
    this.listen();
    new ResizeObserver(() => this.arrange()).observe(this.element);
  }

  // Geometry: fit is the scale at which the whole picture is seen.

  get fit() {
    return Math.min(this.element.clientWidth / this.image.width,
      this.element.clientHeight / this.image.height) || 1;
  }

  get scale() { return this.fit * this.zoom; }

  arrange() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const wide = this.image.width * this.scale;
    const tall = this.image.height * this.scale;
    const clamp = (shift, size, space) => (size <= space ? (space - size) / 2
      : Math.min(0, Math.max(space - size, shift)));
    this.shift = [clamp(this.shift[0], wide, width), clamp(this.shift[1], tall, height)];
    this.image.style.transform = `translate(${this.shift[0]}px, ${this.shift[1]}px) scale(${this.scale})`;
    this.image.style.imageRendering = this.scale > 1.5 ? 'pixelated' : 'auto';
    const ratio = window.devicePixelRatio || 1;
    this.cover.style.width = `${width}px`;
    this.cover.style.height = `${height}px`;
    this.cover.width = Math.round(width * ratio);
    this.cover.height = Math.round(height * ratio);
    this.drawCover();
  }

  toPixel(event) {
    const box = this.element.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left - this.element.clientLeft - this.shift[0]) / this.scale);
    const y = Math.floor((event.clientY - box.top - this.element.clientTop - this.shift[1]) / this.scale);
    return [x, y];
  }

  isInside([x, y]) { return x >= 0 && y >= 0 && x < this.image.width && y < this.image.height; }

  /** Zoom by a factor, keeping the pixel at a place of the element where it is. */
  zoomBy(factor, place) {
    const [x, y] = place || [this.element.clientWidth / 2, this.element.clientHeight / 2];
    const before = this.scale;
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    const ratio = this.scale / before;
    this.shift = [x - (x - this.shift[0]) * ratio, y - (y - this.shift[1]) * ratio];
    this.arrange();
  }

  showAll() { this.zoom = 1; this.arrange(); }

  /** Show one pixel of the picture as one pixel of the screen. */
  showPixels() { this.zoomBy(1 / this.scale / (window.devicePixelRatio || 1)); }

  listen() {
    const element = this.element;
    element.addEventListener('wheel', (event) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, [event.clientX - box.left, event.clientY - box.top]);
    }, { passive: false });
    element.addEventListener('pointerdown', (event) => this.press(event));
    element.addEventListener('pointermove', (event) => this.move(event));
    element.addEventListener('pointerup', (event) => this.release(event));
    element.addEventListener('pointerleave', () => {
      if (document.activeElement !== element) { this.cross = null; this.read(); }
    });
    element.addEventListener('keydown', (event) => this.key(event));
  }

  press(event) {
    this.element.setPointerCapture(event.pointerId);
    this.pressed = { at: [event.clientX, event.clientY], pixel: this.toPixel(event),
      shift: [...this.shift], moved: false };
  }

  move(event) {
    const pixel = this.toPixel(event);
    this.cross = this.isInside(pixel) ? pixel : null;
    if (this.pressed) {
      const [dx, dy] = [event.clientX - this.pressed.at[0], event.clientY - this.pressed.at[1]];
      if (Math.hypot(dx, dy) > 4) this.pressed.moved = true;
      if (this.pressed.moved && this.drawing) {
        this.setRectangle(this.pressed.pixel, pixel);
      } else if (this.pressed.moved) {
        this.shift = [this.pressed.shift[0] + dx, this.pressed.shift[1] + dy];
        this.arrange();
      }
    }
    this.read();
  }

  release(event) {
    const { pressed } = this;
    this.pressed = null;
    if (!pressed) return;
    if (!pressed.moved && !this.drawing) this.dispatchEvent(new Event('enlarge'));
    if (pressed.moved && this.drawing) this.dispatchEvent(new Event('rectangle'));
    this.move(event);
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (steps[event.key]) {
      const [x, y] = this.cross || [Math.floor(this.image.width / 2), Math.floor(this.image.height / 2)];
      const size = event.shiftKey ? 10 : 1;
      this.cross = [Math.min(this.image.width - 1, Math.max(0, x + size * steps[event.key][0])),
        Math.min(this.image.height - 1, Math.max(0, y + size * steps[event.key][1]))];
      this.read();
    } else if (event.key === '+') this.zoomBy(1.25);
    else if (event.key === '-') this.zoomBy(0.8);
    else if (event.key === '0') this.showAll();
    else if (event.key === 'Enter') this.dispatchEvent(new Event('enlarge'));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  setRectangle(one, other) {
    const clamp = (value, most) => Math.min(most - 1, Math.max(0, value));
    const [left, right] = [clamp(one[0], this.image.width), clamp(other[0], this.image.width)].sort((a, b) => a - b);
    const [top, bottom] = [clamp(one[1], this.image.height), clamp(other[1], this.image.height)].sort((a, b) => a - b);
    this.rectangle = { left, top, width: right - left + 1, height: bottom - top + 1 };
    this.drawCover();
  }

  clearRectangle() {
    this.rectangle = null;
    this.drawCover();
    this.dispatchEvent(new Event('rectangle'));
  }

  // Pixels

  /** Show a picture. */
  draw(bitmap) {
    if (this.image.width !== bitmap.width || this.image.height !== bitmap.height) {
      this.image.width = bitmap.width;
      this.image.height = bitmap.height;
      this.element.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
      this.arrange();
    }
    this.context.drawImage(bitmap, 0, 0);
    const now = performance.now();
    if (now - this.statisticsAt >= STATISTICS_MS) {
      this.statisticsAt = now;
      this.count();
      if (this.cross) this.read();
    }
  }

  count() {
    const { data } = this.context.getImageData(0, 0, this.image.width, this.image.height);
    this.counts.fill(0);
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) {
      const level = data[at] === data[at + 1] && data[at] === data[at + 2] ? data[at] : grey(data, at);
      this.counts[level] += 1;
      sum += level;
    }
    this.mean = sum / (data.length / 4);
  }

  /** Return the mean grey level in the rectangle, or null. */
  rectangleMean() {
    if (!this.rectangle) return null;
    const { left, top, width, height } = this.rectangle;
    const { data } = this.context.getImageData(left, top, width, height);
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) sum += grey(data, at);
    return sum / (data.length / 4);
  }

  read() {
    let text = '';
    if (this.cross && this.isInside(this.cross)) {
      const [x, y] = this.cross;
      text = `x ${x}  y ${y}  grey ${grey(this.context.getImageData(x, y, 1, 1).data, 0)}`;
    }
    this.dispatchEvent(new CustomEvent('read', { detail: text }));
    this.drawCover();
  }

  drawCover() {
    const ratio = window.devicePixelRatio || 1;
    const context = this.cover.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.cover.width, this.cover.height);
    const place = (x, y) => [this.shift[0] + x * this.scale, this.shift[1] + y * this.scale];
    context.lineWidth = 1;
    if (this.cross) {
      const [x, y] = place(this.cross[0] + 0.5, this.cross[1] + 0.5);
      context.strokeStyle = 'rgba(90, 180, 240, .8)';
      context.beginPath();
      context.moveTo(0, y); context.lineTo(x - 8, y); context.moveTo(x + 8, y);
      context.lineTo(this.element.clientWidth, y);
      context.moveTo(x, 0); context.lineTo(x, y - 8); context.moveTo(x, y + 8);
      context.lineTo(x, this.element.clientHeight);
      context.stroke();
    }
    if (this.rectangle) {
      const { left, top, width, height } = this.rectangle;
      const [x, y] = place(left, top);
      context.lineWidth = 2;
      context.strokeStyle = '#ffb000';
      context.strokeRect(x, y, width * this.scale, height * this.scale);
    }
  }

  /** Say that the picture is not live, and why; an empty text: it is. */
  setCurtain(text) {
    this.curtain.hidden = !text;
    this.element.classList.toggle('not-live', Boolean(text));
    if (this.curtain.textContent !== text) this.curtain.textContent = text;
  }
}
