/** @file The one way every operation goes: infer, find or build its plan, run it, record it. */
import { bytesFor, type Backend, type Block } from '../backend/backend.ts'
import { launchKernel } from '../backend/profiling.ts'
import { dtypes, isFloat } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import { config } from '../util/config.ts'
import { DeviceError, InternalError } from '../util/errors.ts'
import { checkForNaN } from './nan-check.ts'
import type { Op } from './op.ts'
import { makePlan } from './plan.ts'
import type { Plan } from './plan-table.ts'
import { noteBlock } from './scope.ts'
import { GradNode, isRecording } from './tape.ts'
import { Tensor } from './tensor.ts'
import { leakedTensor, tracing } from './tracing.ts'
import type { Attributes } from './types.ts'

const none: Attributes = Object.freeze({})

/**
 * Runs an op on tensors and numbers. `key` is a text that differs for different attributes. Numbers
 * are handed to the kernel at launch; they are no part of its code. The tape may keep the list of
 * inputs, so nobody changes it afterwards.
 */
export function dispatch<A extends Attributes>(
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A = none as A,
  key = '',
): Tensor {
  return dispatchOn(backendOf(op, inputs), op, inputs, attributes, key, 0)[0]!
}

/** As `dispatch`, with all outputs. Where bit i of `inPlace` is set, output i takes over the memory of input i. */
export function dispatchAll<A extends Attributes>(
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A = none as A,
  key = '',
  inPlace = 0,
): Tensor[] {
  return dispatchOn(backendOf(op, inputs), op, inputs, attributes, key, inPlace)
}

/**
 * As `dispatch`, for an elementwise op with which a gradient rule reads `g`, the gradient it was given, for the
 * last time. Where nobody else holds it (Note [Gradient memory]), the result takes its place.
 */
export function dispatchOver(op: Op, g: Tensor, saved: readonly (Tensor | number)[]): Tensor {
  return dispatchAll(op, [g, ...saved], undefined, '', canGiveWay(g, saved) ? 1 : 0)[0]!
}

// What the tape saved is never the gradient's own block, which must not be saved.
function canGiveWay(g: Tensor, saved: readonly (Tensor | number)[]): boolean {
  const { internal, pending, saves } = g.storage
  if (!internal || pending !== 1 || saves !== 0 || isRecording()) return false
  return isReplaceable(g) && saved.every((x) => typeof x === 'number' || x.dtype === g.dtype)
}

// Whether an elementwise result of the same dtype would have the same form. The NaN check looks at inputs afterwards.
function isReplaceable({ dtype, layout, offset, size, storage }: Tensor): boolean {
  const isWhole = offset === 0 && storage.bytes === bytesFor(dtypes[dtype].bytes, size)
  return isWhole && layout.contiguous && !config.checkNaN
}

/** As `dispatch`, for an elementwise op on a float tensor that the caller alone holds: the result may take its place. */
export function dispatchOnto(op: Op, x: Tensor): Tensor {
  const { pending, saves } = x.storage
  const isRead = pending > 0 || saves > 0 || (op.savesInputs && isRecording())
  const inPlace = !isRead && isFloat(x.dtype) && isReplaceable(x)
  return dispatchAll(op, [x], undefined, '', inPlace ? 1 : 0)[0]!
}

/** As `dispatchAll`, on a given backend: for ops that take no tensor, such as random draws. */
export function dispatchOn<A extends Attributes>(
  backend: Backend,
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A,
  key: string,
  inPlace = 0,
): Tensor[] {
  if (tracing !== undefined) return record(op, inputs, attributes, key)
  let plan = op.plans.find(backend, inputs, key)
  if (plan === undefined) {
    // A known plan has all its inputs on its backend.
    checkDevices(op.name, inputs)
    plan = makePlan(op, backend, inputs, attributes, key)
  }
  const outputs = allocate(plan, inputs, inPlace)
  launch(op, plan, inputs, outputs, attributes)
  if (isRecording() && op.vjp !== undefined && needGradient(inputs)) {
    const node = new GradNode(op as unknown as Op, attributes, plan, inputs, outputs)
    for (let i = 0; i < outputs.length; i++) if (plan.outputs[i]!.isFloat) node.own(outputs[i]!, i)
  }
  if (config.checkNaN) checkForNaN(op.name, inputs, outputs)
  return outputs
}

function record<A extends Attributes>(
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A,
  key: string,
): Tensor[] {
  const any = op as unknown as Op
  const { outputs, facts } = tracing!.call(any, inputs, attributes, key)
  if (isRecording() && op.vjp !== undefined && needGradient(inputs)) {
    const node = new GradNode(any, attributes, facts, inputs, outputs)
    outputs.forEach((output, i) => isFloat(output.dtype) && node.own(output, i))
  }
  return outputs
}

