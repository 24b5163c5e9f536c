/** @file What a row about an op says: one description from which harness.ts derives all checks of the op. */
import type { DType, Tensor } from 'tandem'
import { allDTypes, dtypes } from '../../src/core/dtype.ts'
import { elementwise, type PlainArray } from './plain.ts'

export const floats: readonly DType[] = ['float32', 'float64', 'float16', 'bfloat16']
export const ints: readonly DType[] = ['int32', 'int64', 'int8', 'uint8']
export const bool: readonly DType[] = ['bool']
/** Every dtype, floats first: the first one stands for all in checks that need only one. */
export const all: readonly DType[] = [...floats, ...ints, 'bool']
if (all.length !== allDTypes.length) throw new Error('a dtype is missing in the lists above')

/** An input tensor: a shape alone, or a shape and what its elements are. */
export type Input = readonly number[] | InputSpec

export interface InputSpec {
  readonly shape: readonly number[]
  /** Elements are drawn from low <= x < high; default -2 to 2 for floats, -6 to 6 for integers. */
  readonly low?: number
  readonly high?: number
  /** The elements themselves, in row-major order. */
  readonly values?: readonly number[]
  /** No two elements equal, nor close: for the gradients of maxima and sorting. */
  readonly distinct?: boolean
  /** A dtype that stays whatever dtype the row is tried with, e.g. int32 for positions. No gradient then. */
  readonly dtype?: DType
  /** Not differentiated. */
  readonly constant?: boolean
}

export interface Sample {
  readonly inputs: readonly Input[]
  /** Further arguments, after the tensors: numbers, shapes, an options object. */
  readonly args?: readonly unknown[]
  /** Dtypes of the inputs; default those of the row. */
  readonly dtypes?: readonly DType[]
  /** False where the gradient does not exist, or is not worth another check. */
  readonly grad?: boolean
  /** Expected zeros must have the expected sign; default false. */
  readonly signedZeros?: boolean
}

export interface ErrorSample {
  /** What is wrong, as the name of the test. */
  readonly what: string
  readonly call: () => unknown
  readonly error: new (...args: never[]) => Error
  readonly message: RegExp
}

/** The dtype of the result, from the dtypes of the inputs; an array for several outputs. */
export type ResultDType = 'same' | 'floating' | 'bool' | ((...inputs: DType[]) => DType | DType[])

export interface Row {
  /** The registered operator, or the exported function when it is a composition. */
  readonly op: string
  /** Further operators and functions that these checks cover. */
  readonly covers?: readonly string[]
  /** Distinguishes several rows of one op. */
  readonly note?: string
  /** Called with the tensors of a sample, then its further arguments. */
  readonly call: (...args: never[]) => Tensor | readonly Tensor[]
  readonly samples: readonly Sample[]
  /** As `call`, on plain arrays. Without it only laws (layouts, gradients, no aliasing) are checked. */
  readonly reference?: (...args: never[]) => PlainArray | readonly PlainArray[]
  /** Dtypes to try; default floats. The first one is used where one is enough. */
  readonly dtypes?: readonly DType[]
  /** Default 'same': the dtype of the first input. */
  readonly result?: ResultDType
  /** Largest allowed |actual - expected| / (1 + |expected|), by dtype of the inputs. */
  readonly tolerance?: Partial<Record<DType, number>>
  /** Whether gradients are checked, to second order unless 'first-order'; default true. */
  readonly grad?: boolean | 'first-order'
  /** Set when the result may share memory with an input: views. */
  readonly view?: boolean
  /** Why calls of it cannot be a part of a program. */
  readonly eagerOnly?: string
  /** False for ops whose values depend on more than their inputs (random numbers). */
  readonly layouts?: boolean
  readonly errors?: readonly ErrorSample[]
  /** Why the operators of this row have no ONNX counterpart; needed exactly when one has none. */
  readonly withoutOnnx?: string
}

