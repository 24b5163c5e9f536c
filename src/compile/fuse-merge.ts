/** @file Puts the expressions of one kernel into another, and takes axes apart where that needs it. */
import type { Axis, Expr, Index } from '../ir/expr.ts'
import { ExprBuilder } from '../ir/expr.ts'
import type { BufferSpec, Group, Store } from '../ir/group.ts'
import type { Coordinates, Linear, Split } from './fuse-index.ts'
import { scheduledCalls, type Operand, type ScheduledKernel } from './schedule.ts'

/** What stands in the place of a load: a value that the producer stores, at these coordinates. */
export interface Image extends Coordinates {
  readonly value: Expr
}

/** The same kernel with several axes in the place of one. */
export function splitAxis(kernel: ScheduledKernel, { axis, extents }: Split): ScheduledKernel {
  const s = new ExprBuilder()
  const parts = extents.map((extent) => s.axis(extent))
  let step = 1
  const terms = parts.toReversed().map((part, i, { length }) => {
    const term = { index: s.at(part), step }
    step *= extents[length - 1 - i]!
    return term
  })
  const image = { offset: 0, terms: terms.toReversed() }
  const spread = (axes: readonly Axis[]) => axes.flatMap((x) => (x === axis ? parts : [x]))
  const copy = copier(s, {
    imageOf: (x) => (x === axis ? image : undefined),
    axesOf: spread,
  })
  const { group } = kernel.step
  return {
    ...kernel,
    step: {
      s,
      group: {
        ...group,
        axes: spread(group.axes),
        checks: group.checks.map((check) => copy(check)),
        stores: group.stores.map((store) => ({
          ...store,
          index: copy.index(store.index),
          value: copy(store.value),
        })),
      },
    },
  }
}

/**
 * The consumer with what the producer stores in the places of the loads that `images` names; what is between
 * them is stored all the same if it is to be kept.
 */
export function merge(
  producer: ScheduledKernel,
  consumer: ScheduledKernel,
  images: ReadonlyMap<Expr, Image>,
  isKept: (stored: number) => boolean,
): ScheduledKernel {
  const s = new ExprBuilder()
  const operands: Operand[] = []
  const buffers: BufferSpec[] = []
  const join = ({ step: { group }, operands: own }: ScheduledKernel, i: number): number => {
    const { buffer: at, offset } = own[i]!
    const spec = group.buffers[i]!
    const known = operands.findIndex(
      (x, k) =>
        x.buffer === at &&
        x.offset === offset &&
        buffers[k]!.access === 'read' &&
        spec.access === 'read' &&
        buffers[k]!.dtype === spec.dtype,
    )
    if (known >= 0) return known
    buffers.push(spec)
    return operands.push({ buffer: at, offset }) - 1
  }
  const inner = producer.step.group
  const outer = consumer.step.group
  const at = (coordinates: Coordinates) =>
    copier(s, {
      bufferOf: (i) => join(producer, i),
      paramShift: consumer.params.length,
      imageOf: coordinates.of,
      copyImage: (e) => copy(e),
    })
  const inlined = (image: Image): Expr => at(image)(image.value)
  const copy: Copier = copier(s, {
    bufferOf: (i) => join(consumer, i),
    replace: (e) => {
      const image = images.get(e)
      return image && s.convert(inlined(image), e.type)
    },
  })
  const copied = (from: ScheduledKernel, store: Store, copyThere: Copier): Store => ({
    ...store,
    index: copyThere.index(store.index),
    value: copyThere(store.value),
    buffer: join(from, store.buffer),
  })
  const [place] = images.values()
  const stores = [
    ...inner.stores
      .filter((store) => isKept(producer.operands[store.buffer]!.buffer))
      .map((store) => copied(producer, store, at(place!))),
    ...outer.stores.map((store) => copied(consumer, store, copy)),
  ]
  const group: Group = {
    name: joinNames(inner.name, outer.name),
    axes: outer.axes,
    checks: outer.checks.map((check) => copy(check)),
    params: [...outer.params, ...inner.params],
    sizeCount: 0,
    stores,
    buffers,
    ...((inner.lanes ?? outer.lanes) && { lanes: 'depth' }),
  }
  return { ...joined(producer, consumer), step: { s, group }, operands }
}

