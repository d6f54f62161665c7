/** One parser for each instruction: it makes a typed instruction of the words of a line. */
import type { Base, CommandLine, Heredoc, Instruction, InstructionOf, KeyValue, Stage } from '../ast.ts';
import { invalid } from './errors.ts';
import { parseFlags } from './flags.ts';
import { parseDuration } from './healthcheck-duration.ts';
import { chompTabs, parseHeredocMark } from './heredoc.ts';
import { parseDevice, parseMount } from './mount.ts';
import { cutBlank, trim } from './space.ts';
import { didYouMean } from './suggest.ts';
import {
  jsonOrPlainWords,
  jsonWords,
  plainWords,
  quotedWords,
  type SplitLine,
  splitCommand,
} from './words.ts';

export interface InstructionRequest {
  base: Base;
  command: SplitLine;
  heredocs: Heredoc[];
  escape: '\\' | '`';
}

type Kind = Instruction['kind'];
type Parser = (request: InstructionRequest, kind: Kind) => Instruction;

const atLeastOne = (kind: string) =>
  invalid(`${kind} requires at least one argument`, `Write ${kind} <argument>.`);

/** The text of a comment `# <name> <text>`. */
function describe(comments: string[] | undefined, name: string): string | undefined {
  return comments?.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1);
}

function commandLine(text: string, heredocs: Heredoc[]): CommandLine {
  const json = jsonWords(text);
  if (json !== undefined) return { args: json, exec: true, heredocs: [] };
  return { args: text === '' ? [] : [text], exec: false, heredocs };
}

const parseRun: Parser = ({ base, command, heredocs }) => {
  const flags = parseFlags(command.flags, {
    mount: 'strings',
    network: 'string',
    security: 'string',
    device: 'strings',
  });
  const { network, security } = flags;
  const modes = ['default', 'none', 'host'];
  if (network !== undefined && !modes.includes(network))
    throw invalid(
      `invalid network mode ${JSON.stringify(network)}${didYouMean(network, modes)}`,
      'Write --network=default, none or host.',
    );
  const levels = ['insecure', 'sandbox'];
  if (security !== undefined && !levels.includes(security))
    throw invalid(
      `security ${JSON.stringify(security)} is not valid${didYouMean(security, levels)}`,
      'Write --security=sandbox or insecure.',
    );
  flags.device.forEach(parseDevice);
  return {
    ...base,
    kind: 'RUN',
    command: commandLine(command.rest, heredocs),
    mounts: flags.mount.map((mount) => parseMount(mount)),
    network,
    security,
    devices: flags.device,
  };
};

const parseCmd: Parser = ({ base, command }, kind) => {
  parseFlags(command.flags, {});
  return { ...base, kind: kind as 'CMD' | 'ENTRYPOINT', command: commandLine(command.rest, []) };
};

const parseShell: Parser = ({ base, command }) => {
  parseFlags(command.flags, {});
  const shell = jsonWords(command.rest);
  if (command.rest === '' || shell?.length === 0) throw atLeastOne('SHELL');
  if (shell === undefined)
    throw invalid('SHELL requires the arguments to be in JSON form', 'Write SHELL ["/bin/bash", "-c"].');
  return { ...base, kind: 'SHELL', shell };
};

/** `KEY=value …` or, for the old form, `KEY value`. */
function keyValues(text: string, kind: 'ENV' | 'LABEL', esc: string): KeyValue[] {
  const words = quotedWords(text, esc);
  if (words.length === 0) throw atLeastOne(kind);
  if (!words[0]!.includes('=')) {
    const [key, value] = cutBlank(text);
    if (value === undefined)
      throw invalid(`${kind} must have two arguments`, `Write ${kind} ${key}=<value>.`);
    return [{ key, value, legacy: true }];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 0)
      throw invalid(
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
        'Put a value with spaces in double quotes.',
      );
    if (equals === 0) throw invalid(`${kind} names can not be blank`, `Write ${kind} <name>=<value>.`);
    return { key: word.slice(0, equals), value: word.slice(equals + 1) };
  });
}

const parseKeyValues: Parser = ({ base, command, escape: esc }, kind) => {
  const name = kind as 'ENV' | 'LABEL';
  parseFlags(command.flags, {});
  return { ...base, kind: name, pairs: keyValues(command.rest, name, esc) };
};

export function parseArg({ base, command, escape: esc }: InstructionRequest): InstructionOf<'ARG'> {
  parseFlags(command.flags, {});
  const words = quotedWords(command.rest, esc);
  if (words.length === 0) throw atLeastOne('ARG');
  const args = words.map((word) => {
    const equals = word.indexOf('=');
    if (equals === 0) throw invalid('ARG names can not be blank', 'Write ARG <name>[=<default>].');
    const name = equals < 0 ? word : word.slice(0, equals);
    return {
      name,
      default: equals < 0 ? undefined : word.slice(equals + 1),
      description: describe(base.comments, name),
      range: base.range,
    };
  });
  return { ...base, kind: 'ARG', args };
}

