/** Where in its Dockerfile a step stands, as its name says. Pure. */

interface Place {
  /** The stage and the instruction, wherever it stands. */
  instruction: string;
  /** The stage and the number of the step, whatever it is; undefined for names of another form. */
  number: string | undefined;
  /** The instruction alone. */
  text: string;
}

/** Reads `[linux/arm64 build 2/4] RUN make`. */
export function placeOf(name: string): Place {
  const [, stage, number, text] = /^\[(?:(.*) )?(\d+)\/\d+\] (.*)$/s.exec(name) ?? [];
  if (text === undefined) return { instruction: name, number: undefined, text: name };
  return { instruction: `${stage ?? ''} ${text}`, number: `${stage ?? ''} ${number}`, text };
}
