/** What `--check` prints, in each of its forms. Pure. */
import { fail, nearest } from '../../errors/index.ts';
import { lintResults } from '../../frontend/index.ts';
import { checkReport } from '../build/report.ts';
import { errorText } from '../error-text.ts';
import { annotations } from './annotations.ts';
import type { CheckOutcome } from './outcome.ts';
import { sarifLog } from './sarif.ts';

const forms = {
  text: (outcomes: readonly CheckOutcome[]) => outcomes.map(text).join(''),
  json: (outcomes: readonly CheckOutcome[]) => outcomes.map(json).join(''),
  sarif: (outcomes: readonly CheckOutcome[]) => `${JSON.stringify(sarifLog(outcomes), null, 2)}\n`,
  github: annotations,
};

export type CheckForm = keyof typeof forms;

/** The form that `--check-format` names. Throws `invalid`. */
export function checkForm(name = 'text'): CheckForm {
  if (Object.hasOwn(forms, name)) return name as CheckForm;
  const names = Object.keys(forms);
  throw fail('invalid', 'client', `invalid --check-format ${JSON.stringify(name)}`, {
    hint: `Did you mean ${nearest(name, names) ?? names.join(', ')}?`,
  });
}

/** The report of outcomes in a form, as it is printed: the first two one after the other, the others all in one. */
export function reportOf(form: CheckForm, outcomes: readonly CheckOutcome[]): string {
  return forms[form](outcomes);
}

function text({ name, warnings, failure }: CheckOutcome): string {
  const error = failure === undefined ? '' : `\n${errorText(failure)}`;
  return `${name === undefined ? '' : `${name}: `}${checkReport(warnings)}${error}`;
}

/** As `docker buildx build --call=check,format=json`. */
function json({ warnings, failure }: CheckOutcome): string {
  return `${JSON.stringify(lintResults(warnings, failure), null, 2)}\n`;
}
