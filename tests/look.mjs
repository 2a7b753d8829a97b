// Looks at pages in Chromium: `node tests/look.mjs FOLDER`, where FOLDER/pages holds them and
// FOLDER/node_modules axe-core, Lighthouse and puppeteer-core. Ends with 1 if anything is wrong.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const LEAST = 0.95;
const folder = resolve(process.argv[2]);
const only = process.argv.slice(3);
const require = createRequire(join(folder, "package.json"));
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const puppeteer = require("puppeteer-core");
const { default: lighthouse } = await import(pathToFileURL(require.resolve("lighthouse")));

const pages = join(folder, "pages");
const server = createServer((request, response) => {
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(readFileSync(join(pages, request.url.slice(1))));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
  protocolTimeout: 600_000,
});

// What is wrong with a page: violations, errors, requests, text that is wider than the screen.
async function look(name, scheme, width) {
  const page = await browser.newPage();
  const wrong = [];
  page.on("request", (one) => {
    if (!one.url().startsWith("data:") && one.url() !== `${origin}/${name}`) wrong.push(`asks for ${one.url()}`);
  });
  page.on("console", (one) => one.type() === "error" && wrong.push(one.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(`${origin}/${name}`);
  await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 0) wrong.push(`${wide} pixels wider than the screen`);
  if (!(await page.evaluate(sorts))) wrong.push("a table does not sort");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  for (const one of violations) wrong.push(`axe ${one.id}: ${one.nodes.length} x ${one.nodes[0].html.slice(0, 160)}`);
  await page.close();
  return wrong;
}

// Whether a click on the seventh head of a sortable table sorts its rows, and another one turns them.
function sorts() {
  const table = document.querySelector("table.sortable");
  if (!table) return true;
  const numbers = () => [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[6].textContent));
  const click = () => table.tHead.rows[0].cells[6].querySelector("button").click();
  click();
  const up = numbers();
  click();
  const down = numbers();
  return up.every((one, i) => !i || up[i - 1] <= one) && down.every((one, i) => one === up.at(-1 - i));
}

async function rate(name) {
  const port = Number(new URL(browser.wsEndpoint()).port);
  const categories = ["accessibility", "best-practices"];
  const { lhr } = await lighthouse(`${origin}/${name}`, { port, onlyCategories: categories, logLevel: "error" });
  const low = categories.filter((one) => !(lhr.categories[one].score >= LEAST));
  const failed = Object.values(lhr.audits).filter((one) => one.score === 0).map((one) => one.id);
  const scores = categories.map((one) => `${one} ${Math.round(100 * lhr.categories[one].score)}`).join(", ");
  return { scores, wrong: low.map((one) => `Lighthouse ${one} below ${100 * LEAST}: ${failed}`) };
}

let bad = 0;
for (const name of readdirSync(pages).filter((one) => !only.length || only.includes(one))) {
  const wrong = [...(await look(name, "light", 1280)), ...(await look(name, "dark", 390))];
  const rated = await rate(name);
  wrong.push(...rated.wrong);
  bad += wrong.length;
  console.log(`${wrong.length ? "WRONG" : "ok"} ${name}: ${rated.scores}`);
  for (const one of wrong) console.log(`  ${one}`);
}
await browser.close();
server.close();
process.exit(bad ? 1 : 0);
