/** @file The one way every operation goes: infer, find or build its plan, run it, record it. */
import type { Backend, Block, Executable } from '../backend/backend.ts'
import { canonicalize } from '../codegen/canonical.ts'
import { KernelBuilder, type Operand } from '../codegen/kernel-builder.ts'
import { dtypes, type DType, type ScalarType } from '../core/dtype.ts'
import { layoutOf, type Layout } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import { config, debug } from '../util/config.ts'
import { assert, DeviceError } from '../util/errors.ts'
import { describeKernel } from './describe.ts'
import { checkForNaN } from './nan-check.ts'
import type { InputSpec, LowerContext, Op } from './op.ts'
import { noteBlock } from './scope.ts'
import { GradNode, isRecording } from './tape.ts'
import { Tensor } from './tensor.ts'
import type { Attributes } from './types.ts'

/** A compiled call: everything that depends on dtypes, layouts and attributes, but not on data. */
interface Plan {
  readonly outputs: readonly {
    readonly layout: Layout
    readonly dtype: DType
    readonly bytes: number
  }[]
  readonly temporaries: readonly number[]
  readonly steps: readonly {
    readonly executable: Executable
    readonly operands: readonly number[]
    readonly sizes: readonly number[]
  }[]
}

/** Plans of one op on one backend. */
interface PlanCache {
  readonly byNumber: Map<number, Plan>
  readonly byText: Map<string, Plan>
}

const plans = new WeakMap<Backend, Map<Op<never>, PlanCache>>()
const kernels = new WeakMap<Backend, Map<string, Executable>>()
/** Plans and kernels beyond these counts push out the oldest. */
const planLimit = 4096
const kernelLimit = 2048

const none: Attributes = Object.freeze({})
const noSizes: readonly number[] = []

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
  const backend = backendOf(op.name, inputs)
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

// -- plans

function findPlan<A extends Attributes>(
  op: Op<A>,
  backend: Backend,
  inputs: readonly (Tensor | number)[],
  attributes: A,
  key: string,
): Plan {
  const cache = cacheOf(op, backend)
  const short = key === '' ? shortKey(inputs) : -1
  if (short >= 0) {
    const known = cache.byNumber.get(short)
    if (known !== undefined) return known
    const plan = buildPlan(op, backend, inputs, attributes)
    trim(cache.byNumber, planLimit)
    cache.byNumber.set(short, plan)
    return plan
  }
  let text = key
  for (const x of inputs)
    text += typeof x === 'number' ? `;${weakCode(x)}` : `;${x.layout.id}:${dtypes[x.dtype].code}`
  const known = cache.byText.get(text)
  if (known !== undefined) return known
  const plan = buildPlan(op, backend, inputs, attributes)
  trim(cache.byText, planLimit)
  cache.byText.set(text, plan)
  return plan
}

function cacheOf(op: Op<never>, backend: Backend): PlanCache {
  let ofBackend = plans.get(backend)
  if (ofBackend === undefined) plans.set(backend, (ofBackend = new Map()))
  let cache = ofBackend.get(op)
  if (cache === undefined) ofBackend.set(op, (cache = { byNumber: new Map(), byText: new Map() }))
  return cache
}

// Up to two operands fit one exact integer: 22 bits of layout and 4 of dtype each.
function shortKey(inputs: readonly (Tensor | number)[]): number {
  if (inputs.length > 2) return -1
  let key = inputs.length
  for (const x of inputs) {
    const id = typeof x === 'number' ? 0 : x.layout.id
    if (id >= 1 << 22) return -1
    key = key * (1 << 25) + id * 16 + (typeof x === 'number' ? weakCode(x) : dtypes[x.dtype].code)
    if (key > Number.MAX_SAFE_INTEGER) return -1
  }
  return key
}

// Whole and fractional numbers promote differently.
const weakCode = (x: number): number => (Number.isInteger(x) ? 14 : 15)

function trim(map: Map<unknown, unknown>, limit: number): void {
  if (map.size >= limit) map.delete(map.keys().next().value)
}

function buildPlan<A extends Attributes>(
  op: Op<A>,
  backend: Backend,
  inputs: readonly (Tensor | number)[],
  attributes: A,
): Plan {
  const specs = inputs.map(specOf)
  const outputs = op.infer(specs, attributes).map(({ shape, dtype }) => operandOf(shape, dtype))
  debug(2, () => `${op.name}(${specs.map(text).join(', ')}) -> ${outputs.map(text).join(', ')}`)
  const operands: Operand[] = [...specs, ...outputs]
  const temporaries: Operand[] = []
  const params = specs.filter((x) => x.scalar !== undefined).map((x) => x.scalar!)
  const context: LowerContext<A> = {
    attributes,
    inputs: specs,
    outputs,
    out: (i = 0) => specs.length + i,
    temporary(shape, dtype) {
      const operand = operandOf(shape, dtype)
      temporaries.push(operand)
      operands.push(operand)
      return operands.length - 1
    },
    kernel: (name = op.name) => new KernelBuilder(name, operands, params),
  }
  const isEmpty = outputs.every((x) => x.layout.size === 0)
  const steps = isEmpty
    ? []
    : op.lower(context).map(({ s, group, operands: used }) => {
        const { group: ready, sizes, key } = canonicalize(s, group, op.specialize ?? false)
        return {
          executable: executableOf(backend, key, () => {
            debug(3, () => describeKernel(ready))
            return backend.compile(s, ready)
          }),
          operands: used,
          sizes: sizes.length === 0 ? noSizes : sizes,
        }
      })
  const bytesOf = (x: Operand) => Math.max(1, x.layout.size) * dtypes[x.dtype].bytes
  return {
    outputs: outputs.map((x) => ({ layout: x.layout, dtype: x.dtype, bytes: bytesOf(x) })),
    temporaries: temporaries.map(bytesOf),
    steps,
  }
}

const text = (x: Operand) => `${x.dtype}[${x.layout.shape.join(', ')}]`

function executableOf(backend: Backend, key: string, compile: () => Executable): Executable {
  let known = kernels.get(backend)
  if (known === undefined) kernels.set(backend, (known = new Map()))
  const found = known.get(key)
  if (found !== undefined) return found
  const begin = performance.now()
  const made = compile()
  debug(
    1,
    () => `${backend.name}: compiled ${made.name} in ${(performance.now() - begin).toFixed(2)} ms`,
  )
  trim(known, kernelLimit)
  known.set(key, made)
  return made
}

function operandOf(shape: Shape, dtype: DType): Operand {
  return { layout: layoutOf(shape), dtype }
}

const scalarLayout = layoutOf([])

function specOf(x: Tensor | number): InputSpec {
  if (typeof x === 'number') {
    const isInt = Number.isInteger(x)
    const scalar: ScalarType = 'f64'
    return { shape: [], ndim: -1, layout: scalarLayout, dtype: isInt ? 'int32' : 'float32', scalar }
  }
  const { shape } = x.layout
  return { shape, ndim: shape.length, layout: x.layout, dtype: x.dtype, scalar: undefined }
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
