/** @file Numbers that depend on the sizes of dynamic axes: found out from one trace at sizes nobody else uses. */

/**
 * Note [Dynamic axes]: JavaScript's numbers do not remember what they were computed from. So a function
 * with dynamic axes is traced with stand-ins for their sizes, multiples of large primes, and a number that
 * it computed from them shows it: nothing but a dynamic axis makes multiples of 2718272. Being multiples of
 * a power of two as well, stand-ins are halved without a remainder by strides and pooling; such a program
 * is for sizes that divide as well. What may also be a number that was written down (half a stand-in, a
 * logarithm) is compared with a second trace at other stand-ins. Where that contradicts, the function is
 * refused.
 */

/** With p the product of the factors: scale * p, scale / p, sqrt(scale * p), 1 / sqrt(scale * p). */
export const forms = ['times', 'over', 'root', 'overRoot'] as const

/** What a number is for other sizes. */
export interface SizeFormula {
  readonly scale: number
  readonly factors: readonly Factor[]
  readonly form: (typeof forms)[number]
}

/** times * (the size of an axis) + plus. */
export interface Factor {
  readonly axis: number
  readonly times: number
  readonly plus: number
}

/**
 * The stand-ins, of one axis, of two, and of more: a power of two times primes that are far from round numbers,
 * those of the first trace and those of the second. Products of the sizes of a tensor stay exact.
 */
const standIns: readonly {
  readonly power: number
  readonly primes: readonly (readonly number[])[]
}[] = [
  { power: 64, primes: [[42473], [49109]] },
  {
    power: 16,
    primes: [
      [5107, 5779],
      [5471, 4909],
    ],
  },
  {
    power: 8,
    primes: [
      [1777, 2207, 2417, 2833, 3083, 3307],
      [1877, 2063, 2543, 2707, 3163, 3407],
    ],
  },
]

/** As many axes may be dynamic. */
export const mostAxes = 6

/** The sizes at which a function of `count` dynamic axes is traced, the first or the second time. */
export function standInSizes(count: number, again: boolean): readonly number[] {
  const { power, primes } = standIns[Math.min(count, 3) - 1]!
  return primes[again ? 1 : 0]!.slice(0, count).map((prime) => prime * power)
}

/** Slices and windows make sizes this much longer or shorter. */
const nearby = 256
/** Parts and copies of an axis to which something is added. */
const someTimes = [1, 2, 3, 4, 1 / 2, 1 / 4, 1 / 8]
/** Beyond it the products of sizes are not exact. */
const largest = 2 ** 53

/**
 * What `value` is at other sizes, if it was computed from `sizes`; 'constant' if it surely was not, and
 * 'unclear' if that cannot be told.
 */
export function formulaOf(
  value: number,
  sizes: readonly number[],
): SizeFormula | 'constant' | 'unclear' {
  const x = Math.abs(value)
  if (!Number.isFinite(value) || x < 1e-30) return 'constant'
  if (Number.isInteger(value)) return wholeFormula(value, sizes)
  const products = productsOf(sizes)
  for (const { factors, product } of products)
    if (x > product / 1000 && isNice(x / product))
      return { scale: nice(value / product), factors, form: 'times' }
  if (digitsOf(value) <= 10 || isFraction(x) || isFraction(x * x)) return 'constant'
  for (const { factors, product } of products) {
    if (isNice(x * product)) return { scale: nice(value * product), factors, form: 'over' }
    if (value < 0) continue
    if (isNice((x * x) / product)) return { scale: nice((x * x) / product), factors, form: 'root' }
    const scale = 1 / (x * x * product)
    if (isNice(scale)) return { scale: nice(scale), factors, form: 'overRoot' }
  }
  return 'unclear'
}

