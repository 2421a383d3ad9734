// The page itself: each view is drawn when it comes near to what is looked at.

/** @type {Record<string, (host: HTMLElement, view: any, name: string) => unknown>} */
const DRAWN = {
  lines: drawLines,
  cloud: (host, view, name) => new Cloud(host, view, name).choose({}),
  ...{ cells: drawCellMap, scatter: drawScatter, diagram: drawDiagram, rows: drawRows },
};
const views = JSON.parse(document.getElementById("views")?.textContent ?? "[]");
const root = document.documentElement;
const waiting = new IntersectionObserver((entries) => entries.forEach(({ isIntersecting, target }) => isIntersecting && begin(target)), { rootMargin: "400px" });

/** @param {Element} host */
async function begin(host) {
  waiting.unobserve(host);
  const number = Number(host.id.replace("view-", ""));
  const heading = document.getElementById(`heading-${number}`)?.textContent ?? "picture";
  const name = heading.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60);
  await DRAWN[views[number].kind](/** @type {HTMLElement} */ (host), views[number], name);
  root.dataset.ready = "1";
}

const hosts = document.querySelectorAll(".view");
if (!hosts.length) root.dataset.ready = "1";
hosts.forEach((host) => waiting.observe(host));
