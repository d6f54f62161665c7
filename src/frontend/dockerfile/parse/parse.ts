/** The entry of the parser: makes stages of typed instructions from a Dockerfile's text. */
import type { SourceRange } from '../../../errors/index.ts';
import { nameOf } from '../../../linux/index.ts';
import { atOnce, inTurns } from '../../../workers/index.ts';
import type { Base, Dockerfile, Instruction, Stage } from '../ast.ts';
import { checkInComments, parseCheckOptions } from './check.ts';
import { invalid, located, type SourceFile } from './errors.ts';
import { type InstructionRequest, parseAny, parseArg, parseFrom } from './instructions.ts';
import { type InstructionLine, LineReader } from './lines.ts';
import { trim } from './space.ts';
import { splitCommand } from './words.ts';

/** The largest Dockerfile, in bytes. */
const MAX_DOCKERFILE = 16 * 1024 * 1024;

function requestOf(line: InstructionLine, esc: '\\' | '`'): InstructionRequest {
  const command = splitCommand(line.text, esc);
  const base: Base = { range: line.range, original: trim(line.text), keyword: command.keyword };
  if (line.comments.length > 0) {
    base.comments = line.comments;
    const check = checkInComments(line.comments);
    if (check !== undefined) base.check = check;
  }
  return { base, command, heredocs: line.heredocs, escape: esc };
}

/**
 * Parses a Dockerfile (the language of docker/dockerfile 1). Words stay unexpanded. The time is linear in the text.
 * Throws `invalid` (hop `dockerfile`) with the place in the file and a hint; before that, `onPartial` gets the part
 * above the fault.
 *
 *     parseDockerfile('FROM alpine:3\nRUN make\n', 'Dockerfile').stages[0].instructions[0].kind // 'RUN'
 */
export function parseDockerfile(
  input: string | Buffer,
  filename: string,
  definition?: object,
  onPartial?: (file: Dockerfile) => void,
): Dockerfile {
  return atOnce(parsed(input, filename, definition, onPartial));
}

/** Parses on the main thread, which does other work in between. */
export function parseInTurns(text: string, filename: string, definition?: object): Promise<Dockerfile> {
  return inTurns(parsed(text, filename, definition));
}

function* parsed(
  input: string | Buffer,
  filename: string,
  definition?: object,
  onPartial?: (file: Dockerfile) => void,
): Generator<void, Dockerfile> {
  if ((typeof input === 'string' ? Buffer.byteLength(input) : input.length) > MAX_DOCKERFILE)
    throw invalid(
      `${filename} is larger than ${MAX_DOCKERFILE >> 20} MiB`,
      'Is this the right file? COPY large data.',
    );
  const text = typeof input === 'string' ? input : nameOf(input);
  const file: SourceFile = { filename, text, definition };
  const reader = new LineReader(file);
  const result: Dockerfile = {
    filename,
    text,
    definition,
    directives: { escape: '\\' },
    globalArgs: [],
    stages: [],
    findings: reader.info.findings,
  };
  let empty = true;
  try {
    for (const line of reader.instructions()) {
      yield;
      empty = false;
      const prefix = `dockerfile parse error on line ${line.range.start.line}: `;
      try {
        add(result, requestOf(line, reader.info.escape));
      } catch (err) {
        throw located(err, file, line.range, prefix);
      }
    }
  } catch (err) {
    if (onPartial !== undefined) {
      takeDirectives(result, reader, file);
      onPartial(result);
    }
    throw err;
  }
  takeDirectives(result, reader, file);
  const whole = reader.range(1, 1);
  if (empty)
    throw located(
      invalid('file with no instructions', 'A Dockerfile starts with FROM <image>.'),
      file,
      whole,
    );
  if (result.stages.length === 0)
    throw located(invalid('dockerfile contains no stages to build', 'Add FROM <image>.'), file, whole);
  return result;
}

function add(result: Dockerfile, request: InstructionRequest): void {
  const kind = request.command.keyword.toUpperCase();
  const stage: Stage | undefined = result.stages.at(-1);
  if (kind === 'FROM') result.stages.push(parseFrom(request));
  else if (stage !== undefined) stage.instructions.push(parseAny(request));
  else if (kind === 'ARG') result.globalArgs.push(parseArg(request));
  else {
    parseAny(request); // what is wrong with the instruction itself comes first
    throw invalid(
      'no build stage in current context',
      'Only ARG may stand before the first FROM; add FROM <image> above.',
    );
  }
}

function takeDirectives(result: Dockerfile, reader: LineReader, file: SourceFile): void {
  result.directives.escape = reader.info.escape;
  for (const { name, value } of reader.info.directives) {
    if (name === 'syntax') result.directives.syntax = value.split(' ', 1)[0]!;
    if (name !== 'check') continue;
    try {
      result.directives.check = parseCheckOptions(value.split(' ', 1)[0]!);
    } catch (err) {
      throw located(err, file, reader.info.checkRange ?? reader.range(1, 1));
    }
  }
}

/**
 * Parses one instruction on its own, such as an ONBUILD trigger of a base image (with its heredocs). `range` is the
 * place where it is used, in the file of the caller's errors. Throws `invalid` without a place, also for FROM, ONBUILD,
 * MAINTAINER, and for more or fewer than one instruction.
 */
export function parseInstruction(
  expression: string,
  esc: '\\' | '`' = '\\',
  range: SourceRange = { start: { line: 1, character: 0 }, end: { line: 1, character: 0 } },
): Instruction {
  const file: SourceFile = { filename: 'ONBUILD trigger', text: expression };
  const lines = [...new LineReader(file, esc).instructions()];
  const hint = 'The trigger comes from the base image.';
  if (lines.length !== 1)
    throw invalid(`ONBUILD trigger is not one instruction: ${expression.slice(0, 200)}`, hint);
  const request = requestOf({ ...lines[0]!, range }, esc);
  const kind = request.command.keyword.toUpperCase();
  if (kind === 'ONBUILD') throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", hint);
  if (kind === 'FROM' || kind === 'MAINTAINER')
    throw invalid(`${kind} isn't allowed as an ONBUILD trigger`, hint);
  return parseAny(request);
}
