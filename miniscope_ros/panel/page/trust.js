// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Whether the data can be trusted: losses, content, orientation, diagnostics, device, disk.

import { bytes, duration, el, fill, MARKS } from './dom.js';

const TITLES = { device: 'Device', acquisition: 'Frames', orientation: 'Orientation', light: 'Light',
  picture: 'Picture', time: 'Time' };
const FAULTS = ['blocks misplaced', 'banded', 'dark', 'repeated'];  // as /diagnostics names them
const LOW_DISK_S = 1800;

function fact(title, value, isBad = false, hint = '') {
  return el('div', { className: `fact${isBad ? ' warning' : ''}`, title: hint }, el('b', {}, value ?? '?'), el('small', {}, title));
}

function part(name, { level, message }) {
  return el('div', { className: 'part' },
    el('span', { className: `mark ${level}`, title: level }, MARKS[level]),
    el('div', {}, el('b', {}, TITLES[name] || name), ` ${level === 'ok' ? '' : `(${level}) `}`, message));
}

function details(name, { values }) {
  return el('section', {}, el('h2', {}, TITLES[name] || name), el('table', {}, ...Object.entries(values).map(
    ([key, value]) => el('tr', {}, el('th', {}, key), el('td', {}, value)))));
}

/** Say what the pictures of the acquisition show: the node's own account, whoever looks. */
function describeContent(scope) {
  const counts = scope.parts.picture?.values || {};
  const found = FAULTS.filter((words) => Number(counts[words]) > 0);
  if (found.length) return { content: found.map((words) => `${counts[words]} ${words}`).join(', '), isFaulty: true };
  if (!(FAULTS[0] in counts)) return { content: 'no frame is published', isFaulty: false };
  return { content: scope.seen.content === 'not_checked' ? 'not checked' : 'none', isFaulty: false };
}

/** The pane that shows at a glance whether all is well. */
export class TrustPane {
  constructor() {
    this.facts = el('div', { className: 'facts' });
    this.parts = el('div');
    this.raw = el('div');
    this.element = el('div', { className: 'pane' }, this.facts, this.parts,
      el('details', {}, el('summary', {}, 'All values'), this.raw));
    this.shown = '';
  }

  show(tile, recording) {
    const scope = tile && tile.scope;
    if (!scope) { fill(this.facts, el('p', { className: 'quiet' }, 'No scope.')); fill(this.parts); return; }
    const shown = JSON.stringify([scope, recording && recording.status]);
    if (shown === this.shown) return;
    this.shown = shown;
    fill(this.facts, ...this.makeFacts(scope, recording));
    const silence = scope.silent ? [part('node', { level: 'error', message: 'the node reports nothing' })] : [];
    const problem = scope.problem ? [part('node', { level: 'warning', message: scope.problem })] : [];
    fill(this.parts, ...silence, ...problem, ...Object.entries(scope.parts).map(([name, one]) => part(name, one)));
    fill(this.raw, ...Object.entries(scope.parts).map(([name, one]) => details(name, one)));
  }

  makeFacts(scope, recording) {
    const frames = scope.parts.acquisition?.values || {};
    const device = scope.parts.device?.values || {};
    const { seen } = scope;
    const lost = Number(frames.lost || 0);
    const evidence = ['sequence', 'counter', 'time', 'damaged'].map((kind) => {
      const count = frames[`lost by ${kind}`] ?? frames[`lost ${kind}`];
      return Number(count) ? `${count} ${kind}` : '';
    }).filter(Boolean).join(', ');
    const restarts = device['head stage restarts'];
    const { content, isFaulty } = describeContent(scope);
    const turn = scope.parts.orientation;
    const facts = [
      fact('frames published', frames.published), fact('frames captured', frames.captured),
      fact(evidence ? `lost: ${evidence}` : 'lost', frames.lost, lost > 0, 'Since activation, by the evidence of the loss'),
      fact('received damaged', frames['damaged since start'], Number(frames['damaged since start']) > 0),
      fact('faulty pictures', content, isFaulty, 'What the pictures themselves show, since activation'),
      fact('head stage restarts', restarts, Number(restarts) > 0,
        'Since the node was configured: it lost its power for a moment, and was set up again'),
      fact('frames/s measured', frames['rate measured [frames/s]']),
      fact('orientation', turn ? turn.values.state || turn.message : '?', turn && turn.level !== 'ok', turn ? turn.message : ''),
      fact('device type', device['device type'] || scope.metadata.deviceType),
      fact('transport', device.transport || 'none'), fact('firmware', device.firmware || 'unknown')];
    if (device['USB port']) facts.push(fact('USB port', device['USB port']));
    if (scope.inputs >= 0) facts.push(fact('digital inputs', scope.inputs.toString(2).padStart(4, '0')));
    if (seen.uncertainty) facts.push(fact('uncertainty of the last loss', `± ${seen.uncertainty}`, true));
    const status = recording && recording.status;
    if (status && status.free !== undefined) {
      const left = status.secondsLeft;
      facts.push(fact('free on the disk', bytes(status.free)),
        fact('time left on the disk', left === null ? 'not known yet' : duration(left), left !== null && left < LOW_DISK_S,
        'Known while a recording runs'));
    }
    return facts;
  }
}
