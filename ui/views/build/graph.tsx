/**
 * The graph of a build's steps, with their states as they are now and the critical path. Only what is in sight is made,
 * a part of it with each frame.
 */

import { Component } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Step } from '../../../src/api/ui/types.ts';
import { edgesInSight, nodeSize, nodesInSight, sizeOf, type View, xOf, yOf } from '../../data/drawing.ts';
import { duration } from '../../data/format.ts';
import { type Layout, layoutOf } from '../../data/layout.ts';
import { clipped } from '../../data/plain.ts';
import { addressOf } from '../../data/router.ts';
import { inSlices } from '../../data/slices.ts';
import { criticalPath, splitName, stateOf, stateWords, tookOf } from '../../data/steps.ts';
import type { TabProps } from '../build.tsx';

/** By how much the part in sight moves before more is made, in pixels. */
const stride = 200;
/** The nodes, and the lines, that are made in one frame at most. */
const perFrame = 30;

export function GraphTab({ build, now }: TabProps) {
  const { ref, stepList } = build;
  const layout = useLayout(stepList);
  const critical = useMemo(() => criticalPath(stepList, now), [stepList, now]);
  const steps = useMemo(() => new Map(stepList.map((step) => [step.digest, step])), [stepList]);
  const { box, view } = useView();
  const [zoom, setZoom] = useState(1);
  const inSight = useMemo(
    () => ({ nodes: nodesInSight(layout, view, zoom), edges: edgesInSight(layout, view, zoom) }),
    [layout, view, zoom],
  );
  const nodes = useGrowing(inSight.nodes, ({ step }) => step.digest);
  const edges = useGrowing(inSight.edges, ({ key }) => key);
  const { width, height } = sizeOf(layout);
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
          {/* Wide letters end with their node. */}
          <clipPath id="in-node">
            <rect width={nodeSize.width - 4} height={nodeSize.height} />
          </clipPath>
          {edges.map(({ key, from, to, path }) => (
            <path
              key={key}
              class={critical.has(from) && critical.has(to) ? 'edge critical' : 'edge'}
              d={path}
            />
          ))}
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
        <g transform={`translate(${x} ${y})`}>
          <rect width={nodeSize.width} height={nodeSize.height} rx={5} />
          <text x={8} y={19} clip-path="url(#in-node)">
            {clipped(text, 30)}
          </text>
          <text x={8} y={36} class="small" clip-path="url(#in-node)">
            {marked ? '◆ ' : ''}
            {clipped(`${time}${stateWords[state]}${place === '' ? '' : ` · ${place}`}`, 34)}
          </text>
        </g>
      </a>
    );
  }
}

const empty: Layout = { nodes: [], byDigest: new Map(), layers: 0, widest: 0 };

/** The layout of the steps. The one before is shown until that of new steps is found. */
function useLayout(stepList: readonly Step[]): Layout {
  const [layout, setLayout] = useState(empty);
  // The places hang on the steps and their inputs alone, not on their states.
  const shape = useMemo(
    () => stepList.map(({ digest, inputs }) => `${digest}<${inputs.length}`).join(' '),
    [stepList],
  );
  useLayoutEffect(() => {
    let isWanted = true;
    void inSlices(layoutOf(stepList), () => isWanted).then(
      (found) => found !== undefined && setLayout(found),
    );
    return () => {
      isWanted = false;
    };
  }, [shape]);
  return layout;
}

/** Those of the items that are shown in this frame: all that were before, and some more with each frame. */
function useGrowing<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const before = useRef<ReadonlySet<string>>(new Set());
  const [, again] = useState(0);
  let left = perFrame;
  const shown = items.filter((item) => before.current.has(keyOf(item)) || left-- > 0);
  before.current = new Set(shown.map(keyOf));
  const isWhole = shown.length === items.length;
  useEffect(() => {
    if (isWhole) return;
    const frame = requestAnimationFrame(() => again((frames) => frames + 1));
    return () => cancelAnimationFrame(frame);
  });
  return shown;
}

/** The part of the graph that is in sight. */
function useView() {
  const box = useRef<HTMLElement>(null);
  const [view, setView] = useState<View>({ left: 0, top: 0, width: 0, height: 0 });
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
