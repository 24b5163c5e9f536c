/** @file Convolutions of 3 x 3 windows by Winograd's algorithm: transforms, products of matrices, and the way back. */
import type { KernelBuilder, Position, Step, Sum } from '../codegen/kernel-builder.ts'
import type { DType } from '../core/dtype.ts'
import type { Shape } from '../core/shape.ts'
import type { Axis, Expr } from '../ir/expr.ts'
import type { LowerContext } from '../tensor/op.ts'
import type { Attributes } from '../tensor/types.ts'
import {
  inputMatrix,
  outputMatrix,
  tileEdge,
  transformed,
  windowMatrix,
  type Matrix,
} from './winograd-transforms.ts'

type Context = LowerContext<Attributes>
type Pair = readonly [number, number]
type Four = [Axis, Axis, Axis, Axis]

/** The dtype of what lies between the steps. */
const between: DType = 'float32'

/** Outputs of a tile along an axis, and the taps of a window. */
const outputs = 4
const taps = 3

/** What decides whether the algorithm fits. */
export interface WindowProblem {
  readonly stride: readonly number[]
  readonly dilation: readonly number[]
  readonly groups: number
  readonly window: Shape
  readonly dtype: DType
  readonly batch: number
  readonly channels: Pair
  /** Height and width of the side that is cut into tiles of 4 x 4. */
  readonly sizes: Shape
}

/**
 * Whether a convolution, or a gradient of one, is computed by Winograd's algorithm: of 3 x 3 windows without
 * strides, where channels fill vectors, tiles are well filled, and there are enough of them to be worth the
 * transform of the weight. There it takes a half to a third of the time (measured over 16 to 512 channels, 4 x 4 to 56 x 56).
 */
export function fitsWinograd(problem: WindowProblem): boolean {
  const { stride, dilation, groups, window, dtype, batch, channels, sizes } = problem
  if (window.length !== 2 || window.some((n) => n !== taps)) return false
  if ([...stride, ...dilation, groups].some((n) => n !== 1) || dtype !== between) return false
  const [height, width] = tilesOver(sizes)
  const filled = (sizes[0]! * sizes[1]!) / (height * width * outputs ** 2)
  return Math.min(...channels) >= 16 && batch * height * width >= 32 && filled > 0.5
}

/** Tiles along both axes. */
const tilesOver = (sizes: Shape): Pair =>
  sizes.map((n) => Math.ceil(n / outputs)) as unknown as Pair

/** A convolution of 3 x 3 windows: which operands it reads, and where. */
export interface Windowed {
  /** Operand number and shape [batch, channels, height, width] of the input. */
  readonly input: number
  readonly shape: Shape
  /** Zeros before the input. */
  readonly before: Pair
  /** Channels, height and width of the result. */
  readonly result: readonly [number, number, number]
  /** The weight from channel to channel, of the window's tap at a row and a column. */
  weight(k: KernelBuilder, from: Axis, to: Axis, row: number, column: number): Expr
  /** What is added to a channel of the result. */
  bias?(k: KernelBuilder, channel: Axis): Expr
}

/** The steps of a convolution whose result is the first output, [batch, channels, height, width]. */
export function winogradConv(context: Context, conv: Windowed): Step[] {
  const { input, shape, before, result, weight, bias } = conv
  const [batch, from] = shape as [number, number]
  const [to, ...sizes] = result
  const tiles = tilesOver(sizes)
  const steps: Step[] = []
  const points = tilesOf(context, steps, { input, shape, before, tiles, matrix: inputMatrix })

  const weights = context.temporary([tileEdge ** 2, from, to], between)
  const w = context.kernel('winogradWeight')
  const [i, o] = w.axes([from, to]) as [Axis, Axis]
  const window = grid(taps, (row, column) => weight(w, i, o, row, column))
  storeAll(w, weights, transformed(w.s, windowMatrix(taps), window), [i, o])
  steps.push(w.finish())

  const count = batch * tiles[0] * tiles[1]
  const products = context.temporary([tileEdge ** 2, count, to], between)
  steps.push(multiplied(context, products, [count, to], from, [points, 1], [weights, 0]))

  const rows = context.temporary([batch, tiles[0] * outputs, tiles[1] * outputs, to], between)
  const out = context.kernel('winogradOutput')
  const [n, y, x, channel] = out.axes([batch, ...tiles, to]) as Four
  const summed = grid(tileEdge, (row, column) =>
    out.load(products, [place(row * tileEdge + column), flat(n, y, x, tiles), channel]),
  )
  transformed(out.s, outputMatrix(outputs), summed).forEach((line, row) =>
    line.forEach((value, column) =>
      out.store(rows, [n, within(y, row), within(x, column), channel], value),
    ),
  )
  steps.push(out.finish())

  const last = context.kernel()
  const axes = last.axes([batch, to, ...sizes]) as Four
  const value = last.load(rows, [axes[0], axes[2], axes[3], axes[1]])
  const shift = bias?.(last, axes[1])
  last.store(context.out(), axes, shift === undefined ? value : last.s.add(value, shift))
  steps.push(last.finish())
  return steps
}

/**
 * The steps of the gradient of the weight, whose result is the first output [to, from, 3, 3]: the operands
 * are the input [batch, from, height, width] and the gradient of the result [batch, to, height, width], which is
 * the window here, of 4 x 4 taps to a tile.
 */
