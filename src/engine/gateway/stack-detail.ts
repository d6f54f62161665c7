/**
 * The place in Drydock where an error arose, kept in records of builds so that the report of a fault tells it. The
 * fields are those of https://github.com/moby/buildkit/blob/master/util/stack/stack.proto.
 */
import { version } from '../../version.ts';

interface StackDetail {
  frames: { Name: string; File: string; Line: number }[];
  version: string;
}

/** The longest line that is read, in characters: an error's message stands above its frames and may be a stranger's. */
const longest = 4096;

/** The frames of an error, the innermost first; undefined when it has none. */
export function stackDetail(error: Error): StackDetail | undefined {
  const frames = (error.stack ?? '').split('\n').flatMap((line) => {
    if (line.length > longest) return [];
    const found = /^ {4}at (?:(.+) \()?(.+?):(\d+):\d+\)?$/.exec(line);
    if (found === null) return [];
    const [, name = '<anonymous>', file = '', at] = found;
    return [{ Name: name, File: file.replace(/^file:\/\//, ''), Line: Number(at) }];
  });
  return frames.length === 0 ? undefined : { frames, version };
}
