/** Functions of times. Times are texts as RFC 3339 has them. */
import { durationMs } from '../../words/index.ts';
import type { HclFunction, Value } from '../types.ts';
import { fn } from './arguments.ts';

const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** A moment with the distance of its zone from UTC. */
interface Moment {
  ms: number;
  offsetMinutes: number;
}

function readTime(text: string): Moment {
  const match = rfc3339.exec(text);
  const ms = Date.parse(text);
  if (match === null || Number.isNaN(ms))
    throw new Error(`not a valid RFC3339 timestamp: ${JSON.stringify(text)}`);
  const [, sign, hours = '0', minutes = '0'] = match;
  return { ms, offsetMinutes: (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) };
}

function timeText({ ms, offsetMinutes }: Moment): string {
  const local = new Date(ms + offsetMinutes * 60_000).toISOString().slice(0, 19);
  return local + (offsetMinutes === 0 ? 'Z' : zone(offsetMinutes, ':'));
}

function zone(minutes: number, separator: string): string {
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${separator}${two(size % 60)}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** Writes a time by HCL's verbs: `YYYY-MM-DD'T'hh:mm:ssZ`. */
function formatDate(pattern: string, moment: Moment): string {
  const date = new Date(moment.ms + moment.offsetMinutes * 60_000);
  const hours = date.getUTCHours();
  const twelve = hours % 12 || 12;
  const name = (list: readonly string[], i: number) => list[i] as string;
  const zoneText = (separator: string) =>
    moment.offsetMinutes === 0 ? 'Z' : zone(moment.offsetMinutes, separator);
  const verbs: Record<string, () => string> = {
    YYYY: () => String(date.getUTCFullYear()).padStart(4, '0'),
    YY: () => two(date.getUTCFullYear() % 100),
    MMMM: () => name(months, date.getUTCMonth()),
    MMM: () => name(months, date.getUTCMonth()).slice(0, 3),
    MM: () => two(date.getUTCMonth() + 1),
    M: () => String(date.getUTCMonth() + 1),
    DD: () => two(date.getUTCDate()),
    D: () => String(date.getUTCDate()),
    EEEE: () => name(weekdays, date.getUTCDay()),
    EEE: () => name(weekdays, date.getUTCDay()).slice(0, 3),
    hh: () => two(hours),
    h: () => String(hours),
    HH: () => two(twelve),
    H: () => String(twelve),
    AA: () => (hours < 12 ? 'AM' : 'PM'),
    aa: () => (hours < 12 ? 'am' : 'pm'),
    mm: () => two(date.getUTCMinutes()),
    m: () => String(date.getUTCMinutes()),
    ss: () => two(date.getUTCSeconds()),
    s: () => String(date.getUTCSeconds()),
    ZZZZZ: () => zone(moment.offsetMinutes, ':'),
    ZZZZ: () => zone(moment.offsetMinutes, ''),
    ZZZ: () => (moment.offsetMinutes === 0 ? 'UTC' : zone(moment.offsetMinutes, '')),
    Z: () => zoneText(':'),
  };
  return pattern.replace(/'((?:[^']|'')*)'|'|([A-Za-z])\2*/g, (word, quoted?: string) => {
    if (quoted !== undefined) return quoted.replaceAll("''", "'");
    const verb = verbs[word];
    if (verb === undefined) throw new Error(`unsupported format verb ${JSON.stringify(word)}`);
    return verb();
  });
}

function unixMoment(seconds: number): Moment {
  if (!Number.isInteger(seconds)) throw new Error('unix timestamp must be an integer');
  return { ms: seconds * 1000, offsetMinutes: 0 };
}

function formatTimestamp(pattern: string, time: Value): string {
  if (typeof time !== 'string' && typeof time !== 'number') {
    throw new Error('must be a string timestamp or a unix timestamp number');
  }
  const moment = typeof time === 'number' ? unixMoment(time) : readTime(time);
  return pattern === 'X' ? String(Math.floor(moment.ms / 1000)) : formatDate(pattern, moment);
}

function parts(seconds: number): Value {
  const moment = unixMoment(seconds);
  const date = new Date(moment.ms);
  const day = 86_400_000;
  const yearStart = (year: number) => Date.UTC(year, 0, 1);
  // The ISO week is that of the week's Thursday.
  const thursday = new Date(moment.ms + (4 - (date.getUTCDay() || 7)) * day);
  const isoYear = thursday.getUTCFullYear();
  return new Map<string, Value>([
    ['year', date.getUTCFullYear()],
    ['year_day', Math.floor((moment.ms - yearStart(date.getUTCFullYear())) / day) + 1],
    ['day', date.getUTCDate()],
    ['month', date.getUTCMonth() + 1],
    ['month_name', months[date.getUTCMonth()] as string],
    ['weekday', date.getUTCDay()],
    ['weekday_name', weekdays[date.getUTCDay()] as string],
    ['hour', date.getUTCHours()],
    ['minute', date.getUTCMinutes()],
    ['second', date.getUTCSeconds()],
    ['rfc3339', timeText(moment)],
    ['iso_year', isoYear],
    ['iso_week', Math.floor((thursday.getTime() - yearStart(isoYear)) / day / 7) + 1],
  ]);
}

function timeAdd(time: string, duration: string): string {
  const ms = durationMs(duration);
  if (ms === undefined) throw new Error(`not a valid duration: ${JSON.stringify(duration)}`);
  const moment = readTime(time);
  return timeText({ ...moment, ms: moment.ms + ms });
}

export const dateFunctions: Record<string, HclFunction> = {
  formatdate: fn('format, time', (a) => formatDate(a.text(0), readTime(a.text(1)))),
  formattimestamp: fn('format, time', (a) => formatTimestamp(a.text(0), a.at(1))),
  timeadd: fn('timestamp, duration', (a) => timeAdd(a.text(0), a.text(1))),
  timestamp: fn('', () => timeText({ ms: Date.now(), offsetMinutes: 0 })),
  unixtimestampparse: fn('unix_timestamp', (a) => parts(a.number(0))),
};
