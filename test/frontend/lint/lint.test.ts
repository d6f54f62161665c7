// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the substitutions are the Dockerfile's
/** The build checks, as a manual: what is found where, in the official words. */
import { describe, expect, test } from 'vitest';
import type { Stage } from '../../../src/frontend/dockerfile/ast.ts';
import {
  copyIgnoredFileFinding,
  invalidBaseImagePlatformFinding,
  invalidDefaultArgFindings,
  undefinedArgInFromFindings,
  undefinedVarFinding,
  undefinedVarFindings,
  workdirRelativePathFinding,
} from '../../../src/frontend/dockerfile/lint/findings.ts';
import { lintDockerfile } from '../../../src/frontend/dockerfile/lint/lint.ts';
import { type RuleName, rules } from '../../../src/frontend/dockerfile/lint/rules.ts';
import { checkOptions, lintFailure, toWarnings } from '../../../src/frontend/dockerfile/lint/warnings.ts';
import { parseDockerfile } from '../../../src/frontend/dockerfile/parse/parse.ts';

const parse = (text: string) => parseDockerfile(text, 'Dockerfile');
const check = (text: string, override?: string) => {
  const file = parse(text);
  return toWarnings(lintDockerfile(file), file, override).map(
    ({ rule, message, location }) => `${location.ranges[0]!.start.line} ${rule}: ${message}`,
  );
};
const range = { start: { line: 1, character: 0 }, end: { line: 1, character: 6 } };

