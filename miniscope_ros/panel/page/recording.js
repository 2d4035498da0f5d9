// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Recording: session data, start, stop, notes, and what became of the last recording.

import { bytes, duration, el, fill, setText } from './dom.js';
import { TriggerChoice } from './trigger.js';

const RUNNING = ['waiting for trigger', 'starting', 'recording', 'stopping'];
const LABELS = { brain_area: 'brain area' };

/** The pane of the session node. */
export class RecordingPane {
  constructor(connection, tell) {
    this.connection = connection;
    this.tell = tell;
    this.fields = new Map();
    this.form = el('div', { className: 'form' });
    this.name = el('input', { type: 'text', id: 'record-name', placeholder: 'by the session file', title: 'Name of the folder' });
    this.minutes = el('input', { type: 'number', id: 'record-minutes', min: 0, step: 'any', placeholder: 'no end',
      title: 'Stops by itself after so many minutes, as long as the panel runs' });
    this.startButton = el('button', { type: 'button', id: 'record-start', className: 'big', onclick: () => this.start() }, '● Start');
    this.stopButton = el('button', { type: 'button', id: 'record-stop', className: 'big', onclick: () => this.stop() }, '■ Stop');
    this.noteText = el('input', { type: 'text', id: 'note', placeholder: 'a remark, recorded with its time (key N)',
      onkeydown: (event) => event.key === 'Enter' && this.note() });
    this.noteButton = el('button', { type: 'button', id: 'note-send', onclick: () => this.note() }, 'Note');
    this.status = el('div');
    this.finished = el('div', { id: 'finished' });
    this.trigger = new TriggerChoice(connection, tell);
    const field = (input, text) => el('div', {}, el('label', { htmlFor: input.id }, text), input);
    const row = el('div', { className: 'control' }, el('div', { className: 'row' }, this.noteText, this.noteButton));
    this.noteText.style.flex = '1';
    this.element = el('div', { className: 'pane' }, this.status,
      el('div', { className: 'buttons' }, this.startButton, this.stopButton), row, this.finished,
      el('h2', {}, 'Recording'), el('div', { className: 'form' }, field(this.name, 'folder'), field(this.minutes, 'minutes')),
      this.trigger.element,
      el('h2', {}, 'Session', el('small', {}, 'kept for the next time')), this.form);
  }

  /** Make the fields once; what somebody has typed is not overwritten. */
  fillForm(form) {
    for (const [name, text] of Object.entries(form)) {
      let input = this.fields.get(name);
      if (!input) {
        const long = name === 'notes';
        input = el(long ? 'textarea' : 'input', { id: `field-${name}`, value: text, onchange: () => this.keep() });
        this.fields.set(name, input);
        this.form.append(el('div', { className: long ? 'wide' : '' }, el('label', { htmlFor: input.id }, LABELS[name] || name), input));
      } else if (document.activeElement !== input && input.dataset.sent === input.value) {
        input.value = text;
      }
      input.dataset.sent = text;
    }
  }

  get data() { return Object.fromEntries([...this.fields].map(([name, input]) => [name, input.value])); }

  async keep() {
    const answer = await this.connection.ask('keepForm', { form: this.data });
    if (!answer.ok) this.tell(answer);
  }

  async start() {
    this.startButton.disabled = true;
    this.tell(await this.connection.ask('recordStart', {
      name: this.name.value.trim(), minutes: Number(this.minutes.value) || 0, form: this.data }));
  }

  async stop() {
    this.stopButton.disabled = true;
    this.tell(await this.connection.ask('recordStop'));
  }

  async note() {
    const text = this.noteText.value.trim();
    if (!text) return;
    const answer = await this.connection.ask('note', { text });
    if (answer.ok) this.noteText.value = '';
    this.tell(answer);
  }

  show(tile, recording) {
    this.trigger.show(tile);
    if (!recording) return;
    this.fillForm(recording.form);
    const { status, finished } = recording;
    const running = RUNNING.includes(status.state);
    this.startButton.disabled = !recording.available || running;
    this.stopButton.disabled = !running || status.state === 'stopping';
    this.noteButton.disabled = !recording.available;
    const shown = JSON.stringify([recording.available, status, recording.stopsIn, finished]);
    if (shown === this.shown) return;
    this.shown = shown;
    fill(this.status, ...this.makeStatus(recording, running));
    fill(this.finished, ...this.makeFinished(finished, running));
  }

  makeStatus({ available, status, stopsIn, session }, running) {
    if (!available) {
      return [el('p', { className: 'quiet' }, `There is no node ${session}, which records. Start it with `,
        el('code', {}, 'ros2 run miniscope_ros session_node'), ' or ', el('code', {}, 'make run'), '.')];
    }
    const facts = [['state', status.state ?? '?'], ['duration', duration(status.duration)],
      ['written', bytes(status.bytes)], ['per second', Number.isFinite(status.rate) ? bytes(status.rate) : 'not known yet'], ['free', bytes(status.free)],
      ['time left', status.secondsLeft === null ? 'not known yet' : duration(status.secondsLeft)]];
    if (stopsIn !== null && running) facts.push(['stops in', duration(stopsIn)]);
    const made = [el('div', { className: 'facts', id: 'record-state' }, ...facts.map(([name, value]) => el('div', { className: 'fact' }, el('b', {}, value), el('small', {}, name))))];
    if (status.message) made.push(el('p', { className: status.state === 'failed' ? 'refusal' : 'quiet' }, status.message));
    if (running && status.folder) made.push(el('p', {}, el('code', {}, status.folder)));
    if (running && status.topics && status.topics.length) made.push(this.makeTopics(status.topics));
    return made;
  }

  makeTopics(topics) {
    return el('details', {}, el('summary', {}, `Topics: ${topics.length}`), el('table', {},
      el('tr', {}, el('th', {}, 'topic'), el('th', { className: 'number' }, 'published'), el('th', { className: 'number' }, 'recorded')),
      ...topics.map(({ topic, published, recorded }) => el('tr', {}, el('td', {}, topic),
        el('td', { className: 'number' }, published), el('td', { className: 'number' }, recorded)))));
  }

  makeFinished(finished, running) {
    if (!finished.folder || running) return [];
    const marks = { ok: '●', warning: '▲', error: '✖' };
    const copy = el('button', { type: 'button', onclick: () => navigator.clipboard?.writeText(finished.command) }, 'Copy');
    return [el('h2', {}, 'Last recording'), el('p', {}, el('code', {}, finished.folder)),
      el('p', { className: 'verdict' }, `${finished.failed ? '✖ failed:' : marks[finished.level]} ${finished.verdict}`),
      el('p', {}, 'Export: ', el('code', {}, finished.command), ' ', copy)];
  }
}

/** Show in the header that a recording runs. */
export function showBadge(badge, recording) {
  const status = recording ? recording.status : {};
  const words = { recording: `● REC ${duration(status.duration)}`, 'waiting for trigger': '◌ waits for trigger',
    starting: '◌ recording starts', stopping: '◌ recording stops', failed: '✖ recording failed' };
  badge.hidden = !words[status.state];
  badge.className = `badge ${status.state === 'failed' ? 'error' : 'recording'}`;
  setText(badge, words[status.state] || '');
}
