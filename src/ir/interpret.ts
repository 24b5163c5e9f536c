/** @file The living definition of a group: evaluates it point by point, slowly and plainly. */
import type { DType, ScalarType } from '../core/dtype.ts'
import { bfloatToNumber, halfToNumber, numberToBfloat, numberToHalf } from '../core/float16.ts'
import { assert } from '../util/errors.ts'
import { freeAxes, identityOf, type Axis, type Expr, type Index, type Size } from './expr.ts'
import { bitcastValue, convertValue, scalarOp, type ScalarValue } from './scalar-op.ts'
import type { Group, Store } from './group.ts'

/** A buffer as the interpreter sees it: raw elements (bits for the 16-bit floats) and where position 0 is. */
export interface Memory {
  readonly elements: { [i: number]: number | bigint; readonly length: number }
  readonly offset: number
}

export interface LaunchArguments {
  readonly buffers: readonly Memory[]
  readonly sizes: readonly number[]
  readonly params: readonly number[]
}

type Evaluate = () => ScalarValue

/** Runs a group. Returns false when one of its checks failed at some point. */
export function interpretGroup(group: Group, args: LaunchArguments): boolean {
  const sizeOf = (s: Size): number => (typeof s === 'number' ? s : args.sizes[s.slot]!)
  const position = new Map<Axis, number>()
  // Counts moves, so that what several expressions share is evaluated once between two of them.
  let moves = 0
  const move = (axis: Axis, to: number): void => {
    position.set(axis, to)
    moves++
  }
  const compiled = new Map<Expr, Evaluate>()

  const compile = (e: Expr): Evaluate => {
    let f = compiled.get(e)
    if (f === undefined) compiled.set(e, (f = build(e)))
    return f
  }

  const indexOf = (index: Index): (() => number) => {
    const terms = index.terms.map((t) => ({ at: compile(t.index), stride: sizeOf(t.stride) }))
    const offset = sizeOf(index.offset)
    return () => {
      let at = offset
      for (const t of terms) at += Number(t.at()) * t.stride
      return at
    }
  }

  const forEach = (axes: readonly Axis[], body: () => void, depth = 0): void => {
    if (depth === axes.length) return body()
    const axis = axes[depth]!
    const extent = sizeOf(axis.extent)
    for (let i = 0; i < extent; i++) {
      move(axis, i)
      forEach(axes, body, depth + 1)
    }
  }

  // A reduction keeps its value until one of the axes it depends on moves.
  const onceWhile = (axes: readonly Axis[], compute: Evaluate): Evaluate => {
    let at: (number | undefined)[] | undefined
    let value: ScalarValue = 0
    return () => {
      if (at !== undefined && axes.every((axis, i) => position.get(axis) === at![i])) return value
      value = compute()
      at = axes.map((axis) => position.get(axis))
      return value
    }
  }

  const untilMoved = (compute: Evaluate): Evaluate => {
    let at = -1
    let value: ScalarValue = 0
    return () => {
      if (at === moves) return value
      value = compute()
      at = moves
      return value
    }
  }

  const build = (e: Expr): Evaluate => {
    switch (e.kind) {
      case 'const':
        return () => e.value
      case 'param': {
        const raw = args.params[e.slot]!
        const value = convertValue(raw, 'f64', e.type)
        return () => value
      }
      case 'size': {
        const value = sizeOf(e.size)
        return () => value
      }
      case 'axis':
        return () => position.get(e.axis)!
      case 'load': {
        const memory = args.buffers[e.buffer]!
        const at = indexOf(e.index)
        const guard = e.guard && compile(e.guard)
        return () => (guard && !guard() ? e.otherwise : readElement(memory, e.dtype, at()))
      }
      case 'op': {
        const inputs = e.args.map(compile)
        const from = e.args[0]!.type
        if (e.op === 'convert') return () => convertValue(inputs[0]!(), from, e.type)
        if (e.op === 'bitcast') return () => bitcastValue(inputs[0]!(), from, e.type)
        const type = e.args[e.args.length - 1]!.type
        const { evaluate } = scalarOp(e.op)
        return untilMoved(() => rounded(evaluate(type, ...inputs.map((f) => f())), e.type))
      }
      case 'reduce': {
        const value = compile(e.value)
        return onceWhile([...freeAxes(e)], () => {
          // An enclosing reduction may run over the same axes: its positions come back afterwards.
          const outside = e.axes.map((axis) => position.get(axis))
          let total = identityOf(e.combine, e.type)
          forEach(e.axes, () => (total = combine(e, total, value())))
          e.axes.forEach((axis, i) => move(axis, outside[i] ?? 0))
          return total
        })
      }
      case 'scan': {
        const value = compile(e.value)
        return () => {
          const here = position.get(e.axis)!
          let total = identityOf(e.combine, e.type)
          for (let i = 0; i <= here; i++) {
            move(e.axis, i)
            total = combine(e, total, value())
          }
          return total
        }
      }
    }
  }

  let ok = true
  const checks = group.checks.map(compile)
  const stores = group.stores.map((s) => ({
    value: compile(s.value),
    at: indexOf(s.index),
    memory: args.buffers[s.buffer]!,
    dtype: group.buffers[s.buffer]!.dtype,
    type: s.value.type,
    accumulate: s.accumulate,
    idle: idleAxes(group, s),
  }))
  const hasIdle = stores.some((s) => s.idle.length > 0)
  const isDue = (s: (typeof stores)[number]) => s.idle.every((axis) => position.get(axis) === 0)
  forEach(group.axes, () => {
    if (!checks.every((check) => check())) return void (ok = false)
    const active = hasIdle ? stores.filter(isDue) : stores
    const values = active.map((s) => s.value())
    active.forEach((s, i) => {
      const at = s.at()
      let value = values[i]!
      if (s.accumulate) {
        const sum = scalarOp('add').evaluate(s.type, readElement(s.memory, s.dtype, at), value)
        value = rounded(sum, s.type)
      }
      writeElement(s.memory, s.dtype, at, value)
    })
  })
  return ok
}

