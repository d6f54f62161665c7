/**
 * A list of any number of rows of one height, of which those in sight are made. Browsers cannot show elements of more
 * than some ten million pixels: in longer lists the scroll bar goes over more rows at a time.
 */
import type { ComponentChildren, RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

const maxHeight = 8_000_000;
/** Rows that are made beyond those in sight. */
const margin = 8;

interface Props {
  count: number;
  rowHeight: number;
  row(index: number): ComponentChildren;
  /** Is told of the rows in sight, from the first up to and without the last. */
  onRange?(from: number, to: number): void;
  /** The row to bring into sight; each new number does so. */
  show?: { row: number; id: number };
  /** Stays at the end when rows are added while the end is in sight. */
  follows?: boolean;
  label: string;
  /** Default: a list, whose rows are `li`. */
  role?: 'list' | 'log';
  class?: string;
}

export function VirtualList(props: Props) {
  const { count, rowHeight, row, onRange, show, follows, label, role = 'list' } = props;
  const box = useRef<HTMLElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const atEnd = useRef(true);
  const full = count * rowHeight;
  const height = Math.min(full, maxHeight);
  // Rows that the scroll bar passes for each pixel.
  const scale = height <= view.height ? 1 : (full - view.height) / (height - view.height);
  const top = view.top * scale;
  const from = Math.max(0, Math.floor(top / rowHeight) - margin);
  const to = Math.min(count, Math.ceil((top + view.height) / rowHeight) + margin);
  useMeasured(box, setView);
  useLayoutEffect(() => {
    const element = box.current;
    if (element !== null && follows && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [count, follows]);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || show === undefined) return;
    atEnd.current = false;
    element.scrollTop = Math.max(0, (show.row * rowHeight - element.clientHeight / 3) / scale);
  }, [show?.id, show?.row]);
  useEffect(() => onRange?.(from, to), [from, to, count]);
  const onScroll = () => {
    const element = box.current;
    if (element === null) return;
    atEnd.current = element.scrollTop + element.clientHeight >= element.scrollHeight - rowHeight;
    setView({ top: element.scrollTop, height: element.clientHeight });
  };
  const Rows = role === 'list' ? 'ul' : 'div';
  const rows: ComponentChildren[] = [];
  for (let i = from; i < to; i++) rows.push(row(i));
  return (
    <section
      ref={box}
      class={`virtual ${props.class ?? ''}`}
      onScroll={onScroll}
      tabIndex={0}
      role={role === 'log' ? role : undefined}
      aria-label={label}
    >
      <div class="virtual-space" style={{ height: `${height}px` }}>
        <Rows
          class="virtual-rows"
          style={{ transform: `translateY(${view.top - (top - from * rowHeight)}px)` }}
        >
          {rows}
        </Rows>
      </div>
    </section>
  );
}

function useMeasured(
  box: RefObject<HTMLElement | null>,
  setView: (change: (old: { top: number; height: number }) => { top: number; height: number }) => void,
): void {
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const measure = () => setView((old) => ({ ...old, height: element.clientHeight }));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
}