/** What the two have together, beside what is computed. */
export function joined(
  producer: ScheduledKernel,
  consumer: ScheduledKernel,
): Omit<ScheduledKernel, 'step' | 'operands' | 'contracts'> {
  return {
    params: [...consumer.params, ...producer.params],
    node: consumer.node,
    calls: [...scheduledCalls(producer), ...scheduledCalls(consumer)],
    specialize: stricter(producer.specialize, consumer.specialize),
  }
}

const stricter = (a: ScheduledKernel['specialize'], b: ScheduledKernel['specialize']) =>
  a === true || b === true ? true : a === 'round' || b === 'round' ? 'round' : false

export const joinNames = (a: string, b: string): string => {
  const joined = `${a}+${b}`
  return joined.length <= 60 ? joined : `${joined.slice(0, 57)}...`
}

interface CopyOptions {
  readonly bufferOf?: (i: number) => number
  readonly paramShift?: number
  readonly imageOf?: (axis: Axis) => Linear | undefined
  /** Copies what axes are mapped to: expressions that belong to another kernel. */
  readonly copyImage?: (e: Expr) => Expr
  /** Of the axes of a reduction, those of the copy. */
  readonly axesOf?: (axes: readonly Axis[]) => readonly Axis[]
  /** What stands in the place of an expression, instead of a copy. */
  readonly replace?: (e: Expr) => Expr | undefined
}

interface Copier {
  (e: Expr): Expr
  index(index: Index): Index
}

/** Copies expressions to a builder, with other numbers for buffers and params, and axes by what they are there. */
function copier(
  s: ExprBuilder,
  {
    bufferOf = (i) => i,
    paramShift = 0,
    imageOf = () => undefined,
    copyImage = (e) => e,
    axesOf = (axes) => axes,
    replace = () => undefined,
  }: CopyOptions,
): Copier {
  const memo = new Map<Expr, Expr>()
  const indexOf = (index: Index): Index => {
    let offset = index.offset as number
    const terms: { index: Expr; stride: number }[] = []
    for (const term of index.terms) {
      const stride = term.stride as number
      const image = term.index.kind === 'axis' ? imageOf(term.index.axis) : undefined
      if (image === undefined) terms.push({ index: copy(term.index), stride })
      else {
        offset += image.offset * stride
        for (const t of image.terms)
          terms.push({ index: copyImage(t.index), stride: t.step * stride })
      }
    }
    return { offset, terms }
  }
  const keep = (e: Expr, made: Expr) => {
    memo.set(e, made)
    return made
  }
  const make = (e: Expr): Expr => {
    const other = replace(e)
    if (other !== undefined) return other
    switch (e.kind) {
      case 'const':
        return s.const(e.type, e.value)
      case 'size':
        return s.size(e.size)
      case 'param':
        return s.param(e.type, e.slot + paramShift)
      case 'axis': {
        const image = imageOf(e.axis)
        return image === undefined ? s.at(e.axis) : valueOf(s, image, copyImage)
      }
      case 'load':
        return s.load(
          bufferOf(e.buffer),
          e.dtype,
          indexOf(e.index),
          e.guard && copy(e.guard),
          e.otherwise,
        )
      case 'op':
        return s.apply(e.op, e.args.map(copy), e.type)
      case 'reduce':
        return s.reduce(e.combine, axesOf(e.axes), copy(e.value))
      case 'scan':
        return s.scan(e.combine, e.axis, copy(e.value))
    }
  }
  const copy = (e: Expr): Expr => memo.get(e) ?? keep(e, make(e))
  return Object.assign(copy, { index: indexOf })
}

function valueOf(s: ExprBuilder, { terms, offset }: Linear, copy: (e: Expr) => Expr): Expr {
  let sum: Expr = s.const('i32', offset)
  for (const { index, step } of terms) {
    const term = step === 1 ? copy(index) : s.mul(copy(index), step)
    sum = sum.kind === 'const' && sum.value === 0 ? term : s.add(sum, term)
  }
  return sum
}