// Along axes that neither a value nor its place depends on, a store writes the same again: once is enough.
function idleAxes(group: Group, { buffer, index, value, accumulate }: Store): readonly Axis[] {
  if (accumulate || group.buffers[buffer]!.access !== 'write') return []
  const used = [value, ...index.terms.map((t) => t.index)].map((e) => freeAxes(e))
  return group.axes.filter((axis) => !used.some((axes) => axes.has(axis)))
}

function combine(
  e: Expr & { kind: 'reduce' | 'scan' },
  a: ScalarValue,
  b: ScalarValue,
): ScalarValue {
  return rounded(scalarOp(e.combine).evaluate(e.type, a, b), e.type)
}

function rounded(value: ScalarValue, type: ScalarType): ScalarValue {
  return type === 'f32' ? Math.fround(value as number) : value
}

/** Reads one element as its compute type. */
export function readElement(memory: Memory, dtype: DType, at: number): ScalarValue {
  const i = memory.offset + at
  assert(i >= 0 && i < memory.elements.length, `read at ${i} of ${memory.elements.length}`)
  const raw = memory.elements[i]!
  if (dtype === 'float16') return halfToNumber(raw as number)
  if (dtype === 'bfloat16') return bfloatToNumber(raw as number)
  if (dtype === 'bool') return raw ? 1 : 0
  return raw
}

/** Writes one element, rounding or wrapping to the element type. */
export function writeElement(memory: Memory, dtype: DType, at: number, value: ScalarValue): void {
  const i = memory.offset + at
  assert(i >= 0 && i < memory.elements.length, `write at ${i} of ${memory.elements.length}`)
  if (dtype === 'float16') value = numberToHalf(value as number)
  if (dtype === 'bfloat16') value = numberToBfloat(value as number)
  memory.elements[i] = value
}
