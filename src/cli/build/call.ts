/** `--call METHOD[,format=json][,ignorestatus=true]`, as buildx has it. */
import type { BuildResult } from '../../engine/index.ts';
import { fail, nearest } from '../../errors/index.ts';
import { parseBool } from '../../words/index.ts';
import { splitCsv } from '../csv.ts';

/** A question about a Dockerfile. */
interface Call {
  /** `build`, `check`, or the name of a question: `outline`. */
  method: string;
  format?: 'json' | 'text';
  /** Findings are no failure. */
  ignoreStatus: boolean;
}

const methods = ['build', 'check', 'outline', 'targets', 'subrequests.describe', 'convertllb'];

/** Reads the flag. Throws `invalid`. Pure. */
export function parseCall(text: string): Call {
  const [first = '', ...fields] = splitCsv(text);
  const word = first.startsWith('method=') ? first.slice('method='.length) : first;
  const method = word === 'lint' ? 'check' : word === '' ? 'build' : word;
  const call: Call = { method, ignoreStatus: false };
  const bad = (why: string, hint?: string) =>
    fail('invalid', 'client', `invalid --call ${JSON.stringify(text)}: ${why}`, { hint });
  if (!methods.includes(method)) {
    const like = nearest(method, methods);
    throw bad(
      `there is no method ${method}`,
      like === undefined ? `There are ${methods.join(', ')}.` : `Did you mean ${like}?`,
    );
  }
  for (const field of fields) {
    const [name, value = ''] = field.split(/=(.*)/s, 2);
    if (name === 'format') {
      if (value !== 'json' && value !== 'text') throw bad('formats are json and text');
      call.format = value;
    } else if (name === 'ignorestatus') {
      const on = parseBool(value === '' ? 'true' : value);
      if (on === undefined) throw bad('ignorestatus is true or false');
      call.ignoreStatus = on;
    } else throw bad(`there is no field ${name}`, 'There are format and ignorestatus.');
  }
  return call;
}

/** The question that a frontend is asked; undefined for a build and for the build checks. */
export function subrequestOf(flag: string | undefined): string | undefined {
  const { method } = flag === undefined ? { method: 'build' } : parseCall(flag);
  return method === 'build' || method === 'check' ? undefined : `frontend.${method}`;
}

/** A frontend's answer as it is printed, and the exit code. Throws `unsupported` when the frontend knows no answer. */
export function callAnswer(flag: string, { answer }: BuildResult): { text: string; code: number } {
  const { format, method, ignoreStatus } = parseCall(flag);
  const [json, text, status] = ['result.json', 'result.txt', 'result.statuscode'].map((name) => {
    const bytes = answer?.[name];
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
  });
  const shown = format === 'json' ? json : (text ?? json);
  if (shown === undefined) {
    throw fail('unsupported', 'frontend', `the frontend gives no answer to --call=${method}`, {
      hint: 'The Dockerfile names another frontend in its `# syntax=` line, which does not know this question.',
    });
  }
  const code = ignoreStatus || status === undefined ? 0 : Number(status) || 0;
  return { text: shown.endsWith('\n') ? shown : `${shown}\n`, code };
}
