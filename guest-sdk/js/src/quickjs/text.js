// UTF-8 and the console: what the Web has and the bare engine lacks.
import * as stderr from "wasi:cli/stderr@0.2.12";
import * as stdout from "wasi:cli/stdout@0.2.12";
import { dispose } from "../wit.js";

export class TextEncoder {
  encoding = "utf-8";

  encode(value = "") {
    const text = `${value}`;
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code > 0x7f) return encodeAny(text);
      bytes[at] = code;
    }
    return bytes;
  }
}

/** The engine knows UTF-8 only through the escapes of URLs. */
function encodeAny(text) {
  const escaped = encodeURIComponent(text.toWellFormed());
  const bytes = new Uint8Array(escaped.length);
  let size = 0;
  for (let at = 0; at < escaped.length; at++) {
    const isEscape = escaped.charCodeAt(at) === 0x25;
    bytes[size++] = isEscape ? parseInt(escaped.slice(at + 1, at + 3), 16) : escaped.charCodeAt(at);
    if (isEscape) at += 2;
  }
  return bytes.slice(0, size);
}

// So many arguments a call can have for sure.
const PART = 4096;

/** Text that is ASCII throughout; undefined for any other. */
function decodeAscii(bytes) {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] > 0x7f) return undefined;
  if (bytes.length <= PART) return String.fromCharCode.apply(null, bytes);
  let text = "";
  for (let at = 0; at < bytes.length; at += PART) text += String.fromCharCode.apply(null, bytes.subarray(at, at + PART));
  return text;
}

export class TextDecoder {
  encoding = "utf-8";

  decode(input = new Uint8Array()) {
    const bytes = input instanceof Uint8Array ? input : new Uint8Array(input.buffer ?? input);
    const ascii = decodeAscii(bytes);
    if (ascii !== undefined) return ascii;
    let text = "";
    for (let at = 0; at < bytes.length; ) {
      const [code, size] = codePoint(bytes, at);
      text += String.fromCodePoint(code);
      at += size;
    }
    return text.startsWith("\ufeff") ? text.slice(1) : text;
  }
}

const REPLACEMENT = 0xfffd;

/** The character at this place and its length; one replacement character for each byte that is no UTF-8. */
function codePoint(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return [first, 1];
  const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  let code = first & (0xff >> (size + 1));
  for (let next = 1; next < size; next++) {
    const byte = bytes[at + next];
    if ((byte & 0xc0) !== 0x80) return [REPLACEMENT, 1];
    code = (code << 6) | (byte & 0x3f);
  }
  const least = [0, 0, 0x80, 0x800, 0x10000][size];
  const valid = first >= 0xc2 && first < 0xf8 && code >= least && code <= 0x10ffff && (code & 0xfffff800) !== 0xd800;
  return valid ? [code, size] : [REPLACEMENT, 1];
}

const show = (value) => {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trimEnd();
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
};

function writer(open) {
  return (...values) => {
    const bytes = new TextEncoder().encode(`${values.map(show).join(" ")}\n`);
    const stream = open();
    for (let at = 0; at < bytes.length; at += 4096) stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
    dispose(stream);
  };
}

const out = writer(() => stdout.getStdout());
const err = writer(() => stderr.getStderr());
export const console = { log: out, info: out, debug: out, warn: err, error: err, trace: err };
