// Numbers and texts of the page: read when they are looked at, and written for people.

/** @typedef {(number | null)[] | {f: string, b: number, low?: number, step?: number, signed?: number}} Ref */

/** @type {Map<number, Float64Array>} */
const decoded = new Map();

/** Find a block; one that the browser has not come to yet is waited for.
 * @param {number} number @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function bytesOf(number) {
  let found = document.getElementById(`block-${number}`);
  if (!found?.nextSibling && document.readyState === "loading") {
    await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
    found = document.getElementById(`block-${number}`);
  }
  return Uint8Array.from(atob(found?.textContent ?? ""), (letter) => letter.charCodeAt(0));
}

/** Read numbers; what is not known is NaN.
 * @param {Ref | null | undefined} ref @returns {Promise<Float64Array>} */
async function numbers(ref) {
  if (!ref) return new Float64Array();
  if (Array.isArray(ref)) return Float64Array.from(ref, (value) => value ?? NaN);
  const known = decoded.get(ref.b);
  if (known) return known;
  const bytes = await bytesOf(ref.b);
  const values =
    ref.f === "f4" ? Float64Array.from(new Float32Array(bytes.buffer)) : unpacked(new Uint16Array(bytes.buffer), ref);
  if (decoded.size > 200) decoded.clear();
  decoded.set(ref.b, values);
  return values;
}

/** Turn steps on a logarithmic scale into numbers, as `blocks.py` wrote them.
 * @param {Uint16Array} codes @param {{low?: number, step?: number, signed?: number}} scale */
function unpacked(codes, { low = 0, step = 1, signed = 0 }) {
  const values = new Float64Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0xffff) values[i] = NaN;
    else if (code !== 0) {
      const size = Math.exp(low + step * ((signed ? code & 0x7fff : code) - 1));
      values[i] = signed && code & 0x8000 ? -size : size;
    }
  }
  return values;
}

/** Read texts, or what else was written as JSON.
 * @param {Ref | null} ref @returns {Promise<any>} */
async function texts(ref) {
  if (!ref || Array.isArray(ref)) return ref;
  const stream = new Blob([await bytesOf(ref.b)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** Write a number in few signs.
 * @param {number | null | undefined} value @param {number} [digits] */
function brief(value, digits = 3) {
  if (value == null || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return String(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(digits - 1) : value.toPrecision(digits);
  return text.replace("e+", "e").replace("-", "−").replace("e-", "e−");
}

/** Make an element; texts among its children stay text.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, string>} [attributes] @param {...(Node | string)} children */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Make a button. @param {string} text @param {() => void} pressed */
function button(text, pressed) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", pressed);
  return made;
}

/** Make a menu with its label.
 * @param {string} label @param {string[]} options @param {(place: number) => void} chosen */
function menu(label, options, chosen) {
  const select = element("select");
  options.forEach((text, place) => select.append(element("option", { value: String(place) }, text)));
  select.addEventListener("change", () => chosen(Number(select.value)));
  return { select, label: element("label", {}, `${label} `, select) };
}
