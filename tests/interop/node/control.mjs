// The language between a test and a peer; ../peers/control.py says what it is.

import { createInterface } from "node:readline";

export const SUBPROTOCOL = "chat";

// Announce the peer, then do what stdin says until it ends.
export async function obey(peer, ports) {
  say(ports);
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line, decode);
    say((await peer[command.do](command)) ?? {});
  }
}

function say(answer) {
  process.stdout.write(JSON.stringify(answer, encode) + "\n");
}

// A binary message is {"hex": ...} in JSON and a Buffer here.
function decode(key, value) {
  return typeof value?.hex === "string" ? Buffer.from(value.hex, "hex") : value;
}

function encode(key, value) {
  // A Buffer has been through its own toJSON() when it gets here.
  return value?.type === "Buffer" ? { hex: Buffer.from(value.data).toString("hex") } : value;
}

// What has arrived, for whoever asks, in the order of asking.
export class Mailbox {
  #values = [];
  #waiting = [];

  put(value) {
    const next = this.#waiting.shift();
    if (next) next(value);
    else this.#values.push(value);
  }

  async get() {
    return this.#values.length ? this.#values.shift() : new Promise((next) => this.#waiting.push(next));
  }
}
