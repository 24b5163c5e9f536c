/** @file Facts about a whole kernel, found before code is made: uses of values, exact indices, variables set in loops. */
import type { Definition, Kernel, Statement, Value } from '../../ir/loops.ts'

/** The values that a definition reads. */
export function argumentsOf(def: Definition): readonly Value[] {
  switch (def.kind) {
    case 'op':
      return def.args
    case 'splat':
    case 'across':
      return [def.arg]
    case 'lanesBelow':
      return [def.count]
    case 'transposed':
      return def.rows
    case 'load':
    case 'gather':
      return def.mask ? [def.place.index, def.mask] : [def.place.index]
    default:
      return []
  }
}

/** The values that a statement itself reads, its body left out. */
export function readsOf(s: Statement): readonly Value[] {
  switch (s.kind) {
    case 'let':
      return argumentsOf(s.value.def)
    case 'set':
      return [s.value]
    case 'store':
      return s.mask ? [s.place.index, s.value, s.mask] : [s.place.index, s.value]
    case 'prefetch':
      return [s.place.index]
    case 'for':
      return [s.begin, s.end]
    case 'if':
      return [s.condition]
  }
}

export class Facts {
  /** How many statements read a value, by its id. */
  readonly uses: number[] = []
  /** Values used as the position of a memory access. */
  readonly positions = new Set<Value>()
  /** Whether lanes of bools are as wide as 64-bit elements. */
  isWide = false
  /** How far an exact value may be from the index or size that it comes from, as a factor, by its id. */
  readonly #reach: number[] = []
  /** Exact values that are the same in every iteration of every loop. */
  readonly #fixed: boolean[] = []
  /** Exact values that a variable adds up. */
  readonly #carried: boolean[] = []
  readonly #inexactVariables: boolean[] = []
  /** What is put into variables that may hold positions, and the values that depend on them. */
  readonly #undecided: Statement[] = []
  readonly #sets = new Map<Statement, ReadonlySet<number>>()

  /** Of the loop that threads share, the bounds come with the call: its own are not read. */
  readonly #shared: Statement | undefined

  constructor(kernel: Kernel, shared: Statement | undefined) {
    this.#shared = shared
    this.#count(kernel.body)
    // Variables are taken to be exact until something that is not is put into one.
    while (this.#spreadInexact());
  }

  /**
   * Note [Exact positions]: i32 values that come from sizes and loop indices by arithmetic are kept
   * sign-extended in 64 bits, so that they serve as addresses as they are. Of all others (read from
   * memory, made by bit operations) only the lower half of the register counts. So it is for what may
   * well have wrapped around: indices times large numbers and powers of indices, which are no positions
   * of a tensor but what random numbers and the like are made of. Where two are compared, a wrapped one
   * could be chosen, so that what a variable adds up is left out there, too.
   */
  isExact(value: Value): boolean {
    return this.#reachOf(value) <= mostReach
  }

  /** Whether a value is sign-extended by the way it is made, and could not wrap around. */
  isExtended({ type, lanes, def }: Value): boolean {
    if (type !== 'i32' || lanes > 1) return false
    if (def.kind === 'op') return def.op === 'div' || def.op === 'rem' || isMasked(def)
    return def.kind === 'size' || def.kind === 'const' || def.kind === 'index'
  }

  /** Variables that a loop or a condition sets inside. */
  setsIn(s: Statement & { kind: 'for' | 'if' }): ReadonlySet<number> {
    let known = this.#sets.get(s)
    if (known === undefined) {
      const found = new Set<number>()
      const visit = (statements: readonly Statement[]) => {
        for (const inner of statements) {
          if (inner.kind === 'set') found.add(inner.variable.id)
          if (inner.kind === 'for' || inner.kind === 'if')
            for (const id of this.setsIn(inner)) found.add(id)
        }
      }
      visit(s.kind === 'for' ? s.body : s.then)
      this.#sets.set(s, (known = found))
    }
    return known
  }

  #count(statements: readonly Statement[]): void {
    for (const s of statements) {
      switch (s.kind) {
        case 'let':
          this.#countLet(s)
          break
        case 'set':
          this.#use(s.value)
          if (s.variable.lanes === 1 && s.variable.type === 'i32') this.#undecided.push(s)
          break
        case 'store':
          this.#use(s.place.index)
          this.#use(s.value)
          if (s.mask) this.#use(s.mask)
          this.positions.add(s.place.index)
          break
        case 'prefetch':
          this.#use(s.place.index)
          this.positions.add(s.place.index)
          break
        case 'for':
          if (s !== this.#shared) {
            this.#use(s.begin)
            this.#use(s.end)
          }
          this.#count(s.body)
          break
        case 'if':
          this.#use(s.condition)
          this.#count(s.then)
      }
    }
  }