describe('found in the file alone', () => {
  test.each<[string, string[]]>([
    ['FROM a AS b\nRUN x\nCMD ["y"]', []],
    ['FROM a AS Bee', ["1 StageNameCasing: Stage name 'Bee' should be lowercase"]],
    ['FROM a as b', ["1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"]],
    ['from a AS b', ["1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"]],
    ['FROM a\nRUN x \\\n\n y', ['4 NoEmptyContinuation: Empty continuation line']],
    [
      'FROM a\nRUN x\nrun y',
      [
        "3 ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase)",
      ],
    ],
    [
      'from a\nrun x\nRun y',
      [
        "3 ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (lowercase)",
      ],
    ],
    [
      'FROM a AS b\nFROM c AS B',
      [
        "2 StageNameCasing: Stage name 'B' should be lowercase",
        '2 DuplicateStageName: Duplicate stage name "b", stage names should be unique',
      ],
    ],
    [
      'FROM a AS scratch',
      ['1 ReservedStageName: Stage name should not use the same name as reserved stage "scratch"'],
    ],
    [
      'FROM a AS context',
      ['1 ReservedStageName: Stage name should not use the same name as reserved stage "context"'],
    ],
    [
      'FROM a\nCMD x',
      [
        '2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals',
      ],
    ],
    [
      'FROM a\nENTRYPOINT x',
      [
        '2 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals',
      ],
    ],
    // who sets a SHELL means the shell form; stages on top inherit it
    ['FROM a AS b\nSHELL ["s"]\nCMD x\nFROM b\nCMD y', []],
    [
      'FROM a\nMAINTAINER x',
      ['2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label'],
    ],
    // the ones without effect are reported
    [
      'FROM a\nCMD ["x"]\nCMD ["y"]',
      [
        '2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used',
      ],
    ],
    [
      'FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE\nFROM b\nHEALTHCHECK NONE',
      [
        '2 MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used',
      ],
    ],
    [
      'FROM a\nENV x y',
      ['2 LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format'],
    ],
    [
      'FROM a\nLABEL x y',
      ['2 LegacyKeyValueFormat: "LABEL key=value" should be used instead of legacy "LABEL key value" format'],
    ],
    [
      'FROM --platform=$TARGETPLATFORM a',
      [
        '1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
      ],
    ],
    [
      'FROM --platform=${TARGETPLATFORM} a',
      [
        '1 RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior',
      ],
    ],
    ['FROM --platform=$BUILDPLATFORM a', []],
    [
      'FROM --platform=linux/amd64 a',
      ['1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/amd64"'],
    ],
    ['FROM --platform=linux/amd64 a AS build_amd64', []],
    [
      'FROM a\nENV API_TOKEN=x',
      ['2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "API_TOKEN")'],
    ],
    [
      'FROM a\nARG password',
      ['2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "password")'],
    ],
    ['FROM a\nENV PUBLIC_KEY=x KEYBOARD=y TOKEN_FILE=z', []],
    [
      'FROM a\nEXPOSE 80/TCP 1:2 $P',
      [
        "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'",
        "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
      ],
    ],
  ])('%j', (text, found) => {
    expect(check(text)).toEqual(found);
  });

  test('a shell that the base image sets is for the converter to say', () => {
    const file = parse('FROM a\nCMD x');
    expect(lintDockerfile(file, { shellInBase: new Set(file.stages) })).toEqual([]);
  });

  test('instructions of stages that are not built are not looked at one by one', () => {
    const file = parse('FROM a\nENV k v\nEXPOSE 1:2\nMAINTAINER x\nCMD x\nCMD y\nFROM b As B\nCMD z');
    const rulesOf = (reached: Set<Stage>) => lintDockerfile(file, { reached }).map(({ rule }) => rule);
    const everywhere = ['StageNameCasing', 'FromAsCasing', 'MaintainerDeprecated'];
    expect(rulesOf(new Set()).sort()).toEqual([...everywhere].sort());
    expect(rulesOf(new Set(file.stages.slice(1))).sort()).toEqual(
      [...everywhere, 'JSONArgsRecommended'].sort(),
    );
    const all = ['LegacyKeyValueFormat', 'ExposeInvalidFormat', 'MultipleInstructionsDisallowed'];
    expect(rulesOf(new Set(file.stages))).toEqual(expect.arrayContaining(all));
  });

  test('experimental checks wait to be asked for', () => {
    const text = '# a comment\nFROM a AS b\n\n# another\nARG x\n# p does it\nARG p q=1\n# odd\nARG r s';
    expect(check(text)).toEqual([]);
    const found = [
      '2 InvalidDefinitionDescription: Comment for FROM should follow the format: `# b <description>`',
      '5 InvalidDefinitionDescription: Comment for ARG should follow the format: `# x <description>`',
      '9 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`',
    ];
    expect(check(text, 'experimental=all')).toEqual(found);
    expect(check(text, 'experimental=InvalidDefinitionDescription')).toEqual(found);
  });
});

describe('found by the converter', () => {
  test.each([
    [
      undefinedVarFinding('HOEM', ['HOME', 'PATH'], range),
      "Usage of undefined variable '$HOEM' (did you mean $HOME?)",
    ],
    [undefinedVarFinding('X', ['HOME'], range), "Usage of undefined variable '$X'"],
    [
      workdirRelativePathFinding('a/b', range),
      'Relative workdir "a/b" can have unexpected results if the base image changes',
    ],
    [
      copyIgnoredFileFinding('COPY', 'x', range),
      'Attempting to Copy file "x" that is excluded by .dockerignore',
    ],
    [
      copyIgnoredFileFinding('ADD', 'x', range),
      'Attempting to Add file "x" that is excluded by .dockerignore',
    ],
    [
      invalidBaseImagePlatformFinding('a', 'linux/amd64', 'linux/arm64', range),
      'Base image a was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
    ],
  ])('$rule: $message', (found, message) => {
    expect(found).toMatchObject({ message, range });
    expect(rules).toHaveProperty(found.rule);
  });

  test('UndefinedVar leaves out declared args and variables read elsewhere', () => {
    const unset = ['A', 'B', 'BUILDKIT_SBOM_SCAN_STAGE'];
    expect(undefinedVarFindings(unset, new Set(['A']), () => [], range).map((f) => f.message)).toEqual([
      "Usage of undefined variable '$B'",
    ]);
  });

  test('UndefinedArgInFrom', () => {
    const found = undefinedArgInFromFindings(['VERSON', 'VERSION'], new Set(['VERSION']), range);
    expect(found.map((f) => f.message)).toEqual([
      "FROM argument 'VERSON' is not declared (did you mean VERSION?)",
    ]);
  });

  test('InvalidDefaultArgInFrom looks at the defaults alone', () => {
    const isReference = (name: string) => /^[a-z]+(:[a-z0-9]+)?$/.test(name);
    const file = parse('ARG T\nARG B=a\nFROM $B:$T AS x\nFROM $B\nFROM ${T:-ok}\nFROM $P');
    expect(invalidDefaultArgFindings(file, { P: 'ok' }, isReference)).toMatchObject([
      {
        message: 'Default value for ARG $B:$T results in empty or invalid base image name',
        range: { start: { line: 3 } },
      },
    ]);
  });
});

