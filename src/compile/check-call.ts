/** @file Whether the kernels of a call stay inside their buffers, whatever its attributes are. */
import { KernelBuilder, rangeOf, type Operand, type Position } from '../codegen/kernel-builder.ts'
import type { Step } from '../codegen/kernel-builder.ts'
import { layoutOf } from '../core/layout.ts'
import { sizeOf, type Shape } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import { rootsOf, verifyGroup, visitAll } from '../ir/group.ts'
import type { ScalarValue } from '../ir/scalar-op.ts'
import type { InputSpec, Op, OutputSpec } from '../tensor/op.ts'
import type { Attributes } from '../tensor/types.ts'
import { ShapeError } from '../util/errors.ts'
import { facts, intervalOf, type Facts } from './interval.ts'

/** Elements a tensor, and positions an axis, can have. */
export const mostElements = 2 ** 32
/** Points of a window that hangs over the edges: more of them would only be waited for. */
const mostPoints = 2 ** 24
/** Elements that a kernel may compute the places of beyond the ends of a tensor, to find that they are not there. */
const mostBeyond = 2 ** 26

/**
 * Lowers a call and throws a ShapeError unless every kernel reads and writes inside of its buffers.
 *
 * Note [Calls from files]: functions check what they are given before they make a call, and lowering
 * relies on that. Attributes from a file were checked by nobody, and machine code with a wrong stride or
 * axis would read and write memory that is not its own. So a call from a file is lowered once by a builder
 * that proves every access: a place that is linear in axes by their extents, an expression by intervals,
 * and either by the conditions of its guard and of the kernel's checks. What cannot be proved is refused.
 */
export function checkCall(
  op: Op,
  inputs: readonly InputSpec[],
  outputs: readonly OutputSpec[],
  attributes: Attributes,
): void {
  const operandOf = ({ shape, dtype }: OutputSpec): Operand => ({
    dtype,
    layout: layoutOf(checkedSizes(op.name, shape)),
  })
  const operands: Operand[] = [...inputs, ...outputs.map(operandOf)]
  if (outputs.every(({ shape }) => sizeOf(shape) === 0)) return
  op.lower({
    attributes,
    inputs,
    outputs: operands.slice(inputs.length),
    out: (i = 0) => inputs.length + i,
    temporary: (shape, dtype) => operands.push(operandOf({ shape, dtype })) - 1,
    kernel: (name = op.name) => new CheckedBuilder(name, operands, inputs),
  })
}

class CheckedBuilder extends KernelBuilder {
  readonly #name: string
  readonly #operands: readonly Operand[]
  readonly #inputs: readonly InputSpec[]
  readonly #paramCount: number
  readonly #checked: Facts = new Map()
  /** Axes that no tensor bounds, so far. */
  readonly #unbounded = new Set<Axis>()
  #isEmpty = false
  /** What is wrong, should the kernel run at all. */
  #wrong: string | undefined

  constructor(name: string, operands: readonly Operand[], inputs: readonly InputSpec[]) {
    const params = inputs.flatMap((x) => (x.scalar === undefined ? [] : [x.scalar]))
    super(name, operands, params)
    this.#name = name
    this.#operands = operands
    this.#inputs = inputs
    this.#paramCount = params.length
  }

  override axes(shape: Shape): Axis[] {
    this.#isEmpty ||= checkedSizes(this.#name, shape).includes(0)
    return this.#made(super.axes(shape))
  }

  override inner(shape: Shape): Axis[] {
    return this.#made(super.inner(checkedSizes(this.#name, shape)))
  }

