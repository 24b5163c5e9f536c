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
  readonly #inexact = new Set<number>()
  readonly #exactVariables = new Map<number, boolean>()
  readonly #sets = new Map<Statement, ReadonlySet<number>>()

  constructor(kernel: Kernel) {
    this.#count(kernel.body)
    // Variables are taken to be exact until something that is not is put into one.
    while (this.#findInexact(kernel.body));
  }

  /**
   * Note [Exact positions]: i32 values that come from sizes and loop indices by arithmetic are kept
   * sign-extended in 64 bits, so that they serve as addresses as they are. Of all others (read from
   * memory, made by bit operations) only the lower half of the register counts.
   */
  isExact(value: Value): boolean {
    return !this.#inexact.has(value.id)
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
      for (const value of readsOf(s)) this.uses[value.id] = (this.uses[value.id] ?? 0) + 1
      if (s.kind === 'store') this.positions.add(s.place.index)
      if (s.kind === 'for') this.#count(s.body)
      if (s.kind === 'if') this.#count(s.then)
      if (s.kind !== 'let') continue
      const { def, lanes, type } = s.value
      if (def.kind === 'load' || def.kind === 'gather') this.positions.add(def.place.index)
      if (lanes > 1 && (type === 'f64' || type === 'i64')) this.isWide = true
    }
  }

  // Says whether a variable was found to be inexact that was not known to be.
  #findInexact(statements: readonly Statement[]): boolean {
    let changed = false
    for (const s of statements) {
      if (s.kind === 'for') changed = this.#findInexact(s.body) || changed
      if (s.kind === 'if') changed = this.#findInexact(s.then) || changed
      if (s.kind === 'let' && !this.#makesExact(s.value)) this.#inexact.add(s.value.id)
      if (s.kind !== 'set' || this.isExact(s.value)) continue
      if (this.#exactVariables.get(s.variable.id) === false) continue
      this.#exactVariables.set(s.variable.id, false)
      changed = true
    }
    return changed
  }

  #makesExact({ def, type, lanes }: Value): boolean {
    if (type !== 'i32' || lanes > 1) return false
    if (def.kind === 'read') return this.#exactVariables.get(def.variable.id) !== false
    if (def.kind === 'op') {
      if (def.op === 'convert') return def.args[0]!.type === 'bool'
      const args = def.op === 'select' ? def.args.slice(1) : def.args
      return exactRows.has(def.op) && args.every((x) => this.isExact(x))
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
