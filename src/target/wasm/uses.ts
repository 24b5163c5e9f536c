/** @file Facts about a whole program, found before code is made: how often values are used, and which addresses to share. */
import type { Place, Statement, Value } from '../../ir/loops.ts'
import { bytesOf } from './memory-access.ts'

/**
 * Counts uses, and finds places whose index is a sum of one value known outside the loop and one that
 * moves with it: the address of the outer part is worth computing once, where that value is made.
 */
export class Uses {
  readonly #counts = new Map<Value, number>()
  readonly #depths = new Map<Value, number>()
  readonly #sums = new Map<Value, readonly [outer: Value, inner: Value]>()
  readonly #addresses = new Map<Value, Map<string, Place>>()

  constructor(body: readonly Statement[]) {
    this.#block(body, 0)
  }

  usesOf(value: Value): number {
    return this.#counts.get(value) ?? 0
  }

  /** An index as the part known further outside and the part that moves, if it is such a sum. */
  sumOf(index: Value): readonly [outer: Value, inner: Value] | readonly [] {
    return this.#sums.get(index) ?? []
  }

  /** Places for which the address at this value is needed further inside. */
  addressesFrom(value: Value): Iterable<Place> {
    return this.#addresses.get(value)?.values() ?? []
  }

  #block(statements: readonly Statement[], depth: number): void {
    for (const s of statements) {
      switch (s.kind) {
        case 'let':
          this.#depths.set(s.value, depth)
          this.#define(s.value)
          break
        case 'set':
          this.#use(s.value)
          break
        case 'store':
          this.#place(s.place)
          this.#use(s.value)
          if (s.mask) this.#use(s.mask)
          break
        case 'for':
          this.#use(s.begin)
          this.#use(s.end)
          this.#depths.set(s.index, depth + 1)
          if (s.runEnd) this.#depths.set(s.runEnd, depth + 1)
          this.#block(s.body, depth + 1)
          break
        case 'prefetch':
          break
        case 'if':
          this.#use(s.condition)
          this.#block(s.then, depth)
          break
      }
    }
  }

  #define({ def }: Value): void {
    switch (def.kind) {
      case 'op':
        return def.args.forEach((x) => this.#use(x))
      case 'splat':
      case 'across':
        return this.#use(def.arg)
      case 'lanesBelow':
        return this.#use(def.count)
      case 'transposed':
        return def.rows.forEach((x) => this.#use(x))
      case 'load':
      case 'gather':
        this.#place(def.place)
        if (def.mask) this.#use(def.mask)
        return
      default:
    }
  }

  #place(place: Place): void {
    const { index } = place
    this.#use(index)
    if (index.lanes > 1 || index.def.kind !== 'op' || index.def.op !== 'add') return
    const [x, y] = index.def.args as [Value, Value]
    const [outer, inner] = this.#depthOf(x) < this.#depthOf(y) ? [x, y] : [y, x]
    const isShared = this.#depthOf(outer) < this.#depthOf(inner) && outer.def.kind === 'op'
    if (!isShared) return
    this.#sums.set(index, [outer, inner])
    let places = this.#addresses.get(outer)
    if (places === undefined) this.#addresses.set(outer, (places = new Map()))
    places.set(`${place.buffer}:${bytesOf[place.memory]}`, place)
  }

  #use(value: Value): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1)
  }

  // Constants exist everywhere.
  #depthOf(value: Value): number {
    return this.#depths.get(value) ?? 0
  }
}
