/** What a page costs in Chromium: when it is painted, and the processor time of its main thread. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Browser, chromium, type Page } from 'playwright-core';
import type { Bench } from '../bench.ts';
import { findProgram } from './find-program.ts';

/** Starts Chromium until the bench ends. */
export async function startBrowser(bench: Bench): Promise<Browser> {
  const executablePath = findProgram('CHROMIUM', 'chromium');
  if (executablePath === undefined)
    throw new Error('Chromium is needed: install chromium, or name one with CHROMIUM=');
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  bench.atEnd(() => browser.close());
  return browser;
}

export interface FirstView {
  /** ms from the navigation to the first paint of anything, and of what was waited for. */
  firstPaint: number;
  shown: number;
  /** Processor time in ms of the page's main thread until then. */
  cpu: number;
}

/** Goes to an address and waits until what a selector names was painted. */
export async function firstView(page: Page, address: string, selector: string): Promise<FirstView> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.addInitScript(noteWhenShown(selector));
  await page.goto(address);
  const isShown = () => page.evaluate('window.benchShown !== undefined');
  while (!(await isShown())) await sleep(20);
  const { metrics } = await devtools.send('Performance.getMetrics');
  const cpu = 1000 * (metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN);
  const [firstPaint, shown] = (await page.evaluate(
    "[performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN, window.benchShown]",
  )) as [number, number];
  return { firstPaint, shown, cpu };
}

/** What runs in the page: it notes the time of the frame after the one in which the selector fits something. */
function noteWhenShown(selector: string): string {
  return `{
    const look = () => {
      if (document.querySelector(${JSON.stringify(selector)}) === null) return void requestAnimationFrame(look);
      requestAnimationFrame(() => setTimeout(() => (window.benchShown = performance.now())));
    };
    requestAnimationFrame(look);
  }`;
}

export interface Task {
  /** ms of the main thread's processor time, and as long as it was on the clock. */
  cpu: number;
  wall: number;
}

interface TraceEvent {
  name: string;
  pid: number;
  tid: number;
  dur?: number;
  tdur?: number;
  args?: { name?: string };
}

/** The tasks of the main threads of pages while something is done, the longest in processor time first. */
export async function tasksDuring(browser: Browser, page: Page, work: () => Promise<void>): Promise<Task[]> {
  await browser.startTracing(page, {
    categories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'],
  });
  await work();
  const { traceEvents } = JSON.parse(String(await browser.stopTracing())) as { traceEvents: TraceEvent[] };
  const mains = new Set(
    traceEvents
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  return traceEvents
    .filter(
      ({ name, pid, tid, dur }) => name === 'RunTask' && dur !== undefined && mains.has(`${pid} ${tid}`),
    )
    .map(({ dur = 0, tdur = dur }) => ({ cpu: tdur / 1000, wall: dur / 1000 }))
    .sort((a, b) => b.cpu - a.cpu);
}
