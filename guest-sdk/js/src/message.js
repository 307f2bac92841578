// Message bodies: JSON, as between Node's processes; a Uint8Array goes as it is.
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const encode = (value) => (value instanceof Uint8Array ? value : encoder.encode(JSON.stringify(value)));

/** The value, or the bytes themselves if they are no JSON. */
export function decode(body) {
  const bytes = body instanceof Uint8Array ? body : Uint8Array.from(body);
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return bytes;
  }
}
