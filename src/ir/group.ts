/** @file A group: one kernel as mathematics. What is computed at each point of an iteration space, not in which order. */
import { dtypes, type DType, type ScalarType } from '../core/dtype.ts'
import { assert } from '../util/errors.ts'
import { childrenOf, freeAxes, type Axis, type Expr, type Index } from './expr.ts'
import { scalarOp } from './scalar-op.ts'

/** How a kernel uses a buffer. An updated buffer is read and written at the same position only. */
export type Access = 'read' | 'write' | 'update'

export interface BufferSpec {
  readonly dtype: DType
  readonly access: Access
}

/** buffer[index] = value, or buffer[index] += value, at every point of the group's axes. */
export interface Store {
  readonly buffer: number
  readonly index: Index
  readonly value: Expr
  /** Adds to what is there. Points that meet at one position are added in the order of the axes. */
  readonly accumulate?: true
}

/** The sums of a product that are kept in registers at a time: rows times vectors. */
export interface Tile {
  readonly rows: number
  readonly vectors: number
}

export interface Group {
  readonly name: string
  /** The parallel axes, outermost first. Reduced axes live in the reduce expressions. */
  readonly axes: readonly Axis[]
  readonly buffers: readonly BufferSpec[]
  readonly stores: readonly Store[]
  /** Conditions that must hold at every point; a launch reports when one did not. */
  readonly checks: readonly Expr[]
  /** Types of the scalars handed over at launch. */
  readonly params: readonly ScalarType[]
  /** How many size slots the argument block has. */
  readonly sizeCount: number
  /** Of a product, the tile that turned out to be the fastest; by default lowering chooses. Results are the same. */
  readonly tile?: Tile
  /**
   * Of a product, that vectors run along the depth where the target can do so; by default they run along the
   * columns. That is another order of the sums.
   */
  readonly lanes?: 'depth'
}

/** Every expression of a group that is computed, in no particular order. */
export function rootsOf(group: Group): Expr[] {
  return [
    ...group.stores.flatMap((s) => [s.value, ...s.index.terms.map((t) => t.index)]),
    ...group.checks,
  ]
}

/** Visits every expression below the roots once, children first. */
export function visitAll(roots: readonly Expr[], visit: (e: Expr) => void): void {
  const seen = new Set<Expr>()
  const walk = (e: Expr) => {
    if (seen.has(e)) return
    seen.add(e)
    childrenOf(e).forEach(walk)
    visit(e)
  }
  roots.forEach(walk)
}

/**
 * Checks that a group makes sense: types fit their rows, buffers exist and are used as declared, every
 * axis is bound. Throws an InternalError that names the first offence.
 */
export function verifyGroup(group: Group): void {
  const fail = (what: string) => assert(false, `group ${group.name}: ${what}`)
  visitAll(rootsOf(group), (e) => {
    if (e.kind === 'op') verifyOp(e, fail)
    if (e.kind === 'param' && group.params[e.slot] !== e.type)
      fail(`param ${e.slot} is ${group.params[e.slot]}, used as ${e.type}`)
    if (e.kind === 'size' && typeof e.size === 'object' && e.size.slot >= group.sizeCount)
      fail(`size slot ${e.size.slot} of ${group.sizeCount}`)
    if (e.kind === 'load') {
      const buffer = group.buffers[e.buffer]
      if (buffer === undefined) return fail(`load from missing buffer ${e.buffer}`)
      if (buffer.access === 'write') fail(`load from write-only buffer ${e.buffer}`)
      if (buffer.dtype !== e.dtype)
        fail(`buffer ${e.buffer} is ${buffer.dtype}, loaded as ${e.dtype}`)
      if (e.index.terms.some((t) => t.index.type !== 'i32')) fail('an index is not i32')
      if (e.guard !== undefined && e.guard.type !== 'bool') fail('a guard is not bool')
    }
  })
  const memo = new Map()
  for (const store of group.stores) {
    const buffer = group.buffers[store.buffer]
    if (buffer === undefined) return fail(`store to missing buffer ${store.buffer}`)
    if (buffer.access === 'read') fail(`store to read-only buffer ${store.buffer}`)
    if (dtypes[buffer.dtype].compute !== store.value.type)
      fail(`buffer ${store.buffer} is ${buffer.dtype}, stored value is ${store.value.type}`)
  }
  for (const root of rootsOf(group))
    for (const axis of freeAxes(root, memo))
      if (!group.axes.includes(axis)) fail(`axis ${axis.id} is not bound`)
  for (const check of group.checks) if (check.type !== 'bool') fail('a check is not bool')
}

function verifyOp(e: Expr & { kind: 'op' }, fail: (what: string) => void): void {
  const info = scalarOp(e.op)
  if (e.args.length !== info.arity)
    fail(`${e.op} has ${e.args.length} arguments, not ${info.arity}`)
  const last = e.args[e.args.length - 1]!.type
  if (!info.types.includes(last)) fail(`${e.op} does not take ${last}`)
  const alike = e.op === 'select' ? e.args.slice(1) : e.args
  if (info.takesWords && e.args.slice(0, -1).some((a) => a.type !== 'i32'))
    fail(`${e.op} takes i32 words`)
  if (!info.takesWords && alike.some((a) => a.type !== last))
    fail(`${e.op} mixes ${e.args.map((a) => a.type).join(', ')}`)
  if (e.op === 'select' && e.args[0]!.type !== 'bool') fail('select needs a bool condition')
  if (info.result === 'same' && e.type !== last) fail(`${e.op} of ${last} cannot be ${e.type}`)
  if (info.result === 'bool' && e.type !== 'bool') fail(`${e.op} must be bool`)
}
