/** Converts one Dockerfile for one platform: from the parsed file to a definition and an image config. */
import type { Stopping } from '../../../errors/index.ts';
import { lazy, marshal, scratch } from '../../../llb/index.ts';
import { formatPlatform, hostPlatform, normalizePlatform, type Platform } from '../../../oci/index.ts';
import { inTurns, isDue, nextTurn } from '../../../workers/index.ts';
import type { DockerfileRequest, FrontendHost, FrontendTarget } from '../../types.ts';
import type { Dockerfile, Instruction, Stage } from '../ast.ts';
import type { Allowances } from './allowance.ts';
import { globalArgValues, platformArgValues, proxyOf } from './args.ts';
import { followPaths, resolveBases } from './bases.ts';
import type { BuildContext } from './context.ts';
import type { Conversion } from './conversion.ts';
import { convertStage } from './dispatch.ts';
import { ignoreTest } from './dockerignore.ts';
import { dateBuild } from './epoch.ts';
import type { LintFindings } from './findings.ts';
import { withGrown } from './grown.ts';
import { containerOf, platformOf, setPlatform } from './image.ts';
import { planStages } from './plan.ts';
import { stepsToRun } from './run-again.ts';
import { scanOf } from './scan.ts';
import { type StageState, StageTable } from './stages.ts';

interface ConvertInput {
  request: DockerfileRequest;
  host: FrontendHost;
  signal: Stopping;
  file: Dockerfile;
  context: BuildContext;
  /** The platform; undefined: the host's. */
  platform: Platform | undefined;
  findings: LintFindings;
  consumed: Set<string>;
  shellInBase: Set<Stage>;
  /** Gets the stages whose instructions are carried out. */
  reached: Set<Stage>;
  triggers: Map<number, number>;
  allowances: Allowances;
}

/** Converts a Dockerfile for one platform. Throws `invalid` and `not-found` with the place in the Dockerfile. */
export async function convertDockerfile(input: ConvertInput): Promise<FrontendTarget> {
  const { file, findings, host, reached } = input;
  const buildPlatform = hostPlatform();
  const target = input.platform ?? buildPlatform;
  const targetName = input.request.target || (file.stages.at(-1)?.name ?? '');
  const builtIn = platformArgValues(buildPlatform, target, targetName, input.request.buildArgs);
  const { request, globalArgs, epoch } = await dateBuild({
    ...{ request: input.request, host, file, context: input.context, target },
    globalArgs: globalArgValues(file, builtIn, input.request.buildArgs),
  });
  const paths = new Set<string>();
  let excludes: readonly string[] = [];
  let isIgnored = ignoreTest(excludes);
  const context = lazy(() => input.context.files(excludes, followPaths(paths)));
  const declaredArgs = new Set(file.globalArgs.flatMap(({ args }) => args.map(({ name }) => name)));
  for (const name of globalArgs.keys()) declaredArgs.add(name);
  const conversion: Conversion = {
    ...input,
    request,
    declaredArgs,
    target,
    implicitTarget: input.platform === undefined,
    showPlatform: request.platforms.length > 1,
    globalArgs,
    proxy: proxyOf(request.buildArgs),
    epoch,
    stages: new StageTable(),
    runAgain: stepsToRun(file, request.noCacheFilter),
    findings,
    isIgnored: (path) => isIgnored(path),
    context,
  };
  planStages(conversion, builtIn);
  const { stages } = conversion;
  const stage = stages.target(request.target);
  // Most Dockerfiles say at once that they read the context; others may be told to by their base's triggers.
  const early = file.stages.some((each) => each.instructions.some(readsContext));
  const [needed, first] = await Promise.all([
    resolveBases(conversion, request.check && !request.target ? undefined : stage),
    early ? input.context.excludes() : undefined,
  ]);
  for (const { stage, dispatched } of needed) if (stage !== undefined && !dispatched) reached.add(stage);
  const late = [...needed].some((each) => each.commands.some((command) => readsContext(command.instruction)));
  excludes = first ?? (late ? await input.context.excludes() : []);
  isIgnored = ignoreTest(excludes);
  for (const each of stages.list) {
    if (needed.has(each) && !each.dispatched) await inTurns(convertStage(conversion, each), input.signal);
    for (const path of each.contextPaths) paths.add(path);
  }
  // All of the result is used.
  stage.paths.add('/');
  if (isDue()) await nextTurn();
  return finish(conversion, stage);
}

/** Whether an instruction reads files of the build context. */
function readsContext(instruction: Instruction): boolean {
  if (instruction.kind === 'ADD') return true;
  if (instruction.kind === 'COPY') return !instruction.flags.from;
  if (instruction.kind !== 'RUN') return false;
  return instruction.mounts.some(({ from, type }) => !from && type === 'bind');
}

function finish(conversion: Conversion, stage: StageState): FrontendTarget {
  const { request, target, implicitTarget } = conversion;
  const config = withGrown(stage.image, stage.grown);
  if (Object.keys(request.labels).length > 0) {
    const container = containerOf(config);
    container.Labels = Object.assign(container.Labels ?? {}, request.labels);
  }
  if (!implicitTarget) setPlatform(config, target);
  const platform = normalizePlatform(platformOf(config));
  setPlatform(config, platform);
  if (platform.variant === undefined) delete config.variant;
  // The definition of scratch is empty, also when a lazy state turns out to be scratch.
  const state = stage.state.output === undefined ? scratch() : stage.state;
  const asked = normalizePlatform(implicitTarget ? platform : target);
  return {
    id: formatPlatform(asked),
    // A Windows image says what its base runs on.
    platform: asked.os === 'windows' ? { ...platform, ...asked } : asked,
    definition: marshal(state, { platform: target }),
    scan: request.scanned ? scanOf(conversion, stage) : undefined,
    config,
    epoch: conversion.epoch,
    baseRef: stage.baseRef,
    baseConfig: stage.baseConfig,
  };
}
