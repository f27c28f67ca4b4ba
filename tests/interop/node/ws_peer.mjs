// The ws library: `ws_peer.mjs client|server DIRECTORY`.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import path from "node:path";

import WebSocket, { WebSocketServer } from "ws";

import { Mailbox, obey, SUBPROTOCOL } from "./control.mjs";

const [role, directory] = process.argv.slice(2);
const read = (name) => readFileSync(path.join(directory, name));

class Peer {
  accepted = new Mailbox();

  adopt(ws) {
    const received = new Mailbox();
    ws.on("message", (data, isBinary) => received.put({ message: isBinary ? data : data.toString() }));
    ws.on("close", (code, reason) => received.put({ code, reason: reason.toString() }));
    ws.on("error", () => {}); // "close" comes as well
    return { ws, received };
  }

  take({ ws, received }) {
    this.ws = ws;
    this.received = received;
    return { subprotocol: ws.protocol || null };
  }

  async connect({ url, subprotocols }) {
    const ws = new WebSocket(url, subprotocols, { ca: read("authority.pem") });
    const adopted = this.adopt(ws);
    return new Promise((resolve, reject) => {
      ws.on("open", () => resolve(this.take(adopted)));
      ws.on("error", reject);
      ws.on("unexpected-response", (request, response) => {
        resolve({ status: response.statusCode });
        request.destroy();
      });
    });
  }

  async accept() {
    return this.take(await this.accepted.get());
  }

  async send({ message }) {
    this.ws.send(message);
  }

  async send_fragments({ messages }) {
    messages.forEach((message, index) => this.ws.send(message, { fin: index === messages.length - 1 }));
  }

  async receive() {
    return this.received.get();
  }

  async ping() {
    this.ws.ping();
    await once(this.ws, "pong");
  }

  async close({ code, reason }) {
    this.ws.close(code, reason);
    return this.received.get();
  }

  async listen(server) {
    const sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: true,
      handleProtocols: (offered) => offered.has(SUBPROTOCOL) && SUBPROTOCOL,
    });
    server.on("upgrade", (request, socket, head) => {
      const [, status] = request.url.match(/^\/status\/(\d+)$/) ?? [];
      if (status) {
        socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n\r\nno\n`);
      } else {
        sockets.handleUpgrade(request, socket, head, (ws) => this.accepted.put(this.adopt(ws)));
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server.address().port;
  }
}

const peer = new Peer();
const ports = {};
if (role === "server") {
  ports.ws = await peer.listen(http.createServer());
  ports.wss = await peer.listen(https.createServer({ cert: read("server.pem"), key: read("server.key") }));
}
await obey(peer, ports);
process.exit(0); // nobody waits for connections that are still open
