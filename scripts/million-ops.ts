/**
 * @file Makes a million randomly shaped calls in a row, keeps nothing, and prints as JSON what became of
 * memory and of sampled results. Run: node --expose-gc build/scripts/million-ops.js [calls] [seed]
 */
import { dtypeTolerance, firstDifference } from './compare-results.ts'
import { Random, randomCall } from './random-op.ts'

const [calls, seed] = [Number(process.argv[2] ?? 1e6), Number(process.argv[3] ?? 1)]
/** One call in so many is made on the interpreter too. */
const SAMPLE_EVERY = 250

/** Most calls recur in kind and sizes, as in programs; the others are more than there is room for kernels. */
const [FREQUENT_KINDS, SIZES_OF_EACH, ALL_KINDS] = [400, 3, 5000]
const [NEW_KIND_SHARE, NEW_SIZES_SHARE] = [0.02, 0.03]

const random = new Random(seed)
/** Bytes after each tenth of the calls: resident ones, and those of the engine's heap. */
const resident: number[] = []
const heap: number[] = []
const wrong: string[] = []
const keys = new Set<string>()
let compared = 0
const begin = performance.now()
for (let i = 1; i <= calls; i++) {
  const isRare = random.chance(NEW_KIND_SHARE)
  const kind = random.whole(1, isRare ? ALL_KINDS : FREQUENT_KINDS)
  const isNew = isRare || random.chance(NEW_SIZES_SHARE)
  const sizesOf = isNew ? ALL_KINDS + i : random.whole(1, SIZES_OF_EACH)
  const call = randomCall(new Random(kind), new Random(sizesOf * 7919 + kind))
  const result = call.run(call.inputs)
  keys.add(call.key)
  if (i % SAMPLE_EVERY === 0) {
    const expected = call.run(call.inputs.map((x) => x.to('reference')))
    const difference = firstDifference(result, expected, dtypeTolerance(result.dtype))
    if (difference !== undefined) wrong.push(`${call.key}: ${difference}`)
    compared++
  }
  if (i % Math.ceil(calls / 10) === 0) measureMemory()
}
const seconds = (performance.now() - begin) / 1000
console.log(
  JSON.stringify({
    calls,
    seconds,
    kinds: keys.size,
    resident,
    heap,
    compared,
    wrong: wrong.length,
    examples: wrong.slice(0, 10),
  }),
)

/** Lets the engine collect first, where it may be asked to: what it puts off is not in use. */
function measureMemory(): void {
  globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  resident.push(rss)
  heap.push(heapUsed)
}
