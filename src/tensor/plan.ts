/** @file Plans: everything about a call that depends on dtypes, layouts and attributes, but not on data. */
import { bytesFor, type Backend, type CodeShelf, type Executable } from '../backend/backend.ts'
import { canonicalize, groupKey, type CanonicalGroup } from '../codegen/canonical.ts'
import { KernelBuilder, type Operand, type Step } from '../codegen/kernel-builder.ts'
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import type { Shape } from '../core/shape.ts'
import type { Group } from '../ir/group.ts'
import { printGroup } from '../ir/print-group.ts'
import { debug } from '../util/config.ts'
import type { InputSpec, Op } from './op.ts'
import { allPlans, filterPlans, hashOf, now, type Plan } from './plan-table.ts'
import type { Tensor } from './tensor.ts'
import type { Attributes } from './types.ts'

/** Builds the plan of a call and keeps it with its op. `key` tells attributes apart. */
export function makePlan<A extends Attributes>(
  op: Op<A>,
  backend: Backend,
  inputs: readonly (Tensor | number)[],
  attributes: A,
  key: string,
): Plan {
  const specs = inputs.map(specOf)
  const { outputs, temporaries, steps } = compile(op, backend, specs, attributes)
  const plan: Plan = {
    backend,
    key,
    layouts: specs.map((x) => (x.scalar === undefined ? x.layout : undefined)),
    dtypes: specs.map((x) => x.dtype),
    shapes: specs.map((x) => x.shape),
    outputs,
    temporaries,
    steps,
    paramCount: specs.filter((x) => x.scalar !== undefined).length,
    hash: hashOf(inputs, key),
    used: 0,
    next: undefined,
  }
  op.plans.add(plan)
  return plan
}

function compile<A extends Attributes>(
  op: Op<A>,
  backend: Backend,
  specs: readonly InputSpec[],
  attributes: A,
): Pick<Plan, 'outputs' | 'temporaries' | 'steps'> {
  const { outputs, temporaries, steps } = lowerCall(op, specs, attributes)
  debug(2, () => `${op.name}(${specs.map(text).join(', ')}) -> ${outputs.map(text).join(', ')}`)
  return {
    outputs: outputs.map((x) => ({
      layout: x.layout,
      dtype: x.dtype,
      isFloat: isFloat(x.dtype),
      bytes: operandBytes(x),
    })),
    temporaries: temporaries.map(operandBytes),
    steps: steps.map((step) => ({
      ...kernelOf(backend, step, op.specialize),
      operands: step.operands,
    })),
  }
}

/** What a call computes and by which kernels; their operands are the inputs, then outputs, then temporaries. */
export function lowerCall<A extends Attributes>(
  op: Op<A>,
  specs: readonly InputSpec[],
  attributes: A,
): {
  readonly outputs: readonly Operand[]
  readonly temporaries: readonly Operand[]
  readonly steps: readonly Step[]
} {
  const outputs = op.infer(specs, attributes).map(({ shape, dtype }) => operandOf(shape, dtype))
  const operands: Operand[] = [...specs, ...outputs]
  const temporaries: Operand[] = []
  const params = specs.filter((x) => x.scalar !== undefined).map((x) => x.scalar!)
  const isEmpty = outputs.every((x) => x.layout.size === 0)
  if (isEmpty) return { outputs, temporaries, steps: [] }
  const steps = op.lower({
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
  })
  return { outputs, temporaries, steps }
}

/** The kernel of a step, compiled unless one like it was before, and the sizes to launch it with. */
export function kernelOf(
  backend: Backend,
  step: Pick<Step, 's' | 'group'>,
  specialize: Op['specialize'] = false,
): SizedKernel {
  return preparedKernel(backend, prepareKernel(step, specialize))
}

/** A kernel, and the sizes to launch it with. */
export interface SizedKernel {
  readonly executable: Executable
  readonly sizes: readonly number[]
}

/** All about a kernel but its code. */
export interface PreparedKernel extends CanonicalGroup {
  readonly step: Pick<Step, 's' | 'group'>
}

/** The first half of `kernelOf`: the kernel's key is known, and nothing compiled yet. */
export function prepareKernel(
  step: Pick<Step, 's' | 'group'>,
  specialize: Op['specialize'] = false,
): PreparedKernel {
  return { step, ...canonicalize(step.s, step.group, specialize) }
}

/** As `prepareKernel`, of many: those of equal layers, which are written alike, are brought into form once. */
export function prepareKernels(
  kernels: readonly {
    readonly step: Pick<Step, 's' | 'group'>
    readonly specialize?: Op['specialize']
  }[],
): PreparedKernel[] {
  const known = new Map<string, PreparedKernel>()
  // Most are the same group, so that nothing need be written out.
  const texts = new Map<Group, string>()
  return kernels.map(({ step, specialize }) => {
    const { group } = step
    let text = texts.get(group)
    if (text === undefined) texts.set(group, (text = groupKey(group)))
    const written = `${specialize}|${text}`
    let prepared = known.get(written)
    if (prepared === undefined) known.set(written, (prepared = prepareKernel(step, specialize)))
    return prepared
  })
}

