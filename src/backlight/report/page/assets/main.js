// The page itself: each view is drawn when it comes near to what is looked at.
/** @type {Record<string, (host: HTMLElement, view: any, name: string) => unknown>} */
const DRAWN = {
  cloud: (host, view, name) => new Cloud(host, view, name).choose({}),
  ...{ lines: drawLines, cells: drawCellMap, scatter: drawScatter, diagram: drawDiagram, rows: drawRows },
};
const views = JSON.parse(document.getElementById("views")?.textContent ?? "[]");
const root = document.documentElement;
const begin = async ({ isIntersecting, target: host }) => {
  if (!isIntersecting) return;
  waiting.unobserve(host);
  const [number, heading] = [Number(host.id.replace("view-", "")), host.parentElement.querySelector("h2")];
  const name = `${document.title} ${heading?.textContent}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 90);
  await DRAWN[views[number].kind](host, views[number], name);
  host.style.minHeight = "0";
  root.dataset.ready = "1";
};
const waiting = new IntersectionObserver((entries) => entries.forEach(begin), { rootMargin: "400px" });
const hosts = document.querySelectorAll(".view");
if (!hosts.length) root.dataset.ready = "1";
hosts.forEach((host) => waiting.observe(host));
