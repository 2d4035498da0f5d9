// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// Makes elements of the document.

/** Return an element; attributes that begin with "on" are listeners, others properties or attributes. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== 'list') element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set a text only if it differs, so that a selection in the page survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children);
}

export const MARKS = { ok: '●', warning: '▲', error: '✖', stale: '○' };

export const LIGHT_WORDS = {
  dark: '● DARK', lit: '☀ LIT', unconfirmed: '⚠ LIGHT UNCONFIRMED', closed: '○ no device open',
  none: '○ no light',
};

/** Return a number of bytes in words. */
export function bytes(count) {
  if (count === null || count === undefined) return '?';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return `${count.toFixed(unit && count < 100 ? 1 : 0)} ${units[unit]}`;
}

/** Return seconds as h:mm:ss. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '?';
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, '0');
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}
