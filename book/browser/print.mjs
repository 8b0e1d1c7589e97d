// The whole book on paper, as somebody prints it who reads it in dark.
import path from "node:path";

export async function printOf(browser, book, pictures) {
  const context = await browser.newContext({ colorScheme: "dark" });
  try {
    const tab = await context.newPage();
    // The page asks for a printer as soon as it is loaded.
    await tab.addInitScript(() => {
      window.print = () => {};
    });
    await tab.goto(`file://${path.resolve(book, "print.html")}`);
    await tab.emulateMedia({ media: "print" });
    // The width of A4 less its margins.
    await tab.setViewportSize({ width: 718, height: 1000 });
    const faults = await tab.evaluate(paperFaults);
    await tab.pdf({
      path: path.join(pictures, "book.pdf"),
      format: "A4",
      printBackground: true,
    });
    return faults.map((fault) => `print.html: ${fault}`);
  } finally {
    await context.close();
  }
}

// Runs in the page: paper cannot be scrolled or unfolded, and is white.
function paperFaults() {
  const faults = [];
  const start = (element) =>
    (element.textContent ?? "").trim().replace(/\s+/g, " ").slice(0, 40);
  for (const code of document.querySelectorAll("main pre, main pre code")) {
    if (code.scrollWidth > code.clientWidth + 1) {
      faults.push(`code is cut: ${start(code)}`);
    }
  }
  for (const table of document.querySelectorAll(".table-wrapper")) {
    if (table.scrollWidth > table.clientWidth + 1) {
      faults.push(`a table is cut: ${start(table)}`);
    }
  }
  for (const answer of document.querySelectorAll("main details > p")) {
    if (answer.getBoundingClientRect().height === 0) {
      faults.push(`a folded answer is not printed: ${start(answer)}`);
    }
  }
  const light = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return alpha === 0 || red + green + blue > 3 * 200;
  };
  const grounds = "html, body, main, main pre, main pre code, main th, main tr";
  const dark = [...document.querySelectorAll(grounds)].filter(
    (element) => !light(getComputedStyle(element).backgroundColor),
  );
  if (dark.length > 0) {
    faults.push(`${dark.length} dark grounds, first ${dark[0].tagName}`);
  }
  const pale = [...document.querySelectorAll("main p, main code *")].filter(
    (element) => light(getComputedStyle(element).color),
  );
  if (pale.length > 0) {
    faults.push(`${pale.length} texts in pale ink, first ${start(pale[0])}`);
  }
  return faults;
}
