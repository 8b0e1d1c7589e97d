// The book's search, typed into as a reader does.

// A word, and the chapter that its first result has to lead to.
const wanted = [
  ["pivot_root", "02-namespaces.html"],
  ["whiteout", "05-overlay-cow.html"],
  ["cpu.max", "03-cgroups.html"],
  ["overlay", "05-overlay-cow.html"],
];

export async function searchIn(browser, base) {
  const faults = [];
  const context = await browser.newContext();
  try {
    for (const [word, chapter] of wanted) {
      const tab = await context.newPage();
      await tab.goto(`${base}/index.html`);
      await tab.keyboard.press("/");
      await tab.locator("#mdbook-searchbar").pressSequentially(word);
      const result = tab.locator("#mdbook-searchresults a").first();
      try {
        await result.click({ timeout: 10_000 });
        await tab.waitForURL(`**/${chapter}*`, { timeout: 10_000 });
        const marked = tab.locator("main mark");
        if ((await marked.count()) === 0) throw new Error("nothing is marked");
      } catch (error) {
        const reason = error.message.split("\n")[0];
        faults.push(
          `search for ${word} at ${base} leads to ${tab.url()} ` +
            `and not to ${chapter}: ${reason}`,
        );
      }
      await tab.close();
    }
  } finally {
    await context.close();
  }
  return faults;
}
