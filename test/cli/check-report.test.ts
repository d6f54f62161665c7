/** The forms of `drydock build --check`'s report. */

import type { Log } from 'sarif';
import { expect, test } from 'vitest';
import type { CheckOutcome } from '../../src/cli/check/outcome.ts';
import { checkForm, reportOf } from '../../src/cli/check/report.ts';
import { DrydockError } from '../../src/errors/error.ts';
import { sarifFaults } from '../kit/sarif-schema.ts';

const range = (line: number, last = line) => ({
  start: { line, character: 0 },
  end: { line: last, character: 0 },
});
const location = (...lines: [number, number?][]) => ({
  filename: 'Dockerfile',
  text: 'FROM a as b\nRUN x\n',
  ranges: lines.map(([first, last]) => range(first, last)),
});

function outcome(more: Partial<CheckOutcome> = {}): CheckOutcome {
  const url = 'https://docs.example/rule';
  const rule = { rule: 'FromAsCasing', description: 'Casing', url };
  return {
    warnings: [
      { ...rule, message: "'as' and 100%", location: location([1]) },
      { ...rule, message: 'again', location: location([1, 2]) },
      { rule: 'Unused', description: 'An arg', message: 'x', url: '', location: location() },
    ],
    cwd: '/src',
    path: 'app, one/Dockerfile',
    ...more,
  };
}

const failure = new DrydockError('unknown instruction: x\nreally', {
  code: 'invalid',
  source: location([2]),
});

test('annotations of GitHub', () => {
  expect(reportOf('github', [outcome({ failure })])).toBe(
    "::warning file=app%2C one/Dockerfile,line=1,endLine=1,title=FromAsCasing::'as' and 100%25 (https://docs.example/rule)\n" +
      '::warning file=app%2C one/Dockerfile,line=1,endLine=2,title=FromAsCasing::again (https://docs.example/rule)\n' +
      '::warning file=app%2C one/Dockerfile,title=Unused::x\n' +
      '::error file=app%2C one/Dockerfile,line=2,endLine=2,title=DockerfileError::unknown instruction: x%0Areally\n',
  );
  expect(reportOf('github', [outcome({ warnings: [] })])).toBe('');
});

test('SARIF 2.1.0: each rule once, places below the folder of the call', () => {
  const { version, runs } = JSON.parse(reportOf('sarif', [outcome({ failure })]));
  const [{ tool, results }] = runs;
  expect(version).toBe('2.1.0');
  expect(tool.driver.rules.map(({ id, helpUri }: { id: string; helpUri?: string }) => [id, helpUri])).toEqual(
    [
      ['FromAsCasing', 'https://docs.example/rule'],
      ['Unused', undefined],
      ['DockerfileError', undefined],
    ],
  );
  const indexes = results.map((each: { ruleIndex: number; level: string }) => [each.ruleIndex, each.level]);
  expect(indexes).toEqual([
    [0, 'warning'],
    [0, 'warning'],
    [1, 'warning'],
    [2, 'error'],
  ]);
  const uri = { uri: 'app%2C%20one/Dockerfile', uriBaseId: '%SRCROOT%' };
  expect(results[1].locations).toEqual([
    { physicalLocation: { artifactLocation: uri, region: { startLine: 1, endLine: 2 } } },
  ]);
  expect(results[2].locations).toEqual([{ physicalLocation: { artifactLocation: uri } }]);
  const elsewhere = JSON.parse(reportOf('sarif', [outcome({ path: '../b c/Dockerfile' })]));
  const [{ physicalLocation }] = elsewhere.runs[0].results[0].locations;
  expect(physicalLocation.artifactLocation).toEqual({ uri: 'file:///b%20c/Dockerfile' });
});

