/** The log of a step: any number of lines, fetched as they come into sight; search, and links to lines. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { LogLine, Step } from '../../../src/api/ui/types.ts';
import { spansOf } from '../../data/ansi.ts';
import { count } from '../../data/format.ts';
import { addressOf, go, setQuery } from '../../data/router.ts';
import { SearchBox } from '../../parts/bits.tsx';
import { usePage } from '../../parts/context.ts';
import { VirtualList } from '../../parts/virtual-list.tsx';

const rowHeight = 18;
/** Lines that are asked for together. */
const pageLines = 400;
/** Pages that are kept. */
const mostPages = 40;

interface Props {
  buildRef: string;
  step: Step;
  running: boolean;
  query: URLSearchParams;
}

export function Log({ buildRef, step, running, query }: Props) {
  const { source } = usePage();
  const lines = useLines(buildRef, step);
  const text = query.get('find') ?? '';
  const matches = useMatches(buildRef, step, text);
  const line = Number(query.get('line') ?? 0);
  const [place, setPlace] = useState(0);
  const [shown, setShown] = useState(line > 0 ? { row: line - 1, id: 1 } : undefined);
  const show = (row: number) => setShown((old) => ({ row, id: (old?.id ?? 0) + 1 }));
  // Another line in the address is another line to show.
  useEffect(() => {
    if (line > 0) show(line - 1);
  }, [line, step.digest]);
  useEffect(() => {
    setPlace(0);
    const first = matches?.lines[0];
    if (first !== undefined) show(first);
  }, [matches]);
  const move = (by: number) => {
    if (matches === undefined || matches.lines.length === 0) return;
    const next = (place + by + matches.lines.length) % matches.lines.length;
    setPlace(next);
    show(matches.lines[next] ?? 0);
  };
  const found = new Set(matches?.lines);
  const save = source.logAddress(buildRef, step.digest);
  const current = matches?.lines[place];
  return (
    <div class="log">
      <search class="log-tools">
        <SearchBox
          label="Search in the log"
          value={text}
          onChange={(words) => setQuery({ find: words })}
          onKeyDown={(event) => {
            if (event.key === 'Enter') move(event.shiftKey ? -1 : 1);
          }}
        />
        {matches !== undefined && (
          <>
            <span role="status" class="note">
              {matches.lines.length === 0
                ? 'not found'
                : `${place + 1} of ${matches.lines.length}${matches.more ? ' or more' : ''}`}
            </span>
            <button type="button" onClick={() => move(-1)}>
              <span aria-hidden="true">↑</span>
              <span class="unseen">previous match</span>
            </button>
            <button type="button" onClick={() => move(1)}>
              <span aria-hidden="true">↓</span>
              <span class="unseen">next match</span>
            </button>
          </>
        )}
        <span class="note">{count(step.lines, 'line')}</span>
        {save !== undefined && step.lines > 0 && (
          <a href={save} download>
            Save
          </a>
        )}
      </search>
      {step.lines === 0 ? (
        <p class="empty">{running ? 'It has printed nothing yet.' : 'It has printed nothing.'}</p>
      ) : (
        <VirtualList
          class="log-lines"
          role="log"
          label={`Log of ${step.name}`}
          count={step.lines}
          rowHeight={rowHeight}
          follows={running}
          show={shown}
          onRange={lines.want}
          row={(i) => (
            <div
              key={i}
              class={`log-line ${found.has(i) ? 'found' : ''} ${current === i || line === i + 1 ? 'current' : ''}`}
            >
              <a
                class="number"
                href={addressOf(['builds', buildRef, 'steps'], { step: step.digest, line: String(i + 1) })}
                onClick={(event) => {
                  event.preventDefault();
                  go(
                    addressOf(['builds', buildRef, 'steps'], { step: step.digest, line: String(i + 1) }),
                    true,
                  );
                }}
              >
                <span class="unseen">line </span>
                {i + 1}
              </a>
              <LogText line={lines.at(i)} />
            </div>
          )}
        />
      )}
    </div>
  );
}

/** One line with its colours; dots while it is fetched. */
export function LogText({ line }: { line: LogLine | undefined }) {
  if (line === undefined) return <span class="text note">…</span>;
  return (
    <span class={`text ${line.stream === 2 ? 'stderr' : ''}`}>
      {spansOf(line.text).map(({ text, classes, color, background }, i) => (
        <span key={i} class={classes} style={color || background ? { color, background } : undefined}>
          {text}
        </span>
      ))}
      {'\n'}
    </span>
  );
}

/** The lines that are known, and the fetching of those that are wanted. */
function useLines(ref: string, { digest, lines: total }: Step) {
  const { source } = usePage();
  const [, redraw] = useState(0);
  const state = useRef<{ key: string; pages: Map<number, LogLine[]>; asked: Set<number> }>(undefined);
  const key = `${ref} ${digest}`;
  if (state.current?.key !== key) state.current = { key, pages: new Map(), asked: new Set() };
  const { pages, asked } = state.current;
  const fetchPage = (page: number) => {
    if (asked.has(page)) return;
    asked.add(page);
    const from = page * pageLines;
    const known = pages.get(page)?.length ?? 0;
    source.log(ref, digest, from + known, pageLines - known).then(
      ({ lines }) => {
        asked.delete(page);
        const before = (pages.get(page) ?? []).slice(0, known);
        pages.delete(page);
        pages.set(page, [...before, ...lines]);
        for (const oldest of pages.keys()) {
          if (pages.size <= mostPages) break;
          pages.delete(oldest);
        }
        redraw((n) => n + 1);
      },
      () => setTimeout(() => asked.delete(page), 2000),
    );
  };
  return {
    at: (line: number): LogLine | undefined => pages.get(Math.floor(line / pageLines))?.[line % pageLines],
    want(from: number, to: number) {
      for (let page = Math.floor(from / pageLines); page * pageLines < to; page++) {
        const whole = Math.min(pageLines, total - page * pageLines);
        if ((pages.get(page)?.length ?? 0) < whole) fetchPage(page);
      }
    },
  };
}

function useMatches(ref: string, { digest, lines }: Step, text: string) {
  const { source } = usePage();
  const [matches, setMatches] = useState<{ lines: number[]; more: boolean }>();
  useEffect(() => {
    setMatches(undefined);
    if (text === '') return;
    let over = false;
    const timer = setTimeout(() => {
      source.search(ref, digest, text).then(
        (found) => !over && setMatches(found),
        () => {},
      );
    }, 150);
    return () => {
      over = true;
      clearTimeout(timer);
    };
    // A log that grows is searched again only when something else is searched for.
  }, [ref, digest, text, lines > 0]);
  return matches;
}
