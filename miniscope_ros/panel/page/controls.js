// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Controls made from the descriptors of a scope's parameters.

import { el, fill, setText } from './dom.js';

const WIDEST_SLIDER = 5000;  // beyond such a range a slider is of no use
const TRANSITIONS = [['configure', 'Configure', 'Open the device, in the dark'],
  ['activate', 'Activate', 'Light up and publish'], ['deactivate', 'Deactivate', 'Go dark'],
  ['cleanup', 'Clean up', 'Close the device']];
const POSSIBLE = { unconfigured: ['configure'], inactive: ['activate', 'cleanup'], active: ['deactivate'] };
const SERVICES = [['hard_reset', 'Hard reset', 'Restart the box; the node goes on when it is back'],
  ['reset_background', 'Reset background', 'Begin the background of the display anew'],
  ['save_image', 'Save image', 'Save the newest picture to a file']];
const GROUPS = [['device', 'Scope', 'changes the data'], ['display', 'Display', 'for the eye only; the data stay'],
  ['settings', 'Settings of the node', '']];

function stepOf(control) {
  if (control.kind === 'integer') return 1;
  const rough = (control.maximum - control.minimum) / 200;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999);
}

function show(value) {
  if (value === null || value === undefined) return 'not a number';
  if (typeof value === 'number') return String(Number(value.toPrecision(12)));
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** One parameter. A change is sent at once; while one is under way only the newest next waits. */
class Widget {
  constructor(control, send) {
    this.control = control;
    this.send = send;
    this.busy = false;
    this.next = undefined;
    this.refusal = el('div', { className: 'refusal', role: 'alert', hidden: true });
    this.inputs = this.make(control);
    const id = `control-${control.name}`;
    if (this.inputs[0]) this.inputs[0].id = id;
    for (const input of this.inputs) {
      input.ariaLabel = control.name;
      input.addEventListener('blur', () => this.update(this.control));
    }
    const row = this.inputs.length ? this.inputs : [this.value = el('span', { className: 'value' })];
    this.element = el('div', { className: 'control', title: `${control.name}: ${control.text}` },
      el('div', { className: 'row' }, el('label', { htmlFor: id }, control.name.replace(/^display\./, '').replaceAll('_', '_\u200b')), ...row),
      this.refusal);
    this.element.dataset.parameter = control.name;
    if (control.note && !/^(true or false|a |any )/.test(control.note)) {
      this.element.append(el('div', { className: 'hint' }, control.note));
    }
    this.update(control);
  }

  make(control) {
    if (control.readOnly) return [];
    if (control.kind === 'bool') {
      return [el('input', { type: 'checkbox', onchange: (event) => this.change(event.target.checked) })];
    }
    if (control.choices.length) return [this.select(control)];
    if (control.kind === 'integer' || control.kind === 'double') return this.numbers(control);
    const take = (text) => (control.kind === 'strings' ? text.split(',').map((part) => part.trim()) : text);
    return [el('input', { type: 'text', onchange: (event) => this.change(take(event.target.value)) })];
  }

  select(control) {
    const isNumber = control.kind !== 'string';
    return el('select', { onchange: (event) => this.change(isNumber ? Number(event.target.value) : event.target.value) },
      ...control.choices.map((choice) => el('option', { value: choice }, choice)));
  }

  numbers(control) {
    const number = el('input', { type: 'number', step: control.kind === 'integer' ? 1 : 'any',
      onchange: (event) => this.change(event.target.value === '' ? null : Number(event.target.value)) });
    if (control.minimum === null || control.maximum - control.minimum > WIDEST_SLIDER) return [number];
    const slider = el('input', { type: 'range', min: control.minimum, max: control.maximum,
      step: stepOf(control), oninput: (event) => this.change(Number(event.target.value)) });
    return [slider, number];
  }

  async change(value) {
    if (this.busy) { this.next = value; return; }
    this.busy = true;
    let answer;
    do {
      this.next = undefined;
      this.wanted = value;
      this.put(value);
      answer = await this.send(this.control.name, value);
      value = this.next;
    } while (this.next !== undefined);
    this.busy = false;
    this.refusal.hidden = answer.ok;
    setText(this.refusal, answer.ok ? '' : answer.text);
    if (answer.ok) this.control = { ...this.control, value: this.wanted };
    this.update(this.control, !answer.ok);
  }

  put(value) {
    if (this.value) setText(this.value, show(value));
    for (const input of this.inputs) {
      if (input.type === 'checkbox') input.checked = value;
      else if (input.tagName === 'SELECT') input.value = this.choiceOf(value);
      else if (input.value !== show(value)) input.value = show(value);
    }
  }

  choiceOf(value) {
    return this.control.choices.find((choice) => (typeof value === 'number' ? Number(choice) === value : choice === value)) ?? '';
  }

  /** Show the value in force, unless somebody is typing another. */
  update(control, force = false) {
    this.control = control;
    if (this.busy) return;
    const typing = this.inputs.some((input) => input === document.activeElement && /text|number/.test(input.type));
    if (!typing || force) this.put(control.value);
    else for (const input of this.inputs) if (input !== document.activeElement) this.putOne(input, control.value);
  }

  putOne(input, value) { if (input.type === 'range') input.value = show(value); }
}

function shapeOf(controls) {
  return JSON.stringify(controls.map(({ value, ...shape }) => shape));
}

/** The pane with everything that can be steered of the selected scope. */
export class ControlsPane {
  constructor(connection, tell) {
    this.connection = connection;
    this.tell = tell;
    this.element = el('div', { className: 'pane' });
    this.widgets = new Map();
    this.shape = '';
  }

  show(tile) {
    if (!tile) { fill(this.element, el('p', { className: 'quiet' }, 'No scope.')); this.shape = ''; return; }
    const shape = tile.name + shapeOf(tile.controls) + (tile.scope ? tile.scope.services : '');
    if (shape !== this.shape) { this.shape = shape; this.build(tile); }
    for (const control of tile.controls) this.widgets.get(control.name)?.update(control);
    const possible = tile.scope && tile.scope.present ? POSSIBLE[tile.scope.state] || [] : [];
    for (const button of this.element.querySelectorAll('[data-transition]')) {
      button.disabled = !possible.includes(button.dataset.transition);
    }
    setText(this.problem, tile.scope ? tile.scope.problem : '');
    this.problem.hidden = !this.problem.textContent;
  }

  build(tile) {
    this.widgets.clear();
    const ask = async (type, content, button) => {
      button.disabled = true;
      const answer = await this.connection.ask(type, { scope: tile.name, ...content });
      button.disabled = false;
      this.tell(answer);
      this.show(tile);
    };
    const button = (type, key) => ([value, text, title]) => {
      const made = el('button', { type: 'button', title, onclick: () => ask(type, { [key]: value }, made) }, text);
      made.dataset[key] = value;
      return made;
    };
    const services = SERVICES.filter(([name]) => tile.scope && tile.scope.services.includes(name));
    this.problem = el('p', { className: 'refusal', hidden: true });
    fill(this.element, this.problem,
      el('div', { className: 'buttons' }, ...TRANSITIONS.map(button('transition', 'transition'))),
      ...GROUPS.map((group) => this.group(tile, group)).filter(Boolean),
      el('div', { className: 'buttons' }, ...services.map(button('trigger', 'service'))));
  }

  group(tile, [group, title, hint]) {
    const controls = tile.controls.filter((control) => control.group === group);
    if (!controls.length) return null;
    const send = (name, value) => this.connection.ask('set', { scope: tile.name, name, value });
    const elements = controls.map((control) => {
      const widget = new Widget(control, send);
      this.widgets.set(control.name, widget);
      return widget.element;
    });
    if (group === 'settings') return el('details', {}, el('summary', {}, title), ...elements);
    return el('section', {}, el('h2', {}, title, el('small', {}, hint)), ...elements);
  }
}
