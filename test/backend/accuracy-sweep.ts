/** @file The process that scripts/accuracy.ts runs: sweeps ops over bit patterns and prints the worst errors as JSON. */
import { preciseError } from '../ir/precise.ts'
import { isTrigonometric, randomBits, trigonometricBound, unary } from '../ir/accuracy.ts'
import { everyPattern, results, worstError, worstPower, type UnaryOp } from './accuracy.ts'

const [step, doubles] = process.argv.slice(2).map(Number) as [number, number]
const chunk = 1 << 22
const say = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`)

for (const op of unary) say({ op, type: 'float32', ...sweepSingle(op) })
say({ op: 'pow', type: 'float32', ...sweepPower() })
for (const op of unary) say({ op, type: 'float64', ...sweepDouble(op) })

function sweepSingle(op: UnaryOp) {
  let worst = { ulps: 0, at: '' }
  let count = 0
  for (let from = 0; ; from += chunk) {
    const x = everyPattern(step, from, chunk)
    if (x.length === 0) return { ...worst, count }
    const found = worstError(op, x)
    if (found.ulps > worst.ulps) worst = found
    count += x.length
  }
}

// Bases and exponents whose powers are numbers more often than not.
function sweepPower() {
  let worst = { ulps: 0, at: '' }
  let count = 0
  for (let round = 0; count < 2 ** 32 / step; round++) {
    const x = new Float32Array(chunk)
    const y = new Float32Array(chunk)
    for (let i = 0; i < chunk; i++) {
      const kind = i % 4
      x[i] = kind === 0 ? randomBits('f32', Math.random) : Math.random() * (kind === 1 ? 10 : 2)
      const result = (Math.random() - 0.5) * 300
      y[i] = kind === 3 ? Math.round(Math.random() * 40 - 20) : result / Math.log2(Math.abs(x[i]!))
    }
    const found = worstPower(x, y)
    if (found.ulps > worst.ulps) worst = found
    count += chunk
  }
  return { ...worst, count }
}

// Random bits, and numbers of ordinary size; against hundreds of bits.
function sweepDouble(op: UnaryOp) {
  const x = Float64Array.from({ length: doubles }, (_, i) =>
    i % 2 === 0
      ? randomBits('f64', Math.random)
      : (Math.random() * 2 - 1) * 10 ** (Math.random() * 6 - 3),
  )
  const got = results(op, x)
  let worst = { ulps: 0, at: '' }
  let count = 0
  x.forEach((at, i) => {
    if (isTrigonometric(op) && Math.abs(at) > trigonometricBound) return
    const error = preciseError(op, got[i]!, at)
    if (error === undefined) return
    count++
    if (error > worst.ulps) worst = { ulps: error, at: String(at) }
  })
  return { ...worst, count }
}
