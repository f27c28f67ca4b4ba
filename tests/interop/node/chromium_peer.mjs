// A page in headless Chromium, the program `chromium` on PATH: `chromium_peer.mjs client DIRECTORY`.
//
// The page comes from the server under test, because a browser tells the server which site a page is from.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";

import { chromium } from "playwright-core";

import { obey } from "./control.mjs";

const [, directory] = process.argv.slice(2);

// Chromium on Linux takes certificate authorities only from a database of the user's. Instead of adding ours there, say
// which key the server must have.
function pin() {
  const { publicKey } = new X509Certificate(readFileSync(path.join(directory, "server.pem")));
  return createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
}

// These run in the page.
const inPage = {
  connect: ({ url, subprotocols }) => {
    const values = [];
    const waiting = [];
    const put = (value) => (waiting.length ? waiting.shift()(value) : values.push(value));
    const toHex = (data) => Array.from(new Uint8Array(data), (byte) => byte.toString(16).padStart(2, "0")).join("");
    window.receive = () => (values.length ? values.shift() : new Promise((next) => waiting.push(next)));
    window.ws = new WebSocket(url, subprotocols);
    ws.binaryType = "arraybuffer";
    ws.onmessage = ({ data }) => put({ message: typeof data === "string" ? data : { hex: toHex(data) } });
    return new Promise((resolve) => {
      ws.onopen = () => resolve({ subprotocol: ws.protocol || null });
      ws.onclose = ({ code, reason }) => {
        put({ code, reason });
        resolve(null);
      };
    });
  },
  send: ({ text, hex }) => {
    ws.send(text ?? Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16)));
  },
  receive: () => window.receive(),
  close: ({ code, reason }) => {
    ws.close(code, reason);
    return window.receive();
  },
};

class Peer {
  constructor(page) {
    this.page = page;
  }

  async connect({ url, subprotocols }) {
    // A page cannot see the status of an answer, but the browser's tools can.
    const failure = new Promise((resolve) => {
      this.page.once("websocket", (ws) => ws.once("socketerror", resolve));
    });
    await this.page.goto(new URL("/page", url.replace("ws", "http")).href);
    const opened = await this.page.evaluate(inPage.connect, { url, subprotocols });
    if (opened) return opened;
    const message = await failure;
    const [, status] = message.match(/response code: (\d+)/) ?? [];
    if (!status) throw new Error(message);
    return { status: Number(status) };
  }

  async send({ message }) {
    const payload = typeof message === "string" ? { text: message } : { hex: message.toString("hex") };
    await this.page.evaluate(inPage.send, payload);
  }

  async receive() {
    return this.page.evaluate(inPage.receive);
  }

  async close({ code, reason }) {
    return this.page.evaluate(inPage.close, { code, reason });
  }
}

const profile = mkdtempSync(path.join(directory, "chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: execFileSync("which", ["chromium"], { encoding: "utf8" }).trim(),
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--ignore-certificate-errors-spki-list=${pin()}`,
  ],
});
await obey(new Peer(browser.pages()[0]), {});
await browser.close();
rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
process.exit(0);