export function winogradWeightGrad(
  context: Context,
  [input, gradient]: Pair,
  [shape, gradientShape]: readonly [Shape, Shape],
  before: Pair,
): Step[] {
  const [batch, from] = shape as [number, number]
  const to = gradientShape[1]!
  const tiles = tilesOver(gradientShape.slice(2))
  const steps: Step[] = []
  const points = tilesOf(context, steps, { input, shape, before, tiles, matrix: inputMatrix })
  const gradients = tilesOf(context, steps, {
    input: gradient,
    shape: gradientShape,
    before: [0, 0],
    tiles,
    matrix: windowMatrix(outputs),
  })
  const count = batch * tiles[0] * tiles[1]
  const products = context.temporary([tileEdge ** 2, to, from], between)
  steps.push(multiplied(context, products, [to, from], count, [gradients, 0], [points, 0]))

  // The taps come last in the result, where vectors would be written number by number: they are turned there.
  const turned = context.temporary([taps, taps, to, from], between)
  const k = context.kernel('winogradOutput')
  const [o, i] = k.axes([to, from]) as [Axis, Axis]
  const summed = grid(tileEdge, (row, column) =>
    k.load(products, [place(row * tileEdge + column), o, i]),
  )
  transformed(k.s, outputMatrix(taps), summed).forEach((line, row) =>
    line.forEach((value, column) => k.store(turned, [place(row), place(column), o, i], value)),
  )
  steps.push(k.finish())
  const last = context.kernel()
  const [toChannel, fromChannel, row, column] = last.axes([to, from, taps, taps]) as Four
  const value = last.load(turned, [row, column, toChannel, fromChannel])
  last.store(context.out(), [toChannel, fromChannel, row, column], value)
  steps.push(last.finish())
  return steps
}

/** Tiles of an image, and what they are multiplied with. */
interface Tiles {
  readonly input: number
  readonly shape: Shape
  readonly before: Pair
  readonly tiles: Pair
  /** [6, edge]: how a tile of edge * edge elements is evaluated. Tiles begin every 4 elements. */
  readonly matrix: Matrix
}

/**
 * Cuts an image [batch, channels, height, width], with zeros around, into tiles and evaluates them: a temporary
 * [36, batch * tiles, channels]. Channels come last already in a copy that is made first, so that they fill vectors.
 */
function tilesOf(context: Context, steps: Step[], of: Tiles): number {
  const { input, shape, before, tiles, matrix } = of
  const [batch, channels] = shape as [number, number]
  const edge = matrix[0]!.length
  const padded = tiles.map((n) => n * outputs + edge - outputs)
  const copy = context.temporary([batch, ...padded, channels], between)
  const spread = context.kernel('winogradPad')
  const [n, y, x, c] = spread.axes([batch, ...padded, channels]) as Four
  const from: Position[] = [n, c, within(y, -before[0], 1), within(x, -before[1], 1)]
  spread.store(copy, [n, y, x, c], spread.loadAs(between, input, from, spread.inside(shape, from)))
  steps.push(spread.finish())

  const points = context.temporary([tileEdge ** 2, batch * tiles[0] * tiles[1], channels], between)
  const k = context.kernel('winogradInput')
  const [image, row, column, channel] = k.axes([batch, ...tiles, channels]) as Four
  const tile = grid(edge, (i, j) =>
    k.load(copy, [image, within(row, i), within(column, j), channel]),
  )
  storeAll(k, points, transformed(k.s, matrix, tile), [flat(image, row, column, tiles), channel])
  steps.push(k.finish())
  return points
}

/** An operand of the products, [36, rows, columns], and which of its two axes is summed over. */
type Factor = readonly [operand: number, summed: 0 | 1]

/** The 36 products of matrices: [36, rows, columns], of so many terms. */
function multiplied(
  context: Context,
  result: number,
  [rows, columns]: Pair,
  terms: number,
  left: Factor,
  right: Factor,
): Step {
  const k = context.kernel('winogradProduct')
  const [point, i, j] = k.axes([tileEdge ** 2, rows, columns]) as [Axis, Axis, Axis]
  const [t] = k.inner([terms]) as [Axis]
  const [a, b] = [[left, i] as const, [right, j] as const].map(([[operand, summed], free]) =>
    k.load(operand, summed === 0 ? [point, t, free] : [point, free, t]),
  ) as [Expr, Expr]
  k.store(result, [point, i, j], k.reduce('add', [t], k.s.mul(a, b)))
  return k.finish()
}

/** Stores the 36 numbers of a tile, each in its matrix. */
function storeAll(
  k: KernelBuilder,
  operand: number,
  values: readonly (readonly Expr[])[],
  places: readonly Position[],
): void {
  values.flat().forEach((value, point) => k.store(operand, [place(point), ...places], value))
}

const grid = <T>(edge: number, value: (row: number, column: number) => T): T[][] =>
  Array.from({ length: edge }, (_, row) =>
    Array.from({ length: edge }, (_, column) => value(row, column)),
  )

// -- positions

/** The same place everywhere. */
export const place = (offset: number): Sum => ({ terms: [], offset })

/** An element of a tile, by default of the outputs' width. */
const within = (tile: Axis, offset: number, step: number = outputs): Sum => ({
  terms: [{ axis: tile, step }],
  offset,
})

/** The number of a tile among those of all images. */
const flat = (image: Axis, row: Axis, column: Axis, [height, width]: Pair): Sum => ({
  terms: [
    { axis: image, step: height * width },
    { axis: row, step: width },
    { axis: column, step: 1 },
  ],
  offset: 0,
})
