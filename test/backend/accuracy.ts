/** @file Runs transcendental ops on the cpu backend and measures their errors. */
import { tensor, tidy, type Tensor } from 'tandem'
import {
  deviation,
  isTrigonometric,
  reference,
  trigonometricBound,
  worse,
  type Deviation,
  type Float,
  type unary,
} from '../ir/accuracy.ts'

export type UnaryOp = (typeof unary)[number]
type Floats = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>

const onCpu = (x: Floats): Tensor =>
  tensor(x, { device: 'cpu', dtype: x instanceof Float32Array ? 'float32' : 'float64' })

/** What an op makes of numbers on the cpu backend. */
export function results(op: UnaryOp | 'pow', ...args: Floats[]): Floats {
  return tidy(() => {
    const [x, y] = args.map(onCpu) as [Tensor, Tensor]
    return op === 'pow' ? x.pow(y).dataSync() : x[op]().dataSync()
  }) as Floats
}

/** The worst error of an op over these numbers, in units of the last place of what double precision gives. */
export function worstError(op: UnaryOp, x: Floats): Deviation {
  const type: Float = x instanceof Float32Array ? 'f32' : 'f64'
  const got = results(op, x)
  const isBounded = isTrigonometric(op)
  let worst: Deviation = { ulps: 0, at: '' }
  for (let i = 0; i < x.length; i++) {
    const at = x[i]!
    if (isBounded && Math.abs(at) > trigonometricBound && Number.isFinite(at)) continue
    const wanted = reference(op, type, at)
    if (Object.is(got[i], type === 'f32' ? Math.fround(wanted) : wanted)) continue
    const error = deviation(type, got[i]!, wanted)
    if (error > worst.ulps) worst = worse(worst, error, at)
  }
  return worst
}

export function worstPower(x: Floats, y: Floats): Deviation {
  const type: Float = x instanceof Float32Array ? 'f32' : 'f64'
  const got = results('pow', x, y)
  let worst: Deviation = { ulps: 0, at: '' }
  for (let i = 0; i < x.length; i++) {
    const error = deviation(type, got[i]!, reference('pow', type, x[i]!, y[i]!))
    if (error > worst.ulps) worst = worse(worst, error, x[i]!, y[i]!)
  }
  return worst
}

/** Every so many of all float32, by their bits: all magnitudes of both signs, subnormals, infinities, NaN. */
export function everyPattern(step: number, from = 0, count = Infinity): Float32Array<ArrayBuffer> {
  const most = Math.floor((2 ** 32 - 1 - from * step) / step) + 1
  const bits = new Uint32Array(Math.max(0, Math.min(most, count)))
  for (let i = 0; i < bits.length; i++) bits[i] = (from + i) * step
  return new Float32Array(bits.buffer)
}