/** The second half of `kernelOf`. Code that is on the shelf is not made anew. */
export function preparedKernel(
  backend: Backend,
  { step, group, sizes, key }: PreparedKernel,
  shelf?: CodeShelf,
): SizedKernel {
  const executable = executableOf(backend, key, () => {
    debug(5, () => `as written: ${printGroup(step.group)}`)
    debug(3, () => printGroup(group))
    const made = backend.compile(step.s, group, shelf?.slot(key))
    groups.set(made, group)
    return made
  })
  return { executable, sizes: sizes.length === 0 ? noSizes : sizes }
}

/** Whether kernels of these keys are all in memory. */
export function areCompiled(backend: Backend, keys: readonly string[]): boolean {
  const kernels = kernelsOf.get(backend)
  return kernels !== undefined && keys.every((key) => kernels.has(key))
}

const groups = new WeakMap<Executable, Group>()

/** What a kernel computes; undefined for what `kernelOf` did not make. */
export const groupOf = (executable: Executable): Group | undefined => groups.get(executable)

/** Bytes that an operand takes. */
export const operandBytes = ({ layout, dtype }: Operand): number =>
  bytesFor(dtypes[dtype].bytes, layout.size)

const noSizes: readonly number[] = []

const text = (x: Operand) => `${x.dtype}[${x.layout.shape.join(', ')}]`

// -- kernels

interface Kernel {
  readonly executable: Executable
  /** The `used` of the plan that asked for it last. */
  used: number
}

const kernelsOf = new WeakMap<Backend, Map<string, Kernel>>()
/** How many kernels a backend has before a quarter of them, those not run for longest, is given up. */
const kernelLimit = 2048
/** How many programs hold a kernel, so that it is not given up, and how many of a backend's are held. */
const holders = new Map<Executable, number>()
const heldCount = new WeakMap<Backend, number>()

/** Keeps a kernel from being given up until `letGoKernel` is called as often. */
export function holdKernel(backend: Backend, executable: Executable): void {
  const count = holders.get(executable) ?? 0
  holders.set(executable, count + 1)
  if (count === 0) heldCount.set(backend, (heldCount.get(backend) ?? 0) + 1)
}

/** Takes `holdKernel` back. */
export function letGoKernel(backend: Backend, executable: Executable): void {
  const count = holders.get(executable)!
  if (count > 1) holders.set(executable, count - 1)
  else {
    holders.delete(executable)
    heldCount.set(backend, heldCount.get(backend)! - 1)
  }
}

function executableOf(backend: Backend, key: string, compile: () => Executable): Executable {
  let kernels = kernelsOf.get(backend)
  if (kernels === undefined) kernelsOf.set(backend, (kernels = new Map()))
  const known = kernels.get(key)
  if (known !== undefined) {
    known.used = now() + 1
    return known.executable
  }
  if (kernels.size - (heldCount.get(backend) ?? 0) >= kernelLimit) giveUpOldest(kernels)
  const begin = performance.now()
  const executable = compile()
  debug(
    1,
    () =>
      `${backend.name}: compiled ${executable.name} in ${(performance.now() - begin).toFixed(2)} ms`,
  )
  kernels.set(key, { executable, used: now() + 1 })
  return executable
}

// Plans whose kernels are given up are forgotten with them, so that none is left to launch one. The
// kernels of the plan in the making, which no table has yet, are the newest.
function giveUpOldest(kernels: Map<string, Kernel>): void {
  const lastUse = new Map<Executable, number>()
  for (const { steps, used } of allPlans())
    for (const { executable } of steps)
      lastUse.set(executable, Math.max(used, lastUse.get(executable) ?? 0))
  const age = ({ executable, used }: Kernel) => Math.max(used, lastUse.get(executable) ?? 0)
  const oldest = [...kernels]
    .filter(([, { executable }]) => !holders.has(executable))
    .sort(([, a], [, b]) => age(a) - age(b))
    .slice(0, kernelLimit >> 2)
  const gone = new Set(oldest.map(([, { executable }]) => executable))
  filterPlans(({ steps }) => !steps.some(({ executable }) => gone.has(executable)))
  for (const [key] of oldest) kernels.delete(key)
  for (const executable of gone) executable.release?.()
}

// -- operands

function operandOf(shape: Shape, dtype: DType): Operand {
  return { layout: layoutOf(shape), dtype }
}

const scalarLayout = layoutOf([])

/** A tensor or a number as inference sees it; a number that is not known yet counts as a float. */
export function specOf(x: Operand | number | undefined): InputSpec {
  if (typeof x === 'object') {
    const { shape } = x.layout
    return { shape, ndim: shape.length, layout: x.layout, dtype: x.dtype, scalar: undefined }
  }
  const dtype = Number.isInteger(x) ? 'int32' : 'float32'
  return { shape: [], ndim: -1, layout: scalarLayout, dtype, scalar: 'f64' }
}
