// Turns wasi:http's request into the Web's, and the Web's response into wasi:http's.
import * as http from "wasi:http/types@0.2.12";
import { concat, dispose, payloadOf, writeAll } from "../wit.js";
import { Request, Response, dispatch } from "./web.js";

const { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } = http;

// wasi:http writes these itself and refuses them from a plugin.
const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host"]);
const CHUNK = 65536;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function readBody(incoming) {
  const body = incoming.consume();
  const stream = body.stream();
  const parts = [];
  try {
    for (;;) parts.push(Uint8Array.from(stream.blockingRead(CHUNK)));
  } catch (error) {
    if ((payloadOf(error)?.tag ?? payloadOf(error)) !== "closed") throw error;
  } finally {
    dispose(stream);
    dispose(body);
  }
  return concat(parts);
}

function readHeaders(incoming) {
  const fields = incoming.headers();
  const pairs = fields.entries().map(([name, value]) => [name, decoder.decode(value)]);
  dispose(fields);
  return pairs;
}

function toRequest(incoming) {
  const { tag, val } = incoming.method();
  const scheme = incoming.scheme()?.tag === "HTTPS" ? "https" : "http";
  const authority = incoming.authority() ?? "localhost";
  return new Request(`${scheme}://${authority}${incoming.pathWithQuery() ?? "/"}`, {
    method: tag === "other" ? val : tag.toUpperCase(),
    headers: () => readHeaders(incoming),
    body: () => readBody(incoming),
  });
}

function send(response, out) {
  const entries = [...response.headers].filter(([name]) => !HOP_BY_HOP.has(name));
  const bytes = response.bytesNow();
  if (bytes.length && !response.headers.has("content-length")) entries.push(["content-length", `${bytes.length}`]);
  const outgoing = new OutgoingResponse(Fields.fromList(entries.map(([name, value]) => [name, encoder.encode(value)])));
  outgoing.setStatusCode(response.status);
  const body = outgoing.body();
  ResponseOutparam.set(out, { tag: "ok", val: outgoing });
  const stream = body.write();
  writeAll(stream, bytes);
  dispose(stream);
  OutgoingBody.finish(body, undefined);
}

export const incomingHandler = {
  handle(incoming, out) {
    let response;
    try {
      response = dispatch(toRequest(incoming));
    } catch (error) {
      console.error(String(error), error?.stack ?? "");
      response = new Response("internal server error\n", { status: 500 });
    }
    send(response, out);
  },
};
