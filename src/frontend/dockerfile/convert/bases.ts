/** Looks up the bases of stages, all at one time. */
import { DrydockError, prefixed, throwIfAborted } from '../../../errors/index.ts';
import { image, scratch } from '../../../llb/index.ts';
import {
  formatPlatform,
  type ImageConfig,
  normalizeName,
  type Platform,
  resolveModeOf,
} from '../../../oci/index.ts';
import { invalidBaseImagePlatformFinding } from '../lint/findings.ts';
import { parseInstruction } from '../parse/parse.ts';
import { didYouMean } from '../parse/suggest.ts';
import { type Conversion, opLocation } from './conversion.ts';
import { takeGrown } from './grown.ts';
import { cloneImage, containerOf, emptyImage, platformOf } from './image.ts';
import { located } from './located.ts';
import { findNamedContext, type LoadedContext } from './named-contexts.ts';
import { planCommand } from './plan.ts';
import { checkCircles, reachableFrom, type StageState } from './stages.ts';
import { nextStep } from './step-names.ts';

/**
 * Resolves the bases of all stages that `target` needs (of all stages when it is undefined), then the ONBUILD triggers
 * that the bases bring, which may need more stages. Returns the needed stages.
 */
export async function resolveBases(
  conversion: Conversion,
  target: StageState | undefined,
): Promise<ReadonlySet<StageState>> {
  for (;;) {
    throwIfAborted(conversion.signal);
    const needed = target === undefined ? new Set(conversion.stages.list) : reachableFrom(target);
    await Promise.all([...needed].map((stage) => resolveBase(conversion, stage)));
    let more = false;
    // In order, so that a stage's base has its image before the stage asks for it.
    for (const stage of conversion.stages.list) {
      if (needed.has(stage) && !stage.onBuildDone && takeTriggers(conversion, stage)) more = true;
    }
    if (!more) return needed;
    checkCircles(conversion.file, conversion.stages.list);
  }
}

async function resolveBase(conversion: Conversion, stage: StageState): Promise<void> {
  if (stage.resolved || stage.base !== undefined) return;
  stage.resolved = true;
  try {
    if (stage.namedContext !== undefined) {
      adopt(stage, await stage.namedContext.load(() => pathsOf(stage)), conversion);
      stage.dispatched = true;
    } else if (stage.baseName === 'scratch') {
      stage.platform = conversion.target;
      stage.state = scratch().platform(conversion.target);
      stage.image = emptyImage(conversion.target);
    } else {
      await resolveImage(conversion, stage);
    }
    // What an instruction names in place of a stage has no instructions of its own.
    if (stage.stage === undefined) stage.dispatched = true;
  } catch (err) {
    const { classic } = conversion.request;
    const ofFlag = classic && stage.stage === undefined;
    const said = ofFlag ? prefixed(err, `invalid from flag value ${stage.baseName}`) : err;
    throw located(said, conversion.file, stage.from.range);
  }
}

/** Puts a named context in the place of a whole stage, or of its base. */
function adopt(stage: StageState, loaded: LoadedContext, conversion: Conversion): void {
  const platform = stage.platform ?? conversion.target;
  const { config } = loaded;
  stage.platform = config?.os && config.architecture ? platformOf(config) : platform;
  stage.image = config === undefined ? emptyImage(platform) : cloneImage(config);
  stage.state = loaded.state.platform(stage.platform);
  stage.baseRef = loaded.ref;
  stage.baseConfig = config;
}

/** The paths of a stage's base that are read, for local contexts; undefined: all. */
function pathsOf(stage: StageState): string[] | undefined {
  if (stage.paths.size === 0) return undefined;
  return followPaths(stage.paths);
}

/** Paths in the form that a local source takes; undefined when everything is needed. */
export function followPaths(paths: ReadonlySet<string>): string[] | undefined {
  if (paths.size === 0 || paths.has('/')) return undefined;
  return [...paths].map((path) => path.slice(1)).sort();
}

