// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// The page: tiles of all scopes, panes of the selected one, and the light.

import { Connection } from './connection.js';
import { ControlsPane } from './controls.js';
import { el, fill, LIGHT_WORDS, setText } from './dom.js';
import { PlotsPane } from './plots.js';
import { RecordingPane, showBadge } from './recording.js';
import { Tile } from './tile.js';
import { TrustPane } from './trust.js';

const PLOT_MS = 200;
const NOTICE_MS = 8000;
const RANK = ['none', 'closed', 'dark', 'lit', 'unconfirmed'];
const KEYS = [['L', 'light off, of all scopes'], ['1 2 3 4', 'Controls, Trust, Plots, Recording'],
  ['[ and ]', 'the scope before, the next one'], ['R', 'rectangle on or off'], ['E', 'enlarge the picture, or back'],
  ['N', 'write a note'], ['+ − 0', 'zoom in, out, whole picture (picture focused)'],
  ['arrows', 'move the cross-hair (picture focused; with Shift by 10)'], ['?', 'this help']];

const byId = (id) => document.getElementById(id);
const connection = new Connection();
const tiles = new Map();
let selected = null;
let recording = null;
let pane = 'Controls';
let noticeTimer = 0;
let lightAlarm = null;  // the scopes of which the notice says that their light may be on

function tell({ ok, text }) {
  if (!text) return;
  lightAlarm = null;
  const notice = byId('notice');
  clearTimeout(noticeTimer);
  fill(notice, el('span', {}, ok ? text : `▲ ${text}`), el('button', { type: 'button', onclick: () => { notice.hidden = true; } }, 'Close'));
  notice.className = `notice ${ok ? '' : 'failed'}`;
  notice.hidden = false;
  if (ok) noticeTimer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
}

const panes = { Controls: new ControlsPane(connection, tell), Trust: new TrustPane(),
  Plots: new PlotsPane(), Recording: new RecordingPane(connection, tell) };

function openPane(name) {
  pane = name;
  for (const [title, one] of Object.entries(panes)) one.element.hidden = title !== name;
  for (const tab of byId('tabs').children) tab.ariaSelected = String(tab.dataset.pane === name);
  showPane();
}

function showPane() { panes[pane].show(selected, recording); }

for (const [name, one] of Object.entries(panes)) {
  const tab = el('button', { type: 'button', role: 'tab', onclick: () => openPane(name) }, name);
  tab.dataset.pane = name;
  byId('tabs').append(tab);
  byId('panes').append(one.element);
}

// Scopes

function select(tile) {
  if (selected === tile) return;
  selected = tile;
  watch();
  mark();
  showPane();
}

function mark() {
  for (const one of tiles.values()) one.element.classList.toggle('selected', one === selected && tiles.size > 1);
}

function watch() {
  const names = document.hidden ? [] : [...tiles.values()].filter((tile) => tile.visible || tile === selected).map((tile) => tile.name);
  connection.send('watch', { scopes: names });
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const tile = tiles.get(entry.target.dataset.scope);
    if (tile) tile.visible = entry.isIntersecting;
  }
  watch();
});

function takeNames(names) {
  for (const [name, tile] of tiles) {
    if (!names.includes(name)) {
      seen.unobserve(tile.element);
      tile.element.remove();
      tiles.delete(name);
      if (selected === tile) selected = null;
    }
  }
  for (const name of names) {
    if (!tiles.has(name)) {
      const tile = new Tile(name, connection);
      tile.addEventListener('select', () => select(tile));
      tiles.set(name, tile);
      byId('tiles').append(tile.element);
      seen.observe(tile.element);
    }
  }
  byId('none').hidden = tiles.size > 0;
  byId('tiles').classList.toggle('single', tiles.size === 1);
  if (!selected) select(tiles.values().next().value || null);
  mark();
  watch();
  showLight();
}