describe('options', () => {
  const text = 'FROM a as B\nMAINTAINER x';
  test.each<[string, string | undefined, string[]]>([
    ['', undefined, ['StageNameCasing', 'FromAsCasing', 'MaintainerDeprecated']],
    ['# check=skip=StageNameCasing,FromAsCasing\n', undefined, ['MaintainerDeprecated']],
    ['# check=skip=all\n', undefined, []],
    // the build arg BUILDKIT_DOCKERFILE_CHECK takes the directive's place
    ['# check=skip=all\n', 'skip=FromAsCasing', ['StageNameCasing', 'MaintainerDeprecated']],
    // above an instruction: for that one
    ['\n# check=skip=FromAsCasing\n', undefined, ['StageNameCasing', 'MaintainerDeprecated']],
  ])('%j, build arg %s', (head, override, names) => {
    const file = parse(head + text);
    expect(toWarnings(lintDockerfile(file), file, override).map((w) => w.rule)).toEqual(names);
  });

  test("a warning carries the rule's texts and its place; the same one comes once", () => {
    const file = parse('FROM a\nMAINTAINER x');
    const findings = lintDockerfile(file);
    expect(toWarnings([...findings, ...findings], file)).toEqual([
      {
        rule: 'MaintainerDeprecated',
        description: rules.MaintainerDeprecated.description,
        message: 'Maintainer instruction is deprecated in favor of using label',
        url: 'https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/',
        location: {
          filename: 'Dockerfile',
          text: file.text,
          ranges: [{ start: { line: 2, character: 0 }, end: { line: 2, character: 12 } }],
        },
      },
    ]);
  });

  test('error=true makes warnings fail the build', () => {
    const file = parse(`# check=error=true\n${text}`);
    expect(checkOptions(file).error).toBe(true);
    expect(checkOptions(file, 'error=false').error).toBe(false);
    const err = lintFailure(toWarnings(lintDockerfile(file), file));
    expect(err).toMatchObject({
      code: 'invalid',
      hop: 'dockerfile',
      message: 'lint violation found for rules: StageNameCasing, FromAsCasing, MaintainerDeprecated',
      source: { filename: 'Dockerfile' },
    });
    expect(err!.source!.ranges.map((r) => r.start.line)).toEqual([2, 2, 3]);
    expect(lintFailure([])).toBeUndefined();
    expect(() => checkOptions(file, 'nonsense')).toThrow('invalid check option "nonsense"');
  });
});

test('every rule has a description and, but for one, a page of its own', () => {
  for (const [name, rule] of Object.entries(rules) as [RuleName, (typeof rules)[RuleName]][]) {
    expect(rule.description).not.toBe('');
    if (name === 'InvalidBaseImagePlatform') continue;
    const slug = name
      .replace(/([a-z])([A-Z])/g, '$1-$2')
      .replace('JSONArgs', 'json-args')
      .toLowerCase();
    expect(rule.url).toBe(`https://docs.docker.com/go/dockerfile/rule/${slug}/`);
  }
});
