/** SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/. Pure. */
import { pathToFileURL } from 'node:url';
import type { ArtifactLocation, Fix, Log, PhysicalLocation, ReportingDescriptor, Result } from 'sarif';
import type { SourceLocation } from '../../errors/index.ts';
import { type LintWarning, type Replacement, replacementsOf } from '../../frontend/index.ts';
import { version } from '../../version.ts';
import { type CheckOutcome, failureRule, linesOf, shownPath } from './outcome.ts';

/**
 * One run with the findings of all outcomes; what several targets have alike is told once. Findings that `--fix` mends
 * have the change as a fix, each for the file as it is.
 */
export function sarifLog(outcomes: readonly CheckOutcome[]): Log {
  const rules = new Rules();
  const results = new Map<string, Result>();
  for (const outcome of outcomes) {
    for (const result of resultsOf(outcome, rules)) results.set(JSON.stringify(result), result);
  }
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'Drydock', version, rules: rules.list } },
        columnKind: 'utf16CodeUnits',
        results: [...results.values()],
      },
    ],
  };
}

/** The rules of a log, each once; results name them by their places. */
class Rules {
  readonly list: ReportingDescriptor[] = [];
  readonly #places = new Map<string, number>();

  placeOf(id: string, text: string, level: 'warning' | 'error', url: string): number {
    const known = this.#places.get(id);
    if (known !== undefined) return known;
    const help = url === '' ? {} : { helpUri: url };
    this.list.push({ id, shortDescription: { text }, ...help, defaultConfiguration: { level } });
    this.#places.set(id, this.list.length - 1);
    return this.list.length - 1;
  }
}

function resultsOf(outcome: CheckOutcome, rules: Rules): Result[] {
  const { warnings, failure } = outcome;
  const fixes = fixesOf(warnings);
  const results = warnings.map((warning): Result => {
    const { rule, description, message, url, location } = warning;
    const fix = fixes.get(warning);
    return {
      ruleId: rule,
      ruleIndex: rules.placeOf(rule, description, 'warning', url),
      level: 'warning',
      message: { text: message },
      locations: [{ physicalLocation: placeOf(location, outcome) }],
      ...(fix && { fixes: [asFix(fix, rule, artifactOf(location, outcome))] }),
    };
  });
  if (failure === undefined) return results;
  const failed: Result = {
    ruleId: failureRule,
    ruleIndex: rules.placeOf(failureRule, 'The Dockerfile cannot be built', 'error', ''),
    level: 'error',
    message: { text: failure.message },
    locations: failure.source === undefined ? [] : [{ physicalLocation: placeOf(failure.source, outcome) }],
  };
  return [...results, failed];
}

/** The findings that `--fix` mends, with what it would write. */
function fixesOf(warnings: readonly LintWarning[]): ReadonlyMap<LintWarning, Replacement> {
  const fixes = new Map<LintWarning, Replacement>();
  for (const [text, found] of Map.groupBy(warnings, ({ location }) => location.text)) {
    for (const [i, replacement] of replacementsOf(text, found).entries()) {
      if (replacement !== undefined) fixes.set(found[i] as LintWarning, replacement);
    }
  }
  return fixes;
}

function asFix({ start, end, text }: Replacement, rule: string, artifactLocation: ArtifactLocation): Fix {
  const deletedRegion = {
    startLine: start.line,
    startColumn: start.column,
    endLine: end.line,
    endColumn: end.column,
  };
  const replacements = [{ deletedRegion, insertedContent: { text } }];
  return {
    description: { text: `Mend ${rule}` },
    artifactChanges: [{ artifactLocation, replacements }],
  };
}

function placeOf(location: SourceLocation, outcome: CheckOutcome): PhysicalLocation {
  const { first, last } = linesOf(location);
  const region = first === 0 ? {} : { region: { startLine: first, endLine: last } };
  return { artifactLocation: artifactOf(location, outcome), ...region };
}

function artifactOf(location: SourceLocation, outcome: CheckOutcome): ArtifactLocation {
  const shown = shownPath(location, outcome);
  // A path that is not below the folder of the call cannot be told from there.
  if (shown.startsWith('/') && outcome.path !== undefined) return { uri: pathToFileURL(shown).href };
  return { uri: shown.split('/').map(encodeURIComponent).join('/'), uriBaseId: '%SRCROOT%' };
}
