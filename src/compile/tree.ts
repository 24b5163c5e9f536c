/** @file Nested arrays and objects with tensors in them: what functions take and return. */
import { Tensor } from '../tensor/tensor.ts'
import { TraceError } from '../util/errors.ts'

/** A structure without its tensors: a number stands for each of them, in order. */
export interface Tree {
  readonly tensors: readonly Tensor[]
  /** Where each tensor stands: 'argument[0].images'. */
  readonly paths: readonly string[]
  /** The plain numbers, in order. */
  readonly numbers: readonly number[]
  /** A text that is the same for structures of one form with the same other contents. */
  readonly form: string
  /** The structure with other tensors in their places, and other numbers if they are given. */
  readonly rebuild: (tensors: readonly Tensor[], numbers?: readonly number[]) => unknown
}

export interface TakeApartOptions {
  readonly stays?: (t: Tensor) => boolean
  readonly merges?: boolean
}

/**
 * Takes a structure apart. `where` names it in errors. A tensor that stands in several places is taken
 * out once, if `merges`; those that `stays` approves of are left in, as themselves.
 */
export function takeApart(
  where: string,
  value: unknown,
  { stays = () => false, merges = true }: TakeApartOptions = {},
): Tree {
  const tensors: Tensor[] = []
  const paths: string[] = []
  const numbers: number[] = []
  const inside = new Set<object>()
  const visit = (x: unknown, path: string): { form: string; build: Rebuild } => {
    if (x instanceof Tensor) {
      if (stays(x)) return { form: `#${identityOf(x)}`, build: () => x }
      const known = merges ? tensors.indexOf(x) : -1
      const index = known < 0 ? tensors.push(x) - 1 : known
      if (known < 0) paths.push(path)
      return { form: `t${index}`, build: (all) => all[index] }
    }
    if (typeof x !== 'object' || x === null) {
      if (typeof x === 'function' || typeof x === 'symbol')
        throw new TraceError(
          `compile: ${path} is a ${typeof x}. Expected tensors, numbers, texts, and arrays and objects of these; use what else you need from outside the function`,
        )
      if (typeof x !== 'number') return { form: formOf(x), build: () => x }
      const index = numbers.push(x) - 1
      return { form: formOf(x), build: (_, all) => all[index] }
    }
    if (inside.has(x)) throw new TraceError(`compile: ${path} contains itself`)
    inside.add(x)
    try {
      if (Array.isArray(x)) {
        const parts = x.map((item, i) => visit(item, `${path}[${i}]`))
        return {
          form: `[${parts.map((p) => p.form).join()}]`,
          build: (all, numbers) => parts.map((p) => p.build(all, numbers)),
        }
      }
      const prototype: unknown = Object.getPrototypeOf(x)
      if (prototype !== Object.prototype && prototype !== null)
        throw new TraceError(
          `compile: ${path} is a ${(x as object).constructor.name}. Expected tensors, numbers, texts, and plain arrays and objects of these; use what else you need from outside the function`,
        )
      const parts = Object.entries(x).map(([key, item]) => ({
        key,
        ...visit(item, `${path}.${key}`),
      }))
      return {
        form: `{${parts.map((p) => `${JSON.stringify(p.key)}:${p.form}`).join()}}`,
        build: (all, numbers) =>
          Object.fromEntries(parts.map((p) => [p.key, p.build(all, numbers)])),
      }
    } finally {
      inside.delete(x)
    }
  }
  const { form, build } = visit(value, where)
  return { tensors, paths, numbers, form, rebuild: (all, own = numbers) => build(all, own) }
}

type Rebuild = (tensors: readonly Tensor[], numbers: readonly number[]) => unknown

const identities = new WeakMap<object, number>()
let nextIdentity = 0

/** A number that no other object has. */
function identityOf(x: object): number {
  let identity = identities.get(x)
  if (identity === undefined) identities.set(x, (identity = nextIdentity++))
  return identity
}

const formOf = (x: unknown): string =>
  typeof x === 'string' ? JSON.stringify(x) : Object.is(x, -0) ? '-0' : `${typeof x}${String(x)}`
