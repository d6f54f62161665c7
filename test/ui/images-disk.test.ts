/** The page in a browser: the files of an image's layers, and pruning by selection. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shellContext } from '../kit/api-builds.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';
import { makePage } from '../kit/page.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

let daemon: TestDaemon;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  [daemon] = await Promise.all([
    startTestDaemon({ imageStore: 'local', insecureTcp: true, hosts: ['tcp://127.0.0.1:0'] }),
    makePage(),
  ]);
  const steps =
    'RUN mkdir /data && head -c 50000 /dev/zero > /data/big\nRUN rm /data/big && echo new > /data/new';
  const body = tarOf(shellContext(steps, {}, ['mkdir', 'head', 'rm', 'echo']));
  await daemon.ask('POST', '/build?version=2&t=app:1', { body });
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.setDefaultTimeout(100_000);
  page.on('pageerror', (err) => complaints.push(err.message));
});
afterAll(async () => {
  await browser?.close();
  await daemon?.stop();
});

const go = (hash: string) => {
  const address = daemon.addresses.find((each) => each.startsWith('tcp:'))?.replace('tcp:', 'http:');
  return page.goto(`${address}/ui/${hash}`);
};

/** Finds nothing wrong for screen readers. */
async function isAccessible(): Promise<void> {
  const violations = await page.evaluate(async (source) => {
    const run = new Function(`${source};return axe.run()`) as () => Promise<{
      violations: { id: string; nodes: { html: string }[] }[];
    }>;
    return (await run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
  }, axe);
  expect(violations, page.url()).toEqual([]);
}

test('from the list of images to a file that a later layer removes', async () => {
  await go('#/images');
  await page.locator('.image-link', { hasText: 'app:1' }).waitFor();
  await isAccessible();
  await page.click('.image-link:has-text("app:1")');
  await page.getByText('50.0 kB that later layers hide').waitFor();
  await isAccessible();
  await page.locator('tr', { hasText: 'mkdir /data' }).locator('a').click();
  await page.click('.file-row a:has-text("data/")');
  await page.locator('.file-row', { hasText: 'big hidden by layer 3' }).waitFor();
  expect(page.url()).toContain('folder=%2Fdata');
  await isAccessible();
  await page.selectOption('select', '2');
  await page.click('.file-row a:has-text("data/")');
  await page.locator('.file-row', { hasText: 'new' }).waitFor();
  expect(await page.locator('.file-row').allInnerTexts()).toEqual([
    expect.stringMatching(/removed\s+big/),
    expect.stringMatching(/added\s+new/),
  ]);
  expect(complaints).toEqual([]);
});

test('what a prune would free is told first; then the chosen record goes, and no other', async () => {
  await go('#/disk');
  const rows = page.locator('.disk-row');
  await rows.filter({ hasText: 'uploaded context' }).locator('input').check();
  const count = await rows.count();
  await page.click('button:has-text("What would pruning 1 chosen record free?")');
  await page.getByText(/1 record of .*; the disk gets .* back/).waitFor();
  await isAccessible();
  expect(await rows.count()).toBe(count);
  await page.click('button:has-text("Remove 1 record")');
  await page.getByText('Removed: 1 record').waitFor();
  await page.click('button:has-text("Show what is left")');
  await rows.filter({ hasText: 'uploaded context' }).waitFor({ state: 'detached' });
  expect(await rows.count()).toBe(count - 1);
  expect(complaints).toEqual([]);
});
