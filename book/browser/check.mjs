// Opens every page of the built book in Chromium and says what a reader
// would stumble over. Usage: check.mjs BOOK ADDRESS MODULES SCREENSHOTS [PAGE]
// ADDRESS is where `book serve` shows the same book.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { lookAt } from "./look.mjs";
import { printOf } from "./print.mjs";
import { searchIn } from "./search.mjs";

const [book, address, modules, pictures, only] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "x"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// mdBook's own: the table of contents as a frame, and all chapters at once.
const notPages = ["toc.html", "print.html"];
const pages = fs
  .readdirSync(book)
  .filter((file) => file.endsWith(".html") && !notPages.includes(file))
  .filter((file) => !only || file.startsWith(only));
const looks = ["light", "dark"].flatMap((scheme) =>
  [1280, 390].map((width) => ({ scheme, width })),
);

fs.mkdirSync(pictures, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // The checks run as root in a room without a network.
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const findings = [];
try {
  for (const page of pages) {
    for (const look of looks) {
      findings.push(...(await lookAt(browser, address, page, look, axe, pictures)));
    }
  }
  for (const base of [`file://${path.resolve(book)}`, address]) {
    findings.push(...(await searchIn(browser, base)));
  }
  findings.push(...(await printOf(browser, book, pictures)));
} finally {
  await browser.close();
}

for (const finding of findings) console.log(finding);
console.log(
  `${pages.length} pages, ${looks.length} looks each: ` +
    `${findings.length} findings; screenshots in ${pictures}`,
);
process.exitCode = findings.length === 0 ? 0 : 1;