function showLight() {
  const states = [...tiles.values()].map((tile) => tile.scope).filter(Boolean);
  const worst = states.sort((a, b) => RANK.indexOf(b.light) - RANK.indexOf(a.light))[0];
  const badge = byId('light-state');
  badge.hidden = !worst;
  if (!worst) return;
  const light = connection.alive ? worst.light : 'unconfirmed';
  badge.className = `light ${light}`;
  badge.title = connection.alive ? `${worst.name}: ${worst.lightText}` : 'There is no connection with the panel.';
  setText(badge, LIGHT_WORDS[light] + (states.length > 1 ? ` (${worst.name})` : ''));
  const confirmed = ['dark', 'none'].includes(light) && lightAlarm?.every((name) => tiles.has(name));
  if (confirmed) tell({ ok: true, text: 'The light is off now: every scope confirms it.' });
}

const handlers = {
  scopes: ({ names }) => takeNames(names),
  scope: (scope) => {
    const tile = tiles.get(scope.name);
    if (!tile) return;
    tile.takeScope(scope);
    showLight();
    if (tile === selected) showPane();
  },
  controls: ({ scope, controls }) => {
    const tile = tiles.get(scope);
    if (!tile) return;
    tile.controls = controls;
    if (tile === selected) showPane();
  },
  samples: (samples) => tiles.get(samples.scope)?.takeSamples(samples),
  recording: (message) => {
    recording = message;
    showBadge(byId('record-badge'), recording);
    if (pane === 'Recording' || pane === 'Trust') showPane();
  },
  answer: tell,
};

connection.addEventListener('message', ({ detail }) => handlers[detail.type]?.(detail));
connection.addEventListener('picture', ({ detail }) => tiles.get(detail.scope)?.takePicture(detail));
connection.addEventListener('change', () => {
  const badge = byId('connection');
  setText(badge, connection.alive ? '● connected' : '✖ no connection');
  badge.className = `badge ${connection.alive ? 'good' : 'error'}`;
  const alarm = byId('alarm');
  alarm.hidden = connection.alive;
  setText(alarm, 'The connection with the panel is lost. Nothing on this page is live, and its buttons do nothing. The light may be on. It tries again.');
  for (const tile of tiles.values()) tile.judge();
  showLight();
});

// Light

async function lightsOut() {
  const button = byId('lights-out');
  button.ariaBusy = 'true';
  clearTimeout(noticeTimer);
  tell({ ok: true, text: 'switching the light off …' });
  const answer = await connection.ask('lightsOut');
  button.ariaBusy = 'false';
  tell(answer.ok ? answer : { ok: false, text: answer.text.includes('MAY BE ON') ? answer.text : `THE LIGHT MAY BE ON: ${answer.text}` });
  if (!answer.ok) lightAlarm = [...tiles.keys()];
}

byId('lights-out').addEventListener('click', lightsOut);

// Keyboard

function isTyping(event) {
  const { target } = event;
  return target.matches('textarea, select, input[type=text], input[type=number], #panes input:not([type])');
}

function help() {
  const dialog = byId('help');
  fill(dialog, el('h2', {}, 'Keys'), el('table', {}, ...KEYS.map(([key, what]) => el('tr', {}, el('td', {}, el('kbd', {}, key)), el('td', {}, what)))),
    el('button', { type: 'button', onclick: () => dialog.close() }, 'Close (Esc)'));
  dialog.show();  // not modal: light off stays within reach
}

function step(by) {
  const all = [...tiles.values()];
  if (all.length) select(all[(all.indexOf(selected) + by + all.length) % all.length]);
}

const actions = {
  l: lightsOut, L: lightsOut, '?': help, '[': () => step(-1), ']': () => step(1),
  r: () => selected?.toggleDrawing(), e: () => selected?.enlarge(),
  n: (event) => { event.preventDefault(); openPane('Recording'); byId('note').focus(); },
};
Object.keys(panes).forEach((name, index) => { actions[index + 1] = () => openPane(name); });

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && byId('help').open) byId('help').close();
  else if (event.key === 'Escape' && selected?.element.classList.contains('enlarged')) selected.enlarge();
  if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event)) return;
  actions[event.key]?.(event);
});
document.addEventListener('visibilitychange', watch);

byId('tabs').append(el('button', { type: 'button', className: 'keys', title: 'Keys', onclick: help }, '?'));
setInterval(() => {
  for (const tile of tiles.values()) tile.judge();
  if (pane === 'Plots' && !document.hidden) showPane();
}, PLOT_MS);
openPane('Controls');
