import type { SourceRange, Stopping } from '../../../errors/index.ts';
import type { OpOptions, ProxyEnv, State } from '../../../llb/index.ts';
import type { Platform } from '../../../oci/index.ts';
import type { DockerfileRequest, FrontendHost } from '../../types.ts';
import type { Base, Dockerfile, Instruction, Stage } from '../ast.ts';
import { type ExpandOptions, expandWord } from '../expand/expand.ts';
import { undefinedVarFindings } from '../lint/findings.ts';
import type { Allowances } from './allowance.ts';
import type { LintFindings } from './findings.ts';
import { locationOf } from './located.ts';
import type { StageState, StageTable } from './stages.ts';

/** The conversion of one Dockerfile for one platform. */
export interface Conversion {
  readonly request: DockerfileRequest;
  readonly host: FrontendHost;
  readonly signal: Stopping;
  readonly file: Dockerfile;
  /** The platform that the result is for. */
  readonly target: Platform;
  /** Whether the client named no platform. */
  readonly implicitTarget: boolean;
  /** Whether several platforms are built, so that steps show theirs. */
  readonly showPlatform: boolean;
  readonly globalArgs: ReadonlyMap<string, string>;
  /** The names of `globalArgs`, and of ARGs before the first FROM that have no value. */
  readonly declaredArgs: ReadonlySet<string>;
  readonly allowances: Allowances;
  readonly proxy?: ProxyEnv;
  /** SOURCE_DATE_EPOCH, in seconds. */
  readonly epoch?: number;
  readonly stages: StageTable;
  /** The steps that run again although the cache has them, beside those of whole stages. */
  readonly runAgain: ReadonlySet<Instruction>;
  readonly findings: LintFindings;
  /** The stages whose base image sets SHELL; checks need to know. */
  readonly shellInBase: Set<Stage>;
  /** The line of a FROM → the number of ONBUILD triggers of its base. */
  readonly triggers: Map<number, number>;
  /** The names of build args that some ARG took. */
  readonly consumed: Set<string>;
  /** Whether `.dockerignore` leaves a path out of the context for certain. */
  readonly isIgnored: (path: string) => boolean;
  readonly context: State;
}

/** The number of findings after which names are no longer compared with others. */
const maxSuggested = 100;

/** The place where an op was written, for its metadata. */
export function opLocation(conversion: Conversion, range: SourceRange): NonNullable<OpOptions['location']> {
  return locationOf(conversion.file, range);
}

/**
 * Expands a word with the stage's environment, and reports variables that are set nowhere.
 *
 *     expandIn(conversion, stage, '$HOME/bin', instruction) // '/root/bin', with ENV HOME=/root
 */
export function expandIn(
  conversion: Conversion,
  stage: StageState,
  word: string,
  at: Base,
  options: Partial<ExpandOptions> = {},
): string {
  const { env } = stage.state.values;
  const { value, unset } = expandWord(word, (name) => env.get(name), {
    escape: conversion.file.directives.escape,
    ...options,
  });
  reportUnset(conversion, stage, unset, at);
  return value;
}

/** Reports UndefinedVar for variables that are set nowhere and declared by no ARG. */
export function reportUnset(
  conversion: Conversion,
  stage: StageState,
  unset: ReadonlySet<string>,
  at: Base,
): void {
  if (unset.size === 0) return;
  const { findings } = conversion;
  // So many are not mistyped one by one.
  const known = () => (findings.list.length < maxSuggested ? stage.state.values.env.keys() : []);
  findings.add(...undefinedVarFindings(unset, stage.buildArgs, known, at.range));
}
