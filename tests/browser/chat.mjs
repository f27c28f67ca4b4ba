// Two people chat in a browser. Usage: node chat.mjs CHROMIUM URL [SCREENSHOT_FOLDER]
//
// Prints "delivered: ..." when what one said has arrived at the other, then waits for the server to end and prints
// both pages' status. Any wait that takes too long fails.

import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(new URL("../interop/node/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const [executablePath, url, screenshots] = process.argv.slice(2);
const timeout = 30_000;
const browser = await chromium.launch({ // headless, with a user data folder of its own
  executablePath,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

async function openPage(name, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(timeout);
  page.on("pageerror", (error) => { throw error; });
  await page.goto(`${url}?name=${encodeURIComponent(name)}`);
  await page.waitForFunction(() => document.querySelector("#status").textContent === "connected");
  return page;
}

async function say(page, text) {
  await page.fill("#message", text);
  await page.press("#message", "Enter");
}

const hasSaid = (text) => [...document.querySelectorAll("#log .say span")].some((words) => words.textContent === text);
const isClosed = () => document.querySelector("#status").textContent.startsWith("closed:");

try {
  const ada = await openPage("Ada", { colorScheme: "light", viewport: { width: 1100, height: 700 } });
  const bob = await openPage("<i>Bob</i>", { colorScheme: "dark", viewport: { width: 390, height: 780 } });
  const text = "hello & <b>welcome</b> \u{1F600}";
  await say(ada, text);
  await bob.waitForFunction(hasSaid, text);
  await say(bob, "good to see you");
  await ada.waitForFunction(hasSaid, "good to see you");
  const author = await ada.textContent("#log .say:not(.mine) b");
  const picture = async (moment) => {
    if (!screenshots) return;
    await ada.screenshot({ path: join(screenshots, `${moment}-wide-light.png`) });
    await bob.screenshot({ path: join(screenshots, `${moment}-phone-dark.png`) });
  };
  await picture("open");
  console.log(`delivered: ${JSON.stringify({ author, text: await bob.textContent("#log .say span") })}`);
  for (const page of [ada, bob]) await page.waitForFunction(isClosed);
  await picture("closed");
  for (const page of [ada, bob]) console.log(await page.textContent("#status"));
} finally {
  await browser.close();
}