/** A view: the same memory under another layout, recorded like any operation. */
export function dispatchView<A extends Attributes>(
  op: Op<A>,
  x: Tensor,
  layout: Layout,
  offset: number,
  attributes: A = none as A,
): Tensor {
  const { storage, backend } = tracing === undefined ? x : tracing.stand(x)
  const view = new Tensor(storage, layout, offset, x.dtype, backend)
  if (isRecording() && x.requiresGrad) recordViews(op, x, [view], attributes)
  return view
}

/** Views of one tensor, recorded as one operation: their gradients come back together. */
export function dispatchViews<A extends Attributes>(
  op: Op<A>,
  x: Tensor,
  places: readonly { readonly layout: Layout; readonly offset: number }[],
  attributes: A = none as A,
): Tensor[] {
  const { storage, backend } = tracing === undefined ? x : tracing.stand(x)
  const views = places.map(
    ({ layout, offset }) => new Tensor(storage, layout, offset, x.dtype, backend),
  )
  if (isRecording() && x.requiresGrad) recordViews(op, x, views, attributes)
  return views
}

function recordViews<A extends Attributes>(
  op: Op<A>,
  x: Tensor,
  views: readonly Tensor[],
  attributes: A,
): void {
  const facts = { shapes: [x.layout.shape], dtypes: [x.dtype] }
  const node = new GradNode(op as unknown as Op, attributes, facts, [x], views)
  for (let i = 0; i < views.length; i++) node.own(views[i]!, i)
}

function needGradient(inputs: readonly (Tensor | number)[]): boolean {
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i]!
    if (typeof x === 'object' && x.requiresGrad) return true
  }
  return false
}

function backendOf<A extends Attributes>(op: Op<A>, inputs: readonly (Tensor | number)[]): Backend {
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i]!
    if (typeof x === 'object') return x.backend
  }
  throw new InternalError(`internal: ${op.name}: at least one input must be a tensor`)
}

function checkDevices(name: string, inputs: readonly (Tensor | number)[]): void {
  const tensors = inputs.filter((x) => typeof x === 'object')
  const a = tensors[0]
  const b = tensors.find((x) => x.backend !== a!.backend)
  if (a === undefined || b === undefined) return
  if (a.backend.symbolic || b.backend.symbolic) throw leakedTensor()
  throw new DeviceError(
    `${name}: tensors on different devices: ${a.device} and ${b.device}. Move one of them: t.to('${a.device}')`,
  )
}

// -- running

function allocate(plan: Plan, inputs: readonly (Tensor | number)[], inPlace: number): Tensor[] {
  const { backend, outputs } = plan
  // The list of one, the usual case, is made where its length is known.
  const made: Tensor[] = outputs.length === 1 ? [undefined!] : new Array(outputs.length)
  for (let i = 0; i < outputs.length; i++) {
    const { layout, dtype, bytes } = outputs[i]!
    let storage: Block
    if ((inPlace & (1 << i)) === 0) {
      storage = backend.allocate(bytes)
      noteBlock(backend, storage)
    } else storage = (inputs[i] as Tensor).storage
    made[i] = new Tensor(storage, layout, 0, dtype, backend)
  }
  return made
}

// One call runs at a time, so the argument lists are reused; those of numbers have the right lengths.
const blocks: (Block | undefined)[] = []
const offsets: number[] = []
const paramLists: number[][] = [[]]

function launch<A extends Attributes>(
  op: Op<A>,
  plan: Plan,
  inputs: readonly (Tensor | number)[],
  outputs: readonly Tensor[],
  attributes: A,
): void {
  const { backend, steps } = plan
  const temporaries =
    plan.temporaries.length === 0
      ? undefined
      : plan.temporaries.map((bytes) => backend.allocate(bytes))
  const params = plan.paramCount === 0 ? paramLists[0]! : paramsOf(plan, inputs)
  const inputCount = inputs.length
  let isRight = true
  for (let s = 0; s < steps.length && isRight; s++) {
    const { executable, operands, sizes } = steps[s]!
    for (let i = 0; i < operands.length; i++) {
      const operand = operands[i]!
      const k = operand - inputCount
      if (k < 0) {
        const x = inputs[operand] as Tensor
        blocks[i] = x.storage
        offsets[i] = x.offset
      } else {
        blocks[i] = k < outputs.length ? outputs[k]!.storage : temporaries![k - outputs.length]!
        offsets[i] = 0
      }
    }
    isRight = launchKernel(executable, blocks as Block[], offsets, sizes, params)
    // What stays in the list could not be collected.
    for (let i = 0; i < operands.length; i++) blocks[i] = undefined
  }
  if (temporaries !== undefined) for (const block of temporaries) backend.free(block)
  if (isRight) return
  const tensors = inputs.filter((x) => typeof x === 'object')
  throw op.complain?.(tensors, attributes) ?? new Error(`${op.name}: a check failed`)
}

function paramsOf({ paramCount }: Plan, inputs: readonly (Tensor | number)[]): number[] {
  const params = (paramLists[paramCount] ??= new Array<number>(paramCount).fill(0))
  let next = 0
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i]!
    if (typeof x === 'number') params[next++] = x
  }
  return params
}
