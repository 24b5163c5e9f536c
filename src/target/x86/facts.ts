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
  readonly #inexact: boolean[] = []
  readonly #inexactVariables: boolean[] = []
  readonly #sets = new Map<Statement, ReadonlySet<number>>()
  /** What is put into variables that may hold positions, and the values that may depend on them. */
  readonly #undecided: Statement[] = []

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
   * memory, made by bit operations) only the lower half of the register counts.
   */
  isExact(value: Value): boolean {
    return this.#inexact[value.id] !== true
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
    if (def.kind === 'const') {
      if (type !== 'i32') this.#inexact[value.id] = true
      return
    }
    for (const x of argumentsOf(def)) this.#use(x)
    if (def.kind === 'load' || def.kind === 'gather') this.positions.add(def.place.index)
    if (lanes > 1) {
      if (type === 'f64' || type === 'i64') this.isWide = true
      this.#inexact[value.id] = true
    } else if (!this.#makesExact(value)) this.#inexact[value.id] = true
    else if (def.kind === 'op' || def.kind === 'read') this.#undecided.push(s)
  }

  #use(value: Value): void {
    this.uses[value.id] = (this.uses[value.id] ?? 0) + 1
  }

  // Says whether a variable was found to be inexact that was not known to be.
  #spreadInexact(): boolean {
    let changed = false
    for (const s of this.#undecided) {
      if (s.kind === 'let') {
        if (!this.#makesExact(s.value)) this.#inexact[s.value.id] = true
      } else if (s.kind === 'set' && this.#inexact[s.value.id] === true) {
        if (this.#inexactVariables[s.variable.id] === true) continue
        this.#inexactVariables[s.variable.id] = true
        changed = true
      }
    }
    return changed
  }

  #makesExact({ def, type, lanes }: Value): boolean {
    if (type !== 'i32' || lanes > 1) return false
    if (def.kind === 'read') return this.#inexactVariables[def.variable.id] !== true
    if (def.kind === 'op') {
      if (def.op === 'convert') return def.args[0]!.type === 'bool'
      if (!exactRows.has(def.op)) return false
      for (let i = def.op === 'select' ? 1 : 0; i < def.args.length; i++)
        if (this.#inexact[def.args[i]!.id] === true) return false
      return true
    }
    return def.kind === 'size' || def.kind === 'const' || def.kind === 'index'
  }
}

const exactRows: ReadonlySet<string> = new Set([
  'add',
  'sub',
  'mul',
  'div',
  'rem',
  'min',
  'max',
  'select',
  'and',
])
