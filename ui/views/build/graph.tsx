/** The graph of a build's steps, with their states as they are now and the critical path. Only what is in sight is made. */

import { Component } from 'preact';
import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Step } from '../../../src/api/ui/types.ts';
import { duration } from '../../data/format.ts';
import { layoutOf, type Placed } from '../../data/layout.ts';
import { addressOf } from '../../data/router.ts';
import { criticalPath, splitName, stateOf, stateWords, tookOf } from '../../data/steps.ts';
import type { TabProps } from '../build.tsx';

const node = { width: 216, height: 46 };
const gap = { x: 24, y: 34 };
/** What is made beyond the part in sight, and by how much that part moves before more is made, in pixels. */
const margin = 300;
const stride = 200;

const xOf = ({ place }: Placed) => place * (node.width + gap.x) + gap.x;
const yOf = ({ layer }: Placed) => layer * (node.height + gap.y) + gap.y;

export function GraphTab({ build, now }: TabProps) {
  const { ref, stepList } = build;
  const shape = stepList.map(({ digest, inputs }) => `${digest}<${inputs.length}`).join(' ');
  // The places hang on the steps and their inputs alone, not on their states.
  const layout = useMemo(() => layoutOf(stepList), [shape]);
  const critical = useMemo(() => criticalPath(stepList, now), [stepList, now]);
  const steps = useMemo(() => new Map(stepList.map((step) => [step.digest, step])), [stepList]);
  const { box, view } = useView();
  const [zoom, setZoom] = useState(1);
  const width = layout.widest * (node.width + gap.x) + gap.x;
  const height = layout.layers * (node.height + gap.y) + gap.y;
  const inSight = (x1: number, y1: number, x2: number, y2: number) =>
    x2 * zoom >= view.left - margin &&
    x1 * zoom <= view.left + view.width + margin &&
    y2 * zoom >= view.top - margin &&
    y1 * zoom <= view.top + view.height + margin;
  const edges = layout.nodes.flatMap((to) =>
    to.step.inputs.flatMap((input) => {
      const from = layout.byDigest.get(input);
      if (from === undefined) return [];
      const [x1, y1] = [xOf(from) + node.width / 2, yOf(from) + node.height];
      const [x2, y2] = [xOf(to) + node.width / 2, yOf(to)];
      if (!inSight(Math.min(x1, x2), y1, Math.max(x1, x2), y2)) return [];
      const marked = critical.has(input) && critical.has(to.step.digest);
      const middle = (y1 + y2) / 2;
      return [
        <path
          key={`${input} ${to.step.digest}`}
          class={marked ? 'edge critical' : 'edge'}
          d={`M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`}
        />,
      ];
    }),
  );
  const nodes = layout.nodes.filter((each) => {
    const [x, y] = [xOf(each), yOf(each)];
    return inSight(x, y, x + node.width, y + node.height);
  });
  return (
    <div class="graph">
      <div class="graph-tools">
        <button type="button" onClick={() => setZoom(Math.max(0.25, zoom / 1.25))}>
          Smaller
        </button>
        <button type="button" onClick={() => setZoom(Math.min(2, zoom * 1.25))}>
          Larger
        </button>
        <span class="note">
          Each step stands below those that it is made of. <span class="mark">◆</span> marks the critical
          path.
        </span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and the keyboard must reach it */}
      <section class="graph-box" ref={box} tabIndex={0} aria-label="Graph of the steps">
        {/* biome-ignore lint/a11y/noSvgWithoutTitle: the section has the name, and each node its own */}
        <svg width={width * zoom} height={height * zoom} viewBox={`0 0 ${width} ${height}`}>
          {edges}
          {nodes.map((placed) => {
            const step = steps.get(placed.step.digest) ?? placed.step;
            const took = tookOf(step, now);
            return (
              <GraphNode
                key={step.digest}
                buildRef={ref}
                step={step}
                x={xOf(placed)}
                y={yOf(placed)}
                time={took === undefined || step.cached ? '' : `${duration(took)} · `}
                marked={critical.has(step.digest)}
              />
            );
          })}
        </svg>
      </section>
    </div>
  );
}

interface NodeProps {
  buildRef: string;
  step: Step;
  x: number;
  y: number;
  time: string;
  marked: boolean;
}

/** A step. It is made anew only when something of it has changed, as the graph is with every second and every scroll. */
class GraphNode extends Component<NodeProps> {
  override shouldComponentUpdate(next: NodeProps): boolean {
    return (Object.keys(next) as (keyof NodeProps)[]).some((name) => next[name] !== this.props[name]);
  }

  override render({ buildRef, step, x, y, time, marked }: NodeProps) {
    const state = stateOf(step);
    const { place, text } = splitName(step.name);
    return (
      <a
        href={addressOf(['builds', buildRef, 'steps'], { step: step.digest })}
        class={`node ${state} ${marked ? 'critical' : ''}`}
      >
        <rect x={x} y={y} width={node.width} height={node.height} rx={5} />
        <text x={x + 8} y={y + 19}>
          {clipped(text, 30)}
        </text>
        <text x={x + 8} y={y + 36} class="small">
          {marked ? '◆ ' : ''}
          {clipped(`${time}${stateWords[state]}${place === '' ? '' : ` · ${place}`}`, 34)}
        </text>
      </a>
    );
  }
}

function clipped(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

interface View {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** The part of the graph that is in sight. */
function useView() {
  const box = useRef<HTMLElement>(null);
  const [view, setView] = useState<View>({ left: 0, top: 0, width: 1200, height: 800 });
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const measure = () => {
      const next = {
        left: Math.round(element.scrollLeft / stride) * stride,
        top: Math.round(element.scrollTop / stride) * stride,
        width: element.clientWidth,
        height: element.clientHeight,
      };
      setView((old) =>
        (Object.keys(next) as (keyof View)[]).every((key) => old[key] === next[key]) ? old : next,
      );
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);
  return { box, view };
}
