/** @file Numbers that depend on dynamic axes, in saved graphs: written as formulas, read for the sizes of a call. */
import { quote, type JsonCursor } from '../util/json-cursor.ts'
import type { SizeWriter } from './graph-json.ts'
import { numberToPlain } from './plain-data.ts'
import type { Template } from './template.ts'
import { atSizes, formulaOf, forms, type Factor, type SizeFormula } from './size-formula.ts'

/** The key that marks a formula: { "$size": ["times", 64, ["batch", 1, 0]] } is 64 * (1 * batch + 0). */
export const sizeMark = '$size'
/** No number is made of more sizes. */
const mostFactors = 16
const limit = 2 ** 32
/** Graphs inside of graphs included. */
const deepest = 500

/** Writes the numbers of a template. */
export function sizeWriter<R>(template: Template<R>): SizeWriter {
  const { names } = template
  const formulaJson = ({ form, scale, factors }: SizeFormula) => ({
    [sizeMark]: [form, scale, ...factors.map((f) => [names[f.axis], f.times, f.plus])],
  })
  const number = (x: number): unknown => {
    const formula = template.formula(x)
    return formula === undefined ? numberToPlain(x) : formulaJson(formula)
  }
  const size = (n: number) => {
    const formula = template.formula(n) ?? formulaOf(n, template.standIns)
    if (formula === 'constant') return n
    return formula === 'unclear' ? null : formulaJson(formula)
  }
  return { number, size }
}

/** The JSON of a graph with numbers in the place of formulas. Throws a FormatError for one that makes no sense. */
export function withSizes(cursor: JsonCursor, sizes: ReadonlyMap<string, number>): JsonCursor {
  const names = [...sizes.keys()]
  const values = [...sizes.values()]
  const visit = (at: JsonCursor, depth: number): unknown => {
    const { value } = at
    if (depth > deepest) return at.fail('data nested too deeply')
    if (Array.isArray(value)) return at.items().map((item) => visit(item, depth + 1))
    if (typeof value !== 'object' || value === null) return value
    if (!Object.hasOwn(value, sizeMark))
      return Object.fromEntries(at.entries().map(([key, item]) => [key, visit(item, depth + 1)]))
    return atSizes(readFormula(at.fields(sizeMark)[sizeMark], names), values)
  }
  return cursor.holding(visit(cursor, 0))
}

/** What stands where a number of a graph may depend on axes: the number, or a formula of `names`. */
export function readSize(
  cursor: JsonCursor,
  names: readonly string[],
): number | SizeFormula | undefined {
  if (cursor.value === null) return undefined
  if (typeof cursor.value === 'number') return cursor.whole()
  return readFormula(cursor.fields(sizeMark)[sizeMark], names)
}

/** A formula of `names`. Throws a FormatError. */
export function readFormula(cursor: JsonCursor, names: readonly string[]): SizeFormula {
  const [form, scale, ...factors] = cursor.items()
  const known = forms.find((name) => name === form?.value)
  if (form === undefined || known === undefined)
    return cursor.fail(`unknown formula ${quote(form?.value)}. Expected ${forms.join(', ')}`)
  if (typeof scale?.value !== 'number') return cursor.fail('expected a number after the form')
  if (factors.length === 0 || factors.length > mostFactors)
    cursor.fail(`${factors.length} factors. Expected 1 to ${mostFactors}`)
  return {
    form: known,
    scale: scale.value,
    factors: factors.map((factor): Factor => {
      const [name, times, plus, ...more] = factor.items()
      const axis = names.indexOf(name?.value as string)
      if (name === undefined || times === undefined || plus === undefined || more.length > 0)
        return factor.fail('expected a name and two numbers')
      if (axis < 0) return name.fail(`there is no axis ${quote(name.value)}`)
      if (typeof times.value !== 'number' || !(times.value > 0 && times.value < limit))
        return times.fail('expected a number above 0')
      return { axis, times: times.value, plus: plus.whole(-limit, limit) }
    }),
  }
}
