/** SELinux labels of steps: what containers may do and touch, with categories that no other step has. */

import { randomInt } from 'node:crypto';
import { fail } from '../errors/index.ts';
import { readText } from '../linux/index.ts';

export interface SelinuxLabels {
  /** Of the process; '' for one that is not confined. */
  process: string;
  /** Of the files that are mounted for it. */
  mount: string;
}

/** Categories c0 to c1023; the last two are for the files of steps that are not confined. */
const categories = 1024;
const privileged = `s0:c${categories - 2},c${categories - 1}`;

/** The files that name the labels of containers, as container-selinux installs them, then the policy's own. */
function contexts(): string {
  const shared = readText('/usr/share/containers/selinux/contexts');
  if (shared !== '') return shared;
  const policy = /^\s*SELINUXTYPE\s*=\s*(\S+)/m.exec(readText('/etc/selinux/config'))?.[1] ?? 'targeted';
  return readText(`/etc/selinux/${policy}/contexts/lxc_contexts`);
}

/** The labels of a new step. Throws `unsupported` where the policy names none for containers. */
export function containerLabels(security: 'sandbox' | 'insecure', text = contexts()): SelinuxLabels {
  const named = (name: string) => new RegExp(`^\\s*${name}\\s*=\\s*"([^"]+)"`, 'm').exec(text)?.[1];
  const [process, file] = [named('process'), named('file')];
  if (process === undefined || file === undefined) {
    throw fail('unsupported', 'exec', 'the SELinux policy has no labels for containers', {
      hint: 'Install container-selinux.',
    });
  }
  if (security === 'insecure') return { process: '', mount: withLevel(file, privileged) };
  const level = ownLevel();
  return { process: withLevel(process, level), mount: withLevel(file, level) };
}

/** Two categories of the step's own. */
function ownLevel(): string {
  const first = randomInt(categories - 2);
  const second = (first + 1 + randomInt(categories - 3)) % (categories - 2);
  return `s0:c${Math.min(first, second)},c${Math.max(first, second)}`;
}

/** `user:role:type:s0` with another level. */
function withLevel(label: string, level: string): string {
  return [...label.split(':').slice(0, 3), level].join(':');
}

/** The mount option that gives all files of a filesystem a label. */
export function contextOption(label: string): string {
  return `context="${label}"`;
}