const COPY_FLAGS = { from: 'string', parents: 'bool' } as const;
const ADD_FLAGS = { 'keep-git-dir': 'bool', checksum: 'string', unpack: 'bool' } as const;
const FILE_FLAGS = { chown: 'string', chmod: 'string', link: 'bool', exclude: 'strings' } as const;

const parseCopy: Parser = ({ base, command, heredocs }, kind) => {
  const words = jsonOrPlainWords(command.rest);
  if (words.length < 2)
    throw invalid(
      `${kind} requires at least two arguments, but only ${words.length === 1 ? 'one was' : 'none were'} provided. Destination could not be determined`,
      `Write ${kind} <source>… <destination>.`,
    );
  const add = kind === 'ADD';
  const common = parseFlags(
    command.flags,
    add ? { ...FILE_FLAGS, ...ADD_FLAGS } : { ...FILE_FLAGS, ...COPY_FLAGS },
  );
  const flags: Partial<Record<string, boolean | string | string[]>> = common;
  const dest = words.at(-1)!;
  if (parseHeredocMark(dest) !== undefined)
    throw invalid(`${kind} cannot accept a heredoc as a destination`, `Write ${kind} <<EOF <destination>.`);
  const documents = Map.groupBy(heredocs.toReversed(), ({ name }) => name);
  const sources = words.slice(0, -1).map((word) => {
    const mark = parseHeredocMark(word);
    if (mark === undefined) return word;
    const heredoc = documents.get(mark.name)?.pop();
    if (heredoc === undefined)
      throw invalid(
        `heredoc ${word} of ${kind} has no content`,
        'Heredocs do not go with the JSON form or with quotes around them.',
      );
    return { heredoc };
  });
  const unused = heredocs.find(({ name }) => documents.get(name)?.length !== 0);
  if (unused !== undefined)
    throw invalid(
      `${kind} does not use the heredoc ${JSON.stringify(unused.name)} as a source`,
      'Write <<NAME as a source of its own; names with spaces do not work here.',
    );
  return {
    ...base,
    kind: kind as 'COPY' | 'ADD',
    flags: {
      from: flags.from as string | undefined,
      chown: common.chown,
      chmod: common.chmod,
      link: common.link,
      parents: flags.parents as boolean | undefined,
      excludes: common.exclude,
      keepGitDir: flags['keep-git-dir'] as boolean | undefined,
      checksum: flags.checksum as string | undefined,
      unpack: flags.unpack as boolean | undefined,
    },
    sources,
    dest,
  };
};

const parseValue: Parser = ({ base, command }, kind) => {
  parseFlags(command.flags, {});
  if (command.rest === '')
    throw invalid(`${kind} requires exactly one argument`, `Write ${kind} <argument>.`);
  return { ...base, kind: kind as 'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER', value: command.rest };
};

const parseValues: Parser = ({ base, command }, kind) => {
  parseFlags(command.flags, {});
  const volume = kind === 'VOLUME';
  const values = (volume ? jsonOrPlainWords(command.rest) : plainWords(command.rest)).map((value) =>
    trim(value),
  );
  if (values.length === 0) throw atLeastOne(kind);
  if (volume && values.includes(''))
    throw invalid('VOLUME specified can not be an empty string', 'Write VOLUME <path>….');
  // ports are listed in order in the image's history
  if (!volume) values.sort();
  return { ...base, kind: kind as 'EXPOSE' | 'VOLUME', values };
};

const parseHealthcheck: Parser = ({ base, command }) => {
  const [word, rest = ''] = cutBlank(command.rest);
  if (word === '') throw atLeastOne('HEALTHCHECK');
  const type = word.toUpperCase();
  const flags = parseFlags(command.flags, {
    interval: 'string',
    timeout: 'string',
    'start-period': 'string',
    'start-interval': 'string',
    retries: 'string',
  });
  if (type === 'NONE') {
    if (rest !== '') throw invalid('HEALTHCHECK NONE takes no arguments', 'Write HEALTHCHECK NONE.');
    return { ...base, kind: 'HEALTHCHECK' };
  }
  if (type !== 'CMD')
    throw invalid(
      `Unknown type ${JSON.stringify(type)} in HEALTHCHECK (try CMD)`,
      'Write HEALTHCHECK CMD <command>, or HEALTHCHECK NONE.',
    );
  const health = commandLine(rest, []);
  if (health.args.length === 0)
    throw invalid('Missing command after HEALTHCHECK CMD', 'Write HEALTHCHECK CMD <command>.');
  for (const name of ['interval', 'timeout', 'start-period', 'start-interval'] as const) {
    const value = flags[name];
    if (!value) continue;
    const nanoseconds = parseDuration(value);
    if (nanoseconds !== 0 && nanoseconds < 1e6)
      throw invalid(
        `Interval ${JSON.stringify(name)} cannot be less than 1ms`,
        `Give --${name} at least 1ms.`,
      );
  }
  const retries = flags.retries || undefined;
  if (retries !== undefined && !/^[-+]?\d{1,9}$/.test(retries))
    throw invalid(`invalid value for --retries: ${JSON.stringify(retries)}`, 'Write a whole number.');
  if (retries !== undefined && Number(retries) < 0)
    throw invalid(
      `--retries cannot be negative (${Number(retries)})`,
      'Write a whole number, 0 for the default.',
    );
  return {
    ...base,
    kind: 'HEALTHCHECK',
    command: health,
    interval: flags.interval || undefined,
    timeout: flags.timeout || undefined,
    startPeriod: flags['start-period'] || undefined,
    startInterval: flags['start-interval'] || undefined,
    retries,
  };
};

