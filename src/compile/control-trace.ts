/** @file Branches and loops while a function is traced: they become parts of its graph, and so do their gradients. */
import { isFloat } from '../core/dtype.ts'
import { formatShape, sameShape } from '../core/shape.ts'
import { full, zeros } from '../ops/create.ts'
import { standIn } from '../tensor/attach.ts'
import { gradientsOf } from '../tensor/backward.ts'
import { engine } from '../tensor/engine.ts'
import { makeOp } from '../tensor/op.ts'
import { enableGrad, GradNode, isRecording, lastSequence, noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { GradError, TraceError } from '../util/errors.ts'
import type { Recorder, TracedPart } from './recorder.ts'
import { takeApart, type Tree } from './tree.ts'

type Gradients = readonly (Tensor | undefined)[]
type Tensors = readonly Tensor[]

/**
 * Records a branch.
 *
 * Note [Control gradients]: a branch or loop is recorded without history, and one entry on the tape stands
 * for all of it. Its rule is a branch or a loop again, in which the functions are called once more, with
 * history, and gradients go backwards through that. It is recorded in the same way, so that gradients of
 * gradients need nothing more.
 */
export function traceBranches<R>(
  recorder: Recorder,
  predicate: Tensor,
  whenTrue: () => R,
  whenFalse: () => R,
): R {
  const trees: Tree[] = []
  const flat = (body: () => R) => () => {
    const tree = apart('the result of cond', body())
    trees.push(tree)
    return tree.tensors
  }
  const results = branches(recorder, predicate, flat(whenTrue), flat(whenFalse))
  if (trees[0]!.form !== trees[1]!.form)
    throw new TraceError(
      `cond: whenTrue and whenFalse return different structures: ${trees[0]!.form} and ${trees[1]!.form}. In a compiled function they must be the same`,
    )
  return trees[0]!.rebuild(results) as R
}

function branches(
  recorder: Recorder,
  predicate: Tensor,
  whenTrue: () => Tensors,
  whenFalse: () => Tensors,
): Tensor[] {
  const parts = [whenTrue, whenFalse].map((run) => recorder.part([], () => noGrad(run)))
  const [first, second] = parts
  checkSame('cond: whenTrue and whenFalse', first!.graph.outputs, second!.graph.outputs)
  const results = recorder.control(
    parts,
    ([a, b]) => ({ kind: 'cond', whenTrue: a!, whenFalse: b! }),
    [predicate],
    0,
  )
  const outside = foundBy(parts)
  enter('cond', outside, results, (gs) => {
    const backward = (run: () => Tensors) => () => gradientsThrough(run, outside, gs)
    return branches(recorder, predicate, backward(whenTrue), backward(whenFalse))
  })
  return results
}

/** Records a loop. */
export function traceLoop<S>(
  recorder: Recorder,
  condition: (state: S) => Tensor | boolean,
  body: (state: S) => S,
  state: S,
  maxSteps: number,
): S {
  const tree = apart('the state of whileLoop', state)
  const functions: LoopFunctions = {
    condition(tensors) {
      const predicate = condition(tree.rebuild(tensors) as S)
      return typeof predicate === 'boolean' ? full([], Number(predicate)) : predicate
    },
    body(tensors) {
      const next = apart('the state of whileLoop', body(tree.rebuild(tensors) as S))
      if (next.form === tree.form) return next.tensors
      throw new TraceError(
        `whileLoop: the body is given ${tree.form} and returns ${next.form}. In a compiled function the structure of the state stays as it is`,
      )
    },
  }
  return tree.rebuild(loop(recorder, functions, tree.tensors, maxSteps)) as S
}

interface LoopFunctions {
  readonly condition: (state: Tensors) => Tensor
  readonly body: (state: Tensors) => Tensors
}

function loop(
  recorder: Recorder,
  functions: LoopFunctions,
  state: Tensors,
  maxSteps: number,
): Tensor[] {
  const isLimited = maxSteps < Infinity
  const plain = isLimited
    ? loopWithoutHistory(recorder, counted(functions, maxSteps), [counter(state), ...state])
    : loopWithoutHistory(recorder, functions, state)
  const reached = [...state, ...plain.outside]
  const isFlat = !state.some((t) => isFloat(t.dtype)) || !reached.some((t) => t.requiresGrad)
  if (!isRecording() || isFlat) return plain.results.slice(isLimited ? 1 : 0)
  if (!isLimited)
    throw new GradError(
      'whileLoop: gradients through a compiled loop need a limit of its steps, for which memory is set aside. Pass { maxSteps }, or call it within noGrad',
    )
  return loopWithHistory(recorder, functions, state, plain.outside, maxSteps)
}

function loopWithoutHistory(recorder: Recorder, functions: LoopFunctions, state: Tensors) {
  const parts = [
    recorder.part(state, (s) => noGrad(() => [functions.condition(s)])),
    recorder.part(state, (s) => noGrad(() => functions.body(s))),
  ]
  checkSame('whileLoop: state and body', state, parts[1]!.graph.outputs)
  const results = recorder.control(
    parts,
    ([condition, body]) => ({ kind: 'while', condition: condition!, body: body! }),
    state,
    state.length,
  )
  return { results, outside: foundBy(parts) }
}

/** Every state is kept, in stacks of `maxSteps`; the gradient goes through them from the last to the first. */
function loopWithHistory(
  recorder: Recorder,
  { condition, body }: LoopFunctions,
  state: Tensors,
  outside: Tensors,
  maxSteps: number,
): Tensor[] {
  const { length } = state
  const stacks = state.map((t) => {
    const dtype = t.dtype === 'bool' ? 'uint8' : t.dtype
    return zeros([maxSteps, ...t.shape], { dtype, device: t.device })
  })
  const stacked = counted(
    {
      condition: (s) => condition(s.slice(0, length)),
      body: (s) => body(s.slice(0, length)),
    },
    maxSteps,
  )
  const { results } = loopWithoutHistory(
    recorder,
    {
      condition: stacked.condition,
      body: ([i, ...s]) => [
        ...stacked.body([i!, ...s.slice(0, length)]),
        ...s.slice(length).map((stack, k) => {
          const row = s[k]!.dtype === 'bool' ? s[k]!.cast('uint8') : s[k]!
          return stack.indexAdd(0, i!.reshape([1]), row.unsqueeze(0))
        }),
      ],
    },
    [counter(state), ...state, ...stacks],
  )
  const [count, ...rest] = results
  const finals = rest.slice(0, length)
  const kept = rest.slice(length)
  const floats = state.flatMap((t, k) => (isFloat(t.dtype) ? [k] : []))
  // The states on the way are results, too: second derivatives depend on them.
  enter('whileLoop', [...state, ...outside], rest, (gs) => {
    const zerosLike = (t: Tensor) => engine().zerosLike(t)
    const begin = [
      count!.sub(1),
      ...floats.map((k) => gs[k] ?? zerosLike(finals[k]!)),
      ...outside.map(zerosLike),
    ]
    const step = ([at, ...gradients]: Tensors): Tensors => {
      const rowOf = (stack: Tensor) => stack.indexSelect(0, at!.reshape([1])).squeeze({ axis: 0 })
      const leaves = enableGrad(() =>
        kept.map((stack, k) => {
          const row = rowOf(stack)
          return isFloat(row.dtype) ? standIn(row) : row.cast(state[k]!.dtype)
        }),
      )
      const wanted = [...floats.map((k) => leaves[k]!), ...outside]
      const given = state.map((_, k) => gradients[floats.indexOf(k)])
      const found = gradientsThrough(() => body(leaves), wanted, given)
      const next = found.map((g, i) => {
        if (i >= floats.length) return gradients[i]!.add(g)
        const ofState = gs[length + floats[i]!]
        return ofState === undefined ? g : g.add(rowOf(ofState))
      })
      return [at!.sub(1), ...next]
    }
    const backward = { condition: ([at]: Tensors) => at!.ge(0), body: step }
    const limit = isRecording() ? maxSteps : Infinity
    const [, ...found] = loop(recorder, backward, begin, limit)
    const ofState = state.map((_, k) => (floats.includes(k) ? found[floats.indexOf(k)] : undefined))
    return [...ofState, ...found.slice(floats.length)]
  })
  return finals
}

const counter = ([first]: Tensors): Tensor => zeros([], { dtype: 'int32', device: first!.device })

/** A loop over one state more: the number of steps so far. */
const counted = ({ condition, body }: LoopFunctions, maxSteps: number): LoopFunctions => ({
  condition: ([i, ...s]) => i!.lt(maxSteps).logicalAnd(condition(s).reshape([])),
  body: ([i, ...s]) => [i!.add(1), ...body(s)],
})

/** Gradients by `leaves` of what `run` computes from them, zeros where there is no influence. */
function gradientsThrough(run: () => Tensors, leaves: Tensors, gs: Gradients): Tensor[] {
  const createGraph = isRecording()
  const since = lastSequence()
  const results = enableGrad(run)
  const reached = results.flatMap((t, i) => (t.requiresGrad && gs[i] !== undefined ? [i] : []))
  const found = gradientsOf(
    reached.map((i) => results[i]!),
    leaves,
    {
      gradients: reached.map((i) => gs[i]),
      since,
      createGraph,
      continues: new Set(leaves),
    },
  )
  return leaves.map((leaf, i) => found[i] ?? engine().zerosLike(leaf))
}

/** Puts one entry for all of it on the tape. */
function enter(
  name: string,
  inputs: Tensors,
  outputs: Tensors,
  rule: (gs: Gradients) => Gradients,
): void {
  if (!isRecording() || !inputs.some((t) => t.requiresGrad)) return
  const op = makeOp({
    name,
    kind: 'elementwise',
    onnx: undefined,
    infer: () => [],
    lower: () => [],
    saves: 'none',
    vjp: ({ gs }) => rule(gs),
  })
  const facts = { shapes: inputs.map((t) => t.shape), dtypes: inputs.map((t) => t.dtype) }
  const node = new GradNode(op, {}, facts, inputs, outputs)
  outputs.forEach((t, i) => isFloat(t.dtype) && node.own(t, i))
}

const apart = (where: string, value: unknown): Tree => takeApart(where, value, { merges: false })

const foundBy = (parts: readonly TracedPart[]): Tensor[] => [
  ...new Set(parts.flatMap(({ scope }) => [...scope.found])),
]

type Looks = readonly Pick<Tensor, 'shape' | 'dtype'>[]

function checkSame(what: string, a: Looks, b: Looks): void {
  const isSame =
    a.length === b.length &&
    a.every(({ shape, dtype }, i) => dtype === b[i]!.dtype && sameShape(shape, b[i]!.shape))
  if (isSame) return
  const text = (list: Looks) =>
    list.map(({ shape, dtype }) => `${dtype} ${formatShape(shape)}`).join(', ')
  throw new TraceError(
    `${what} differ: ${text(a)} and ${text(b)}. In a compiled function their shapes and dtypes must be the same`,
  )
}
