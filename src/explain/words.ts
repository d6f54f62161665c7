/** Puts the reasons for which a step was not cached into words, in one line. Pure. */
import { clip, printable } from '../errors/index.ts';
import type { FileChange } from '../fs/index.ts';
import type { InputFacts, Variable } from './facts.ts';
import { placeOf } from './place.ts';
import type { Reason } from './reasons.ts';

/** How each such line begins. */
export const explanationStart = 'not cached: ';

/** Most files that are told by name. */
export const mostFiles = 10;
/** Most reasons that are told of one step. */
const mostReasons = 4;
const maxName = 120;
const maxLine = 4000;

/** The line for a step that was not cached. `now`: ms since the epoch. */
export function lineOf(reasons: readonly Reason[], now: number): string {
  return `${explanationStart}${textOf(reasons, now) || 'not found in the cache'}`;
}

/** Whether a line tells only that nothing is known of earlier runs. */
export function isBare(line: string): boolean {
  return [lineOf([{ kind: 'never' }], 0), lineOf([], 0)].includes(line.trimEnd());
}

/** The reasons in words; '' for none. */
export function textOf(reasons: readonly Reason[], now: number): string {
  const told = reasons.slice(0, mostReasons).map((reason) => wordsOf(reason, now));
  const more = reasons.length - told.length;
  if (more > 0) told.push(`and ${more} more`);
  return clip(oneLine(told.join('; ')), maxLine);
}

function wordsOf(reason: Reason, now: number): string {
  switch (reason.kind) {
    case 'ignored':
      return 'its cache was ignored, as the build asked (--no-cache or --no-cache-filter)';
    case 'pruned':
      return `its record was pruned ${ago(now - reason.at)} ago by ${reason.rule}`;
    case 'instruction':
      return `the instruction changed: ${diff(reason.before, reason.now)}`;
    case 'setting':
      return setting(reason.name, reason.before, reason.now);
    case 'variable':
      return variable(reason.name, reason.before, reason.now);
    case 'base':
      return base(reason.before, reason.now);
    case 'step':
      return `an earlier step ${stepWords[reason.how]}: ${name(reason.name)}`;
    case 'files':
      return files(reason);
    case 'never':
      return 'it was never built here (no earlier run of it is on record)';
    case 'import':
      return imported(reason.name, reason.how);
    case 'unknown':
      return 'not found in the cache';
  }
}

const stepWords = {
  changed: 'changed',
  ignored: 'ran with its cache ignored',
  anew: 'was made anew',
  unknown: 'gave another result',
};

function setting(what: string, before: string | undefined, now: string | undefined): string {
  if (before === undefined) return `it has a ${what} now (${clip(now ?? '', maxName)})`;
  if (now === undefined) return `it has no ${what} any more (${clip(before, maxName)})`;
  return `its ${what} changed: ${diff(before, now)}`;
}

function variable(what: string, before: Variable | undefined, now: Variable | undefined): string {
  const subject = `the build argument or variable ${clip(what, maxName)}`;
  if (before === undefined)
    return `${subject} is new${now?.shown === undefined ? '' : ` (${quoted(now.shown)})`}`;
  if (now === undefined) return `${subject} is not set any more`;
  if (before.shown === undefined || now.shown === undefined) return `${subject} has another value`;
  if (before.shown === now.shown) return `${subject} has another value (a long one)`;
  return `${subject} has another value (${quoted(before.shown)} → ${quoted(now.shown)})`;
}

function base(before: InputFacts, now: InputFacts): string {
  const image = familiar(now.image ?? now.name);
  const was = familiar(before.image ?? before.name);
  const digests = `${short(before.found)} → ${short(now.found)}`;
  return image === was
    ? `the base image ${image} moved (${digests})`
    : `the base image is another one (${was} → ${image}, ${digests})`;
}

function files({ from, tree }: Extract<Reason, { kind: 'files' }>): string {
  const where = isContext(from.name) ? '' : ` of ${name(from.name)}`;
  if (tree === undefined || tree.count === 0) return `files${where} changed`;
  const told = tree.changes.slice(0, mostFiles).map(change);
  const more = tree.count - told.length;
  const list = told.join(', ') + (more > 0 ? ` and ${more} more` : '');
  return tree.count === 1
    ? `a file${where} changed: ${list}`
    : `${tree.count} files${where} changed: ${list}`;
}

/** A client's folder, which needs no name where it is the build's context. */
function isContext(step: string): boolean {
  return /^\[(internal|context)\]/.test(step);
}

function change(file: FileChange): string {
  return `${clip(file.path, 300)} (${howOf(file)})`;
}

function howOf(file: FileChange): string {
  if (file.how === 'type') return 'another type of file';
  if (file.how !== 'changed') return file.how;
  const { contents, mode, owner } = file;
  return [
    ...(contents ? ['contents'] : []),
    ...(mode === undefined ? [] : [`mode ${mode.before} → ${mode.now}`]),
    ...(owner === undefined ? [] : [`owner ${owner.before} → ${owner.now}`]),
  ].join(', ');
}

function imported(cache: string, how: 'unread' | 'no-result' | 'gone'): string {
  if (how === 'unread') return `the cache ${cache} could not be imported`;
  if (how === 'gone') return `the cache ${cache} has it, but its layers could not be had`;
  return `the cache ${cache} knows it, but has no layers of it`;
}

/** What differs in two texts, with a little of what is around it. */
function diff(before: string, now: string): string {
  if (before.length + now.length <= 2 * maxName) return `"${before}" → "${now}"`;
  let start = 0;
  while (start < Math.min(before.length, now.length) && before[start] === now[start]) start++;
  let end = 0;
  const most = Math.min(before.length, now.length) - start;
  while (end < most && before.at(-1 - end) === now.at(-1 - end)) end++;
  const from = Math.max(0, start - 20);
  const part = (text: string) => {
    const to = Math.min(text.length, text.length - end + 20);
    const shown = clip(text.slice(from, to), maxName);
    return `"${from > 0 ? '…' : ''}${shown}${to < text.length ? '…' : ''}"`;
  };
  return `${part(before)} → ${part(now)}`;
}

function name(step: string): string {
  const { text } = placeOf(step);
  return clip(step.replace(text, clip(text, maxName)), 2 * maxName);
}

function familiar(image: string): string {
  return image.replace(/^docker\.io\/(library\/)?/, '');
}

function short(found: string | undefined): string {
  return found === undefined ? 'unknown' : found.slice(0, 'sha256:'.length + 12);
}

function quoted(value: string): string {
  return JSON.stringify(value);
}

function oneLine(text: string): string {
  // Control characters would draw on a terminal.
  return printable(text).replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
