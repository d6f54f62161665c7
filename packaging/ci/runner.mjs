// The runner's side of an action: inputs, what is told to later steps, programs. Files and variables are those of
// GitHub's runner (docs.github.com/actions, "Workflow commands").
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';

/** An input of action.yml. */
export function input(name) {
  return (process.env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}

/** An input that is true or false. */
export function flag(name) {
  const text = input(name).toLowerCase();
  if (text === 'true' || text === 'false') return text === 'true';
  throw new Error(`the input ${name} is true or false, not ${JSON.stringify(input(name))}`);
}

function tell(file, name, value) {
  const path = process.env[`GITHUB_${file}`];
  if (!path) throw new Error(`GITHUB_${file} is not set: this program is run by an action's runner`);
  const end = `end-${randomUUID()}`;
  appendFileSync(path, `${name}<<${end}\n${value}\n${end}\n`);
}

/** Sets a variable of the steps that follow. */
export const setVariable = (name, value) => tell('ENV', name, value);
export const setOutput = (name, value) => tell('OUTPUT', name, value);
/** Keeps a text for the end of the job, where `state` returns it. */
export const keep = (name, value) => tell('STATE', name, value);
export const state = (name) => process.env[`STATE_${name}`] ?? '';

/** Adds a folder to the PATH of the steps that follow. */
export function addPath(folder) {
  appendFileSync(process.env.GITHUB_PATH, `${folder}\n`);
}

/** A message of the job's page: `notice`, `warning` or `error`. */
export function say(level, text) {
  const escaped = text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
  process.stdout.write(`::${level}::${escaped}\n`);
}

/** Runs a program; its stdout. Throws with its own words when it fails. */
export function run(program, ...args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env: process.env });
  if (status === 0) return stdout.trim();
  throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`.trim()}`);
}

/** Whether a program runs and ends well. */
export function works(program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** Ends the step with an error for the job's page. */
export function failed(err) {
  say('error', err.message);
  process.exitCode = 1;
}
