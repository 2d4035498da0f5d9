// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Line plots of the last minute, and a histogram. Own drawing: nothing is fetched from elsewhere.

export const SPAN_MS = 60000;
const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
const LEFT = 46;
const BOTTOM = 18;
const TOP = 18;

/** Samples [time in ms, value, ..] of the last minute. */
export class Series {
  constructor() { this.points = []; }

  add(...point) {
    const last = this.points.at(-1);
    if (last && point[0] <= last[0] - 1000) this.points = [];  // a new acquisition of other time
    this.points.push(point);
    while (this.points.length && point[0] - this.points[0][0] > SPAN_MS) this.points.shift();
  }

  clear() { this.points = []; }
}

function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width || !height) return null;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  return { context, width, height };
}

function show(value) {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toFixed(3);
}

function range(series, columns, limits) {
  if (limits) return limits;
  let low = Infinity;
  let high = -Infinity;
  for (const point of series.points) {
    for (const column of columns) {
      if (point[column] < low) low = point[column];
      if (point[column] > high) high = point[column];
    }
  }
  if (!(low <= high)) return [0, 1];
  const margin = Math.max((high - low) * 0.08, Math.abs(high) * 0.005, 1e-3);
  return [low - margin, high + margin];
}

/** Draw columns of a series over the last minute. */
export function plot(canvas, series, { title, unit, columns = [1], colors = ['#5ab4f0'], limits, wraps }) {
  const ready = prepare(canvas);
  if (!ready) return;
  const { context, width, height } = ready;
  const [low, high] = range(series, columns, limits);
  const end = series.points.length ? series.points.at(-1)[0] : 0;
  const x = (time) => LEFT + (width - LEFT - 4) * (1 + (time - end) / SPAN_MS);
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  context.strokeStyle = '#2b3646';
  context.lineWidth = 1;
  context.strokeRect(LEFT + 0.5, TOP + 0.5, width - LEFT - 5, height - TOP - BOTTOM);
  context.fillStyle = '#93a1b3';
  context.textAlign = 'right';
  context.fillText(show(high), LEFT - 4, TOP + 9);
  context.fillText(show(low), LEFT - 4, height - BOTTOM);
  context.textAlign = 'center';
  for (const seconds of [-60, -40, -20]) {
    context.fillText(`${seconds} s`, Math.max(x(end + seconds * 1000), LEFT + 12), height - 4);
  }
  context.textAlign = 'right';
  context.fillText('now', width - 4, height - 4);
  context.fillStyle = '#d5dde8';
  context.textAlign = 'left';
  const now = series.points.at(-1);
  const values = now ? columns.map((column) => show(now[column])).join(' / ') : 'nothing yet';
  context.fillText(`${title}: ${values} ${now ? unit : ''}`, 2, 12);
  columns.forEach((column, index) => {
    context.strokeStyle = colors[index];
    context.lineWidth = 1.4;
    context.beginPath();
    let before = null;
    for (const point of series.points) {
      const jump = before === null || (wraps && Math.abs(point[column] - before[column]) > 180)
        || point[0] - before[0] > 3000;
      const across = x(point[0]);
      const down = Math.min(Math.max(y(point[column]), TOP), height - BOTTOM);
      if (jump) context.moveTo(across, down); else context.lineTo(across, down);
      before = point;
    }
    context.stroke();
  });
}

/** Draw how often each of 256 grey levels occurs. */
export function histogram(canvas, counts) {
  const ready = prepare(canvas);
  if (!ready) return;
  const { context, width, height } = ready;
  let most = 1;
  let total = 0;
  let sum = 0;
  for (let level = 0; level < 256; level += 1) {
    most = Math.max(most, counts[level]);
    total += counts[level];
    sum += level * counts[level];
  }
  const bar = (width - 8) / 256;
  for (let level = 0; level < 256; level += 1) {
    const tall = (height - TOP - BOTTOM) * Math.sqrt(counts[level] / most);
    context.fillStyle = level === 255 ? '#ff5fc4' : '#5ab4f0';
    context.fillRect(4 + level * bar, height - BOTTOM - tall, Math.max(bar, 1), tall);
  }
  context.fillStyle = '#93a1b3';
  context.textAlign = 'left';
  context.fillText('0', 4, height - 4);
  context.textAlign = 'center';
  context.fillText('128', width / 2, height - 4);
  context.textAlign = 'right';
  context.fillText('255', width - 4, height - 4);
  context.fillStyle = '#d5dde8';
  context.textAlign = 'left';
  const mean = total ? (sum / total).toFixed(1) : '?';
  const full = total ? (100 * counts[255] / total).toFixed(2) : '?';
  context.fillText(`Grey levels (square root): mean ${mean}, ${full} % at 255`, 2, 12);
}
