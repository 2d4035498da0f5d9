// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// The connection with the panel: messages, pictures, and whether it is alive.

const SILENCE_MS = 2500;  // the panel says something every second
const RETRY_MS = 500;
const decoder = new TextDecoder();

/** Keeps a connection; events: message (detail: object), picture (detail), change (alive). */
export class Connection extends EventTarget {
  constructor() {
    super();
    this.alive = false;
    this.number = 0;
    this.waiting = new Map();
    this.heardAt = 0;
    setInterval(() => this.checkSilence(), 250);
    this.open();
  }

  open() {
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/socket`);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    socket.onmessage = (event) => socket === this.socket && this.take(event.data);
    socket.onclose = () => socket === this.socket && this.lose(true);
  }

  take(data) {
    this.heardAt = performance.now();
    if (!this.alive) this.change(true);
    if (typeof data !== 'string') {
      const length = new DataView(data).getUint32(0, true);
      const header = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
      header.jpeg = new Blob([new Uint8Array(data, 4 + length)], { type: 'image/jpeg' });
      this.dispatchEvent(new CustomEvent('picture', { detail: header }));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === 'answer' && this.waiting.has(message.id)) {
      this.waiting.get(message.id)(message);
      this.waiting.delete(message.id);
    } else {
      this.dispatchEvent(new CustomEvent('message', { detail: message }));
    }
  }

  checkSilence() {
    if (!this.alive || performance.now() - this.heardAt < SILENCE_MS) return;
    const silent = this.socket;
    this.lose(true);
    silent.close();
  }

  lose(again) {
    this.socket = null;
    for (const settle of this.waiting.values()) {
      settle({ ok: false, text: 'the connection with the panel was lost before it answered' });
    }
    this.waiting.clear();
    this.change(false);
    if (again) setTimeout(() => this.open(), RETRY_MS);
  }

  change(alive) {
    this.alive = alive;
    this.dispatchEvent(new Event('change'));
  }

  /** Send without expecting an answer. */
  send(type, content = {}) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ type, ...content }));
      return true;
    }
    return false;
  }

  /** Return a promise of the answer {ok, text}. */
  ask(type, content = {}) {
    this.number += 1;
    const id = this.number;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      if (!this.send(type, { ...content, id })) {
        this.waiting.delete(id);
        resolve({ ok: false, text: 'there is no connection with the panel' });
      }
    });
  }
}
