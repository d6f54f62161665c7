/** A build as it is now, kept up to date while it runs. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { BuildDetail, Step } from '../../src/api/ui/types.ts';
import { canceledText } from '../../src/progress/canceled.ts';
import { ApiError, type Source } from './source.ts';

export interface LiveState {
  build?: BuildDetail;
  error?: Error;
  /** The connection is lost for now. */
  lost: boolean;
  /** A build that was followed is not known any more; what is shown is the last that was told. */
  gone?: boolean;
  /** Asks for the build anew; resolves when it is there. */
  again(): Promise<void>;
}

/** Follows a build. Steps that have not changed stay the same objects. */
export function useBuild(source: Source, ref: string): LiveState {
  const [state, setState] = useState<Omit<LiveState, 'again'>>({ lost: false });
  const again = useRef<() => Promise<void>>(async () => {});
  useEffect(() => {
    let over = false;
    setState({ lost: false });
    let known: BuildDetail | undefined;
    const put = (build: BuildDetail) => {
      known = build;
      if (!over) setState({ build, lost: false });
    };
    const fetched = () =>
      source
        .build(ref)
        .then(put)
        .catch((error: Error) => {
          if (!over) setState((old) => ({ ...old, error }));
        });
    again.current = fetched;
    let stop = () => {};
    // A build that is not there is told by an answer; a stream has only its end for it.
    void fetched().then(() => {
      if (over || (known !== undefined && known.state !== 'running')) return;
      stop = source.follow(ref, {
        build: put,
        change: ({ steps, files, warnings }) =>
          setState((old) => {
            if (old.build === undefined) return old;
            const stepList = steps === undefined ? old.build.stepList : merged(old.build.stepList, steps);
            return {
              lost: false,
              build: {
                ...old.build,
                stepList,
                steps: countsOf(stepList),
                files: files ?? old.build.files,
                warningList: warnings ?? old.build.warningList,
              },
            };
          }),
        end: () => void fetched(),
        refused: () => {
          source.build(ref).then(put, (error: Error) => {
            if (over || !(error instanceof ApiError) || error.status !== 404) return;
            stop();
            setState(({ build }) => ({ build: build && ended(build), lost: false, gone: true }));
          });
        },
        lost: () =>
          !over && setState((old) => (old.build?.state === 'running' ? { ...old, lost: true } : old)),
      });
    });
    return () => {
      over = true;
      stop();
    };
  }, [source, ref]);
  return { ...state, again: () => again.current() };
}

/** A build that has ended in a way that nobody tells of. */
function ended(build: BuildDetail): BuildDetail {
  const now = Date.now();
  const stepList = build.stepList.map((step) =>
    step.startedAt === undefined || step.completedAt !== undefined
      ? step
      : { ...step, completedAt: now, error: canceledText },
  );
  return { ...build, state: 'canceled', completedAt: now, stepList };
}

function merged(before: readonly Step[], changed: readonly Step[]): Step[] {
  const places = new Map(before.map((step, i) => [step.digest, i]));
  const steps = [...before];
  for (const step of changed) {
    const place = places.get(step.digest);
    if (place === undefined) steps.push(step);
    else steps[place] = step;
  }
  return steps;
}

function countsOf(steps: readonly Step[]): BuildDetail['steps'] {
  return {
    total: steps.length,
    completed: steps.filter(({ completedAt }) => completedAt !== undefined).length,
    cached: steps.filter(({ cached }) => cached).length,
  };
}

/** The time now, each second again while something runs. `offset`: how far the daemon's clock is ahead, in ms. */
export function useNow(ticks: boolean, offset: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!ticks) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [ticks]);
  return now + offset;
}
