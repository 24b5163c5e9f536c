/** @file Plans: everything about a call that depends on dtypes, layouts and attributes, but not on data. */
import type { Backend, Executable } from '../backend/backend.ts'
import { canonicalize } from '../codegen/canonical.ts'
import { KernelBuilder, type Operand } from '../codegen/kernel-builder.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import { layoutOf, type Layout } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import { printGroup } from '../ir/print-group.ts'
import { debug } from '../util/config.ts'
import type { InputSpec, LowerContext, Op } from './op.ts'
import type { Tensor } from './tensor.ts'
import type { Attributes } from './types.ts'

/** A compiled call: what to allocate, and which kernels to launch on which operands. */
export interface Plan {
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

/** The plans of one op on one backend. Two exact calls in a row do not even hash. */
export interface PlanCache {
  readonly backend: Backend
  readonly byNumber: Map<number, Plan>
  readonly byText: Map<string, Plan>
  lastKey: number
  lastPlan: Plan | undefined
}

const kernels = new WeakMap<Backend, Map<string, Executable>>()
/** Plans and kernels beyond these counts push out the oldest. */
const planLimit = 4096
const kernelLimit = 2048

const noSizes: readonly number[] = []

/** The plan of a call; built on the first one of its kind. `key` tells attributes apart. */
export function findPlan<A extends Attributes>(
  op: Op<A>,
  backend: Backend,
  inputs: readonly (Tensor | number)[],
  attributes: A,
  key: string,
): Plan {
  const cache = cacheOf(op, backend)
  const short = key === '' ? shortKey(inputs) : -1
  if (short >= 0) {
    if (cache.lastKey === short) return cache.lastPlan!
    let plan = cache.byNumber.get(short)
    if (plan === undefined) {
      plan = buildPlan(op, backend, inputs, attributes)
      trim(cache.byNumber, planLimit)
      cache.byNumber.set(short, plan)
    }
    cache.lastKey = short
    cache.lastPlan = plan
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

function cacheOf<A extends Attributes>(op: Op<A>, backend: Backend): PlanCache {
  const caches = (op.plans ??= [])
  for (const cache of caches) if (cache.backend === backend) return cache
  const cache: PlanCache = {
    backend,
    byNumber: new Map(),
    byText: new Map(),
    lastKey: -1,
    lastPlan: undefined,
  }
  caches.push(cache)
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
            debug(5, () => `as written: ${printGroup(group)}`)
            debug(3, () => printGroup(ready))
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
    return {
      shape: [],
      ndim: -1,
      layout: scalarLayout,
      dtype: isInt ? 'int32' : 'float32',
      scalar: 'f64',
    }
  }
  const { shape } = x.layout
  return { shape, ndim: shape.length, layout: x.layout, dtype: x.dtype, scalar: undefined }
}