  override param(slot: number): Expr {
    if (!(slot < this.#paramCount)) throw new ShapeError(`${this.#name}: number ${slot} is missing`)
    return super.param(slot)
  }

  override check(condition: Expr): void {
    for (const [e, interval] of facts(condition)) this.#checked.set(e, interval)
    super.check(condition)
  }

  override load(
    operand: number,
    positions: readonly Position[],
    guard?: Expr,
    otherwise?: ScalarValue,
  ): Expr {
    const known = guard === undefined ? this.#checked : new Map([...this.#checked, ...facts(guard)])
    this.#access(operand, positions, known)
    return super.load(operand, positions, guard, otherwise)
  }

  override store(
    operand: number,
    positions: readonly Position[],
    value: Expr,
    accumulate = false,
  ): void {
    if (operand < this.#inputs.length) throw new ShapeError(`${this.#name}: writes to an input`)
    this.#access(operand, positions, this.#checked)
    super.store(operand, positions, value, accumulate)
  }

  override finish(): Step {
    const points = [...this.#unbounded].reduce((n, { extent }) => n * Number(extent), 1)
    if (points > mostPoints) this.#wrong ??= `a window of ${points} points`
    if (this.#wrong !== undefined && !this.#isEmpty)
      throw new ShapeError(`${this.#name}: ${this.#wrong}`)
    const step = super.finish()
    verifyGroup(step.group)
    visitAll(rootsOf(step.group), (e) => {
      if (e.kind === 'const' && e.type === 'i32' && !Number.isSafeInteger(e.value))
        throw new ShapeError(`${this.#name}: ${e.value} where a whole number is expected`)
    })
    return step
  }

  #made(axes: Axis[]): Axis[] {
    for (const axis of axes) this.#unbounded.add(axis)
    return axes
  }

  #access(operand: number, positions: readonly Position[], known: Facts): void {
    const { layout } = this.#operands[operand]!
    if (this.#inputs[operand]?.scalar !== undefined)
      throw new ShapeError(`${this.#name}: operand ${operand} is a number, expected a tensor`)
    const skipped = positions.length - layout.shape.length
    let beyond = 0
    layout.shape.forEach((size, i) => {
      const position = positions[i + skipped]!
      const stride = layout.strides[i]!
      // Axes that are stretched have one element.
      if (stride === 0 || (size === 1 && 'extent' in position) || isEmptyPosition(position)) return
      const most = this.#beyond(position, size, known)
      beyond += most * Math.abs(stride)
      if (Number.isNaN(most))
        this.#wrong ??= `axis ${i} of operand ${operand}, which has size ${size}, may be left`
    })
    if (beyond > mostBeyond)
      this.#wrong ??= `places up to ${beyond} elements beyond the ends of operand ${operand}`
  }

  /** How far a position would be outside without the conditions; NaN if it may be in spite of them. */
  #beyond(position: Position, size: number, known: Facts): number {
    if (!isWhole(position)) return NaN
    const { low, high } = rangeOf(position)
    if (low >= 0 && high < size) {
      for (const axis of axesOf(position)) this.#unbounded.delete(axis)
      return 0
    }
    const at = this.at(position)
    const [from, to] = intervalOf(at, known)
    if (!(from >= 0 && to < size)) return NaN
    const [first, last] = intervalOf(at, new Map())
    // Of what is loaded nothing is known before the conditions are.
    return Number.isFinite(last - first) ? Math.max(0, -first, last - size + 1) : 0
  }
}

const axesOf = (position: Position): readonly Axis[] => {
  if ('extent' in position) return [position]
  if ('step' in position) return [position.axis]
  return 'terms' in position ? position.terms.map(({ axis }) => axis) : []
}

const isEmptyPosition = (position: Position) => axesOf(position).some(({ extent }) => extent === 0)

function isWhole(position: Position): boolean {
  if ('extent' in position) return true
  if ('step' in position)
    return Number.isSafeInteger(position.step) && Number.isSafeInteger(position.offset)
  if ('terms' in position)
    return [position.offset, ...position.terms.map((t) => t.step)].every(Number.isSafeInteger)
  return position.type === 'i32'
}

function checkedSizes(name: string, shape: Shape): Shape {
  const isRight = shape.every((n) => Number.isSafeInteger(n) && n >= 0)
  if (!isRight || sizeOf(shape) > mostElements)
    throw new ShapeError(`${name}: the shape [${shape.join(', ')}] is impossible`)
  return shape
}
