/**
 * The trees that are scanned for packages besides the target, as the ARGs BUILDKIT_SBOM_SCAN_CONTEXT and
 * BUILDKIT_SBOM_SCAN_STAGE say. https://github.com/moby/buildkit/blob/master/docs/attestations/sbom.md
 */
import { marshal, type State, scratch } from '../../../llb/index.ts';
import type { Definition } from '../../../pb/solver/pb/ops_pb.js';
import { parseBool } from '../../../words/index.ts';
import type { FrontendScan } from '../../types.ts';
import type { Conversion } from './conversion.ts';
import { reachableFrom, type StageState } from './stages.ts';

/** Lists the trees: the build context, and the stages that the target is made of. */
export function scanOf(conversion: Conversion, target: StageState): FrontendScan {
  const extras: Record<string, Definition> = {};
  let { ignoreCache } = target;
  const definition = (state: State) =>
    marshal(state.output === undefined ? scratch() : state, { platform: conversion.target });
  if (isAsked('BUILDKIT_SBOM_SCAN_CONTEXT', conversion, target))
    extras.context = definition(conversion.context);
  for (const stage of reachableFrom(target)) {
    if (stage === target || stage.stage === undefined) continue;
    if (!isAsked('BUILDKIT_SBOM_SCAN_STAGE', conversion, stage)) continue;
    extras[nameOf(stage)] = definition(stage.state);
    ignoreCache ||= stage.ignoreCache;
  }
  return { extras, ignoreCache };
}

/** Whether an ARG, of the stage or before the first FROM, is true or names the stage. */
function isAsked(arg: string, { globalArgs }: Conversion, stage: StageState): boolean {
  const text = stage.buildArgs.get(arg) || globalArgs.get(arg) || '';
  return text !== '' && (parseBool(text) ?? text.split(',').includes(nameOf(stage)));
}

function nameOf({ name, shownName }: StageState): string {
  return name || shownName;
}
