// One page at one width in one colour scheme.
import path from "node:path";

// Opens `page`, takes its picture, and returns what is wrong with it.
export async function lookAt(browser, address, page, look, axe, pictures) {
  const context = await browser.newContext({
    colorScheme: look.scheme,
    viewport: { width: look.width, height: 900 },
  });
  try {
    const tab = await context.newPage();
    const found = [];
    tab.on("pageerror", (error) => found.push(`script: ${error.message}`));
    tab.on("requestfailed", (request) =>
      found.push(`not loaded: ${request.url()}`),
    );
    await tab.goto(`${address}/${page}`);
    found.push(...(await tab.evaluate(layoutFaults)));
    await tab.evaluate(axe);
    const report = await tab.evaluate(() => globalThis.axe.run());
    found.push(...report.violations.filter(isGrave).map(described));
    const name = `${path.basename(page, ".html")}-${look.scheme}-${look.width}`;
    await tab.screenshot({
      path: path.join(pictures, `${name}.png`),
      fullPage: true,
    });
    const where = `${page} (${look.scheme}, ${look.width} wide)`;
    return found.map((fault) => `${where}: ${fault}`);
  } finally {
    await context.close();
  }
}

function isGrave(violation) {
  return ["serious", "critical"].includes(violation.impact);
}

function described({ id, impact, nodes }) {
  const first = nodes[0].html.replace(/\s+/g, " ").slice(0, 100);
  return `axe, ${impact}: ${id} at ${nodes.length} places, first ${first}`;
}

// Runs in the page: whatever lies outside of it with no bar to scroll there,
// tables of which a reader with a wide screen sees only a part, and pictures
// without pixels.
function layoutFaults() {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const scrolls = (element) =>
    ["auto", "scroll", "hidden"].includes(getComputedStyle(element).overflowX);
  const insideScroller = (element) => {
    let outer = element;
    while (outer && outer.tagName !== "MAIN") {
      if (scrolls(outer)) return true;
      outer = outer.parentElement;
    }
    return false;
  };
  for (const element of document.querySelectorAll("main *")) {
    const box = element.getBoundingClientRect();
    if (box.width > 0 && box.right > width + 1 && !insideScroller(element)) {
      const text = (element.textContent ?? "").trim().slice(0, 40);
      faults.push(`${element.tagName} is wider than the page: ${text}`);
    }
  }
  for (const table of document.querySelectorAll(".table-wrapper")) {
    if (width > 1000 && table.scrollWidth > table.clientWidth + 1) {
      const text = table.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
      faults.push(`a table is cut on a wide screen: ${text}`);
    }
  }
  for (const image of document.querySelectorAll("main img")) {
    if (!image.complete || image.naturalWidth === 0) {
      faults.push(`picture without pixels: ${image.src}`);
    }
  }
  return faults;
}
