/** @file One recording of a function for all sizes of its dynamic axes. */
import { DynamicAxesError } from './dynamic-axes.ts'
import type { Renumber } from './resize.ts'
import { atSizes, formulaOf, isCertain, standInSizes, type SizeFormula } from './size-formula.ts'

/** What a function does at stand-in sizes, which can be told at all others. */
export interface Recording<R> {
  /** The same with other numbers. `mark` tells apart what different numbers make of one call. */
  renumbered(renumber: Renumber, mark: string): R
}

/** See Note [Dynamic axes]. */
export class Template<R> {
  readonly names: readonly string[]
  /** At the stand-ins. */
  readonly recording: Recording<R> & R
  readonly standIns: readonly number[]
  readonly #where: string
  readonly #formulas = new Map<number, SizeFormula | undefined>()

  /** `record` is called once, with sizes to trace at; twice if it computes with them in unusual ways. */
  constructor(
    where: string,
    names: readonly string[],
    record: (sizes: readonly number[]) => Recording<R> & R,
  ) {
    this.#where = where
    this.names = names
    this.standIns = standInSizes(names.length, false)
    this.recording = record(this.standIns)
    const numbers = numbersIn(this.recording)
    const doubtful = numbers.filter((x) => {
      const formula = formulaOf(x, this.standIns)
      const isFormula = typeof formula !== 'string'
      this.#formulas.set(x, isFormula ? formula : undefined)
      return isFormula ? !isCertain(formula) : formula === 'unclear'
    })
    const others = standInSizes(names.length, true)
    if (doubtful.length > 0) this.#compare(numbers, numbersIn(record(others)), others)
    // Everything must fit together at other sizes.
    this.at(others)
  }

  /** What a number of the recording is, if it depends on sizes. */
  formula(x: number): SizeFormula | undefined {
    return this.#formulas.get(x)
  }

  /** The function at sizes of its axes. Throws a DynamicAxesError for sizes that do not divide as its own. */
  at(sizes: readonly number[]): R {
    const text = this.names.map((name, i) => `${name} = ${sizes[i]}`).join(', ')
    const renumber = (x: number) => {
      const formula = this.#formulas.get(x)
      if (formula === undefined) return x
      const value = atSizes(formula, sizes)
      if (Number.isInteger(x) && !Number.isInteger(value))
        throw new DynamicAxesError(
          `${this.#where}: it divides an axis by ${this.#divisor(formula)}, which leaves a remainder for ${text}. Pad the data, or leave the axis out of dynamicAxes`,
        )
      return value
    }
    return this.recording.renumbered(renumber, text)
  }

  #divisor({ factors }: SizeFormula): number {
    return factors.reduce((most, { times }) => Math.max(most, 1 / times), 1)
  }

  // Where both traces differ otherwise than the formulas say, the function cannot be told at all sizes.
  #compare(first: readonly number[], second: readonly number[], others: readonly number[]): void {
    const wrong = first.findIndex((x, i) => {
      const formula = this.#formulas.get(x)
      const found = second[i]!
      if (formula === undefined) return found !== x
      if (Math.abs(found - atSizes(formula, others)) <= 1e-12 * Math.abs(found)) return false
      if (isCertain(formula) || found !== x) return true
      this.#formulas.set(x, undefined)
      return false
    })
    if (first.length === second.length && wrong < 0) return
    const numbers =
      wrong < 0
        ? ''
        : `: a number that is ${first[wrong]} at size ${this.standIns.join(', ')} is ${second[wrong]} at ${others.join(', ')}`
    throw new DynamicAxesError(
      `${this.#where}: it does something else at other sizes of ${this.names.join(', ')}${numbers}. Dynamic sizes may be added to, multiplied, and divided by; leave the axis out of dynamicAxes otherwise`,
    )
  }
}

/**
 * A template, or what is wrong: at any size it is told with the sizes of an example, by recording that. Throws a
 * DynamicAxesError where only the example can be recorded.
 */
export function templateOf<R>(
  where: string,
  names: readonly string[],
  record: (sizes: readonly number[]) => Recording<R> & R,
  example: { readonly what: string; record(): unknown },
): Template<R> {
  try {
    return new Template(where, names, record)
  } catch (error) {
    example.record()
    if (error instanceof DynamicAxesError) throw error
    throw new DynamicAxesError(
      `${where} can be traced for the sizes of ${example.what}, but not for any size of ${names.join(', ')}: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

function numbersIn(recording: Recording<unknown>): number[] {
  const numbers: number[] = []
  const note = (x: number) => {
    numbers.push(x)
    return x
  }
  recording.renumbered(note, '')
  return numbers
}
