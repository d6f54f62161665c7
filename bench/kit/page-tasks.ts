/** The longest tasks of a page while something is done in it. */
import type { Browser, Page } from 'playwright-core';
import { type Bench, progress } from '../bench.ts';
import { type Task, tasksDuring } from './browser.ts';
import { median } from './measure.ts';
import { milliseconds, table } from './table.ts';

/** Something that is done in a page. */
export interface PageWork {
  name: string;
  work(page: Page): Promise<unknown>;
}

/** Does all works one after the other in a page, once for each run, and tells the longest task of each as a table. */
export async function taskTable(bench: Bench, browser: Browser, works: readonly PageWork[]): Promise<string> {
  const longest = new Map<string, Task[]>();
  for (let run = 0; run < bench.runs; run++) {
    const page = await browser.newPage();
    await page.goto('about:blank');
    for (const { name, work } of works) {
      const [task] = await tasksDuring(browser, page, async () => void (await work(page)));
      if (task !== undefined) longest.set(name, [...(longest.get(name) ?? []), task]);
      progress(`${name}: ${milliseconds(task?.cpu ?? 0)}`);
    }
    await page.close();
  }
  const rows = [...longest].map(([name, tasks]) => [
    name,
    milliseconds(median(tasks.map(({ cpu }) => cpu))),
    milliseconds(Math.max(...tasks.map(({ cpu }) => cpu))),
    milliseconds(median(tasks.map(({ wall }) => wall))),
  ]);
  return [
    "The longest task of the page's main thread: its processor time, and the time on the clock of the same task.",
    table(['doing', 'CPU, median of runs', 'CPU, worst run', 'clock, median'], rows),
  ].join('\n\n');
}

/** Goes to an address and waits for what a selector names. */
export async function show(page: Page, address: string, selector: string): Promise<void> {
  await page.goto(address);
  await page.locator(selector).first().waitFor();
}

/** Scrolls a box from its beginning to its end. */
export function scroll(page: Page, selector: string): Promise<unknown> {
  return page.evaluate(
    `(async () => {
      const box = document.querySelector(${JSON.stringify(selector)});
      for (let i = 1; i <= 40; i++) {
        box.scrollTo(0, (box.scrollHeight * i) / 40);
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      }
    })()`,
  );
}
