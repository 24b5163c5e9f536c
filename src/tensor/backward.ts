/** @file Runs the tape backwards. */
import type { Block } from '../backend/backend.ts'
import { formatShape, sameShape } from '../core/shape.ts'
import { GradError, ShapeError } from '../util/errors.ts'
import { engine } from './engine.ts'
import { NodeQueue } from './node-queue.ts'
import { scoped, scopeMark, sweepSince, unscoped } from './scope.ts'
import { enableGrad, freeUnheld, GradNode, noGrad } from './tape.ts'
import type { Tensor } from './tensor.ts'
import { assumed, tracing } from './tracing.ts'

export interface BackwardOptions {
  /** Gradient of the tensor itself; default 1 for a one-element tensor. */
  readonly gradient?: Tensor
  /** Keep the tape, so that backward can run again. Default: the value of createGraph. */
  readonly retainGraph?: boolean
  /** Record the gradient computation itself, for gradients of gradients. */
  readonly createGraph?: boolean
}

/** Adds the gradients of `root` to the `.grad` of its leaves. */
export function runBackward(root: Tensor, options: BackwardOptions): void {
  propagate([root], [options.gradient], options, (leaf, g) => {
    tracing?.touchGrad(leaf, false)
    const before = leaf.gradSlot
    leaf.gradSlot = before === undefined ? g : engine().add(before, g)
    hold(leaf.gradSlot.storage)
    if (before !== undefined) letGo(before)
  })
}

/**
 * Gradients of `outputs` with respect to `inputs`, without touching `.grad`. An input that has no
 * influence gets undefined.
 */
export function gradientsOf(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: BackwardOptions & {
    readonly gradients?: readonly (Tensor | undefined)[]
    /** Entries up to this sequence number are left alone: gradients stop at them. */
    readonly since?: number
    /** Leaves that gradients go on to later: their hooks are called then. */
    readonly continues?: ReadonlySet<Tensor>
  },
): (Tensor | undefined)[] {
  const wanted = new Map<Tensor | GradNode, Map<number, number>>()
  inputs.forEach((x, i) => {
    const source = x.node ?? x.leaf ?? x
    if (!wanted.has(source)) wanted.set(source, new Map())
    wanted.get(source)!.set(x.outputIndex, i)
  })
  const found: (Tensor | undefined)[] = inputs.map(() => undefined)
  const take = (source: Tensor | GradNode, index: number, g: Tensor) => {
    const i = wanted.get(source)?.get(index)
    if (i === undefined) return
    const before = found[i]
    const total = before === undefined ? g : engine().add(before, g)
    found[i] = total
    hold(total.storage)
    if (before !== undefined) letGo(before)
  }
  propagate(
    outputs,
    options.gradients ?? outputs.map(() => undefined),
    options,
    (leaf, g) => take(leaf, 0, g),
    (node, index, g) => take(node, index, g),
    options.since,
    options.continues,
  )
  // From here on they are the caller's.
  for (const g of found) if (g !== undefined) g.storage.internal = false
  return found
}

