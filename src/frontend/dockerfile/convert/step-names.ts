/** The names of steps in progress: `[build 2/5] RUN make`, as BuildKit writes them. */
import { clip, looksSecret, maskUrls } from '../../../errors/index.ts';
import { formatPlatform, normalizePlatform, type Platform, parsePlatform } from '../../../oci/index.ts';
import { expandWord } from '../expand/expand.ts';
import type { Conversion } from './conversion.ts';
import type { StageState } from './stages.ts';

/** The most characters of an instruction in a name: variables may make it long. */
const maxText = 8192;

type Env = { get(name: string): string | undefined };

/** The value of a secret in a step's name, as BuildKit shows it. */
export const hiddenValue = '****';

/**
 * The instruction with its variables filled in and its keyword in capitals. Text that does not expand stays. Names are
 * kept with the cache and the build's record, so passwords are masked in them.
 */
export function stepText(conversion: Conversion, original: string, env: Env, keepUnset = false): string {
  let text = original;
  try {
    const raw = keepUnset ? { keepUnset: true, rawQuotes: true } : {};
    const shown = (name: string) => {
      const value = env.get(name);
      return value && looksSecret(name) ? hiddenValue : value;
    };
    text = expandWord(original, shown, {
      escape: conversion.file.directives.escape,
      ...raw,
    }).value;
  } catch {
    // A command line need not be a well-formed word.
  }
  text = maskUrls(text);
  const blank = text.indexOf(' ');
  return blank < 0 ? text.toUpperCase() : text.slice(0, blank).toUpperCase() + text.slice(blank);
}

/**
 * The name of the stage's next step.
 *
 *     nextStep(conversion, stage, 'RUN make', stage.platform, env) // '[build 2/5] RUN make'
 */
export function nextStep(
  conversion: Conversion,
  stage: StageState,
  text: string,
  platform: Platform | undefined,
  env: Env | undefined,
): string {
  if (stage.total === 0) return text;
  stage.index++;
  return stepName(conversion, stage, text, platform, env);
}

/** Another name for the step that `nextStep` named last. */
export function stepName(
  conversion: Conversion,
  stage: StageState,
  text: string,
  platform: Platform | undefined,
  env: Env | undefined,
): string {
  if (stage.total === 0) return text;
  let prefix = '';
  if (conversion.showPlatform && platform !== undefined) {
    prefix += `${formatPlatform(platform)}${crossTarget(platform, env)} `;
  }
  if (stage.shownName !== '') prefix += `${stage.shownName} `;
  const number = String(stage.index).padStart(String(stage.total).length);
  const shown = clip(text, maxText);
  return `[${prefix}${number}/${stage.total}] ${stage.onBuildNow ? 'ONBUILD ' : ''}${shown}`;
}

/** `->arm64`, for a step that runs on one platform and knows that it builds for another. */
function crossTarget(base: Platform, env: Env | undefined): string {
  const target = env && targetOf(env, base);
  if (target === undefined) return '';
  if (target.os !== base.os) return `->${formatPlatform(target)}`;
  if (target.architecture === base.architecture) return '';
  return `->${target.architecture}${target.variant ? `/${target.variant}` : ''}`;
}

function targetOf(env: Env, base: Platform): Platform | undefined {
  const whole = env.get('TARGETPLATFORM');
  if (whole) {
    try {
      return parsePlatform(whole);
    } catch {
      // Users may set it to anything; the parts below may still say.
    }
  }
  const os = env.get('TARGETOS');
  const architecture = env.get('TARGETARCH');
  if (!os && !architecture) return undefined;
  return normalizePlatform({
    os: os || base.os,
    architecture: architecture || base.architecture,
    variant: env.get('TARGETVARIANT') || undefined,
  });
}