test('SARIF 2.1.0: all that a log may have is as the published schema wants it', () => {
  const elsewhere = outcome({ path: '../b c/Dockerfile', failure });
  const odd = outcome({ path: 'ü %41[x]#?.Dockerfile', name: 'target' });
  const log = JSON.parse(reportOf('sarif', [outcome({ failure }), elsewhere, odd])) as Log;
  expect(sarifFaults(log)).toEqual([]);
  expect(sarifFaults(JSON.parse(reportOf('sarif', [])))).toEqual([]);
  // The schema does refuse.
  expect(sarifFaults({ ...log, runs: [{ results: [{ level: 'fatal', message: {} }] }] })).toEqual(
    expect.arrayContaining([
      "/runs/0 must have required property 'tool'",
      '/runs/0/results/0/level must be equal to one of the allowed values',
    ]),
  );
});

test('SARIF: what --fix mends is a fix that gives the same text', () => {
  const text = 'FROM a as B\r\nrun ü x\nRUN c \\\n\n d\nRUN e\nENV K v w\n';
  const found = (rule: string, message: string, line: number) => ({
    ...{ rule, message, description: 'd', url: '' },
    location: { filename: 'Dockerfile', text, ranges: [range(line)] },
  });
  const warnings = [
    found('FromAsCasing', '', 1),
    found('StageNameCasing', '', 1),
    found('ConsistentInstructionCasing', 'be consistent (uppercase)', 2),
    found('NoEmptyContinuation', '', 5),
    found('LegacyKeyValueFormat', '', 7),
    found('MaintainerDeprecated', '', 7),
  ];
  const log = JSON.parse(reportOf('sarif', [outcome({ warnings })])) as Log;
  expect(sarifFaults(log)).toEqual([]);
  const [{ columnKind, results = [] } = {}] = log.runs;
  expect(columnKind).toBe('utf16CodeUnits');
  const mended = results.map(({ fixes }) => {
    const [change] = fixes?.[0]?.artifactChanges ?? [];
    const { deletedRegion: region, insertedContent } = change?.replacements[0] ?? {};
    if (region === undefined) return undefined;
    expect(change?.artifactLocation).toEqual({ uri: 'app%2C%20one/Dockerfile', uriBaseId: '%SRCROOT%' });
    const lines = text.split('\n');
    const at = (line = 0, column = 0) =>
      lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
    const { startLine, startColumn, endLine, endColumn } = region;
    return (
      text.slice(0, at(startLine, startColumn)) + insertedContent?.text + text.slice(at(endLine, endColumn))
    );
  });
  expect(mended).toEqual([
    text.replace(' as ', ' AS '),
    text.replace(' B', ' b'),
    text.replace('run', 'RUN'),
    text.replace('\\\n\n', '\\\n'),
    text.replace('K v w', 'K="v w"'),
    undefined,
  ]);
});

test('what several targets have alike is told once, in one log', () => {
  const two = [outcome({ name: 'a' }), outcome({ name: 'b' }), outcome({ name: 'c', path: 'c/Dockerfile' })];
  const log = JSON.parse(reportOf('sarif', two)) as Log;
  expect(log.runs).toHaveLength(1);
  expect(log.runs[0]?.results).toHaveLength(6);
  expect(reportOf('github', two).split('\n')).toHaveLength(7);
  expect(reportOf('text', two)).toMatch(/^a: [\s\S]*^b: [\s\S]*^c: /m);
});

test('JSON is what buildx prints for --call=check,format=json', () => {
  const { warnings, sources, buildError } = JSON.parse(reportOf('json', [outcome({ failure })]));
  expect(warnings[0]).toEqual({
    ruleName: 'FromAsCasing',
    description: 'Casing',
    url: 'https://docs.example/rule',
    detail: "'as' and 100%",
    location: { ranges: [{ start: { line: 1 }, end: { line: 1 } }] },
  });
  expect(Buffer.from(sources[0].data, 'base64').toString()).toBe('FROM a as b\nRUN x\n');
  expect(buildError.message).toBe('unknown instruction: x\nreally');
});

test('an unknown form names the nearest one', () => {
  expect(() => checkForm('sarif2')).toThrow(expect.objectContaining({ hint: 'Did you mean sarif?' }));
});