/** Tolerances where a row states none: a few units in the last place, some more for sums. */
export const defaultTolerance: Record<DType, number> = {
  float32: 2e-6,
  float64: 2e-14,
  float16: 2e-3,
  bfloat16: 1.6e-2,
  int8: 0,
  uint8: 0,
  int32: 0,
  int64: 0,
  bool: 0,
}

export interface ElementwiseOptions extends Partial<Omit<Row, 'op' | 'call' | 'samples'>> {
  /** Elements of each input are drawn from [low, high). */
  readonly domain?: readonly [low: number, high: number]
  /** Domain of the second operand when it differs. */
  readonly secondDomain?: readonly [low: number, high: number]
  /** Arguments after the tensors. */
  readonly args?: readonly unknown[]
  /** Whether to try NaN, infinities and signed zeros; default true. */
  readonly specials?: boolean
  /** More samples beside the usual ones. */
  readonly samples?: readonly Sample[]
}

const special = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, -0.5, 2.5, 1e-30, -1e30]

/**
 * A row for a function of one tensor, element by element: `unaryRow('exp', exp, Math.exp)`. Tries a
 * matrix, a 0-d tensor, an empty one, one long enough for vector code, and special values.
 */
export function unaryRow(
  op: string,
  call: Row['call'],
  f: (x: number, ...args: never[]) => number | boolean,
  options: ElementwiseOptions = {},
): Row {
  const { domain, secondDomain: _, args = [], specials = true, samples = [], ...rest } = options
  const [low, high] = domain ?? []
  const over = (shape: readonly number[]): Input =>
    low === undefined || high === undefined ? shape : { shape, low, high }
  return {
    op,
    call,
    reference: elementwise(f),
    ...rest,
    samples: [
      { inputs: [over([3, 5])], args },
      { inputs: [over([])], args, grad: false },
      { inputs: [over([0, 3])], args, grad: false },
      { inputs: [over([37])], args, grad: false },
      ...(specials ? [specialSample([special], args, rest.dtypes)] : []),
      ...samples,
    ],
  }
}

/**
 * A row for a function of two tensors, element by element: `binaryRow('add', add, (a, b) => a + b)`.
 * Tries equal and broadcast shapes, 0-d and empty tensors, a number as the second operand, and every
 * pair of special values.
 */
export function binaryRow(
  op: string,
  call: Row['call'],
  f: (a: number, b: number) => number | boolean,
  options: ElementwiseOptions = {},
): Row {
  const { domain, secondDomain, args = [], specials = true, samples = [], ...rest } = options
  const inputs = (...shapes: (readonly number[])[]): Input[] =>
    shapes.map((shape, i) => {
      const [low, high] = (i === 1 ? secondDomain : undefined) ?? domain ?? []
      return low === undefined || high === undefined ? shape : { shape, low, high }
    })
  const pairs = special.flatMap((a) => special.map((b) => [a, b] as const))
  const columns = [pairs.map((p) => p[0]), pairs.map((p) => p[1])]
  const isFloatRow = (rest.dtypes ?? floats).some((d) => dtypes[d].kind === 'float')
  return {
    op,
    call,
    reference: elementwise(f as (...values: never[]) => number | boolean),
    ...rest,
    samples: [
      { inputs: inputs([3, 5], [3, 5]), args },
      { inputs: inputs([2, 1, 3], [4, 1]), args },
      { inputs: inputs([37], []), args, grad: false },
      { inputs: inputs([], []), args, grad: false },
      { inputs: inputs([0, 3], [1]), args, grad: false },
      { inputs: inputs([2, 3]), args: [3, ...args] },
      ...(isFloatRow ? [{ inputs: inputs([2, 3]), args: [1.5, ...args], dtypes: floats }] : []),
      ...(specials ? [specialSample(columns, args, rest.dtypes)] : []),
      ...samples,
    ],
  }
}

function specialSample(
  columns: readonly (readonly number[])[],
  args: readonly unknown[],
  tried: readonly DType[] = floats,
): Sample {
  return {
    inputs: columns.map((values) => ({ shape: [values.length], values })),
    args,
    dtypes: tried.filter((d) => d === 'float32' || d === 'float64'),
    grad: false,
    signedZeros: true,
  }
}