// Note [Gradient memory]: gradients on their way are held by `pending` counts and freed with the
// last one; what a rule makes besides its results is freed when the rule returns. Nothing here was
// ever in the hands of user code, unless a hook or `.grad` showed it, which clears `internal`.
function propagate(
  roots: readonly Tensor[],
  seeds: readonly (Tensor | undefined)[],
  options: BackwardOptions,
  onLeaf: (leaf: Tensor, g: Tensor) => void,
  onNode?: (node: GradNode, index: number, g: Tensor) => void,
  since = 0,
  continues?: ReadonlySet<Tensor>,
): void {
  const createGraph = options.createGraph ?? false
  const retain = options.retainGraph ?? createGraph
  const queue = new NodeQueue()

  const send = (source: Tensor | GradNode, index: number, g: Tensor): void => {
    if (source instanceof GradNode) accumulate(queue.gradientsOf(source), index, g)
    else if (continues?.has(source) === true) onLeaf(source, g)
    else onLeaf(source, applyHooks(source, g, createGraph))
  }

  const visit = (node: GradNode, gs: readonly (Tensor | undefined)[]): void => {
    if (onNode !== undefined)
      for (let i = 0; i < gs.length; i++) if (gs[i] !== undefined) onNode(node, i, gs[i]!)
    if (node.sequence <= since) return
    const { op, sources, sourceIndex, facts } = node
    const isReached = gs.some(isDefined)
    const grads = isReached ? op.vjp!(node.context(gs)) : []
    for (let i = 0; i < sources.length; i++) {
      const source = sources[i]
      if (source === undefined) continue
      const g = grads[i]
      if (g !== undefined)
        send(source, sourceIndex?.[i] ?? 0, engine().fit(g, facts.shapes[i]!, facts.dtypes[i]!))
      // Without a gradient it is visited all the same: its tape is released.
      else if (source instanceof GradNode) queue.gradientsOf(source)
    }
    if (!retain) node.release()
  }

  const run = () => {
    roots.forEach((root, i) => {
      if (!root.requiresGrad)
        throw new GradError(
          'backward: this tensor does not depend on any tensor that requires a gradient. Call requireGrad() on a leaf before computing with it, and check for noGrad or detach on the way',
        )
      send(root.node ?? root.leaf ?? root, root.outputIndex, seedFor(root, seeds[i]))
    })
    for (let node = queue.latest(); node !== undefined; node = queue.latest()) {
      const gs = queue.take()
      const mark = scopeMark()
      const isOver = node.sequence <= since || node.watched === undefined
      visit(node, isOver ? gs : withHooks(node, gs, createGraph))
      if (!createGraph) sweepSince(mark, keepsBlock)
      for (let i = 0; i < gs.length; i++) if (gs[i] !== undefined) letGo(gs[i]!)
    }
  }
  try {
    if (createGraph) enableGrad(run)
    else noGrad(() => scoped(run, keepsBlock))
  } finally {
    queue.clear()
  }
}

const isDefined = (x: unknown): boolean => x !== undefined

function accumulate(slots: (Tensor | undefined)[], index: number, g: Tensor): void {
  const before = slots[index]
  const total = before === undefined ? g : engine().add(before, g)
  slots[index] = total
  hold(total.storage)
  if (before !== undefined) letGo(before)
}

function withHooks(
  node: GradNode,
  gs: readonly (Tensor | undefined)[],
  createGraph: boolean,
): (Tensor | undefined)[] {
  return gs.map((g, i) => {
    const watched = node.watched!.get(i)
    return g === undefined || watched === undefined ? g : applyHooks(watched, g, createGraph)
  })
}

// A block that leaves the scope still held belongs to the engine: it is freed when the last hold goes.
const keepsBlock = (block: Block): boolean => {
  if (block.saves > 0) return true
  block.internal = block.pending > 0
  return block.internal
}

function hold(block: Block): void {
  block.pending++
}

/** Gives up one hold on a gradient; the last one frees it, unless user code has seen it. */
export function letGo(g: Tensor): void {
  g.storage.pending--
  freeUnheld(g)
}

function seedFor(root: Tensor, seed: Tensor | undefined): Tensor {
  if (seed === undefined) {
    if (root.size !== 1)
      throw new GradError(
        `backward: the tensor has ${root.size} elements (shape ${formatShape(root.shape)}), so its gradient is not a single 1. Reduce it first, for example with .sum(), or pass { gradient }`,
      )
    return engine().onesLike(root)
  }
  if (!sameShape(seed.shape, root.shape))
    throw new ShapeError(
      `backward: gradient of shape ${formatShape(seed.shape)} for a tensor of shape ${formatShape(root.shape)}. Expected the same shape`,
    )
  return seed
}

function applyHooks(t: Tensor, g: Tensor, createGraph: boolean): Tensor {
  const hooks = tracing === undefined ? t.hooks : assumed(() => t.hooks)
  if (hooks === undefined || hooks.size === 0) return g
  // What a hook has seen may be kept by it for ever.
  g.storage.saves++
  const call = () => unscoped(() => [...hooks].reduce((value, hook) => hook(value) ?? value, g))
  const result = createGraph ? call() : noGrad(call)
  if (!sameShape(result.shape, g.shape))
    throw new ShapeError(
      `registerHook: the hook returned shape ${formatShape(result.shape)} for a gradient of shape ${formatShape(g.shape)}. Return the same shape, or nothing`,
    )
  return result
}