const parseOnbuild: Parser = ({ base, command, heredocs, escape: esc }) => {
  parseFlags(command.flags, {});
  if (command.rest === '') throw atLeastOne('ONBUILD');
  const trigger = splitCommand(command.rest, esc).keyword.toUpperCase();
  if (trigger === 'ONBUILD')
    throw invalid(
      "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
      'Write the instruction after one ONBUILD.',
    );
  if (trigger === 'MAINTAINER' || trigger === 'FROM')
    throw invalid(`${trigger} isn't allowed as an ONBUILD trigger`, 'Write it outside of ONBUILD.');
  if (!Object.hasOwn(PARSERS, trigger)) throw unknownInstruction(trigger);
  // a trigger runs in another build; what is wrong with it is better said now
  PARSERS[trigger as Kind](
    { base, command: splitCommand(command.rest, esc), heredocs, escape: esc },
    trigger as Kind,
  );
  const documents = heredocs.map((doc) => `\n${doc.chomp ? chompTabs(doc.content) : doc.content}${doc.name}`);
  return { ...base, kind: 'ONBUILD', expression: command.rest + documents.join('') };
};

const PARSERS: Record<Kind, Parser> = {
  ADD: parseCopy,
  ARG: parseArg,
  CMD: parseCmd,
  COPY: parseCopy,
  ENTRYPOINT: parseCmd,
  ENV: parseKeyValues,
  EXPOSE: parseValues,
  HEALTHCHECK: parseHealthcheck,
  LABEL: parseKeyValues,
  MAINTAINER: parseValue,
  ONBUILD: parseOnbuild,
  RUN: parseRun,
  SHELL: parseShell,
  STOPSIGNAL: parseValue,
  USER: parseValue,
  VOLUME: parseValues,
  WORKDIR: parseValue,
};

function unknownInstruction(word: string) {
  const all = [...Object.keys(PARSERS), 'FROM'];
  const shown = word.length > 64 ? `${word.slice(0, 64)}…` : word;
  const near = word.length > 64 ? '' : didYouMean(word, all, false);
  return invalid(
    `unknown instruction: ${shown}${near}`,
    near === ''
      ? `Instructions are ${all.sort().join(', ')}.`
      : 'Correct the spelling, or end the line above with a line continuation.',
  );
}

/** Parses any instruction but FROM. Throws `invalid`, without a place. */
export function parseAny(request: InstructionRequest): Instruction {
  const kind = request.command.keyword.toUpperCase();
  if (!Object.hasOwn(PARSERS, kind)) throw unknownInstruction(request.command.keyword);
  return PARSERS[kind as Kind](request, kind as Kind);
}

/** Parses `FROM [--platform=…] BASE [AS NAME]`. Throws `invalid`, without a place. */
export function parseFrom({ base, command }: InstructionRequest): Stage {
  const words = plainWords(command.rest);
  const named = words.length === 3 && words[1]!.toLowerCase() === 'as';
  if (!named && words.length !== 1)
    throw invalid(
      'FROM requires either one or three arguments',
      'Write FROM <image> or FROM <image> AS <name>.',
    );
  const name = named ? words[2]!.toLowerCase() : '';
  if (named && !/^[a-z][a-z0-9_.-]*$/.test(name))
    throw invalid(
      `invalid name for build stage: ${JSON.stringify(words[2])}, name can't start with a number or contain symbols`,
      'A stage name starts with a letter and goes on with letters, digits, - _ and .',
    );
  const { platform } = parseFlags(command.flags, { platform: 'string' });
  const stage: Stage = { name, base: words[0]!, platform, from: base, instructions: [] };
  if (named) {
    stage.nameWritten = words[2]!;
    stage.asKeyword = words[1]!;
    stage.description = describe(base.comments, name);
  }
  return stage;
}