  #countLet(s: Statement & { kind: 'let' }): void {
    const { value } = s
    const { def, lanes, type } = value
    if (def.kind === 'const') return
    for (const x of argumentsOf(def)) this.#use(x)
    if (def.kind === 'load' || def.kind === 'gather') this.positions.add(def.place.index)
    if (lanes === 1) {
      this.#findReach(value)
      if (this.#carried[value.id]) this.#undecided.push(s)
    } else if (type === 'f64' || type === 'i64') this.isWide = true
  }

  #use(value: Value): void {
    this.uses[value.id] = (this.uses[value.id] ?? 0) + 1
  }

  #reachOf({ id, type, def }: Value): number {
    if (def.kind === 'const') return type === 'i32' ? Math.abs(Number(def.value)) : Infinity
    return def.kind === 'index' ? 1 : (this.#reach[id] ?? Infinity)
  }

  #findReach({ id, type, def }: Value): void {
    if (type !== 'i32') return
    if (def.kind === 'size') {
      this.#fixed[id] = true
      this.#reach[id] = 1
    } else if (def.kind === 'op') this.#reach[id] = this.#reachOfOp(id, def)
    else if (def.kind === 'read') {
      this.#carried[id] = true
      this.#reach[id] = this.#inexactVariables[def.variable.id] ? Infinity : 1
    }
  }

  #reachOfOp(id: number, def: Definition & { kind: 'op' }): number {
    const { op, args } = def
    if (op === 'convert') return args[0]!.type === 'bool' ? 1 : Infinity
    if (args.every((x) => this.#isFixed(x))) this.#fixed[id] = true
    if (op === 'div' || op === 'rem' || isMasked(def)) return 1
    if (!exactRows.has(op)) return Infinity
    const [x, y] = args.slice(-2) as [Value, Value]
    const [a, b] = [this.#reachOf(x), this.#reachOf(y)]
    const isCarried = this.#carried[x.id] === true || this.#carried[y.id] === true
    if (isCarried) this.#carried[id] = true
    if (op === 'add' || op === 'sub') return a + b
    if (op !== 'mul') return isCarried ? Infinity : Math.max(a, b)
    if (this.#isFixed(x) || this.#isFixed(y)) return a * b
    return isCarried || x === y ? Infinity : a * b
  }

  // Says whether a variable was found to be inexact that was not known to be.
  #spreadInexact(): boolean {
    let changed = false
    for (const s of this.#undecided) {
      if (s.kind === 'let') this.#findReach(s.value)
      else if (s.kind === 'set' && !this.isExact(s.value)) {
        if (this.#inexactVariables[s.variable.id]) continue
        this.#inexactVariables[s.variable.id] = true
        changed = true
      }
    }
    return changed
  }

  #isFixed({ id, def }: Value): boolean {
    return def.kind === 'const' || this.#fixed[id] === true
  }
}

const exactRows: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'min', 'max', 'select', 'and'])

/** Strides that are part of the code are smaller than this; factors of hashes are larger. */
const mostReach = 2 ** 20

// Whether only lower bits are kept, by a constant that is not negative.
function isMasked({ op, args }: Definition & { kind: 'op' }): boolean {
  if (op !== 'and') return false
  return args.some(({ type, def }) => type === 'i32' && def.kind === 'const' && def.value >= 0)
}
