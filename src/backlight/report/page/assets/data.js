// Numbers and texts of the page: read when they are looked at, and written for people.
/** @typedef {(number | null)[] | {f: string, b: number, low?: number, step?: number, signed?: number}} Ref */

/** Read a block; one that the browser has not come to yet is waited for. @param {number} number */
async function bytesOf(number) {
  const find = () => document.getElementById(`block-${number}`);
  if (!find()?.nextSibling && document.readyState === "loading")
    await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
  return Uint8Array.from(atob(find()?.textContent ?? ""), (letter) => letter.charCodeAt(0));
}
/** Read numbers; what is not known is NaN. @param {Ref | null} ref @returns {Promise<Float64Array>} */
async function numbers(ref) {
  if (!ref) return new Float64Array();
  if (Array.isArray(ref)) return Float64Array.from(ref, (value) => value ?? NaN);
  const { buffer } = await bytesOf(ref.b);
  return ref.f === "f4" ? Float64Array.from(new Float32Array(buffer)) : unpacked(new Uint16Array(buffer), ref);
}
/** Turn steps on a logarithmic scale into numbers, as `blocks.py` wrote them. @param {Uint16Array} codes */
function unpacked(codes, { low = 0, step = 1, signed = 0 }) {
  return Float64Array.from(codes, (code) => {
    if (code === 0 || code === 0xffff) return code === 0 ? 0 : NaN;
    const size = Math.exp(low + step * ((signed ? code & 0x7fff : code) - 1));
    return signed && code & 0x8000 ? -size : size;
  });
}
/** Read what was written as JSON. @param {Ref | null} ref @returns {Promise<any>} */
async function texts(ref) {
  if (!ref || Array.isArray(ref)) return ref;
  const stream = new Blob([await bytesOf(ref.b)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}
/** Write a number in few signs. @param {number | null} value @param {number} [digits] */
function brief(value, digits = 3) {
  if (value == null || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const isShort = size === Infinity || (Number.isInteger(value) && size < 1e6);
  if (isShort) return String(value).replace("Infinity", "∞").replace("-", "−");
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(digits - 1) : value.toPrecision(digits);
  return text.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "").replace("+", "").replaceAll("-", "−");
}
/** Make an element; texts among its children stay text. @template {keyof HTMLElementTagNameMap} T
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
/** Make a menu. @param {string} name @param {string[]} options @param {(place: number) => void} chosen */
function menu(name, options, chosen) {
  const select = element("select");
  select.append(...options.map((text, place) => element("option", { value: String(place) }, text)));
  select.addEventListener("change", () => chosen(Number(select.value)));
  return { select, label: element("label", {}, `${name} `, select) };
}
