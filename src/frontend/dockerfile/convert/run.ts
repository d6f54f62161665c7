import {
  mkfile,
  normalPath,
  type RunMount,
  type RunOptions,
  scratch,
  type Variables,
} from '../../../llb/index.ts';
import type { InstructionOf } from '../ast.ts';
import { parseHeredocMark } from '../parse/heredoc.ts';
import { parseDevice } from '../parse/mount.ts';
import { type Conversion, opLocation } from './conversion.ts';
import { commit } from './history.ts';
import { withShell } from './image.ts';
import { convertMounts } from './run-mounts.ts';
import type { StageCommand, StageState } from './stages.ts';
import { hiddenValue, nextStep, stepText } from './step-names.ts';

/** Converts RUN, with its mounts, heredocs, network and security. */
export function convertRun(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'RUN'>,
  sources: StageCommand['sources'],
): void {
  const { request } = conversion;
  if (request.classic && instruction.command.exec && instruction.command.args.length === 0) {
    commit(conversion, stage, 'RUN');
    return;
  }
  // A process may read any file.
  stage.paths.add('/');
  const { values } = stage.state;
  const script = commandOf(stage, instruction);
  const { mounts, secrets, ssh } = convertMounts(conversion, stage, instruction, sources);
  if (script.mount !== undefined) mounts.push(script.mount);
  if (request.shmSize > 0 && !mounts.some(({ target }) => target === '/dev/shm'))
    mounts.push({ type: 'tmpfs', target: '/dev/shm', size: request.shmSize });
  const secretEnv = new Set(secrets.map(({ env }) => env));
  const shown = { get: (name: string) => (secretEnv.has(name) ? hiddenValue : values.env.get(name)) };
  const text = stepText(conversion, `${instruction.original}${script.summary}`, shown, true);
  const hosts = request.extraHosts.reduce((sum, { host, ip }) => sum + host.length + ip.length, 0);
  conversion.allowances.steps.take(values.env.characters + hosts);
  const options: RunOptions = {
    name: nextStep(conversion, stage, text, stage.platform, values.env),
    description: { 'com.docker.dockerfile.v1.command': instruction.original },
    location: opLocation(conversion, instruction.range),
    ignoreCache: stage.ignoreCache || conversion.runAgain.has(instruction),
    platform: stage.platform,
    mounts,
    secrets,
    ssh,
    proxy: conversion.proxy,
    extraHosts: request.extraHosts,
    ulimits: request.ulimits,
    cgroupParent: request.cgroupParent,
    devices: instruction.devices.map((device) => {
      const { name, required } = parseDevice(device);
      return { name, optional: !required };
    }),
    network: networkOf(instruction.network, values.network),
    security: instruction.security === 'insecure' ? 'insecure' : 'sandbox',
  };
  stage.state = stage.state.run(script.args, options).root();
  const createdBy = ['RUN', ...argsInEffect(stage, values.env), ...script.args].join(' ');
  commit(conversion, stage, createdBy, { layer: true, buildkit: true });
}

function networkOf(
  flag: string | undefined,
  build: 'default' | 'host' | 'none',
): 'default' | 'host' | 'none' {
  // `--network=default` is the build's own network, as in BuildKit.
  return flag === 'host' || flag === 'none' ? flag : build;
}

/** The build args that were set while the command ran, as history has them: `|2 A=1 B=2`. */
function argsInEffect({ buildArgs }: StageState, env: Variables): string[] {
  if (buildArgs.size === 0) return [];
  return [
    `|${buildArgs.size}`,
    ...[...buildArgs].map(([name, value]) => `${name}=${env.get(name) ?? value}`),
  ];
}

interface Script {
  args: string[];
  mount?: RunMount;
  /** The summary of a heredoc, ` (first line...)`, for progress. */
  summary: string;
}

/**
 * The process to run. A heredoc that is the whole command is a script, for the shell or for the program in its `#!`
 * line.
 */
function commandOf(stage: StageState, { command }: InstructionOf<'RUN'>): Script {
  const { args, exec, heredocs } = command;
  if (exec) return { args, summary: '' };
  const line = args.join(' ');
  const [first] = heredocs;
  if (first === undefined) return { args: withShell(stage.image, line), summary: '' };
  if (parseHeredocMark(line) === undefined) {
    // The shell itself reads the heredocs.
    const documents = heredocs.map(({ content, name }) => `\n${content}${name}`);
    return { args: withShell(stage.image, line + documents.join('')), summary: '' };
  }
  const summary = ` (${summarize(first.content)})`;
  if (!first.content.startsWith('#!') || stage.image.os === 'windows') {
    return { args: withShell(stage.image, first.content), summary };
  }
  const tree = scratch().file(mkfile(normalPath(`/${first.name}`), first.content, { mode: 0o755 }), {
    name: '[internal] preparing inline document',
  });
  const path = normalPath(`/dev/pipes/${first.name}`);
  return {
    // BuildKit runs the script through the shell, too: it is a line with one word.
    args: withShell(stage.image, path),
    mount: { target: '/dev/pipes/', source: tree, readonly: true },
    summary,
  };
}

function summarize(content: string): string {
  const [first = '', ...rest] = content.trim().split(/\r?\n/);
  return rest.length > 0 ? `${first}...` : first;
}
