/** Has no text that the page shows, wherever it comes from, turn round what stands beside it. */
import { type ComponentChildren, Fragment, options, type VNode } from 'preact';
import { straight } from '../data/plain.ts';

/** Attributes that are read or shown. */
const told = ['title', 'aria-label', 'placeholder'] as const;

type Props = { children?: ComponentChildren } & { [name in (typeof told)[number]]?: unknown };

/** Looks at all elements that are made from now on. */
export function straightenTexts(): void {
  const before = options.vnode;
  options.vnode = (vnode: VNode) => {
    const isElement = typeof vnode.type === 'string';
    const props = vnode.props as Props;
    if (isElement || vnode.type === Fragment) props.children = straightened(props.children);
    if (isElement) {
      for (const name of told) {
        const value = props[name];
        if (typeof value === 'string') props[name] = straight(value);
      }
    }
    before?.(vnode);
  };
}

function straightened(children: ComponentChildren): ComponentChildren {
  if (typeof children === 'string') return straight(children);
  return Array.isArray(children) ? children.map(straightened) : children;
}
