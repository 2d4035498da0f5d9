// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Plots of the selected scope.

import { el, setText } from './dom.js';
import { angles, drawHead } from './head.js';
import { histogram, plot, Series } from './plot.js';

const COLORS = ['#5ab4f0', '#ffb000', '#ff5fc4'];
const BASE_SHARE = 0.1;  // F0 is this quantile of the last minute

function canvas(label) {
  return el('canvas', { className: 'plot', role: 'img', ariaLabel: label });
}

/** Return a series of angles [degrees] of one of quaternions. */
function anglesOf(turns) {
  const series = new Series();
  series.points = turns.points.map(([time, ...quaternion]) => [time, ...angles(quaternion)]);
  return series;
}

/** Return a series of (F - F0) / F0 of one of means. */
function relative(means) {
  const series = new Series();
  if (!means.points.length) return series;
  const sorted = means.points.map((point) => point[1]).sort((a, b) => a - b);
  const base = sorted[Math.floor(sorted.length * BASE_SHARE)] || 1;
  series.points = means.points.map(([time, mean]) => [time, (mean - base) / base]);
  return series;
}

/** The pane with histogram and plots. */
export class PlotsPane {
  constructor() {
    this.brightness = canvas('Brightness over the last minute');
    this.interval = canvas('Interval between frames over the last minute');
    this.histogram = canvas('Histogram of grey levels');
    this.angles = canvas('Roll, pitch and yaw over the last minute');
    this.mean = canvas('Mean of the rectangle over the last minute');
    this.relative = canvas('dF/F of the rectangle over the last minute');
    this.head = el('canvas', { className: 'head3d', role: 'img', ariaLabel: 'How the head is held' });
    this.text = el('div', { className: 'angles' });
    this.hint = el('p', { className: 'quiet' });
    this.element = el('div', { className: 'pane' }, this.histogram, this.brightness, this.interval,
      el('div', { className: 'head-row' }, this.head, this.text), this.angles,
      el('div', { className: 'legend' }, ...['roll', 'pitch', 'yaw'].map((name, index) => {
        const mark = el('span', {}, `━ ${name}`);
        mark.style.color = COLORS[index];
        return mark;
      })), this.mean, this.relative, this.hint);
  }

  show(tile) {
    if (!tile) return;
    histogram(this.histogram, tile.view.counts);
    plot(this.brightness, tile.brightness, { title: 'Brightness', unit: '' });
    plot(this.interval, tile.intervals, { title: 'Frame interval', unit: 'ms' });
    const turns = anglesOf(tile.turns);
    plot(this.angles, turns, { title: 'Roll / pitch / yaw', unit: '°', columns: [1, 2, 3], colors: COLORS, limits: [-180, 180], wraps: true });
    const last = tile.turns.points.at(-1);
    drawHead(this.head, last ? last.slice(1) : null);
    const named = last ? ['roll', 'pitch', 'yaw'].map((name, index) => `${name} ${turns.points.at(-1)[index + 1].toFixed(1)}°`) : ['no orientation yet'];
    setText(this.text, named.join('   '));
    const rectangle = tile.view.rectangle;
    this.mean.hidden = this.relative.hidden = !rectangle;
    if (rectangle) {
      plot(this.mean, tile.rectangleMeans, { title: `Rectangle ${rectangle.width}×${rectangle.height}, mean`, unit: '', colors: ['#ffb000'] });
      plot(this.relative, relative(tile.rectangleMeans), { title: 'Rectangle, dF/F', unit: '', colors: ['#ffb000'] });
    }
    setText(this.hint, `Grey levels are those of the picture shown (image_display, JPEG). ${rectangle
      ? 'F0 is the 10 % quantile of the last minute.' : 'Draw a rectangle on the picture to plot its mean and dF/F.'}`);
  }
}