function wholeFormula(
  value: number,
  sizes: readonly number[],
): SizeFormula | 'constant' | 'unclear' {
  let rest = Math.abs(value)
  if (rest >= largest) return 'unclear'
  const factors: Factor[] = []
  const divideBy = (axis: number, times: number, plus: number) => {
    const factor = times * sizes[axis]! + plus
    for (; rest >= factor && rest % factor === 0; rest /= factor)
      factors.push({ axis, times, plus })
  }
  sizes.forEach((_, axis) => divideBy(axis, 1, 0))
  sizes.forEach((size, axis) => {
    // Halves, quarters and so on are multiples of the prime.
    for (let part = 1 / 2; Number.isInteger(size * part); part /= 2) divideBy(axis, part, 0)
  })
  sizes.forEach((size, axis) => {
    for (const times of someTimes)
      for (let plus = 1; plus <= nearby && rest >= times * size - nearby; plus++) {
        divideBy(axis, times, -plus)
        divideBy(axis, times, plus)
      }
  })
  if (factors.length > 0) return { scale: Math.sign(value) * rest, factors, form: 'times' }
  // Such as 1e9 for minus infinity, or the largest integers.
  const isRound = digitsOf(rest) <= 3 || Number.isInteger(Math.log2(rest))
  return !isRound && sizes.some((size) => mayBePart(rest, size)) ? 'unclear' : 'constant'
}

/** Whether a formula says what nothing else can be: a constant may lie near a size, or be a part of it. */
export const isCertain = ({ factors }: SizeFormula): boolean =>
  factors.every(({ times, plus }) => times >= 1 && Math.abs(plus) <= 4)

// Whether it may be an axis that was lengthened, or divided with a remainder, as by strides.
function mayBePart(value: number, size: number): boolean {
  const parts = Math.round(size / value)
  if (parts < 2) return true
  if (value < 5000) return false
  return Math.abs(value - size / parts) <= (value > size / 64 ? 4 : 1)
}

function productsOf(sizes: readonly number[]): { factors: Factor[]; product: number }[] {
  const single = sizes.map((size, axis) => ({
    factors: [{ axis, times: 1, plus: 0 }],
    product: size,
  }))
  const double = single.flatMap((a, i) =>
    single.slice(i).map((b) => ({
      factors: [...a.factors, ...b.factors],
      product: a.product * b.product,
    })),
  )
  const less = single.map(({ factors, product }) => ({
    factors: [{ ...factors[0]!, plus: -1 }],
    product: product - 1,
  }))
  return [...single, ...double, ...less]
}

// Whether somebody wrote the number down, or divided two such.
const isNice = (x: number): boolean => digitsOf(rounded(x)) <= 8 || (x < 1000 && isFraction(x))

const nice = (x: number): number => (digitsOf(rounded(x)) <= 8 ? rounded(x) : x)

const rounded = (x: number): number => Number(x.toPrecision(12))

const digitsOf = (x: number): number =>
  String(x)
    .replace(/e.*$/, '')
    .replace('.', '')
    .replace(/^-?0*|0*$/g, '').length

function isFraction(x: number): boolean {
  let [above, below, aboveBefore, belowBefore] = [1, 0, 0, 1]
  let rest = x
  for (let i = 0; i < 12; i++) {
    const whole = Math.floor(rest)
    ;[above, aboveBefore] = [whole * above + aboveBefore, above]
    ;[below, belowBefore] = [whole * below + belowBefore, below]
    if (below > 1000 || above > 1e5) return false
    if (Math.abs(above / below - x) <= 1e-12 * x) return true
    rest = 1 / (rest - whole)
  }
  return false
}

/** As people write it, with names for sizes: '64 * batch', 'sqrt(3 * tokens)'. */
export function formulaText(
  { scale, factors, form }: SizeFormula,
  names: readonly string[],
): string {
  const texts = factors.map(({ axis, times, plus }) => {
    const name = names[axis]!
    const part = times === 1 ? name : times < 1 ? `${name} / ${1 / times}` : `${times} * ${name}`
    return plus === 0 ? part : `(${part} ${plus < 0 ? '-' : '+'} ${Math.abs(plus)})`
  })
  if (form === 'over') return `${scale} / (${texts.join(' * ')})`
  const product = (scale === 1 ? texts : [String(scale), ...texts]).join(' * ')
  return form === 'times' ? product : form === 'root' ? `sqrt(${product})` : `1 / sqrt(${product})`
}

/** The number at other sizes. */
export function atSizes({ scale, factors, form }: SizeFormula, sizes: readonly number[]): number {
  let product = 1
  for (const { axis, times, plus } of factors) product *= times * sizes[axis]! + plus
  switch (form) {
    case 'times':
      return scale * product
    case 'over':
      return scale / product
    case 'root':
      return Math.sqrt(scale * product)
    case 'overRoot':
      return 1 / Math.sqrt(scale * product)
  }
}
