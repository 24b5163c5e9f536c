/** @file What a backend can do at most here, measured once by two small kernels. */
import type { Backend } from '../backend/backend.ts'
import { KernelBuilder, type Operand } from '../codegen/kernel-builder.ts'
import { layoutOf } from '../core/layout.ts'
import type { Expr } from '../ir/expr.ts'
import { workOf, type Work } from '../ir/work.ts'
import { kernelOf } from '../tensor/plan.ts'

export interface MachineLimits {
  /** Floating-point operations in a second, in fused multiply-adds on registers. */
  readonly operationsPerSecond: number
  /** Bytes in a second, read from and written to memory that no cache holds. */
  readonly bytesPerSecond: number
}

const known = new WeakMap<Backend, Map<number, MachineLimits>>()

/** The limits of a backend with the threads that it has now. */
export function machineLimits(backend: Backend): MachineLimits {
  let limits = known.get(backend)
  if (limits === undefined) known.set(backend, (limits = new Map()))
  const threads = backend.numThreads ?? 1
  let found = limits.get(threads)
  if (found === undefined) {
    found = {
      operationsPerSecond: bestRate(backend, chains, 1 << 16, ({ operations }) => operations),
      bytesPerSecond: bestRate(
        backend,
        (k, x) => k.s.neg(x),
        1 << 24,
        ({ bytes }) => bytes,
      ),
    }
    limits.set(threads, found)
  }
  return found
}

/** A kernel that takes longer is large enough. */
const trialMilliseconds = 3
const trials = 8

type Value = (k: KernelBuilder, x: Expr) => Expr

/** The best rate of a map over up to `most` floats; backends that are slow get fewer. */
function bestRate(
  backend: Backend,
  value: Value,
  most: number,
  amountOf: (work: Work) => number,
): number {
  let count = 1 << 10
  while (count < most && measure(backend, value, count, 1).milliseconds < trialMilliseconds)
    count = Math.min(most, count * 8)
  const { milliseconds, work } = measure(backend, value, count, trials)
  return (amountOf(work) / milliseconds) * 1000
}

function measure(backend: Backend, value: Value, count: number, runs: number) {
  const operand: Operand = { dtype: 'float32', layout: layoutOf([count]) }
  const k = new KernelBuilder('limit', [operand, operand], [])
  const axes = k.axes([count])
  k.store(1, axes, value(k, k.load(0, axes)))
  const step = k.finish()
  const { executable, sizes } = kernelOf(backend, step)
  const bytes = 4 * count
  const blocks = [backend.allocate(bytes), backend.allocate(bytes)]
  for (const block of blocks) backend.write(block, new Uint8Array(bytes))
  let milliseconds = Infinity
  for (let run = 0; run < runs + 1; run++) {
    const begin = performance.now()
    executable.launch(blocks, [0, 0], sizes, [])
    milliseconds = Math.min(milliseconds, performance.now() - begin)
  }
  for (const block of blocks) backend.free(block)
  return { milliseconds, work: workOf(step.group) }
}

// Many short chains of multiply-adds that do not wait for each other: 32 n + 16 operations a float.
const chainCount = 16
const chainLength = 16

function chains({ s }: KernelBuilder, x: Expr): Expr {
  let sum: Expr = x
  for (let i = 0; i < chainCount; i++) {
    let y: Expr = s.like(x, 1 + i / 64)
    for (let n = 0; n < chainLength; n++) y = s.fma(y, x, x)
    sum = s.add(sum, y)
  }
  return sum
}
