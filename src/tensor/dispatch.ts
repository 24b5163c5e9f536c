/** @file The one way every operation goes: infer, find or build its plan, run it, record it. */
import type { Backend, Block } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import { config } from '../util/config.ts'
import { assert, DeviceError } from '../util/errors.ts'
import { checkForNaN } from './nan-check.ts'
import type { Op } from './op.ts'
import { findPlan, type Plan } from './plan.ts'
import { noteBlock } from './scope.ts'
import { GradNode, isRecording } from './tape.ts'
import { Tensor } from './tensor.ts'
import type { Attributes } from './types.ts'

const none: Attributes = Object.freeze({})

/**
 * Runs an op on tensors and numbers. `key` is a text that differs for different attributes. Numbers
 * are handed to the kernel at launch; they are no part of its code.
 */
export function dispatch<A extends Attributes>(
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A = none as A,
  key = '',
): Tensor {
  return dispatchAll(op, inputs, attributes, key)[0]!
}

/** As `dispatch`, with all outputs. `reuse[i]` may name an input whose memory output i takes over. */
export function dispatchAll<A extends Attributes>(
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A = none as A,
  key = '',
  reuse?: readonly (number | undefined)[],
): Tensor[] {
  return dispatchOn(backendOf(op.name, inputs), op, inputs, attributes, key, reuse)
}

/** As `dispatchAll`, on a given backend: for ops that take no tensor, such as random draws. */
export function dispatchOn<A extends Attributes>(
  backend: Backend,
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  attributes: A = none as A,
  key = '',
  reuse?: readonly (number | undefined)[],
): Tensor[] {
  const plan = findPlan(op, backend, inputs, attributes, key)
  const outputs = launch(op, plan, backend, inputs, attributes, reuse)
  if (isRecording() && op.vjp !== undefined) record(op, inputs, outputs, attributes)
  if (config.checkNaN) checkForNaN(op.name, inputs, outputs)
  return outputs
}

/** A view: the same memory under another layout, recorded like any operation. */
export function dispatchView<A extends Attributes>(
  op: Op<A>,
  x: Tensor,
  layout: Layout,
  offset: number,
  attributes: A,
): Tensor {
  const view = new Tensor(x.storage, layout, offset, x.dtype, x.backend)
  if (isRecording() && x.requiresGrad) record(op, [x], [view], attributes)
  return view
}

function record<A extends Attributes>(
  op: Op<A>,
  inputs: readonly (Tensor | number)[],
  outputs: readonly Tensor[],
  attributes: A,
): void {
  if (!inputs.some((x) => typeof x === 'object' && x.requiresGrad)) return
  const node = new GradNode(op as unknown as Op, attributes, inputs, outputs)
  outputs.forEach((output, i) => {
    if (dtypes[output.dtype].kind !== 'float') return
    output.requiresGrad = true
    output.node = node
    output.outputIndex = i
  })
}

function backendOf(name: string, inputs: readonly (Tensor | number)[]): Backend {
  let found: Tensor | undefined
  for (const x of inputs) {
    if (typeof x !== 'object') continue
    if (found === undefined) found = x
    else if (x.backend !== found.backend) throw mixedDevices(name, found, x)
  }
  assert(found !== undefined, `${name}: at least one input must be a tensor`)
  return found.backend
}

function mixedDevices(name: string, a: Tensor, b: Tensor): DeviceError {
  return new DeviceError(
    `${name}: tensors on different devices: ${a.device} and ${b.device}. Move one of them: t.to('${a.device}')`,
  )
}

// -- running

// One call runs at a time, so the argument lists are reused.
const blocks: Block[] = []
const offsets: number[] = []
const params: number[] = []

function launch<A extends Attributes>(
  op: Op<A>,
  plan: Plan,
  backend: Backend,
  inputs: readonly (Tensor | number)[],
  attributes: A,
  reuse: readonly (number | undefined)[] | undefined,
): Tensor[] {
  const outputs: Tensor[] = new Array(plan.outputs.length)
  for (let i = 0; i < outputs.length; i++) {
    const { layout, dtype, bytes } = plan.outputs[i]!
    const from = reuse?.[i]
    const storage = from === undefined ? backend.allocate(bytes) : (inputs[from] as Tensor).storage
    if (from === undefined) noteBlock(backend, storage)
    outputs[i] = new Tensor(storage, layout, 0, dtype, backend)
  }
  const temporaries =
    plan.temporaries.length === 0
      ? undefined
      : plan.temporaries.map((bytes) => backend.allocate(bytes))
  const inputCount = inputs.length
  params.length = 0
  for (let i = 0; i < inputCount; i++) {
    const x = inputs[i]!
    if (typeof x === 'number') params.push(x)
  }
  for (const { executable, operands, sizes } of plan.steps) {
    for (let i = 0; i < operands.length; i++) {
      const operand = operands[i]!
      if (operand < inputCount) {
        const x = inputs[operand] as Tensor
        blocks[i] = x.storage
        offsets[i] = x.offset
      } else {
        const k = operand - inputCount
        blocks[i] = k < outputs.length ? outputs[k]!.storage : temporaries![k - outputs.length]!
        offsets[i] = 0
      }
    }
    if (!executable.launch(blocks, offsets, sizes, params)) {
      temporaries?.forEach((block) => backend.free(block))
      const tensors = inputs.filter((x) => typeof x === 'object')
      throw op.complain?.(tensors, attributes) ?? new Error(`${op.name}: a check failed`)
    }
  }
  temporaries?.forEach((block) => backend.free(block))
  return outputs
}
