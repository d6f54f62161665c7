/** What `drydock build --check` prints, in each of its forms. Pure. */
import { relative, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type DrydockError, fail, nearest, type SourceLocation } from '../../errors/index.ts';
import { type LintWarning, lintResults } from '../../frontend/index.ts';
import { version } from '../../version.ts';
import { checkReport } from '../build/report.ts';
import { errorText } from '../error-text.ts';

/** What the checks found. */
export interface CheckOutcome {
  warnings: readonly LintWarning[];
  /** What keeps the Dockerfile from being built; it has a place in it. */
  failure?: DrydockError;
  /** The folder in which the command was called. */
  cwd: string;
  /** The Dockerfile on this machine; undefined: it comes from elsewhere. */
  path?: string;
}

const forms = { text, json, sarif, github } as const;

type CheckForm = keyof typeof forms;

/** The form that `--check-format` names. Throws `invalid`. */
export function checkForm(name = 'text'): CheckForm {
  if (Object.hasOwn(forms, name)) return name as CheckForm;
  const names = Object.keys(forms);
  throw fail('invalid', 'client', `invalid --check-format ${JSON.stringify(name)}`, {
    hint: `Did you mean ${nearest(name, names) ?? names.join(', ')}?`,
  });
}

/** The report of an outcome in a form, as it is printed. */
export function reportOf(form: CheckForm, outcome: CheckOutcome): string {
  return forms[form](outcome);
}

function text({ warnings, failure }: CheckOutcome): string {
  return `${checkReport(warnings)}${failure === undefined ? '' : `\n${errorText(failure)}`}`;
}

/** As `docker buildx build --call=check,format=json`. */
function json({ warnings, failure }: CheckOutcome): string {
  return `${JSON.stringify(lintResults(warnings, failure), null, 2)}\n`;
}

/** The name of what keeps a Dockerfile from being built, beside the names of rules. */
const failureRule = 'DockerfileError';

/** SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/ */
function sarif(outcome: CheckOutcome): string {
  const { warnings, failure } = outcome;
  const rules: object[] = [];
  const indexes = new Map<string, number>();
  const indexOf = (id: string, description: string, level: string, url: string) => {
    let index = indexes.get(id);
    if (index === undefined) {
      const help = url === '' ? {} : { helpUri: url };
      index = rules.push({
        id,
        shortDescription: { text: description },
        ...help,
        defaultConfiguration: { level },
      });
      indexes.set(id, --index);
    }
    return index;
  };
  const results = warnings.map(({ rule, description, message, url, location }) => ({
    ruleId: rule,
    ruleIndex: indexOf(rule, description, 'warning', url),
    level: 'warning',
    message: { text: message },
    locations: [{ physicalLocation: placeOf(location, outcome) }],
  }));
  if (failure !== undefined) {
    results.push({
      ruleId: failureRule,
      ruleIndex: indexOf(failureRule, 'The Dockerfile cannot be built', 'error', ''),
      level: 'error',
      message: { text: failure.message },
      locations: failure.source === undefined ? [] : [{ physicalLocation: placeOf(failure.source, outcome) }],
    });
  }
  const log = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [{ tool: { driver: { name: 'Drydock', version, rules } }, results }],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}

function placeOf(location: SourceLocation, outcome: CheckOutcome): object {
  const { first, last } = linesOf(location);
  const region = first === 0 ? {} : { region: { startLine: first, endLine: last } };
  const shown = shownPath(location, outcome);
  const inside = shown.split('/').map(encodeURIComponent).join('/');
  // What is not below the folder of the call has no path there.
  const artifactLocation =
    shown.startsWith('/') && outcome.path !== undefined
      ? { uri: pathToFileURL(shown).href }
      : { uri: inside, uriBaseId: '%SRCROOT%' };
  return { artifactLocation, ...region };
}

/** The first and the last line; 0 where a finding is about none. */
function linesOf({ ranges }: SourceLocation): { first: number; last: number } {
  if (ranges.length === 0) return { first: 0, last: 0 };
  const first = Math.min(...ranges.map(({ start }) => start.line));
  return { first, last: Math.max(first, ...ranges.map(({ end }) => end.line)) };
}

/** The path of the Dockerfile from the folder of the call on, or the whole of it for one that is elsewhere. */
function shownPath({ filename }: SourceLocation, { path, cwd }: CheckOutcome): string {
  if (path === undefined) return filename;
  const whole = resolve(cwd, path);
  const inside = relative(cwd, whole);
  return inside === '..' || inside.startsWith(`..${sep}`) ? whole : inside;
}

/** The workflow commands that GitHub's runners make annotations of. */
function github(outcome: CheckOutcome): string {
  const { warnings, failure } = outcome;
  const lines = warnings.map(({ rule, message, url, location }) =>
    command('warning', rule, url === '' ? message : `${message} (${url})`, location, outcome),
  );
  if (failure !== undefined)
    lines.push(command('error', failureRule, failure.message, failure.source, outcome));
  return lines.map((line) => `${line}\n`).join('');
}

function command(
  level: string,
  title: string,
  message: string,
  location: SourceLocation | undefined,
  outcome: CheckOutcome,
): string {
  const fields: [string, string][] = [];
  if (location !== undefined) {
    const { first, last } = linesOf(location);
    fields.push(['file', shownPath(location, outcome)]);
    if (first > 0) fields.push(['line', String(first)], ['endLine', String(last)]);
  }
  fields.push(['title', title]);
  const shown = fields.map(([name, value]) => `${name}=${escapeField(value)}`).join(',');
  return `::${level} ${shown}::${escapeData(message)}`;
}

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeField(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