async function resolveImage(conversion: Conversion, stage: StageState): Promise<void> {
  const { request, host } = conversion;
  const written = stage.baseName;
  const byId = request.classic && isId(written) ? await host.storedName?.(written) : undefined;
  let name: string;
  try {
    name = normalizeName(byId ?? written);
  } catch (err) {
    const error = prefixed(err, `failed to parse stage name ${JSON.stringify(written)}`);
    error.hint ??= stage.baseHint;
    throw error;
  }
  const platform = stage.platform ?? conversion.target;
  const context = findNamedContext(request, host, name, platform);
  if (context !== undefined) {
    const loaded = await context.load(() => pathsOf(stage));
    adopt(stage, loaded, conversion);
    stage.platform = platform;
    stage.state = stage.state.platform(platform);
    return;
  }
  const pull = byId === undefined ? request.pull : 'missing';
  const prefix = conversion.showPlatform ? `${formatPlatform(platform)} ` : '';
  const location = opLocation(conversion, stage.from.range);
  const resolved = await host
    .resolveImage(name, {
      platform,
      pull,
      logName: `[${prefix}internal] load metadata for ${name}`,
      location,
    })
    .catch((err) => {
      throw withSuggestion(conversion, written, err);
    });
  stage.image = cloneImage(resolved.config);
  stage.platform = platform;
  stage.baseRef = resolved.ref;
  stage.baseConfig = resolved.config;
  if (isEmpty(resolved.config)) {
    stage.state = scratch().platform(platform);
    return;
  }
  stage.state = image(resolved.ref, {
    platform,
    resolveMode: resolveModeOf(pull),
    // The name that an image is kept under may go to another.
    checksum: byId === undefined ? undefined : resolved.digest,
    name: nextStep(conversion, stage, `FROM ${resolved.ref}`, platform, undefined),
    description: { 'com.docker.dockerfile.v1.command': stage.from.original },
    location,
  });
  const { os, architecture } = resolved.config;
  if (os !== platform.os || architecture !== platform.architecture) {
    const actual = formatPlatform(platformOf(resolved.config));
    const wanted = formatPlatform(platform);
    conversion.findings.add(invalidBaseImagePlatformFinding(written, wanted, actual, stage.from.range));
  }
}

/** Whether a text may be an image's ID or the beginning of one. */
function isId(text: string): boolean {
  return /^(sha256:)?[0-9a-f]{4,64}$/.test(text);
}

/** An image without layers. */
function isEmpty(config: ImageConfig): boolean {
  const diffIds = config.rootfs?.diff_ids ?? [];
  return diffIds.length === 0 && (config.history ?? []).every((entry) => entry.empty_layer);
}

/**
 * The error for a base that was not found, with a stage of a similar name: a mistyped stage name ends up as an image
 * that does not exist.
 */
function withSuggestion(conversion: Conversion, name: string, err: unknown): DrydockError {
  const error = prefixed(err, name);
  if (error.code === 'canceled') return error;
  const common = ['alpine', 'busybox', 'debian', 'ubuntu', 'golang', 'fedora', 'node', 'python', 'nginx'];
  const near = didYouMean(name, [...conversion.stages.names(), ...common]);
  if (
    near === '' ||
    (error.code !== 'not-found' && error.code !== 'denied' && error.code !== 'unauthenticated')
  ) {
    return error;
  }
  const { code, hop, hint, source, details, cause } = error;
  return new DrydockError(`${error.message}${near}`, { code, hop, hint, source, details, cause });
}

/**
 * Puts the ONBUILD triggers of the base in front of the stage's instructions. Returns whether the triggers read from
 * further stages.
 */
function takeTriggers(conversion: Conversion, stage: StageState): boolean {
  stage.onBuildDone = true;
  if (stage.namedContext !== undefined || stage.stage === undefined) return false;
  let triggers: string[];
  if (stage.base === undefined) {
    const config = containerOf(stage.image);
    triggers = config.OnBuild ?? [];
    delete config.OnBuild;
  } else {
    triggers = stage.base.commands.flatMap(({ instruction }) =>
      instruction.kind === 'ONBUILD' ? [instruction.expression] : [],
    );
    // A named context or an image stands in whole for the stage: its triggers are in the config.
    if (stage.base.namedContext !== undefined) triggers = containerOf(stage.base.image).OnBuild ?? [];
  }
  if (triggers.length === 0) return false;
  conversion.triggers.set(stage.from.range.start.line, triggers.length);
  conversion.allowances.triggers.take(triggers.length);
  try {
    const { escape: esc } = conversion.file.directives;
    const commands = triggers.map((trigger) =>
      planCommand(conversion, stage, parseInstruction(trigger, esc, stage.from.range), true),
    );
    stage.commands = [...commands, ...stage.commands];
    stage.total += commands.length;
    return commands.some(({ sources }) => sources.some((source) => source !== undefined));
  } catch (err) {
    throw located(err, conversion.file, stage.from.range);
  }
}

/** Begins a stage with the result of its base. */
export function* inherit(stage: StageState, target: Platform): Generator<void, void> {
  const { base } = stage;
  if (base === undefined) {
    stage.grown = yield* takeGrown(stage.image, stage.baseConfig);
    return;
  }
  stage.state = base.state;
  stage.platform = base.platform ?? target;
  // What instructions change in it they replace, so the rest may be shared.
  const { OnBuild: _, ...config } = containerOf(base.image);
  stage.image = { ...base.image, config };
  if (base.stage === undefined || base.namedContext !== undefined)
    stage.grown = yield* takeGrown(stage.image, base.baseConfig);
  else {
    stage.grown = { ...base.grown };
    stage.imageEnvLast = base.imageEnvLast;
  }
  stage.baseRef = base.baseRef;
  stage.baseConfig = base.baseConfig;
  stage.paths = base.paths;
  stage.workdirSet = base.workdirSet;
  stage.buildArgs = base.buildArgs;
}
