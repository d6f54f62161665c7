/** Makes the warnings that a user sees from findings, as the Dockerfile's `check` options want them. */
import { type DrydockError, fail } from '../../../errors/index.ts';
import type { LintWarning } from '../../types.ts';
import type { Base, CheckDirective, Dockerfile, Finding } from '../ast.ts';
import { parseCheckOptions } from '../parse/check.ts';
import { type LintRule, rules } from './rules.ts';

/**
 * The check options in force: those of the build arg BUILDKIT_DOCKERFILE_CHECK (`override`), or else the file's `#
 * check=`. Throws `invalid` when the override cannot be read.
 */
export function checkOptions(file: Dockerfile, override?: string): CheckDirective {
  return override === undefined
    ? (file.directives.check ?? parseCheckOptions(''))
    : parseCheckOptions(override);
}

function wanted(name: string, rule: LintRule, options: CheckDirective[]): boolean {
  if (rule.experimental) return options.some((o) => o.experimentalAll || o.experimental.includes(name));
  return !options.some((o) => o.skipAll || o.skip.includes(name));
}

/** The most warnings, for each goes to clients with the whole file. */
function mostWarnings(text: string): number {
  return Math.max(20, Math.min(1000, Math.floor((16 << 20) / (text.length + 1))));
}

/**
 * The warnings of a build: findings of known rules, each once, in the order of the file. The options (see
 * `checkOptions`) and `# check=skip=…` above an instruction leave some out.
 */
export function toWarnings(findings: Finding[], file: Dockerfile, override?: string): LintWarning[] {
  const options = checkOptions(file, override);
  const above = new Map<number, CheckDirective>();
  const bases: Base[] = [...file.globalArgs, ...file.stages.flatMap((s) => [s.from, ...s.instructions])];
  for (const base of bases) if (base.check !== undefined) above.set(base.range.start.line, base.check);
  const seen = new Set<string>();
  const table: Record<string, LintRule> = rules as unknown as Record<string, LintRule>;
  return findings
    .filter(({ rule: name, message, range }) => {
      const rule = Object.hasOwn(table, name) ? table[name] : undefined;
      if (rule === undefined) return false;
      const own = above.get(range.start.line);
      if (!wanted(name, rule, own === undefined ? [options] : [options, own])) return false;
      // builds for several platforms find the same thing several times
      const key = `${name}\n${range.start.line}\n${message}`;
      return !seen.has(key) && seen.add(key) !== undefined;
    })
    .sort((a, b) => a.range.start.line - b.range.start.line)
    .slice(0, mostWarnings(file.text))
    .map(({ rule, message, range }) => ({
      rule,
      description: table[rule]!.description,
      message,
      url: table[rule]!.url,
      location: { filename: file.filename, text: file.text, ranges: [range] },
    }));
}

/** The error of a build whose checks say `error=true` (see `checkOptions`) and that has warnings; undefined without any. */
export function lintFailure(warnings: LintWarning[]): DrydockError | undefined {
  const [first] = warnings;
  if (first === undefined) return undefined;
  const names = [...new Set(warnings.map((warning) => warning.rule))];
  return fail('invalid', 'dockerfile', `lint violation found for rules: ${names.join(', ')}`, {
    hint: `Correct what the warnings say, or add "# check=skip=${names.join(',')}" at the top of ${first.location.filename}.`,
    source: { ...first.location, ranges: warnings.flatMap((warning) => warning.location.ranges) },
  });
}
