// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Which digital input of the selected scope starts and stops recordings.

import { el, fill } from './dom.js';

const NONE = -1;

/** A choice that stands for the two parameters trigger.input and trigger.action. */
export class TriggerChoice {
  constructor(connection, tell) {
    this.connection = connection;
    this.tell = tell;
    this.scope = '';
    this.shape = '';
    this.select = el('select', { id: 'record-trigger', onchange: () => this.choose(Number(this.select.value)),
      title: 'Start waits until this input is high. The recording ends when it is low, and the next one waits again' });
    this.label = el('label', { htmlFor: 'record-trigger' });
    this.element = el('div', { className: 'form', hidden: true }, el('div', { className: 'wide' }, this.label, this.select));
  }

  show(tile) {
    const find = (name) => tile?.controls.find((control) => control.name === `trigger.${name}`);
    const [input, action] = [find('input'), find('action')];
    this.element.hidden = !input || !action;
    if (this.element.hidden) return;
    const shape = JSON.stringify([tile.name, input.maximum]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.scope = tile.name;
      this.label.textContent = `trigger of ${tile.name}`;
      fill(this.select, el('option', { value: NONE }, 'none: Start begins at once'),
        ...Array.from({ length: input.maximum + 1 }, (_, number) => el('option', { value: number }, `digital input ${number}, while it is high`)));
    }
    if (document.activeElement !== this.select) this.select.value = action.value === 'record' ? input.value : NONE;
  }

  async choose(number) {
    const changes = number === NONE ? [['trigger.action', 'none']] : [['trigger.input', number], ['trigger.action', 'record']];
    this.select.blur();  // from here on it shows what is in force
    for (const [name, value] of changes) {
      const answer = await this.connection.ask('set', { scope: this.scope, name, value });
      if (!answer.ok) { this.tell(answer); return; }
    }
    this.tell({ ok: true, text: number === NONE ? 'no trigger' : `Start waits for digital input ${number}` });
  }
}
