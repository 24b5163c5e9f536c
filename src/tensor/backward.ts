/** @file Runs the tape backwards. */
import type { Block } from '../backend/backend.ts'
import { formatShape, sameShape } from '../core/shape.ts'
import { GradError, ShapeError } from '../util/errors.ts'
import { engine } from './engine.ts'
import { scoped, unscoped } from './scope.ts'
import { enableGrad, noGrad, ruleOf, type GradNode } from './tape.ts'
import type { Tensor } from './tensor.ts'

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
): void {
  const createGraph = options.createGraph ?? false
  const retain = options.retainGraph ?? createGraph
  const pending = new Map<GradNode, (Tensor | undefined)[]>()

  const send = (source: Tensor | GradNode, index: number, g: Tensor): void => {
    if ('op' in source) {
      let slots = pending.get(source)
      if (slots === undefined) pending.set(source, (slots = new Array(source.outputCount)))
      const before = slots[index]
      slots[index] = before === undefined ? g : engine().add(before, g)
      hold(slots[index]!.storage)
      if (before !== undefined) letGo(before)
    } else onLeaf(source, applyHooks(source, g, createGraph))
  }

  const visit = (node: GradNode, gs: (Tensor | undefined)[]): void => {
    for (let i = 0; i < gs.length; i++) {
      if (gs[i] === undefined) continue
      const watched = node.watched?.get(i)
      if (watched) gs[i] = applyHooks(watched, gs[i]!, createGraph)
      onNode?.(node, i, gs[i]!)
    }
    if (node.sequence <= since) return
    const context = node.context(gs)
    const grads = ruleOf(node)(
      gs[0] === undefined ? { ...context, g: zeroGradient(context, gs) } : context,
    )
    node.sources.forEach((source, i) => {
      const g = grads[i]
      if (source === undefined || g === undefined) return
      send(source, node.sourceIndex[i]!, engine().fit(g, node.shapes[i]!, node.dtypes[i]!))
    })
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
    for (const node of inOrder(roots)) {
      const gs = pending.get(node)
      if (gs === undefined) {
        if (!retain && node.sequence > since) node.release()
        continue
      }
      pending.delete(node)
      const before = [...gs]
      if (createGraph) visit(node, gs)
      else scoped(() => visit(node, gs), keepsBlock)
      for (const g of before) if (g !== undefined) letGo(g)
    }
  }
  if (createGraph) enableGrad(run)
  else noGrad(() => scoped(run, keepsBlock))
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
  const block = g.storage
  block.pending--
  if (block.pending === 0 && block.internal && block.saves === 0) g.backend.free(block)
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

function zeroGradient(
  context: { outputs: readonly Tensor[] },
  gs: readonly (Tensor | undefined)[],
): Tensor {
  const model = context.outputs[0] ?? gs.find((g) => g !== undefined)!
  return engine().zerosLike(model)
}

function applyHooks(t: Tensor, g: Tensor, createGraph: boolean): Tensor {
  if (t.hooks === undefined || t.hooks.size === 0) return g
  // What a hook has seen may be kept by it for ever.
  g.storage.saves++
  const call = () => unscoped(() => [...t.hooks!].reduce((value, hook) => hook(value) ?? value, g))
  const result = createGraph ? call() : noGrad(call)
  if (!sameShape(result.shape, g.shape))
    throw new ShapeError(
      `registerHook: the hook returned shape ${formatShape(result.shape)} for a gradient of shape ${formatShape(g.shape)}. Return the same shape, or nothing`,
    )
  return result
}

/** Entries reachable from the roots, latest first. */
function inOrder(roots: readonly Tensor[]): GradNode[] {
  const seen = new Set<GradNode>()
  const stack = roots.flatMap((r) => (r.node === undefined ? [] : [r.node]))
  while (stack.length > 0) {
    const node = stack.pop()!
    if (seen.has(node)) continue
    seen.add(node)
    for (const source of node.sources)
      if (source !== undefined && 'op' in source && !seen.has(source)) stack.push(source)
  }
  return [...seen].sort((a, b) => b.sequence - a.sequence)
}
